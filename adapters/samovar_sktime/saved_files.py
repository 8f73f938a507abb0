"""The zip files of sktime with checksums inside, so that a damaged or exchanged part is refused before it is opened."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import pickle
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile, ZipFile

from samovar_forecast.files.atomic_files import replaced_file
from samovar_forecast.files.model_file import ModelFileError

_CHECKSUMS = "_sha256"  # beside sktime's `_metadata` and `_obj`
_DAMAGE = (BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, ValueError, OSError)
Forecaster = TypeVar("Forecaster")


def write(save: Callable[[Path, str], Any], path: Path, serialization_format: str) -> ZipFile:
    """Let sktime write to a folder of its own; its file, with checksums, takes the place of the older one.

    Parameters
    ----------
    save : callable
        The `save` of sktime.
    path : Path
        Without ".zip".
    serialization_format : str
        See sktime.
    """
    target = path.with_name(f"{path.name}.zip")
    with replaced_file(target) as beside, tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
        save(Path(folder, "model"), serialization_format).close()
        made = Path(folder, "model.zip")
        with ZipFile(made, "a") as archive:
            digests = {name: _digest(archive.read(name)) for name in archive.namelist()}
            archive.writestr(_CHECKSUMS, json.dumps(digests))
        shutil.copyfile(made, beside)
    return ZipFile(target)


def read(path: Path, cls: type[Forecaster]) -> Forecaster:
    """The forecaster of a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is damaged, has no checksums, or holds something else than an instance of `cls`.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    content = io.BytesIO(path.read_bytes())  # an OSError from here on tells of damage, not of the disk
    try:
        with ZipFile(content) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    except _DAMAGE as error:
        raise ModelFileError(f"{path} is damaged, or no zip file: {error}") from error
    if _CHECKSUMS not in parts:
        raise ModelFileError(f"{path} has no checksums: the `save` of this forecaster did not write it")
    try:
        digests = json.loads(parts.pop(_CHECKSUMS))
    except ValueError as error:
        raise ModelFileError(f"{path} is damaged: its checksums cannot be read") from error
    if digests != {name: _digest(content) for name, content in parts.items()} or "_obj" not in parts:
        raise ModelFileError(f"{path} is damaged: it does not match its checksums")
    made = pickle.loads(parts["_obj"])
    if not isinstance(made, cls):
        raise ModelFileError(f"{path} holds a {type(made).__name__}: load it with that class")
    return made


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
