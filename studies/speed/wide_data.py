"""SAMoVAR on up to 862 series of 17,544 rows, the shape of Traffic: memory and speed as the data get wider.

Batch 8, 1024 -> 96, width 128, 3 layers, 8 heads; a few steps of whole fits on synthetic series, each number of series
in a process of its own, and the largest once more with a part of them at a time. Memory is the peak of the process
beyond what the libraries hold after import. Intervals from training windows are left out: they are forecasts of
hundreds of windows, beside an epoch of thousands of steps.
"""

from __future__ import annotations

import statistics
from typing import Any

from candidates import quiet
from measuring import Case, held_bytes, peak_bytes, rounded, run_part, seconds_of
from optimizer_steps import optimizer_steps
from steps import synthetic_series

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.training import engine  # noqa: F401  loaded before memory is looked at

N_ROWS, BATCH_SIZE = 17_544, 8
CASES: list[Case] = [
    {"n_series": 7, "n_steps": 30},
    {"n_series": 21, "n_steps": 20},
    {"n_series": 107, "n_steps": 10},
    {"n_series": 321, "n_steps": 5},
    {"n_series": 862, "n_steps": 4},
    {"n_series": 862, "n_steps": 4, "series_at_once": 107},
]


def measure(n_series: int, n_steps: int, series_at_once: int | None = None) -> dict[str, Any]:
    quiet()
    before = held_bytes()
    frame = synthetic_series(N_ROWS, n_series)
    forecaster = SAMoVARForecaster(
        horizon=96,
        context_length=1024,
        d_model=128,
        series_at_once=series_at_once,
        batch_size=BATCH_SIZE,
        max_steps=n_steps,
        validation_fraction=0.0,
        quantiles=(0.5,),
        device="cpu",
    )
    with optimizer_steps() as steps:
        fit = seconds_of(lambda: forecaster.fit(frame))
    step = statistics.median(steps.of_fit)
    return {
        "megabytes of data": rounded(frame.to_numpy().nbytes / 1e6),
        "gigabytes at the peak": rounded((peak_bytes() - before) / 1e9),
        "milliseconds of a step": rounded(1e3 * step),
        "windows per second": rounded(BATCH_SIZE / step),
        "series of windows per second": rounded(BATCH_SIZE * n_series / step),
        "seconds of the fit beside its steps": rounded(fit - n_steps * step, 3),
        "loss": rounded(forecaster.training_summary_.training_loss),
    }


if __name__ == "__main__":
    run_part(__file__, measure, CASES)
