"""Rank the lags of a known vector autoregression by the influence that SAMoVAR reports.

Simulates a stable VAR(2) of two series, trains SAMoVAR and FixedVAR on it with one-step segments, and ranks the lags by
the mean influence over many windows. Writes a figure and a JSON file into benchmarks/results/.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from samovar_forecast import FixedVARForecaster, SAMoVARForecaster

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


def study(forecaster_class: type, y: pd.DataFrame, fresh: pd.DataFrame) -> dict:
    forecaster = forecaster_class(
        horizon=1, context_length=32, d_model=32, n_heads=2, n_layers=3, learning_rate=1e-3, max_epochs=6, batch_size=128,
        random_state=0,
    ).fit(y)  # fmt: skip
    errors = forecaster.backtest(fresh)
    mse = float(((errors.forecast - errors.actual) ** 2).mean())
    readings = [forecaster.explain(fresh.iloc[end - 32 : end]) for end in range(32, len(fresh), len(fresh) // 100)]
    influence = np.mean([reading.influence.values for reading in readings], axis=0)  # (target, source, lag)
    worst = max(
        float(np.linalg.norm(r.tokens.sel(lag=1, token="main") + r.token_contribution.sum(["lag", "token"]) - r.forecast_token)
              / np.linalg.norm(r.forecast_token)) for r in readings
    )  # fmt: skip
    return {"mse": mse, "influence": influence, "reconstruction_error": worst,
            "ranking": (np.argsort(-influence.sum((0, 1))) + 1)[:5].tolist(),
            "epochs": forecaster.training_summary_.epochs, "seconds": forecaster.training_summary_.seconds}  # fmt: skip


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    y, fresh = simulate(20_000, seed=0), simulate(4_000, seed=1)
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    lags = np.arange(1, 9)
    true = np.zeros((2, 2, 8))
    true[..., :2] = np.abs(LAGS).transpose(1, 2, 0)
    found = {}
    for panel, (name, influence) in zip(panels, [("true coefficients", true), (SAMoVARForecaster, None),
                                                 (FixedVARForecaster, None)], strict=True):  # fmt: skip
        if influence is None:
            result = study(name, y, fresh)
            influence, name = result.pop("influence")[..., :8], name.__name__
            result["by_pair"] = influence.round(4).tolist()
            found[name] = result
            print(name, {key: value for key, value in result.items() if key != "by_pair"})
        for pair, (target, source) in enumerate((t, s) for t in range(2) for s in range(2)):
            panel.bar(
                lags + 0.2 * (pair - 1.5), influence[target, source], 0.2, label=f"{'ab'[target]} from {'ab'[source]}"
            )
        panel.set(title=name, xlabel="lag")
    panels[0].set_ylabel("absolute influence")
    panels[0].legend(frameon=False)
    figure.savefig(RESULTS / "var_recovery.png", dpi=120)
    found["noise_floor"] = 1.0
    (RESULTS / "var_recovery.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
