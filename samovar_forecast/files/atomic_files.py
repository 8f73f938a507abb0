"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file beside its target to write to; it takes the target's place when the block ends without an error.

    It is flushed to the disk and renamed, so no reader sees half of it. The permissions of an older file are kept. A
    symbolic link stays, and the file that it points to is replaced. A process that is killed on the way leaves a
    hidden file `.<name>.<32 digits>.tmp`, which may be deleted.

    Raises
    ------
    OSError
        If the file cannot be written, as where the disk is full; an older one survives, and nothing else is left.
        Also if something other than a file is there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replaced_file(Path(folder, "table.csv")) as beside:
    ...         written = beside.write_text("a,b")
    ...     Path(folder, "table.csv").read_text()
    'a,b'
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file")
    if target.exists() and not target.is_file():
        raise OSError(f"{path} is no regular file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {target.parent}")
    beside = _beside(target)
    try:
        beside.touch(exist_ok=False)
        permissions = stat.S_IMODE((target if target.exists() else beside).stat().st_mode)
        os.chmod(beside, permissions | stat.S_IWUSR)  # no wider than the target's while it is written
        yield beside
        _flush(beside, os.O_RDWR)
        os.chmod(beside, permissions)
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file with this content; see `replaced_file`."""
    with replaced_file(path) as beside:
        beside.write_bytes(content)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder beside its target to fill; it takes the target's name when the block ends without an error.

    Folders above it are made. A process that is killed on the way leaves a hidden folder `.<name>.<32 digits>.tmp`.

    Raises
    ------
    FileExistsError
        If something is there already.
    OSError
        If the folder cannot be written; nothing is left then.
    """
    target = Path(path)
    if target.exists():
        raise FileExistsError(f"{path} is there already; remove it or choose another folder")
    beside = _beside(target)
    beside.mkdir(parents=True)
    try:
        yield beside
        for file in beside.rglob("*"):
            _flush_folder(file) if file.is_dir() else _flush(file, os.O_RDWR)
        _flush_folder(beside)
        os.replace(beside, target)
    except BaseException:
        shutil.rmtree(beside)
        raise
    _flush_folder(target.parent)


def remove_left_over(path: Path) -> None:
    """Remove what killed writers of a file left beside it; only where no other process may be writing."""
    for temporary in path.parent.glob(f".{path.name}.{'[0-9a-f]' * 32}.tmp"):
        temporary.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name[:64]}.{uuid.uuid4().hex}.tmp")


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Make a new name itself survive a loss of power, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders, and some file systems do not flush them
        _flush(folder, os.O_RDONLY)
