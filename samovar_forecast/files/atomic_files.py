"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file beside its target, flush it to the disk and rename it, so that no reader sees half of it.

    The permissions of an older file are kept. A symbolic link stays, and the file that it points to is replaced. A
    process that is killed on the way leaves a hidden file `.<name>.<32 digits>.tmp`, which may be deleted.

    Raises
    ------
    OSError
        If the file cannot be written, as where the disk is full; an older one survives, and nothing else is left.
        Also if something other than a file lies there.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file")
    if target.exists() and not target.is_file():
        raise OSError(f"{path} is no regular file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {target.parent}")
    with complete_at(target) as temporary, open(temporary, "xb") as file:
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def complete_at(target: Path) -> Iterator[Path]:
    """A path beside a target for a new file or folder, which takes the name of the target once it is complete.

    Nothing is left of it where the block raises; see `replace_file` for a process that is killed.

    Raises
    ------
    OSError
        If the target is a folder that is not empty.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "letters"
    >>> with complete_at(target) as temporary:
    ...     temporary.mkdir()
    ...     _ = (temporary / "a").write_text("A")
    >>> sorted(path.name for path in target.iterdir())
    ['a']
    """
    temporary = target.with_name(f".{target.name[:64]}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def remove_left_over(path: Path) -> None:
    """Remove what killed writers of a file left beside it; only where no other process may be writing."""
    for temporary in path.parent.glob(f".{path.name}.{'[0-9a-f]' * 32}.tmp"):
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make the new name itself survive a loss of power, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders, and some file systems do not flush them
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
