"""The process of one run: ``python -m samovar_forecast.benchmark.one_run``, with the run on its stdin."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

BUSY = 75  # exit status where another process is at the same run


def main() -> int:
    """Train, score and record the run that stdin describes; the process ends when stdin is closed.

    An error ends the process, and the process that waits for it records that.
    """
    began = time.perf_counter()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    message = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    # Heavy imports come after the end of the parent is watched, and only where there is something to do.
    from filelock import FileLock, Timeout

    from samovar_forecast.benchmark.runs import Run
    from samovar_forecast.benchmark.store import DONE, Store

    run, store = Run.from_dict(message["run"]), Store(message["store"])
    folder = store.workplace(run)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(store.lock(run), timeout=0):
            if not store.is_done(run):
                store.write(run, DONE, measure(run, folder, began))
            store.clear(run)
    except Timeout:
        return BUSY
    return 0


def measure(run: Any, folder: Path, began: float) -> dict[str, Any]:
    """Train the model of a run and score it; the outcome for its record."""
    import torch

    from samovar_forecast.benchmark.models import train
    from samovar_forecast.benchmark.protocol import load_task, scores

    task = load_task(run.data, run.context_length, run.horizon, run.file, run.shares)
    trained = train(run, task, folder)
    task = replace(task, context_length=trained.context_length)
    lengths = trained.context_length, run.horizon, run.shorter_horizons
    validation = scores(trained.forecast, task.validation_windows, *lengths)
    test = scores(trained.forecast, task.test, *lengths)
    errors = {
        horizon: {
            "mse": test[horizon].mse,
            "mae": test[horizon].mae,
            "windows": test[horizon].windows,
            "validation_mse": validation[horizon].mse,
            "validation_mae": validation[horizon].mae,
        }
        for horizon in test
    }
    return {
        **errors.pop(run.horizon),
        "at_shorter_horizons": errors,
        "look_back": trained.context_length,
        "parameters": trained.parameters,
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "seconds_per_epoch": round(trained.seconds_per_epoch, 3),
        "training_seconds": round(trained.seconds_per_epoch * trained.epochs, 1),
        "total_seconds": round(time.perf_counter() - began, 1),
        "resumed_after_epoch": trained.resumed_after_epoch,
        "peak_memory_mb": peak_memory_mb(),
        "gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20) if run.device == "cuda" else None,
        "threads": torch.get_num_threads(),
        "precision": trained.precision,
        "versions": _versions(run.model),
    }


def peak_memory_mb() -> int | None:
    """The peak memory of this process; None where the system does not tell.

    ru_maxrss will not do: a process inherits that of the one that has started it.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return None if found is None else round(int(found[1]) / 1024)


def _versions(model: str) -> dict[str, str]:
    library = {"linear": "darts"}.get(model, model.rpartition(":")[0])
    packages = ("python", "samovar-forecast", "torch", "numpy", "pandas", "pytorch-lightning", library)
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in packages[1:]:
        if package:
            try:
                found[package] = version(package)
            except PackageNotFoundError:  # run from a source tree, without having been installed
                found[package] = "not installed"
    return found


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
