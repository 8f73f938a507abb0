"""Runs side by side, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Protocol

from joblib import cpu_count

from samovar_forecast.benchmark.one_run import BUSY
from samovar_forecast.benchmark.runs import Run
from samovar_forecast.benchmark.store import FAILED, Store

_SECONDS_BETWEEN_LOOKS, _SECONDS_BEFORE_ANOTHER_TRY = 0.1, 2.0
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_CHECKPOINT, _LOG = "training.ckpt", "log.txt"


class Watcher(Protocol):
    """Whoever wants to know how the runs come along."""

    def started(self, run: Run) -> None:
        """A process has begun with a run, or goes on with it."""

    def working(self, run: Run, epochs: int) -> None:
        """A run has come so many epochs further since it was started."""

    def ended(self, run: Run, record: dict | None) -> None:
        """A run has its record, or another command is at it (None)."""


def run_all(
    runs: Sequence[Run],
    store: Store,
    watcher: Watcher,
    workers: int = 1,
) -> list[Run]:
    """Do the runs that have no result yet, and tell which failed.

    A run that fails is recorded with its error and stops no other. One that another command is at is waited for.

    Parameters
    ----------
    runs : sequence of Run
    store : Store
        Gets a record for each run.
    watcher : Watcher
    workers : int, default 1
        Processes at a time. They share the cores that this process may use, or each has as many
        threads as the environment says in OMP_NUM_THREADS.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, once the processes are gone. The same call goes on where they were.
    """
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cpu_count() // workers))
    environment = os.environ | dict.fromkeys(_THREADS, threads)
    distinct = {run.name: run for run in runs}.values()
    waiting = deque((run, 0.0) for run in distinct if not store.is_done(run))
    working: list[_Process] = []
    failed = []
    try:
        while waiting or working:
            while len(working) < workers and waiting and waiting[0][1] <= time.monotonic():
                run, _ = waiting.popleft()
                if store.is_done(run):  # by another command, since
                    watcher.ended(run, store.record(run))
                    continue
                try:
                    working.append(_Process(run, store, environment))
                except FileNotFoundError:  # another command has just ended this run and cleared its folder
                    waiting.append((run, time.monotonic() + _SECONDS_BEFORE_ANOTHER_TRY))
                    continue
                watcher.started(run)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            for process in list(working):
                status = process.status()
                if status is None:
                    watcher.working(process.run, process.epochs())
                    continue
                working.remove(process)
                if status == BUSY:
                    waiting.append((process.run, time.monotonic() + _SECONDS_BEFORE_ANOTHER_TRY))
                    watcher.ended(process.run, None)
                    continue
                if status != 0 and not store.is_done(process.run):
                    failed.append(process.run)
                    store.write(process.run, FAILED, {"error": process.error(status)})
                watcher.ended(process.run, store.record(process.run))
    finally:
        for process in working:
            process.end()
    return failed


class _Process:
    """The process of one run. It ends when this one does, even when this one is killed: its stdin closes then."""

    def __init__(self, run: Run, store: Store, environment: Mapping[str, str]) -> None:
        self.run = run
        folder = store.workplace(run)
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoint, self._log = folder / _CHECKPOINT, folder / _LOG
        self._seen, self._epochs = self._time_of_checkpoint(), 0
        self._logged = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "samovar_forecast.benchmark.one_run"],  # no module from where the user is
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C is for this process
            )
        assert self._process.stdin is not None
        message = {"run": asdict(run), "store": str(store.folder.resolve())}
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def status(self) -> int | None:
        return self._process.poll()

    def epochs(self) -> int:
        """Epochs since the process was started, as its checkpoints tell; models of other libraries write none."""
        time_of_checkpoint = self._time_of_checkpoint()
        if time_of_checkpoint != self._seen:
            self._seen, self._epochs = time_of_checkpoint, self._epochs + 1
        return self._epochs

    def error(self, status: int) -> str:
        """What went wrong: the last line that the process wrote, or how it was ended."""
        if status < 0:
            hint = ", perhaps for want of memory" if -status == signal.SIGKILL else ""
            return f"the process was ended by {signal.Signals(-status).name}{hint}"
        with self._log.open("rb") as log:
            log.seek(self._logged)
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"the process ended with status {status}"

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _time_of_checkpoint(self) -> int | None:
        try:
            return self._checkpoint.stat().st_mtime_ns
        except FileNotFoundError:
            return None
