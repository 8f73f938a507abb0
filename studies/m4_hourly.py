"""M4 Hourly: one network over 414 series of unequal lengths, against the seasonal naive forecast.

The forecasts of the 48 steps after the training rows are judged by the scaled error (MASE, season 24) of every series,
as in the competition. The same hyperparameters run in the core, through sktime's panel and through darts' lists. Rows
are appended to studies/results/m4_hourly.jsonl.

    python studies/m4_hourly.py folder/with/Hourly-train.csv --hosts core sktime darts
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

from samovar_forecast.estimator import Forecaster
from samovar_forecast.forecasters import ALL_FORECASTERS

RESULTS = Path(__file__).parent / "results" / "m4_hourly.jsonl"
HORIZON, SEASON = 48, 24


def read(folder: Path, part: str) -> dict[str, NDArray[np.float64]]:
    """Values of every series."""
    table = pd.read_csv(folder / f"Hourly-{part}.csv", index_col=0)
    return {str(name): row.dropna().to_numpy(dtype=np.float64) for name, row in table.iterrows()}


def scaled_error(train: NDArray[np.float64], test: NDArray[np.float64], forecast: NDArray[np.float64]) -> float:
    """The MASE of one series."""
    return float(np.abs(test - forecast).mean() / np.abs(train[SEASON:] - train[:-SEASON]).mean())


def in_core(forecaster: Forecaster, train: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    forecasts = forecaster.fit({name: pd.Series(values) for name, values in train.items()}).predict()
    return {name: forecast.to_numpy() for name, forecast in forecasts.items()}


def in_sktime(forecaster: Forecaster, train: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    panel = pd.concat(
        {name: pd.DataFrame({"value": values}) for name, values in train.items()}, names=["series", "time"]
    )
    forecasts = forecaster.to_sktime().fit(panel).predict(fh=np.arange(1, HORIZON + 1))
    return {name: forecasts.loc[name].to_numpy().ravel() for name in train}


def in_darts(forecaster: Forecaster, train: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    from darts import TimeSeries
    from darts.dataprocessing.transformers import Scaler
    from sklearn.preprocessing import StandardScaler

    scaler = Scaler(StandardScaler())  # one for each series, as the core has
    series = scaler.fit_transform([TimeSeries.from_values(values.astype(np.float32)) for values in train.values()])
    model = forecaster.to_darts()
    model.fit(series)
    forecasts = scaler.inverse_transform(model.predict(HORIZON, series=series))
    return {name: forecast.values().ravel() for name, forecast in zip(train, forecasts, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hosts", nargs="+", default=["core"])
    parser.add_argument("--model", default="SAMoVAR")
    parser.add_argument("--context-length", type=int, default=240)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validate", action="store_true", help="forecast the newest training rows, to choose settings")
    parser.add_argument("--settings", type=json.loads, default={}, help="other hyperparameters, as JSON")
    chosen = parser.parse_args()
    train, test = read(chosen.folder, "train"), read(chosen.folder, "test")
    if chosen.validate:
        train, test = (
            {name: values[:-HORIZON] for name, values in train.items()},
            {name: values[-HORIZON:] for name, values in train.items()},
        )
    naive = {name: np.tile(values[-SEASON:], HORIZON // SEASON) for name, values in train.items()}
    hosts = {"core": in_core, "sktime": in_sktime, "darts": in_darts}
    forecaster_class = {cls.__name__: cls for cls in ALL_FORECASTERS}[f"{chosen.model}Forecaster"]
    RESULTS.parent.mkdir(exist_ok=True)
    for host in chosen.hosts:
        settings: dict[str, Any] = {"max_steps": chosen.steps, "validation_fraction": 0.0, "random_state": chosen.seed}
        forecaster = forecaster_class(
            horizon=HORIZON, context_length=chosen.context_length, **(settings | chosen.settings)
        )
        began = time.perf_counter()
        forecasts = hosts[host](forecaster, train)
        row = {
            "host": host,
            "rows": "validation" if chosen.validate else "test",
            "model": chosen.model,
            "context_length": chosen.context_length,
            "steps": chosen.steps,
            "seed": chosen.seed,
            "settings": chosen.settings,
            "series": len(train),
            "mase": round(
                float(np.mean([scaled_error(train[name], test[name], forecasts[name]) for name in train])), 4
            ),
            "naive_mase": round(
                float(np.mean([scaled_error(train[name], test[name], naive[name]) for name in train])), 4
            ),
            "seconds": round(time.perf_counter() - began),
            "peak_memory_gb": round(_peak_memory() / 2**30, 2),
        }
        with RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def _peak_memory() -> int:
    """Largest resident size of this process so far, in bytes (Linux)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    main()
