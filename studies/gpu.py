"""What one GPU gives, in under ten minutes: forms of a training step, series on the host, a fit, a backtest, more GPUs.

    python studies/gpu.py                                                  writes docs/evidence/gpu.md
    python studies/gpu.py --device cpu --quick --page /tmp/gpu.md          the same branches, small, without a GPU

The series are made up. Times are medians of repeated steps, the device waited for at each. What needs CUDA is left out
elsewhere, and the page says so.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.windows import Windows
from samovar_forecast.networks.samovar import SAMoVAR
from samovar_forecast.training.module import ForecastingModule

PAGE = Path(__file__).parents[1] / "docs" / "evidence" / "gpu.md"
WIDTHS = {7: 64, 107: 128, 862: 128}  # series: width of a token
Row = dict[str, Any]


class Machine:
    """A device, and how large the measurements on it are."""

    def __init__(self, name: str, quick: bool) -> None:
        self.device, self.quick = torch.device(name), quick
        self.context_length, self.horizon = (64, 8) if quick else (1024, 96)
        self.n_rows, self.batch_size = (400, 8) if quick else (20_000, 32)
        self.seconds = 0.5 if quick else 5.0
        self.widths = {3: 8} if quick else WIDTHS

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize()

    def milliseconds(self, step: Callable[[], object]) -> float:
        """Median time of a step, after some that do not count."""
        for _ in range(3):
            step()
        times: list[float] = []
        until = time.perf_counter() + self.seconds
        while len(times) < 5 or time.perf_counter() < until:
            self.wait()
            began = time.perf_counter()
            step()
            self.wait()
            times.append(time.perf_counter() - began)
        return round(1e3 * statistics.median(times), 2)

    def series(self, n_series: int) -> pd.DataFrame:
        time_of_day = 2 * np.pi * np.arange(self.n_rows)[:, None] / 24
        values = np.sin(time_of_day + np.arange(n_series))
        values += 0.1 * np.random.default_rng(0).normal(size=values.shape)
        index = pd.date_range("2020-01-01", periods=self.n_rows, freq="h")
        return pd.DataFrame(values, index).add_prefix("s")

    def forecaster(self, n_series: int, **options: Any) -> SAMoVARForecaster:
        settings = {"horizon": self.horizon, "context_length": self.context_length, "batch_size": self.batch_size,
                    "d_model": self.widths[n_series], "device": self.device.type, "random_state": 0}  # fmt: skip
        return SAMoVARForecaster(**settings | options)


def training_step(
    machine: Machine, n_series: int, dtype: torch.dtype = torch.float32, on_host: bool = False, compiled: str = ""
) -> Callable[[], None]:
    """A step as a training takes it: gather a batch, run it forth and back, clip, and move the weights."""
    torch.manual_seed(0)
    config = machine.forecaster(n_series, dropout=0.0)
    shape = (machine.context_length, machine.horizon)
    network = SAMoVAR(n_series, n_series, *shape, config)
    values = torch.from_numpy(machine.series(n_series).to_numpy(dtype=np.float32, copy=True))
    windows = Windows(values, torch.arange(len(values) - sum(shape) + 1), *shape, n_series)
    windows = replace(windows, batch_device=machine.device) if on_host else windows.to(machine.device)
    module = ForecastingModule(network.train(), config, windows, None, torch.Generator()).to(machine.device)
    if compiled:
        module.sums_of_losses = torch.compile(module.sums_of_losses, mode=compiled)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True, capturable=machine.is_cuda)
    batch = next(iter(module.train_dataloader()))
    batch = batch._replace(starts=batch.starts.to(windows.values.device))

    def step() -> None:
        optimizer.zero_grad()
        half = dtype != torch.float32
        with torch.autocast(machine.device.type, dtype=dtype) if half else nullcontext():
            loss = module.loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


def steps(machine: Machine) -> list[Row]:
    rows: list[Row] = []
    for n_series in machine.widths:
        forms: dict[str, Callable[[], Callable[[], None]]] = {
            "float32": lambda n=n_series: training_step(machine, n),
            "bfloat16": lambda n=n_series: training_step(machine, n, torch.bfloat16),
            "float32, series on the host": lambda n=n_series: training_step(machine, n, on_host=True),
        }
        if machine.is_cuda:
            forms |= {
                "bfloat16, compiled": lambda n=n_series: training_step(machine, n, torch.bfloat16, compiled="default"),
                "bfloat16, compiled with graphs": lambda n=n_series: training_step(
                    machine, n, torch.bfloat16, compiled="reduce-overhead"
                ),
                "float32, recorded as a graph": lambda n=n_series: recorded(training_step(machine, n)),
            }
        for form, made in forms.items():
            if machine.is_cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            row: Row = {"series": n_series, "form": form}
            try:
                row["ms of a step"] = machine.milliseconds(made())
                row["windows per second"] = round(1e3 * machine.batch_size / row["ms of a step"])
            except RuntimeError as error:  # a form that this device or this PyTorch does not have
                row["failed"] = str(error).splitlines()[0][:80]
            if machine.is_cuda:
                row["peak, GB"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
            rows.append(row)
    return rows


def recorded(step: Callable[[], None]) -> Callable[[], None]:
    """The step as a CUDA graph: recorded once, then replayed."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # warm-up outside the default stream, as recording requires
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def fits(machine: Machine) -> list[Row]:
    """Whole fits and backtests, with what comes before and after the steps."""
    n_series, *_ = machine.widths
    y, rows = machine.series(n_series), []
    options: list[Row] = [{"precision": "32-true"}, {"precision": "auto"}, {"precision": "auto", "sharpness_rho": 0.1}]
    found = torch.cuda.device_count() if machine.is_cuda else 1
    if found > 1:
        options.append({"precision": "auto", "devices": found})
    for chosen in options:
        forecaster = machine.forecaster(n_series, max_steps=20 if machine.quick else 1_000, **chosen)
        began = time.perf_counter()
        forecaster.fit(y)
        row: Row = {"fit": ", ".join(f"{name}={value}" for name, value in chosen.items())}
        row["seconds"] = round(time.perf_counter() - began, 1)
        summary = forecaster.training_summary_
        row["windows per second"] = round(summary.steps * machine.batch_size / summary.seconds)
        began = time.perf_counter()
        result = forecaster.backtest(y.iloc[-(machine.context_length + 5 * machine.horizon) :])
        row["backtest, windows per second"] = round(result.sizes["cutoff"] / (time.perf_counter() - began))
        rows.append(row)
    return rows


