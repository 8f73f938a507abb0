"""Kill a process while it saves and while it trains; what lies on the disk must be whole, and nothing lost.

    OMP_NUM_THREADS=1 python studies/kill_test.py [number of kills, default 200]

Half of the kills hit a process that saves one version of a model after another over the same file, half of them fits
with a `checkpoint_dir`, which are started again until one ends. SIGKILL, at random moments. At the end a disk that
is full, where this machine lets one be mounted.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import samovar_forecast.training.engine  # noqa: F401  (imported once, before the processes that are killed)
from samovar_forecast import SAMoVARForecaster
from samovar_forecast.training import checkpoints
from samovar_forecast.training.checkpoints import FILE_NAME, read_checkpoint, remove_checkpoint

TINY = {"horizon": 4, "context_length": 8, "d_model": 4, "n_heads": 1, "n_layers": 1, "max_epochs": 12,
        "batch_size": 16, "learning_rate": 1e-2, "dropout": 0.1, "device": "cpu", "random_state": 0}  # fmt: skip
TRAININGS: list[dict[str, Any]] = [
    {}, {"schedule": "onecycle", "max_steps": 70}, {"sharpness_rho": 0.5, "accumulate_batches": 2},
    {"quantiles": (0.1, 0.5, 0.9), "patience": 2}, {"validation_fraction": 0.0, "schedule": "cosine_restarts"},
]  # fmt: skip


def data(n_rows: int = 140) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=n_rows, freq="h")
    return pd.DataFrame(np.random.default_rng(0).normal(size=(n_rows, 2)).cumsum(0), index=index, columns=["a", "b"])


def in_child(work: Callable[[], None]) -> int:
    """Start a process that does the work; its number."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:
        print(f"child: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def kill_after(child: int, seconds: float) -> bool:
    """Kill a process some time from now; False where it ended before, as it should."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert os.waitstatus_to_exitcode(status) == 0, "the training failed"
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kill_savers(n_kills: int, folder: Path, r: random.Random) -> int:
    """Kill processes that save version after version over one file; how many hidden files they left."""
    path = folder / "model"
    model = SAMoVARForecaster(**TINY | {"max_epochs": 1}).fit(data())
    forecast, version = model.predict(), 0
    save_version(model, version, path)
    for _ in range(n_kills):
        reading, writing = os.pipe()
        begin = version + 1

        def save_on(begin: int = begin, writing: int = writing) -> None:
            for number in range(begin, begin + 10**6):
                save_version(model, number, path)
                os.write(writing, number.to_bytes(8, "little"))

        child = in_child(save_on)
        os.close(writing)
        kill_after(child, r.uniform(0, 0.05))
        confirmed = version
        while number := os.read(reading, 8):
            confirmed = int.from_bytes(number, "little")
        os.close(reading)
        loaded = SAMoVARForecaster.load(path)
        version = loaded.training_summary_.n_windows
        assert version in (confirmed, confirmed + 1), f"version {confirmed} was saved, {version} is there"
        assert np.array_equal(loaded.predict(), forecast)
    left = [one for one in folder.iterdir() if one != path]
    assert all(one.suffix == ".tmp" for one in left)
    return len(left)


def save_version(model: SAMoVARForecaster, number: int, path: Path) -> None:
    summary = dataclasses.replace(model.training_summary_, n_windows=number)
    model.fitted_ = dataclasses.replace(model.fitted_, summary=summary)
    model.save(path)


def kill_trainings(n_kills: int, folder: Path, r: random.Random) -> tuple[int, int]:
    """Kill fits and start them again until they end; how many ended, and how often one was resumed."""
    y, kills, ended, resumed = data(), 0, 0, 0
    whole, seconds = [], []
    for number, changes in enumerate(TRAININGS):
        began, path = time.perf_counter(), folder / f"whole-{number}"
        training = SAMoVARForecaster(**TINY | changes)
        assert os.waitpid(in_child(lambda t=training, p=path: t.fit(y).save(p)), 0)[1] == 0
        seconds.append(time.perf_counter() - began)
        whole.append(SAMoVARForecaster.load(path))
    while kills < n_kills:
        number = ended % len(TRAININGS)
        state, path, mark = folder / f"state-{ended}", folder / "ended", folder / "mark"
        training = SAMoVARForecaster(**TINY | TRAININGS[number], checkpoint_dir=str(state))
        epochs = 0
        while True:
            resumed += epochs > 0
            child = in_child(lambda t=training, m=mark, p=path: fit_and_save(t, m, p))
            if not kill_after(child, r.uniform(0, 1.2 * seconds[number])):
                break
            kills += 1
            if (state / FILE_NAME).exists():
                before, epochs = epochs, read_checkpoint(state / FILE_NAME)["epoch"] + 1
                assert epochs >= before, "an epoch was lost"
            elif path.exists():
                break  # killed on its way out
            else:
                assert not epochs or mark.exists(), "a checkpoint was lost"
                epochs = 0  # the fit had ended, and what it returned died with the process
            mark.unlink(missing_ok=True)
        same(SAMoVARForecaster.load(path), whole[number])
        assert not state.exists() or not list(state.glob(FILE_NAME))
        path.unlink()
        mark.unlink(missing_ok=True)
        ended += 1
    return ended, resumed


def fit_and_save(training: SAMoVARForecaster, mark: Path, path: Path) -> None:
    """Leave a mark when the fit is over, just before it removes its checkpoint."""

    def marked(state: str) -> None:
        mark.touch()
        remove_checkpoint(state)

    checkpoints.remove_checkpoint = marked
    copy.deepcopy(training).fit(data()).save(path)


def same(one: SAMoVARForecaster, other: SAMoVARForecaster) -> None:
    weights, others = one.network_.state_dict(), other.network_.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights), "the weights differ"
    summaries = [dataclasses.replace(model.training_summary_, seconds=0.0) for model in (one, other)]
    assert summaries[0] == summaries[1], summaries


def fill_disk(folder: Path) -> str:
    """Save over a model on a disk of 64 kB that something else has filled."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        return "no disk can be mounted here"
    try:
        model = SAMoVARForecaster(**TINY | {"max_epochs": 1}).fit(data())
        model.save(disk / "model")
        content = (disk / "model").read_bytes()
        (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 4096))
        try:
            SAMoVARForecaster(**TINY | {"random_state": 1}).fit(data()).save(disk / "model")
        except OSError as error:
            message = str(error)
        assert (disk / "model").read_bytes() == content
        assert sorted(one.name for one in disk.iterdir()) == ["filler", "model"]
        same(SAMoVARForecaster.load(disk / "model"), model)
        return f"{message}; the old model loads, nothing else is left"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


if __name__ == "__main__":
    n_kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    generator = random.Random(0)
    torch.set_num_threads(1)  # a forked process has none but its own
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "saves").mkdir()
        left = kill_savers(n_kills // 2, Path(name) / "saves", generator)
        print(f"{n_kills // 2} kills while saving: every file read, no version lost, {left} hidden files left")
        ended, resumed = kill_trainings(n_kills - n_kills // 2, Path(name), generator)
        print(f"{n_kills - n_kills // 2} kills while training: {resumed} resumed, {ended} ended, all bitwise equal")
        print(f"full disk: {fill_disk(Path(name))}")
