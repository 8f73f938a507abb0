"""Checksums beside the files that darts writes, so that a damaged model is not taken for another one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from samovar_forecast.files.atomic_files import replace_file
from samovar_forecast.files.model_file import ModelFileError


def names_of(path: Path) -> tuple[str, str]:
    """The files of a model of darts, in the order in which they are replaced: its weights and itself."""
    return f"{path.name}.ckpt", path.name


def announce(path: Path, folder: Path) -> None:
    """Let the model at `path` be what it is or what lies in `folder`: killed between two files, it is still read."""
    here = {name: _digests(path.parent, name) for name in names_of(path)}
    accepted = _read(path) if _checksums(path).exists() else here
    coming = {name: _digests(folder, name) for name in names_of(path)}
    _write(path, {name: sorted({*accepted.get(name, []), *coming[name]}) for name in names_of(path)})


def settle(path: Path) -> None:
    """Let the model at `path` be what it is now."""
    _write(path, {name: _digests(path.parent, name) for name in names_of(path)})


def check(path: Path) -> None:
    """Compare a model with its checksums; without such a file, as darts itself writes none, nothing is checked.

    Raises
    ------
    ModelFileError
        If a file is missing or damaged; the message names it.
    """
    if not _checksums(path).exists():
        return
    for name, accepted in _read(path).items():
        if accepted and not path.with_name(name).exists():
            raise ModelFileError(f"{path.with_name(name)} is missing: it is a part of the model {path}")
        if accepted and _digests(path.parent, name)[0] not in accepted:
            raise ModelFileError(f"{path.with_name(name)} is damaged: it does not match its checksum")


def _checksums(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _digests(folder: Path, name: str) -> list[str]:
    if not (folder / name).is_file():
        return []
    with open(folder / name, "rb") as file:
        return [hashlib.file_digest(file, "sha256").hexdigest()]


def _read(path: Path) -> dict[str, list[str]]:
    try:
        checksums = json.loads(_checksums(path).read_text())
    except ValueError as error:
        raise ModelFileError(f"{_checksums(path)} is damaged: {error}") from error
    if not isinstance(checksums, dict) or not all(isinstance(digests, list) for digests in checksums.values()):
        raise ModelFileError(f"{_checksums(path)} is damaged: it holds no checksums")
    return {name: checksums.get(name, []) for name in names_of(path)}


def _write(path: Path, checksums: dict[str, list[str]]) -> None:
    replace_file(_checksums(path), json.dumps(checksums).encode())