def table(rows: list[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([str(row.get(name, "")) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(machine: Machine, parts: dict[str, list[Row]], seconds: float) -> str:
    name = torch.cuda.get_device_name() if machine.is_cuda else platform.processor() or machine.device.type
    left_out = "" if machine.is_cuda else "\nWithout CUDA: compiled steps, graphs and several GPUs are left out.\n"
    text = [
        "# On a GPU",
        "You can see here what a training step, a fit and a backtest take on one GPU, and which form of a step pays.",
        "```\npython studies/gpu.py\n```",
        f"{name}, PyTorch {torch.__version__}; context {machine.context_length}, horizon {machine.horizon}, "
        f"{machine.batch_size} windows in a batch, {machine.n_rows} rows; {seconds:.0f} seconds in all.{left_out}",
    ]
    text += [f"## {heading}\n\n{table(rows)}" for heading, rows in parts.items()]
    return "\n\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that every branch runs")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("this machine has no CUDA device; --device cpu --quick runs the branches that need none")
    machine, began = Machine(options.device, options.quick), time.perf_counter()
    parts = {"A training step": steps(machine), "Fits and backtests": fits(machine)}
    options.page.write_text(page(machine, parts, time.perf_counter() - began))
    print(f"wrote {options.page}")


if __name__ == "__main__":
    main()
