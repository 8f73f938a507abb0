"""How often intervals of nominal 80 % hold the true value: conformal calibration and quantile heads.

Benchmark data by their published split, all test windows of horizon 96; or a simulated stationary series of 20,000
rows, horizon 16. With --steps a training stops after that many steps and all training rows are used, which is how
TiDE of darts with `QuantileRegression` takes part (--models TiDE TiDE-RINorm). With --panels simulated daily series of
700 rows take part instead, of which the last 200 are forecast, horizon 7, context 28, and their coverage is only
printed. All other rows are appended to studies/results/interval_coverage.jsonl as runs end; runs that are there already
are not repeated.

    python studies/interval_coverage.py --models SAMoVAR SAMformer --data simulated ETTh1 --heads conformal quantiles
    python studies/interval_coverage.py --models TiDE TiDE-RINorm SAMformer --data ETTh1 --heads quantiles --steps 99
    python studies/interval_coverage.py --models SAMformer --panels
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.files.datasets import split
from samovar_forecast.forecasters import ALL_FORECASTERS

RESULTS = Path(__file__).parent / "results" / "interval_coverage.jsonl"
LEVELS = (0.1, 0.5, 0.9)


def simulated(context_length: int, n_rows: int = 20_000) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A daily cycle with autoregressive noise, split by 70, 10 and 20 %."""
    draw = np.random.default_rng(0)
    noise = np.zeros(n_rows)
    for row in range(2, n_rows):
        noise[row] = 0.6 * noise[row - 1] + 0.2 * noise[row - 2] + draw.normal()
    y = pd.DataFrame({"simulated": 2 * np.sin(np.arange(n_rows) * 2 * np.pi / 24) + noise})
    ends = int(0.7 * n_rows), int(0.8 * n_rows)
    return y[: ends[0]], y[ends[0] - context_length : ends[1]], y[ends[1] - context_length :]


