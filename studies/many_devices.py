"""One training over several processes of the CPU: equal weights, kills and Ctrl-C, throughput.

    OMP_NUM_THREADS=1 python studies/many_devices.py equality
    OMP_NUM_THREADS=1 python studies/many_devices.py endings
    OMP_NUM_THREADS=1 python studies/many_devices.py throughput      needs as many free cores as processes

``equality`` trains every forecaster for 50 steps on one process and on two with half of each batch, and says how much
weights and forecasts differ at most. ``endings`` kills one of two processes in the middle of a fit and resumes it, and
stops another fit by Ctrl-C. ``throughput`` gives windows per second on one and on two processes, one thread each.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from samovar_forecast import AutoformerForecaster, SAMformerForecaster, SAMoVARForecaster
from samovar_forecast.forecasters import ALL_FORECASTERS
from samovar_forecast.training.interrupts import Interrupt
from samovar_forecast.training.processes import ProcessEndedError, run_together

SETTINGS: dict[str, Any] = {
    "horizon": 8, "context_length": 24, "d_model": 8, "n_heads": 2, "n_layers": 1, "dropout": 0.0, "batch_size": 16,
    "max_steps": 50, "max_epochs": 100, "learning_rate": 1e-3, "random_state": 0, "device": "cpu",
}  # fmt: skip
CASES: list[tuple[type, dict[str, Any]]] = [
    *((cls, {}) for cls in ALL_FORECASTERS),
    (SAMformerForecaster, {"sharpness_rho": 0.5}),
    (SAMoVARForecaster, {"sharpness_rho": 0.1, "accumulate_batches": 2, "quantiles": (0.1, 0.5, 0.9)}),
    (AutoformerForecaster, {"accumulate_batches": 2}),
]


def series(n_rows: int = 200, n_series: int = 3) -> pd.DataFrame:
    """Daily waves with gaps."""
    r = np.random.default_rng(0)
    values = np.sin(2 * np.pi * np.arange(n_rows)[:, None] / 24 + np.arange(n_series)) + 0.1 * r.normal(
        size=(n_rows, n_series)
    )
    values[30:40, 0], values[::7, 1 % n_series] = np.nan, np.nan
    index = pd.date_range("2024-01-01", periods=n_rows, freq="h")
    return pd.DataFrame(values, index).add_prefix("s")


def trained(devices: int) -> list[tuple[dict[str, torch.Tensor], np.ndarray]]:
    """Weights and forecasts of every case; on several devices this function runs on each."""
    found = []
    for cls, changes in CASES:
        known = {name: value for name, value in (SETTINGS | changes).items() if hasattr(cls(), name)}
        fitted = cls(**known, devices=devices).fit(series())
        weights = {name: value.clone() for name, value in fitted.network_.state_dict().items()}
        found.append((weights, fitted.predict().to_numpy()))
    return found


def equality() -> None:
    one, two = trained(1), run_together(trained, (2,), 2, Interrupt())
    for (cls, changes), (ours, forecast), (theirs, other) in zip(CASES, one, two, strict=True):
        apart = {name: float((ours[name] - theirs[name]).abs().max()) for name in ours}
        # Attention does not depend on some biases. Their gradient is rounding alone, which Adam brings to full size.
        free = {name: f"{by:.0e}" for name, by in apart.items() if by > 2e-5}
        rest = max(by for name, by in apart.items() if name not in free)
        print(
            f"{cls.__name__:25} {changes or ''}: weights differ by {rest:.0e}, forecasts by "
            f"{abs(forecast - other).max():.0e}" + (f"; apart from {free}" if free else ""),
            flush=True,
        )


def endings() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = SETTINGS | {"max_steps": None, "max_epochs": 60, "patience": None}
        whole = SAMoVARForecaster(**settings, devices=2).fit(series())
        cautious = SAMoVARForecaster(**settings, devices=2, checkpoint_dir=folder)
        killer = threading.Thread(target=kill_one, args=(Path(folder) / "training.ckpt",))
        killer.start()
        try:
            cautious.fit(series())
            print("the fit was over before the kill")
        except ProcessEndedError as error:
            print(error)
        killer.join()
        print("a checkpoint is there:", (Path(folder) / "training.ckpt").exists())
        resumed = cautious.fit(series())
        same = all(
            torch.equal(value, resumed.network_.state_dict()[name])
            for name, value in whole.network_.state_dict().items()
        )
        print("resumed, the weights are those of an uninterrupted fit, bit for bit:", same, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        forecaster = SAMoVARForecaster(**settings | {"max_epochs": 10**6}, devices=2, checkpoint_dir=folder)
        threading.Thread(target=press_ctrl_c, args=(Path(folder) / "training.ckpt",)).start()
        try:
            forecaster.fit(series())
        except KeyboardInterrupt:
            summary = forecaster.training_summary_
            print(f"Ctrl-C: interrupted={summary.interrupted} after {summary.epochs} epochs, best {summary.best_epoch}")
            print("it forecasts:", bool(np.isfinite(forecaster.predict()).all(axis=None)))
    print("processes left:", children())


def press_ctrl_c(checkpoint: Path) -> None:
    """Send this process what Ctrl-C sends, once an epoch has been written."""
    while not checkpoint.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def kill_one(checkpoint: Path) -> None:
    """Kill the second process once an epoch has been written."""
    while not checkpoint.exists():
        time.sleep(0.01)
    os.kill(max(children()), signal.SIGKILL)


def children() -> list[int]:
    """The processes that this one has started and that run, without the one that watches over shared memory."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]


def throughput() -> None:
    torch.set_num_threads(1)
    for n_series, n_steps in ((7, 60), (107, 15)):
        rates = {}
        for devices in (1, 2):
            forecaster = SAMoVARForecaster(
                horizon=96, context_length=512, d_model=32, max_steps=n_steps, batch_size=32, validation_fraction=0,
                devices=devices, device="cpu", random_state=0,
            )  # fmt: skip
            summary = forecaster.fit(series(3_000, n_series)).training_summary_
            rates[devices] = round(summary.steps * 32 / summary.seconds, 1)
        ratio = rates[2] / rates[1]
        print(f"{n_series} series, windows per second by processes: {rates}, ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["equality", "endings", "throughput"])
    sys.exit(globals()[parser.parse_args().what]())
