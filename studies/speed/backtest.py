"""Backtests of ETTh1's 2,785 test windows x 96 x 7: the share of the network, and what the engines around it cost.

Each model in a process of its own, trained for two steps: what it forecasts does not matter here. Hooks measure the
time inside the network's forward passes; the rest of the call is the engine's. As a check on the hooks, as many bare
forward passes of one batch take turns with the backtests. Batches of 64 windows everywhere.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from candidates import CONTEXT_LENGTH, HORIZON, LIBRARIES, N_SERIES, Darts, NeuralForecast, installed, quiet
from measuring import Case, Times, rounded, run_part, seconds_of
from torch import nn

from samovar_forecast.files import datasets

N_TEST, BATCH_SIZE, TURNS = 2_785, 64, 3
CASES: list[Case] = [
    {"library": "samovar-forecast", "model": "SAMoVARForecaster"},
    {"library": "samovar-forecast", "model": "SAMformerForecaster"},
    {"library": "darts", "model": "SAMoVARModel"},
    {"library": "darts", "model": "TSMixerModel"},
    {"library": "darts", "model": "TiDEModel"},
    {"library": "neuralforecast", "model": "PatchTST"},
    {"library": "neuralforecast", "model": "iTransformer"},
    {"library": "neuralforecast", "model": "TSMixer"},
]


class Forwards:
    """Time spent in a network's forward passes, their number, and the first input."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.seconds, self.count = network, 0.0, 0
        self.handles = [
            network.register_forward_pre_hook(self._begin, with_kwargs=True),
            network.register_forward_hook(self._end),
        ]

    def _begin(self, network: nn.Module, inputs: Any, keywords: Any) -> None:
        if self.count == 0:
            self.inputs = inputs, keywords
        self.began = time.perf_counter()

    def _end(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self.began
        self.count += 1

    @torch.inference_mode()
    def again(self) -> None:
        """As many forward passes of the first input."""
        inputs, keywords = self.inputs
        for _ in range(self.count):
            self.network(*inputs, **keywords)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


def backtest_of(library: str, model: str, train: pd.DataFrame, test: pd.DataFrame) -> tuple[Callable[[], int], Any]:
    """A function that backtests once and gives the number of forecast values, and the network."""
    candidate = LIBRARIES[library](model, train, n_steps=2)
    candidate.fit()
    if isinstance(candidate, Darts):
        from darts import TimeSeries

        series = TimeSeries.from_dataframe(test)

        def in_darts() -> int:
            forecasts = candidate.model.historical_forecasts(
                series,
                forecast_horizon=HORIZON,
                retrain=False,
                last_points_only=False,
                verbose=False,
                predict_kwargs={"batch_size": BATCH_SIZE},
            )
            return sum(one.values(copy=False).size for one in forecasts)

        return in_darts, candidate.network
    if isinstance(candidate, NeuralForecast):
        n_windows = BATCH_SIZE if candidate.network.MULTIVARIATE else BATCH_SIZE * N_SERIES
        candidate.network.inference_windows_batch_size = n_windows
        long = test.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")

        def in_neuralforecast() -> int:
            settings = {"n_windows": None, "test_size": N_TEST + HORIZON - 1, "step_size": 1, "use_fitted": True}
            return len(candidate.host.cross_validation(long, **settings))

        return in_neuralforecast, candidate.network
    return lambda: candidate.forecaster.backtest(test).forecast.size, candidate.network


def measure(library: str, model: str) -> dict[str, Any]:
    if not installed(library):
        return {"left out": f"{library} is not installed"}
    quiet()
    train, _, test = (rows.astype("float32") for rows in datasets.split("ETTh1", CONTEXT_LENGTH))
    backtest, network = backtest_of(library, model, train[: 2 * (CONTEXT_LENGTH + HORIZON)], test)
    n_values = backtest()
    assert n_values == N_TEST * HORIZON * N_SERIES, n_values
    times: Times = {"whole": [], "network": [], "bare": []}
    for _ in range(TURNS):
        forwards = Forwards(network)
        times["whole"].append(seconds_of(backtest))
        forwards.remove()
        times["network"].append(forwards.seconds)
        network.eval()
        times["bare"].append(seconds_of(forwards.again))
    beside = [whole - inside for whole, inside in zip(times["whole"], times["network"], strict=True)]
    return {
        "seconds": rounded(statistics.median(times["whole"])),
        "share of the network": rounded(
            statistics.median(inside / whole for whole, inside in zip(times["whole"], times["network"], strict=True)), 3
        ),
        "seconds beside the network": rounded(statistics.median(beside)),
        "seconds of bare forward passes": rounded(statistics.median(times["bare"])),
        "forward passes": forwards.count,
        "windows per second": rounded(N_TEST / statistics.median(times["whole"])),
    }


if __name__ == "__main__":
    run_part(__file__, measure, CASES)
