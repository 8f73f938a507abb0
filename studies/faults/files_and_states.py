"""Faults of model files and disks, and of what a model remembers."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import shutil
import signal
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from studies.faults.faults import Y
from studies.faults.hosts import Host
from studies.faults.judging import CLEAR, RIGHT, UNCLEAR, WRONG, on_error

ABOUT_THE_FILE = "(?i)file|path|archive|checksum|sha|digest|damaged|corrupt|header|crc|pickle|unsafe|weights_only|load"
N_PLACES = 10


def two_fits(host: Host) -> str:
    """Two fits with one seed."""
    one, other = (host.forecast(host.fit(Y)) for _ in range(2))
    return RIGHT if np.array_equal(one, other) else f"{WRONG}: two forecasts"


def forecast_twice(host: Host) -> str:
    """Two forecasts of one model."""
    model = host.fit(Y)
    one, other = (np.asarray(host.forecast(model)) for _ in range(2))
    return RIGHT if np.array_equal(one, other) else f"{WRONG}: two forecasts"


def failed_refit(host: Host) -> str:
    """A second fit fails, on too few rows; then the first one forecasts, or an error says that there is none."""
    model = host.fit(Y)
    expected = np.asarray(host.forecast(model))
    with contextlib.suppress(Exception):
        host.refit(model, Y.iloc[:10])
        return f"{WRONG}: a fit on too few rows"
    try:
        forecast = np.asarray(host.forecast(model))
    except Exception as error:
        return on_error(error, "fit")
    return RIGHT if np.array_equal(forecast, expected) else f"{WRONG}: another forecast"


def flipped_bits(host: Host) -> str:
    """One bit of the largest file is another one, at ten places in turn."""

    def flip(content: bytes, share: float) -> bytes:
        at = int(share * len(content))
        return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]

    return _damaged(host, flip)


def truncated(host: Host) -> str:
    """The largest file ends early, at ten places in turn."""
    return _damaged(host, lambda content, share: content[: int(share * len(content))])


def _damaged(host: Host, damage: Callable[[bytes, float], bytes]) -> str:
    with _saved(host) as (path, expected):
        largest = max(_files_of(path), key=lambda file: file.stat().st_size)
        content = largest.read_bytes()
        found: Counter[str] = Counter()
        for place in range(N_PLACES):
            largest.write_bytes(damage(content, (place + 0.5) / N_PLACES))
            found[_loaded(host, path, expected)] += 1
    return _worst(found)


def full_disk(host: Host) -> str:
    """The disk takes no more while a model is overwritten; the old one is still there."""
    return _interrupted(host, signal.SIG_IGN)


def killed(host: Host) -> str:
    """The process is killed while it overwrites a model; the old one is still there."""
    return _interrupted(host, signal.SIG_DFL)


def _interrupted(host: Host, on_limit: signal.Handlers) -> str:
    with _saved(host) as (path, expected):
        other = host.fit(Y * 2)
        child = os.fork()
        if child == 0:
            # The system stands for the disk: no file of this process may grow beyond a kilobyte.
            signal.signal(signal.SIGXFSZ, on_limit)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
            try:
                host.save(other, path)
            except (ValueError, TypeError, OSError):
                os._exit(1)
            except BaseException:
                os._exit(2)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        after = _loaded(host, path, expected)
        if after != RIGHT:
            return f"{WRONG}: the old model is lost"
        if on_limit is signal.SIG_IGN and os.waitstatus_to_exitcode(status) == 0:
            return f"{WRONG}: no error, nothing saved"
        return RIGHT


class _Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def code_inside(host: Host) -> str:
    """A pickle that runs code was put in the place of each file of the model, or of each member of a zip."""
    found: Counter[str] = Counter()
    with _saved(host) as (path, expected):
        marker = path.parent.parent / f"{path.parent.name}-marker"
        payload = pickle.dumps(_Payload(marker))
        for file in _files_of(path):
            content = file.read_bytes()
            hostile = [payload]
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    members = {name: archive.read(name) for name in archive.namelist()}
                hostile += [_zipped(members | {name: payload}) for name in members]
            for one in hostile:
                file.write_bytes(one)
                found[_loaded(host, path, expected)] += 1
                if marker.exists():
                    marker.unlink()
                    return f"{WRONG}: code inside was run"
            file.write_bytes(content)
    return _worst(found)


def _zipped(members: dict[str, bytes]) -> bytes:
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        file.seek(0)
        return file.read()


@contextlib.contextmanager
def _saved(host: Host):
    folder = Path(tempfile.mkdtemp())
    try:
        model = host.fit(Y)
        expected = np.asarray(host.forecast(model))
        host.save(model, folder / "model")
        yield folder / "model", expected
    finally:
        shutil.rmtree(folder)


def _files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.parent.rglob("*") if file.is_file())


def _loaded(host: Host, path: Path, expected: np.ndarray) -> str:
    try:
        forecast = np.asarray(host.forecast(host.load(path)))
    except Exception as error:
        return on_error(error, ABOUT_THE_FILE)
    return RIGHT if np.array_equal(forecast, expected) else f"{WRONG}: another model"


def _worst(found: Counter[str]) -> str:
    for kind in (WRONG, UNCLEAR, CLEAR, RIGHT):
        one = next((verdict for verdict in found if verdict.startswith(kind)), None)
        if one is not None:
            return one
    raise AssertionError("nothing was tried")


STATES = {
    "two fits with one seed": two_fits,
    "two forecasts of one model": forecast_twice,
    "a second fit that fails": failed_refit,
}
FILES = {
    "a flipped bit": flipped_bits,
    "a file that ends early": truncated,
    "the disk is full while a model is overwritten": full_disk,
    "killed while a model is overwritten": killed,
    "a pickle with code in the model file": code_inside,
}
