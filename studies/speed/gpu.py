"""What an accelerator adds: CUDA graphs at 7 series, bfloat16 at Traffic's shape, and a fit of ETTh1-96.

Needs CUDA and says so where there is none. A step with CUDA graphs is the same step, recorded once and replayed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from candidates import quiet
from measuring import Case, milliseconds, ratio, rounded, run_part, seconds_of, take_turns
from products import Products, large_product
from steps import synthetic_series, windows_of

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.windows import Windows
from samovar_forecast.files import datasets
from samovar_forecast.networks.samovar import SAMoVAR
from samovar_forecast.training.module import ForecastingModule

CONTEXT_LENGTH, HORIZON = 1024, 96
CASES: list[Case] = [{"what": "CUDA graphs"}, {"what": "Traffic's shape"}, {"what": "ETTh1"}]


def measure(what: str) -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"left out": "this machine has no CUDA device"}
    quiet()
    measured = {"CUDA graphs": graphs, "Traffic's shape": traffic, "ETTh1": etth1}[what]()
    return {"device": torch.cuda.get_device_name()} | measured


def graphs() -> dict[str, Any]:
    step = device_step(n_series=7, d_model=64, batch_size=32, dtype=torch.float32)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # warm-up outside the default stream, as recording asks for
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    times = take_turns({"step by step": waited(step), "graph": waited(graph.replay)}, seconds=10)
    return {
        "milliseconds": {name: milliseconds(found) for name, found in times.items()},
        "step by step / graph": ratio(times["step by step"], times["graph"]),
    }


def traffic() -> dict[str, Any]:
    step = device_step(n_series=862, d_model=928, batch_size=8, dtype=torch.bfloat16, series_at_once=107)
    step()
    with Products() as products:
        step()
    large, flops = large_product(8192, device="cuda", dtype=torch.bfloat16)
    torch.cuda.reset_peak_memory_stats()
    times = take_turns({"step": waited(step), "large product": waited(large)}, seconds=20)
    rate = flops / statistics.median(times["large product"])
    floor = products.flops / rate
    return {
        "milliseconds of a step": milliseconds(times["step"]),
        "teraflops per second of a large product": rounded(rate / 1e12),
        "share of the rate": rounded(floor / statistics.median(times["step"]), 3),
        "gigabytes at the peak": rounded(torch.cuda.max_memory_allocated() / 1e9),
        "windows": 8,
    }


def etth1() -> dict[str, Any]:
    train, validation, _ = datasets.split("ETTh1", 0)
    y = pd.concat([train, validation])
    forecaster = SAMoVARForecaster(
        horizon=HORIZON, context_length=CONTEXT_LENGTH, validation_fraction=len(validation) / len(y), random_state=0
    )
    seconds = seconds_of(lambda: forecaster.fit(y))
    summary = forecaster.training_summary_
    return {"seconds": rounded(seconds), "epochs": summary.epochs, "steps": summary.steps}


def waited(function: Callable[[], object]) -> Callable[[], None]:
    """The function and the wait for the device."""

    def run() -> None:
        function()
        torch.cuda.synchronize()

    return run


def device_step(
    n_series: int, d_model: int, batch_size: int, dtype: torch.dtype, series_at_once: int | None = None
) -> Callable[[], None]:
    """A training step on the device, with an optimizer that a graph can hold."""
    torch.manual_seed(0)
    device = torch.device("cuda")
    config = SAMoVARForecaster(
        horizon=HORIZON,
        context_length=CONTEXT_LENGTH,
        d_model=d_model,
        batch_size=batch_size,
        dropout=0.0,
        series_at_once=series_at_once,
    )
    network = SAMoVAR(n_series, n_series, CONTEXT_LENGTH, HORIZON, config)
    windows: Windows = windows_of(synthetic_series(3_000, n_series), CONTEXT_LENGTH, HORIZON).to(device)
    module = ForecastingModule(network.train(), config, windows, None, torch.Generator()).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True, capturable=True)
    batch = next(iter(module.train_dataloader()))
    batch = batch._replace(starts=batch.starts.to(device))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
            loss = module.loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


if __name__ == "__main__":
    run_part(__file__, measure, CASES)
