"""What one `fit` of ten steps costs beside its steps, as suites and grids do thousands of them.

A thousand rows of 7 series, 96 -> 24. The steps are counted as ten bare steps of the same network on a prepared batch,
the forecasts for validation and intervals as bare forward passes over as many windows; both take turns with the fits.
Where the rest goes: a profile of many fits, by package and by function.
"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from typing import Any

import torch
from candidates import quiet
from measuring import Case, milliseconds, rounded, run_part, take_turns
from steps import bare_step, synthetic_series, windows_of
from torch.nn.modules.module import register_module_forward_pre_hook

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.networks.network import ForecastNetwork

N_STEPS, N_PROFILED = 10, 5
CASES: list[Case] = [
    {"name": "defaults", "settings": {}},
    {"name": "no validation", "settings": {"validation_fraction": 0.0}},
    {"name": "no validation, no intervals", "settings": {"validation_fraction": 0.0, "quantiles": [0.5]}},
]
_STAGES = {  # and the function that is it
    "all": ("samovar_forecast/estimator.py", "fit"),
    "windows": ("samovar_forecast/training/split.py", "split_windows"),
    "network": ("samovar_forecast/forecasting/fit.py", "network_for"),
    "Lightning module, with the copy for averaged weights": ("samovar_forecast/training/module.py", "__init__"),
    "Trainer": ("samovar_forecast/training/engine.py", "_trainer"),
    "size of the parts of a batch": ("samovar_forecast/training/batches.py", "count_parts"),
    "training by Lightning": ("pytorch_lightning/trainer/trainer.py", "fit"),
    "- of it steps": ("pytorch_lightning/loops/optimization/automatic.py", "run"),
    "- of it validation": ("pytorch_lightning/loops/evaluation_loop.py", "run"),
    "check that forecasts are finite": ("samovar_forecast/training/callbacks.py", "_forecasts_are_finite"),
    "intervals": ("samovar_forecast/forecasting/intervals.py", "calibrate"),
}


def measure(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    quiet()
    frame = synthetic_series(1_000, 7)
    if "quantiles" in settings:
        settings["quantiles"] = tuple(settings["quantiles"])

    def fit() -> SAMoVARForecaster:
        forecaster = SAMoVARForecaster(horizon=24, context_length=96, max_steps=N_STEPS, device="cpu", **settings)
        return forecaster.fit(frame)

    forecaster = fit()
    bare = bare_step(forecaster.network_, forecaster, windows_of(frame, 96, 24))

    def ten_steps() -> None:
        for _ in range(N_STEPS):
            bare()

    passes = [torch.randn(shape) for shape in shapes_forecast_by(fit)]

    @torch.no_grad()
    def forecasts() -> None:
        for past in passes:
            forecaster.network_(past)

    times = take_turns({"fit": fit, "steps": ten_steps, "forecasts": forecasts}, seconds=15, least=7, most=40)
    beside = [
        whole - steps - passes
        for whole, steps, passes in zip(times["fit"], times["steps"], times["forecasts"], strict=True)
    ]
    return {
        "milliseconds of a fit": milliseconds(times["fit"]),
        "milliseconds of its steps": milliseconds(times["steps"]),
        "milliseconds of its forecasts": milliseconds(times["forecasts"]),
        "windows forecast": sum(len(past) for past in passes),
        "milliseconds beside both": milliseconds(beside),
        "fits": len(beside),
        "profile": profile_of(fit),
    }


def shapes_forecast_by(fit: Callable[[], object]) -> list[torch.Size]:
    """The windows that a fit forecasts, batch by batch, beside those that it trains on."""
    shapes: list[torch.Size] = []

    def note(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, ForecastNetwork):
            shapes.append(inputs[0].shape)  # training goes through another method than the call

    handle = register_module_forward_pre_hook(note)
    fit()
    handle.remove()
    return shapes


def profile_of(fit: Callable[[], object]) -> dict[str, float]:
    """Milliseconds in the stages of a fit; the profiler slows down Python, so they are more than without it."""
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(N_PROFILED):
        fit()
    profiler.disable()
    spent = {
        (path, function): 1e3 * whole / N_PROFILED
        for (path, _, function), (_, _, _, whole, _) in pstats.Stats(profiler).stats.items()  # type: ignore[attr-defined]
    }
    return {
        stage: rounded(milliseconds_spent, 3)
        for stage, (file, name) in _STAGES.items()
        for (path, function), milliseconds_spent in spent.items()
        if function == name and path.endswith(file)
    }


if __name__ == "__main__":
    run_part(__file__, measure, CASES)
