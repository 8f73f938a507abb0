"""Rank the lags of a known vector autoregression by the influence that SAMoVAR reports.

Simulates a stable VAR(2) of two series, trains SAMoVAR and FixedVAR on it with one-step segments, and ranks the lags by
the mean influence over many windows. Writes a figure and a JSON file into studies/results/.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from samovar_forecast import FixedVARForecaster, SAMoVARForecaster

SETTINGS: dict[str, Any] = {
    "horizon": 1, "context_length": 16, "d_model": 32, "n_heads": 2, "n_layers": 3, "learning_rate": 1e-3,
    "max_epochs": 8, "batch_size": 128, "loss": "mse", "random_state": 0,
}  # fmt: skip
RESULTS = Path(__file__).parent / "results"
LAGS = np.array([[[0.2, 0.4], [-0.4, 0.3]], [[0.45, -0.3], [0.25, -0.45]]])  # (lag, target, source)


def simulate(n_rows: int, seed: int) -> pd.DataFrame:
    """A VAR(2) with standard normal innovations, after a warm-up of 200 rows."""
    companion = np.block([[LAGS[0], LAGS[1]], [np.eye(2), np.zeros((2, 2))]])
    assert abs(np.linalg.eigvals(companion)).max() < 1, "the process must be stable"
    generator = np.random.default_rng(seed)
    values = np.zeros((n_rows + 200, 2))
    for t in range(2, len(values)):
        values[t] = LAGS[0] @ values[t - 1] + LAGS[1] @ values[t - 2] + generator.normal(size=2)
    return pd.DataFrame(values[200:], columns=["a", "b"])


def study(
    forecaster_class: type[SAMoVARForecaster | FixedVARForecaster], y: pd.DataFrame, fresh: pd.DataFrame
) -> dict[str, Any]:
    """Train, and average the reading over a hundred windows."""
    forecaster = forecaster_class(**SETTINGS).fit(y)
    errors = forecaster.backtest(fresh)
    context_length = SETTINGS["context_length"]
    ends = range(context_length, len(fresh), len(fresh) // 100)
    readings = [forecaster.explain(fresh.iloc[end - context_length : end]) for end in ends]
    influence = np.mean([reading.influence.values for reading in readings], axis=0)  # (target, source, lag)
    return {
        "mse": round(float(((errors.forecast - errors.actual) ** 2).mean()), 4),
        "reconstruction_error": max(reconstruction_error(reading) for reading in readings),
        "ranking": (np.argsort(-influence.sum((0, 1))) + 1)[:5].tolist(),
        "influence": influence,
        "epochs": forecaster.training_summary_.epochs,
        "seconds": round(forecaster.training_summary_.seconds),
    }


def reconstruction_error(reading: xr.Dataset) -> float:
    """How far newest token and contributions are from the network's own forecast token, relative."""
    own = reading.tokens.sel(lag=1, token="main")
    rebuilt = own + reading.token_contribution.sum(["lag", "token"])
    return float(np.linalg.norm(rebuilt - reading.forecast_token) / np.linalg.norm(reading.forecast_token))


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    y, fresh = simulate(20_000, seed=0), simulate(4_000, seed=1)
    found = {cls.__name__: study(cls, y, fresh) for cls in (FixedVARForecaster, SAMoVARForecaster)}
    true = np.zeros((2, 2, SETTINGS["context_length"]))
    true[..., :2] = np.abs(LAGS).transpose(1, 2, 0)
    panels = {"true coefficients": true} | {name: result.pop("influence") for name, result in found.items()}
    draw(panels).savefig(RESULTS / "var_recovery.png", dpi=120)
    for name, result in found.items():
        print(name, result)
    influence = {name: values.round(4).tolist() for name, values in panels.items()}
    (RESULTS / "var_recovery.json").write_text(json.dumps({"studies": found, "influence": influence}, indent=1))


def draw(panels: dict[str, np.ndarray]) -> Figure:
    """Influence by lag, one panel per source of it, one bar per pair of series."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, (title, influence) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
        for pair, (target, source) in enumerate(np.ndindex(2, 2)):
            lags = np.arange(1, 9) + 0.2 * (pair - 1.5)
            axes.bar(lags, influence[target, source, :8], 0.2, label=f"{'ab'[target]} from {'ab'[source]}")
        axes.set(title=title, xlabel="lag")
    figure.axes[0].set_ylabel("influence")
    figure.axes[0].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
