"""Do readings find what is known? Lag matrices of a simulated VAR(2), and a driver that acts after three rows.

    python studies/known_lags.py                  our models beside the VAR of statsmodels
    python studies/known_lags.py --peer FOLDER    also samovar-var, from pip install --no-deps --target FOLDER

Writes studies/results/known_lags.json and docs/evidence/figures/known_lags.png.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from statsmodels.tsa.api import VAR

from samovar_forecast import FixedVARForecaster, LinTransForecaster, SAMformerForecaster, SAMoVARForecaster
from samovar_forecast.evaluation.pictures.style import OBSERVED, heading, heat_map, new_figure

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "studies" / "results"
MODELS = (SAMoVARForecaster, FixedVARForecaster, SAMformerForecaster, LinTransForecaster)
LAGS = np.array([[[0.2, 0.4], [-0.4, 0.3]], [[0.45, -0.3], [0.25, -0.45]]])  # (lag, target, source)
N_LAGS, DELAY = 8, 3  # lags compared, of the context of 16; rows after which the driver acts
OF_SEGMENTS: dict[str, Any] = {"d_model": 32, "n_heads": 2, "n_layers": 2, "segment_length": 4, "learning_rate": 3e-3}
OF_SAMFORMER: dict[str, Any] = {"learning_rate": 1e-2}


def settings(forecaster_class: type, **chosen: Any) -> dict[str, Any]:
    own = OF_SAMFORMER if forecaster_class is SAMformerForecaster else OF_SEGMENTS
    known = {"context_length": 16, "batch_size": 128, "loss": "mse", "random_state": 0, "device": "cpu"} | own | chosen
    return {name: value for name, value in known.items() if value is not None}


def simulate_var(n_rows: int, seed: int) -> pd.DataFrame:
    """The VAR(2) with standard normal innovations, after a warm-up of 200 rows."""
    generator = np.random.default_rng(seed)
    values = np.zeros((n_rows + 200, 2))
    for t in range(2, len(values)):
        values[t] = LAGS[0] @ values[t - 1] + LAGS[1] @ values[t - 2] + generator.normal(size=2)
    return pd.DataFrame(values[200:], columns=["a", "b"])


def simulate_driver() -> pd.DataFrame:
    """A load that follows a driver after three rows."""
    noise = np.random.default_rng(0).normal(size=(600 + DELAY, 3))
    load = 2 * noise[:-DELAY, 0] + 0.1 * noise[DELAY:, 1]
    return pd.DataFrame({"driver": noise[DELAY:, 0], "load": load})


def name_of(forecaster_class: type) -> str:
    return forecaster_class.__name__.removesuffix("Forecaster")


def compared(found: NDArray[np.float64]) -> dict[str, float]:
    """Correlation with the true lag matrices over the first lags, and the largest error: (lag, target, source)."""
    true = np.zeros((N_LAGS, 2, 2))
    true[: len(LAGS)] = LAGS
    padded = np.zeros_like(true)
    padded[: len(found)] = found[:N_LAGS]
    return {
        "correlation": round(float(np.corrcoef(padded.ravel(), true.ravel())[0, 1]), 4),
        "largest_error": round(float(np.abs(padded - true).max()), 3),
    }


def recover(y: pd.DataFrame, fresh: pd.DataFrame, peer: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Lag matrices of every model, averaged over a hundred windows of fresh rows."""
    table: dict[str, Any] = {}
    matrices: dict[str, Any] = {"truth": LAGS}
    begin = time.perf_counter()
    library = VAR(y).fit(maxlags=N_LAGS, ic="aic")
    table["VAR of statsmodels"] = compared(library.coefs) | {"seconds": round(time.perf_counter() - begin, 2)}
    matrices["VAR of statsmodels"] = library.coefs
    for forecaster_class in MODELS:
        name = name_of(forecaster_class)
        begin = time.perf_counter()
        forecaster = forecaster_class(**settings(forecaster_class, horizon=1, max_epochs=10)).fit(y)
        seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        found = forecaster.explain_backtest(fresh, stride=len(fresh) // 100)
        reading_seconds = time.perf_counter() - begin
        matrix = found["mean"].isel(step=0).transpose("lag", "series", "source").values
        errors = forecaster.backtest(fresh)
        table[name] = compared(matrix) | {
            "mean_squared_error": round(float(((errors.forecast - errors.actual) ** 2).mean()), 3),
            "spread": round(float(found["spread"].sel(lag=slice(1, 2)).mean()), 3),
            "seconds": round(seconds, 1),
            "reading_seconds": round(reading_seconds, 1),
        }
        matrices[name] = matrix
        print(name, table[name], flush=True)
    if peer is not None:
        table["samovar-var"], matrices["samovar-var"] = recover_by_peer(y, fresh, peer)
    return table, matrices


def recover_by_peer(y: pd.DataFrame, fresh: pd.DataFrame, folder: Path) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """The same with the package samovar-var: its own Jacobian, averaged over windows of fresh rows."""
    sys.path.insert(0, str(folder))
    from samovar import SaMoVAR
    from samovar.interpret import average_var_coefficients

    begin = time.perf_counter()
    model = SaMoVAR(
        horizon=1, input_length=16, epochs=10, batch_size=128, d_model=32, n_layers=2, lr=1e-3, test_ratio=0.02,
        device="cpu", seed=0, verbose=0,
    ).fit(y)  # fmt: skip
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    scaled = model._scale_fwd(fresh.to_numpy()).astype(np.float32)
    ends = range(16, len(fresh), len(fresh) // 100)
    windows = torch.from_numpy(np.stack([scaled[end - 16 : end] for end in ends]))
    found = average_var_coefficients(model.net, windows, max_lags=N_LAGS)["mean"]
    reading_seconds = time.perf_counter() - begin
    deviation = y.to_numpy().std(axis=0)
    matrix = found * deviation[:, None] / deviation  # it reads standardised series
    result = compared(matrix) | {"seconds": round(seconds, 1), "reading_seconds": round(reading_seconds, 1)}
    print("samovar-var", result, flush=True)
    return result, matrix


def find_driver(y: pd.DataFrame) -> dict[str, Any]:
    """Where the readings of the first step, and the impulse response, have the driver of the load."""
    table = {}
    for forecaster_class in MODELS:
        chosen = {"horizon": 4, "batch_size": 32, "learning_rate": 1e-2, "max_epochs": 60, "targets": ["load"]}
        small = {} if forecaster_class is SAMformerForecaster else {"d_model": 16, "n_layers": 1}
        forecaster = forecaster_class(**settings(forecaster_class, **chosen, **small, loss=None)).fit(y)
        found = forecaster.explain(y, steps=[1]).isel(series=0)
        responses = forecaster.impulse_response(y, steps=4, start=550, stride=5)["mean"]
        response = responses.sel(shock="driver").isel(series=0, step=slice(1, None))
        matrix = found.lag_matrix.isel(step=0)
        table[name_of(forecaster_class)] = {
            "lag matrix": strongest(abs(matrix)),
            "coefficient": round(float(matrix.sel(source="driver", lag=DELAY)), 2),
            "influence": strongest(found.influence),
            "impulse response": int(abs(response).idxmax("step")),
        }
        print(name_of(forecaster_class), table[name_of(forecaster_class)], flush=True)
    return table


def strongest(values: Any) -> str:
    place = np.unravel_index(int(values.argmax()), values.shape)
    return f"{values['source'].values[place[0]]}, lag {values['lag'].values[place[1]]}"


def draw(matrices: dict[str, Any]) -> Figure:
    """Lag matrices beside the true ones, all on the scale of the true ones."""
    figure = new_figure(10, 1 + 1.5 * ((len(matrices) + 1) // 2))
    grid = figure.subplots((len(matrices) + 1) // 2, 2).ravel()
    for axes, (name, matrix) in zip(grid, matrices.items(), strict=False):
        shown = np.zeros((N_LAGS, 2, 2))
        shown[: len(matrix)] = matrix[:N_LAGS]
        rows = ["a from a", "a from b", "b from a", "b from b"]
        heat_map(axes, shown.reshape(N_LAGS, 4).T, rows, range(1, N_LAGS + 1), "coefficient", signed=True)
        axes.images[0].set_clim(-0.5, 0.5)
        axes.set_title(name, loc="left", fontsize=10.5, color=OBSERVED)
    for axes in grid[len(matrices) :]:
        axes.remove()
    for axes in grid[max(0, len(matrices) - 2) : len(matrices)]:
        axes.set_xlabel("lag, rows", fontsize=9.5, color=OBSERVED)
    heading(figure, "Lag matrices of a known VAR(2): weight of each past value in the next one")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="folder that holds samovar-var")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    RESULTS.mkdir(exist_ok=True)
    table, matrices = recover(simulate_var(6_000, seed=0), simulate_var(2_000, seed=1), arguments.peer)
    driver = find_driver(simulate_driver())
    draw(matrices).savefig(ROOT / "docs" / "evidence" / "figures" / "known_lags.png", dpi=110)
    (RESULTS / "known_lags.json").write_text(json.dumps({"VAR(2)": table, "driver": driver}, indent=1))
    print(pd.DataFrame(table).T.to_string(), pd.DataFrame(driver).T.to_string(), sep="\n\n")


if __name__ == "__main__":
    main()
