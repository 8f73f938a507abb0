"""The results store: a folder with one small file for each run that has ended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from samovar_forecast.files.atomic_files import replace_file

if TYPE_CHECKING:
    import pandas as pd

    from samovar_forecast.benchmark.runs import Run

DONE, FAILED = "done", "failed"
_CHECKPOINT = "training.ckpt"
# Parts of a record that differ between two runs of the same on the same machine.
MEASURED = (
    "seconds_per_epoch", "training_seconds", "total_seconds", "peak_memory_mb", "gpu_memory_mb", "resumed_after_epoch"
)  # fmt: skip


class Written(NamedTuple):
    """When the files of a run were last written, in ns; None where there is none."""

    log: int | None
    checkpoint: int | None
    record: int | None


class Store:
    """Records of runs, in files that appear complete or not at all, so that nothing is lost when a process is killed.

    Any number of processes may write at the same time: each run has a file of its own. The checkpoint and the log of an
    unfinished run are in a folder beside them.

    Parameters
    ----------
    folder : path
        Made when the first record is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.runs, self.unfinished = self.folder / "runs", self.folder / "unfinished"

    def record(self, run: Run) -> dict[str, Any] | None:
        """The record of a run; None where it has not ended."""
        path = self._path(run)
        return _read(path) if path.exists() else None

    def is_done(self, run: Run) -> bool:
        """Whether a run has its result. One that failed has none and is tried again."""
        record = self.record(run)
        return record is not None and record["status"] == DONE

    def write(self, run: Run, status: str, outcome: Mapping[str, Any]) -> None:
        """Keep the outcome of a run, in place of an older one."""
        self.runs.mkdir(parents=True, exist_ok=True)
        record = asdict(run) | {"status": status} | dict(outcome)
        replace_file(self._path(run), (json.dumps(record, indent=1) + "\n").encode())

    def records(self) -> list[dict[str, Any]]:
        """Every record, in the order of their names.

        Raises
        ------
        FileNotFoundError
            If there is no store.
        ValueError
            If a file is damaged.
        """
        if not self.runs.is_dir():
            raise FileNotFoundError(f"{self.folder} holds no results: it has no folder {self.runs.name!r}")
        return [_read(path) for path in sorted(self.runs.glob("*.json"))]

    def table(self) -> pd.DataFrame:
        """A row for each run that succeeded."""
        import pandas as pd

        return pd.DataFrame([record for record in self.records() if record["status"] == DONE])

    def workplace(self, run: Run) -> Path:
        """The folder of an unfinished run, with its checkpoint and its log."""
        return self.unfinished / run.name

    def log(self, run: Run) -> Path:
        """The file with the output of the processes of an unfinished run."""
        return self.workplace(run) / "log.txt"

    def lock(self, run: Run) -> Path:
        """The file whose lock the process of a run holds as long as it lives."""
        return self.unfinished / f"{run.name}.lock"

    def written(self, run: Run) -> Written:
        """When the files of a run were last written."""
        paths = self.log(run), self.workplace(run) / _CHECKPOINT, self._path(run)
        return Written(*map(_time_of, paths))

    def clear(self, run: Run) -> None:
        """Remove the workplace of a run that has its result; only where no other process is at it."""
        shutil.rmtree(self.workplace(run), ignore_errors=True)
        self.lock(run).unlink(missing_ok=True)

    def _path(self, run: Run) -> Path:
        return self.runs / f"{run.name}.json"


def _time_of(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        record["status"], record["model"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no record of a run: {error!r}; remove it to run it again") from error
    return record
