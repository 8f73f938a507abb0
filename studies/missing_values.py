"""Training on ETTh1 with a fifth of its training and validation values removed: at random, and in blocks of 48 rows.

All test windows of horizon 96, complete. The core keeps its validation rows; sktime gives the core's forecasts; darts
trains for a fixed number of steps, with and without gaps. Rows are appended to studies/results/missing_values.jsonl
as runs end; runs that are there already are not repeated.

    python studies/missing_values.py --models SAMformer SAMoVAR --context-length 336
    python studies/missing_values.py --models SAMformer --hosts sktime darts --steps 2000
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.estimator import Forecaster
from samovar_forecast.files.datasets import split
from samovar_forecast.forecasters import ALL_FORECASTERS

RESULTS = Path(__file__).parent / "results" / "missing_values.jsonl"
HORIZON, SHARE, BLOCK = 96, 0.2, 48
STRIDE_OF_SKTIME = 24


def with_gaps(y: pd.DataFrame, kind: str) -> pd.DataFrame:
    """A copy without a fifth of its values."""
    draw = np.random.default_rng(0)
    missing = np.zeros(y.shape, dtype=bool)
    if kind == "random":
        missing = draw.random(y.shape) < SHARE
    elif kind == "blocks":
        while missing.mean() < SHARE:
            row, column = draw.integers(len(y) - BLOCK), draw.integers(y.shape[1])
            missing[row : row + BLOCK, column] = True
    return y.mask(missing)


def in_core(forecaster: Forecaster, y: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.float64]:
    return forecaster.fit(y).backtest(test)["forecast"].to_numpy()


def in_sktime(forecaster: Forecaster, y: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.float64]:
    """Every 24th window: sktime forecasts cutoff by cutoff after an update."""
    fitted = forecaster.to_sktime().fit(y)
    unseen, fh = test.iloc[forecaster.context_length :], np.arange(1, HORIZON + 1)
    forecasts = [fitted.predict(fh=fh).to_numpy()]
    stride = STRIDE_OF_SKTIME
    for rows in range(stride, len(unseen) - HORIZON + 1, stride):
        fitted.update(unseen.iloc[rows - stride : rows], update_params=False)
        forecasts.append(fitted.predict(fh=fh).to_numpy())
    return np.stack(forecasts)


def in_darts(forecaster: Forecaster, y: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.float64]:
    from darts import TimeSeries

    center, scale = y.mean(), y.std(ddof=0)
    series, unseen = (
        TimeSeries.from_dataframe(((part - center) / scale).astype(np.float32), freq="h") for part in (y, test)
    )
    model = forecaster.to_darts()
    model.fit(series)
    forecasts = model.historical_forecasts(unseen, forecast_horizon=HORIZON, retrain=False, last_points_only=False)
    return np.stack([one.values() for one in forecasts]) * scale.to_numpy() + center.to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["SAMformer"])
    parser.add_argument("--hosts", nargs="+", default=["core"])
    parser.add_argument("--kinds", nargs="+", default=["none", "random", "blocks"])
    parser.add_argument("--context-length", type=int, default=336)
    parser.add_argument("--steps", type=int, help="train for so many steps, without validation")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    stored = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    hosts = {"core": in_core, "sktime": in_sktime, "darts": in_darts}
    train, validation, test = split("ETTh1", chosen.context_length)
    complete = pd.concat([train, validation.iloc[chosen.context_length :]])
    scale = train.std(ddof=0).to_numpy()
    actual = np.lib.stride_tricks.sliding_window_view(test.to_numpy()[chosen.context_length :], HORIZON, axis=0)
    for name in chosen.models:
        for host in chosen.hosts:
            for kind in chosen.kinds:
                case: dict[str, Any] = {
                    "model": name, "host": host, "missing": kind, "context_length": chosen.context_length,
                    "steps": chosen.steps, "seed": chosen.seed,
                }  # fmt: skip
                if any(case == {key: row[key] for key in case} for row in stored):
                    continue
                forecaster_class = {cls.__name__: cls for cls in ALL_FORECASTERS}[f"{name}Forecaster"]
                forecaster = forecaster_class(
                    horizon=HORIZON,
                    context_length=chosen.context_length,
                    validation_fraction=0.0 if chosen.steps else 1 - len(train) / len(complete),
                    max_steps=chosen.steps,
                    random_state=chosen.seed,
                )
                forecast = hosts[host](forecaster, with_gaps(complete, kind), test)
                stride = STRIDE_OF_SKTIME if host == "sktime" else 1
                errors = (forecast - actual.swapaxes(1, 2)[::stride][: len(forecast)]) / scale
                row = case | {
                    "windows": len(errors),
                    "mse": round(float((errors**2).mean()), 4),
                    "mae": round(float(np.abs(errors).mean()), 4),
                    "finite": bool(np.isfinite(forecast).all()),
                }
                with RESULTS.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)


if __name__ == "__main__":
    main()