def ours(
    name: str, data: str, context_length: int, head: str, steps: int | None, settings: dict[str, Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Quantiles (window, step, series, level), actual values, both in training deviations, and seconds of training."""
    horizon = 16 if data == "simulated" else 96
    train, validation, test = simulated(context_length) if data == "simulated" else split(data, context_length)
    y = pd.concat([train, validation.iloc[context_length:]])
    if steps is not None:
        y, settings = train, settings | {"max_steps": steps, "validation_fraction": 0.0}
    else:
        settings = settings | {"validation_fraction": 1 - len(train) / len(y)}
    forecaster_class = {cls.__name__: cls for cls in ALL_FORECASTERS}[f"{name}Forecaster"]
    forecaster = forecaster_class(
        horizon=horizon,
        context_length=context_length,
        quantiles=LEVELS if head == "quantiles" else None,
        random_state=0,
        **settings,
    ).fit(y)
    result = forecaster.backtest(test, quantiles=LEVELS)
    center, scale = forecaster.scaler_.center, forecaster.scaler_.scale
    quantiles = (result["quantiles"].to_numpy() - center[:, None]) / scale[:, None]
    return quantiles, (result["actual"].to_numpy() - center) / scale, forecaster.training_summary_.seconds


def tide(
    data: str, context_length: int, steps: int, window_norm: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The same of darts' TiDE on the same windows, scaled by the same deviations; the window norm is darts' option."""
    from darts import TimeSeries
    from darts.models import TiDEModel
    from darts.utils.likelihood_models import QuantileRegression

    train, _, test = split(data, context_length)
    center, scale = train.mean(), train.std(ddof=0)
    series, unseen = (
        TimeSeries.from_dataframe(((part - center) / scale).astype(np.float32), freq="h") for part in (train, test)
    )
    model = TiDEModel(
        context_length,
        96,
        use_reversible_instance_norm=window_norm,
        likelihood=QuantileRegression(list(LEVELS)),
        n_epochs=10_000,
        random_state=0,
        pl_trainer_kwargs={
            "max_steps": steps, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False,
            "logger": False, "enable_checkpointing": False,
        },
    )  # fmt: skip
    began = time.perf_counter()
    model.fit(series)
    seconds = time.perf_counter() - began
    forecasts = model.historical_forecasts(
        unseen, forecast_horizon=96, retrain=False, last_points_only=False, predict_likelihood_parameters=True
    )
    quantiles = np.stack([one.values() for one in forecasts])
    actual = np.lib.stride_tricks.sliding_window_view(unseen.values()[context_length:], 96, axis=0).swapaxes(1, 2)
    return quantiles.reshape(*quantiles.shape[:2], -1, len(LEVELS)), actual[: len(quantiles)], seconds


def panels() -> dict[str, dict[str, NDArray[np.float64]]]:
    """Series by name, where the name without its number is the group that is judged."""
    draw, n_rows = np.random.default_rng(0), 700

    def counts(name: str, rate: float, n: int) -> dict[str, NDArray[np.float64]]:
        return {f"{name}{i}": draw.poisson(rate, n_rows).astype(float) for i in range(n)}

    def sparse(rate: float, n: int) -> dict[str, NDArray[np.float64]]:
        return {f"sparse{i}": draw.poisson(5, n_rows) * (draw.random(n_rows) < rate).astype(float) for i in range(n)}

    def noise(name: str, n: int) -> dict[str, NDArray[np.float64]]:
        return {f"{name}{i}": draw.normal(5, 1, n_rows) for i in range(n)}

    def waves(period: int) -> dict[str, NDArray[np.float64]]:
        turns = np.arange(n_rows) / period
        phases, small = draw.random(5), draw.normal(0, 0.05, (5, n_rows))
        return {f"slow{i}": np.sin(2 * np.pi * (turns + phases[i])) + small[i] for i in range(5)}

    late = np.arange(n_rows) >= 200
    walks = {f"slow{i}": draw.normal(size=n_rows).cumsum() for i in range(7)}
    return {
        "4 counts of rate 5, 8 of .005": counts("fast", 5, 4) | counts("slow", 0.005, 8),
        "6 counts of rate 5, 4 of .05": counts("fast", 5, 6) | counts("slow", 0.05, 4),
        "3 counts of rate 5, 7 of .05": counts("fast", 5, 3) | counts("slow", 0.05, 7),
        "3 of noise, 7 random walks": noise("fast", 3) | walks,
        "5 of noise, 5 waves of 400 rows": noise("fast", 5) | waves(400),
        "5 of noise, 5 waves of 150 rows": noise("fast", 5) | waves(150),
        "4 live, 8 dead since row 200": noise("live", 4)
        | {name: np.where(late, 0.0, one) for name, one in noise("dead", 8).items()},
        "1 % not zero": sparse(0.01, 1),
        "2 % not zero": sparse(0.02, 1),
        "8 series, 1 % not zero": sparse(0.01, 8),
        "a shift by 8 at row 400": {"shift0": noise("", 1)["0"] + np.where(np.arange(n_rows) < 400, 0, 8)},
    }


def ours_of_panel(
    name: str, panel: dict[str, NDArray[np.float64]], settings: dict[str, Any]
) -> dict[str, tuple[float, float]]:
    """Coverage and width, the widest over the range of its series, of each group of series."""
    n_rows, context_length, horizon = 500, 28, 7
    index = pd.date_range("2022-01-01", periods=700, freq="D")
    series = {key: pd.Series(values, index) for key, values in panel.items()}
    settings = {"max_epochs": 5, "validation_fraction": 0.2} | settings
    forecaster_class = {cls.__name__: cls for cls in ALL_FORECASTERS}[f"{name}Forecaster"]
    forecaster = forecaster_class(horizon=horizon, context_length=context_length, random_state=0, **settings)
    single = next(iter(series.values())) if len(series) == 1 else None
    forecaster.fit({key: y[:n_rows] for key, y in series.items()} if single is None else single[:n_rows])
    first = n_rows - context_length
    if single is None:
        results = forecaster.backtest({key: y[first:] for key, y in series.items()}, quantiles=LEVELS)
    else:
        results = {key: forecaster.backtest(single[first:], quantiles=LEVELS) for key in series}
    groups: dict[str, list[tuple[float, float]]] = {}
    for key, result in results.items():
        low, _, high = np.moveaxis(result["quantiles"].to_numpy(), -1, 0)
        actual = result["actual"].to_numpy()
        inside = float(((low <= actual) & (actual <= high)).mean())
        groups.setdefault(key.rstrip("0123456789"), []).append((inside, float((high - low).max() / np.ptp(panel[key]))))
    return {
        group: (round(float(np.mean([one[0] for one in found])), 3), round(max(one[1] for one in found), 3))
        for group, found in groups.items()
    }


def measure(quantiles: NDArray[np.float64], actual: NDArray[np.float64]) -> dict[str, Any]:
    """Coverage of the outer quantiles, their mean distance, and the weighted quantile loss."""
    low, high = quantiles[..., 0], quantiles[..., -1]
    inside = (low <= actual) & (actual <= high)
    error = actual[..., None] - quantiles
    pinball = np.maximum(np.array(LEVELS) * error, (np.array(LEVELS) - 1) * error)
    return {
        "windows": len(actual),
        "coverage": round(float(inside.mean()), 4),
        "coverage_by_series": [round(float(share), 3) for share in inside.mean((0, 1))],
        "width": round(float((high - low).mean()), 4),
        "weighted_quantile_loss": round(float(2 * pinball.sum((0, 1, 2)).mean() / np.abs(actual).sum()), 4),
        "median_mae": round(float(np.abs(error[..., 1]).mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["SAMoVAR", "SAMformer"])
    parser.add_argument("--data", nargs="+", default=["simulated"])
    parser.add_argument("--heads", nargs="+", default=["conformal", "quantiles"])
    parser.add_argument("--panels", action="store_true", help="simulated panels instead of --data")
    parser.add_argument("--context-length", type=int, default=336)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--settings", type=json.loads, default={}, help="other hyperparameters, as JSON")
    chosen = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    stored = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    if chosen.panels:
        for name in chosen.models:
            for label, panel in panels().items():
                print(name, label, ours_of_panel(name, panel, chosen.settings), flush=True)
        return
    for data in chosen.data:
        for name in chosen.models:
            for head in chosen.heads:
                case = {
                    "data": data, "model": name, "head": head, "context_length": chosen.context_length,
                    "steps": chosen.steps, "settings": chosen.settings,
                }  # fmt: skip
                if any(case == {key: row[key] for key in case} for row in stored):
                    continue
                if name.startswith("TiDE"):
                    quantiles, actual, seconds = tide(
                        data, chosen.context_length, chosen.steps, name.endswith("RINorm")
                    )
                else:
                    quantiles, actual, seconds = ours(
                        name, data, chosen.context_length, head, chosen.steps, chosen.settings
                    )
                row = case | measure(quantiles, actual) | {"seconds": round(seconds)}
                with RESULTS.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)


if __name__ == "__main__":
    main()
