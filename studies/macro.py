"""US macroeconomic data, four quarters of forecast: the defaults of SAMoVAR beside a VAR and the package samovar-var.

Six series from the macrodata of statsmodels, 1959Q2 to 2009Q3 (202 rows): growth of GDP, consumption and investment and
inflation, each 100 times the difference of logarithms, and the unemployment rate and the rate of treasury bills as they
are. The last 20 % of the rows are forecast from every quarter before them; nothing is trained or scaled on these.
Errors are in standard deviations of the first 70 % of the rows, which is how samovar-var states its own.

    python studies/macro.py                  SAMoVAR, the VAR of statsmodels (order by AIC), the last value
    python studies/macro.py --peer FOLDER    also samovar-var, from pip install --no-deps --target FOLDER
    python studies/macro.py --contexts 8 12 16 24 32    other contexts, on the rows before the test alone

Writes studies/results/macro.json and docs/evidence/figures/macro.png.
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
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray
from statsmodels.datasets import macrodata
from statsmodels.tsa.api import VAR

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.evaluation.forecast_tests import diebold_mariano
from samovar_forecast.evaluation.pictures.style import COLORS, FAINT, heading, integer_ticks, legend, new_figure, style

ROOT = Path(__file__).parents[1]
HORIZON, SEEDS = 4, range(5)
OURS, LIBRARY, PEER, NAIVE = "SAMoVAR", "VAR", "samovar-var", "last value"
COLOR = {OURS: COLORS[0], PEER: COLORS[1], LIBRARY: COLORS[2], NAIVE: FAINT}
PEER_EPOCHS, PEER_CONTEXT = 60, 32  # as in the README of samovar-var


def load() -> pd.DataFrame:
    """Six stationary series by quarter."""
    raw = macrodata.load_pandas().data
    raw.index = pd.PeriodIndex.from_fields(year=raw["year"].astype(int), quarter=raw["quarter"].astype(int), freq="Q")
    levels = {"GDP growth": "realgdp", "consumption growth": "realcons", "investment growth": "realinv"}
    growth = {name: 100 * np.log(raw[column]).diff() for name, column in (levels | {"inflation": "cpi"}).items()}
    return pd.DataFrame(growth | {"unemployment": raw["unemp"], "treasury bills": raw["tbilrate"]}).dropna()


def as_backtest(y: pd.DataFrame, forecasts: NDArray[np.float64], rows: NDArray[np.int64]) -> xr.Dataset:
    """Forecasts (cutoff, step, series) from the given rows on, beside the actual values."""
    actual = np.stack([y.to_numpy()[row : row + HORIZON] for row in rows])
    dims = ("cutoff", "step", "series")
    return xr.Dataset(
        {"forecast": (dims, forecasts), "actual": (dims, actual)},
        coords={"cutoff": rows, "step": np.arange(1, HORIZON + 1), "series": list(y.columns)},
    )


def by_ours(y: pd.DataFrame, first: int, seed: int, **chosen: Any) -> xr.Dataset:
    """SAMoVAR with its defaults."""
    forecaster = SAMoVARForecaster(horizon=HORIZON, random_state=seed, **chosen).fit(y.iloc[:first])
    found = forecaster.backtest(y, start=y.index[first])
    return as_backtest(y, found["forecast"].values, np.arange(first, len(y) - HORIZON + 1))


def by_library(y: pd.DataFrame, first: int) -> tuple[xr.Dataset, int]:
    """The VAR of statsmodels, its order by AIC among 1 to 8, fitted once on the rows before the test."""
    fitted = VAR(y.iloc[:first].to_numpy()).fit(maxlags=8, ic="aic")
    rows, values, order = np.arange(first, len(y) - HORIZON + 1), y.to_numpy(), int(fitted.k_ar)
    forecasts = np.stack([fitted.forecast(values[row - order : row], HORIZON) for row in rows])
    return as_backtest(y, forecasts, rows), order


def by_peer(y: pd.DataFrame, first: int, seed: int) -> xr.Dataset:
    """samovar-var as its README runs it: it divides the rows 70, 10 and 20 % itself and trains on the first part."""
    from samovar import SaMoVAR

    model = SaMoVAR(
        horizon=HORIZON, input_length=PEER_CONTEXT, epochs=PEER_EPOCHS, seed=seed, device="cpu", verbose=0
    ).fit(y.to_timestamp(how="end").rename_axis("date"))
    rows = np.arange(first, len(y) - HORIZON + 1)
    windows = np.stack([y.to_numpy()[row - PEER_CONTEXT : row] for row in rows])
    scaled = model.predict_windows(np.stack([model._scale_fwd(window) for window in windows]))
    return as_backtest(y, np.stack([model._scale_inv(one) for one in scaled]), rows)


def by_last_value(y: pd.DataFrame, first: int) -> xr.Dataset:
    rows = np.arange(first, len(y) - HORIZON + 1)
    return as_backtest(y, np.repeat(y.to_numpy()[rows - 1][:, None], HORIZON, axis=1), rows)


def compare_contexts(y: pd.DataFrame, scale: xr.DataArray, contexts: list[int]) -> None:
    """Errors by context in two spans of 32 rows, each after a training on the rows before it; three seeds."""
    for context in (None, *contexts):
        found = {
            (first, seed): float(
                squared(by_ours(y.iloc[: first + 32], first, seed, context_length=context) / scale).mean()
            )
            for first in (97, 129)
            for seed in range(3)
        }
        spans = [float(np.mean([error for (row, _), error in found.items() if row == first])) for first in (97, 129)]
        print(f"context {context or 'default'}: {np.mean(spans):.3f}, {spans[0]:.3f} and {spans[1]:.3f}", flush=True)


def draw(backtests: dict[str, list[xr.Dataset]]) -> Figure:
    """Every seed's error at the left, the mean over the seeds by step at the right."""
    figure = new_figure(10, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    for place, (name, found) in enumerate(backtests.items()):
        errors = [float(squared(one).mean()) for one in found]
        across = place + (0.09 * (np.arange(len(errors)) - (len(errors) - 1) / 2))
        left.plot(errors, across, "o", color=COLOR[name], markersize=6, alpha=0.75, markeredgewidth=0)
        left.plot([np.mean(errors)] * 2, [place - 0.33, place + 0.33], color=COLOR[name], linewidth=2)
        left.text(max(errors) + 0.008, place, f"{np.mean(errors):.3f}", va="center", fontsize=9, color=COLOR[name])
        by_step = np.mean([squared(one).mean(("cutoff", "series")) for one in found], axis=0)
        right.plot(range(1, HORIZON + 1), by_step, "o-", color=COLOR[name], linewidth=1.8, markersize=4.5, label=name)
    style(left, "every seed; bar and number: their mean", grid="x")
    left.set_yticks(range(len(backtests)), backtests)
    left.set(xlabel="MSE, squared standard deviations", ylim=(len(backtests) - 0.5, -0.5))
    left.margins(x=0.16)
    style(right, "mean over the seeds by step")
    right.set(xlabel="step, quarters", ylabel="MSE, squared standard deviations")
    integer_ticks(right)
    legend(right)
    heading(figure, "Six US macroeconomic series, 4 quarters of forecast, 1999Q3 to 2009Q3")
    return figure


def squared(backtest: xr.Dataset) -> xr.DataArray:
    return (backtest["forecast"] - backtest["actual"]) ** 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="folder that holds samovar-var")
    parser.add_argument("--small", action="store_true", help="one seed")
    parser.add_argument("--contexts", type=int, nargs="+", help="compare these on the rows before the test, no more")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    y = load()
    first = len(y) - int(0.2 * len(y)) - 1  # as samovar-var divides: 161 rows before, 41 to forecast
    deviations = y.iloc[: int(0.7 * len(y))].std(ddof=0).to_numpy()
    scale = xr.DataArray(deviations, dims="series", coords={"series": list(y.columns)})
    if arguments.contexts:
        compare_contexts(y.iloc[:first], scale, arguments.contexts)
        return
    seeds = SEEDS[:1] if arguments.small else SEEDS
    backtests: dict[str, list[xr.Dataset]] = {OURS: [], PEER: []}
    seconds = dict.fromkeys(backtests, 0.0)
    if arguments.peer is not None:
        sys.path.insert(0, str(arguments.peer))
    for name, forecast in ((OURS, by_ours), (PEER, by_peer)):
        for seed in seeds if name == OURS or arguments.peer is not None else ():
            began = time.process_time()
            backtests[name].append(forecast(y, first, seed))
            seconds[name] += (time.process_time() - began) / len(seeds)
            print(name, seed, flush=True)
    library, order = by_library(y, first)
    backtests |= {LIBRARY: [library], NAIVE: [by_last_value(y, first)]}
    scaled = {name: [one / scale for one in found] for name, found in backtests.items() if found}
    table = {}
    for name, found in scaled.items():
        errors = [float(squared(one).mean()) for one in found]
        absolute = [float(abs(one["forecast"] - one["actual"]).mean()) for one in found]
        tested = [diebold_mariano(one, scaled[LIBRARY][0], dim=("step", "series")) for one in found if name != LIBRARY]
        table[name] = {
            "MSE": round(float(np.mean(errors)), 4), "MAE": round(float(np.mean(absolute)), 4),
            "MSE by seed": [round(error, 4) for error in errors],
            "by series": {
                series: round(float(np.mean([squared(one).sel(series=series).mean() for one in found])), 3)
                for series in y.columns
            },
            "statistic against VAR": [round(float(one["statistic"]), 2) for one in tested],
            "p-value against VAR": [round(float(one["p_value"]), 3) for one in tested],
            "seconds": round(seconds.get(name, 0.0), 1),
        }  # fmt: skip
        if PEER in scaled and name == OURS:
            pairs = [diebold_mariano(*both, dim=("step", "series")) for both in zip(found, scaled[PEER], strict=True)]
            table[name]["p-value against samovar-var"] = [round(float(one["p_value"]), 3) for one in pairs]
    table[LIBRARY]["order"] = order
    (ROOT / "studies" / "results").mkdir(exist_ok=True)
    (ROOT / "studies" / "results" / "macro.json").write_text(json.dumps(table, indent=1))
    print(json.dumps(table, indent=1))
    if not arguments.small:
        draw(scaled).savefig(ROOT / "docs" / "evidence" / "figures" / "macro.png", dpi=130)


if __name__ == "__main__":
    main()
