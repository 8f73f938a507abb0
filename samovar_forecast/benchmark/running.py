"""Runs side by side: one joblib loop, in which every run has a fresh process."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from joblib import Parallel, delayed

from samovar_forecast.benchmark.one_run import BUSY
from samovar_forecast.benchmark.runs import Run
from samovar_forecast.benchmark.store import DONE, FAILED, Store

_SECONDS_BEFORE_ANOTHER_TRY, _SECONDS_BETWEEN_LOOKS = 2.0, 0.2


def run_all(runs: Sequence[Run], store: Store, workers: int | None = None) -> list[Run]:
    """Do the runs that have no result yet; the failed ones are returned.

    A run that fails is recorded with its error and stops no other. One that another command is at is waited for. The
    loop is joblib's: ``joblib.parallel_config(backend="dask")`` moves it to a cluster whose machines share the store's
    folder and the data.

    Parameters
    ----------
    runs : sequence of Run
    store : Store
        Gets a record for each run.
    workers : int or None
        Runs at a time. None: as ``joblib.parallel_config`` says, else 1. On one machine they share its cores; a number
        of threads in the environment variable OMP_NUM_THREADS comes first.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, which ends the processes of the runs. The same call goes on where they were.
    """
    waiting = [run for run in {run.name: run for run in runs}.values() if not store.is_done(run)]
    shared = Store(store.folder.resolve())
    failed: list[Run] = []
    while waiting:
        outcomes = Parallel(n_jobs=workers, batch_size=1)(delayed(run_in_process)(run, shared) for run in waiting)
        failed += [run for run, outcome in zip(waiting, outcomes, strict=True) if outcome == FAILED]
        waiting = [run for run, outcome in zip(waiting, outcomes, strict=True) if outcome is None]
        if waiting:
            time.sleep(_SECONDS_BEFORE_ANOTHER_TRY)
    return failed


def run_in_process(run: Run, store: Store) -> str | None:
    """Do a run in a process of its own; its status in the store, or None where another command is at it.

    The process has its own seed and peak memory. It ends with the one that waits for it, even after a kill: its stdin
    closes then.
    """
    if store.is_done(run):  # by another command, since the loop began
        return DONE
    store.workplace(run).mkdir(parents=True, exist_ok=True)
    try:
        log = store.log(run).open("a+b", buffering=0)
    except FileNotFoundError:  # another command has just ended this run and cleared its folder
        return None
    with log:
        log.write(time.strftime("%Y-%m-%d %H:%M:%S begins\n").encode())
        began = log.tell()
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "samovar_forecast.benchmark.one_run"],  # no module from the user's folder
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the command
        ) as process:
            assert process.stdin is not None
            message = {"run": asdict(run), "store": str(store.folder)}
            with suppress(BrokenPipeError):  # it has ended already, which its status says
                process.stdin.write(json.dumps(message).encode() + b"\n")
            status = _exit_status(process)
        if status == BUSY:
            return None
        if status == 0 or store.is_done(run):
            return DONE
        log.seek(began)
        store.write(run, FAILED, {"error": _error(status, log.read().decode(errors="replace"))})
        return FAILED


def _exit_status(process: subprocess.Popen) -> int:
    """The exit status of a process; a worker whose parent is killed ends, and with it the process."""
    is_worker, parent = multiprocessing.parent_process() is not None, os.getppid()
    while True:
        try:
            return process.wait(_SECONDS_BETWEEN_LOOKS)
        except subprocess.TimeoutExpired:
            if is_worker and os.getppid() != parent:
                os._exit(1)


def _error(status: int, log: str) -> str:
    """What went wrong: the last line of the log, or the signal that ended the process."""
    if status < 0:
        hint = ", perhaps for want of memory" if -status == signal.SIGKILL else ""
        return f"the process was ended by {signal.Signals(-status).name}{hint}"
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"the process ended with status {status}"
