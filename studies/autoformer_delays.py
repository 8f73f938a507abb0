"""Which delays Autoformer attends over, on a series with two known periods.

2,500 rows of a wave of period 24 and one half as high of period 96, each with its first harmonic, and noise of a fifth
of their deviation. Context 192, horizon 96, six epochs; three seeds. Delays and their weights are read in 40 windows of
the 800 rows after those that train, by layer, before (a single step) and after the training.

    python studies/autoformer_delays.py

Writes studies/results/autoformer_delays.json and docs/evidence/figures/autoformer_delays.png.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from samovar_forecast import AutoformerForecaster
from samovar_forecast.evaluation.pictures.style import COLORS, OBSERVED, heading, new_figure, style

ROOT = Path(__file__).parents[1]
PERIODS, CONTEXT, HORIZON = {24: 1.0, 96: 0.5}, 192, 96  # periods with their heights
TRAIN_ROWS, ROWS = 2_500, 3_300
COLOR = {24: COLORS[0], 96: COLORS[1]}
LAYERS = ("encoder 1", "decoder 1 self", "decoder 1 cross")


def series(seed: int) -> pd.DataFrame:
    time_, noise = np.arange(ROWS), np.random.default_rng(seed).normal(size=ROWS)
    waves = [high * np.sin(2 * np.pi * k * time_ / period + k) / k for period, high in PERIODS.items() for k in (1, 2)]
    return pd.DataFrame({"load": np.sum(waves, axis=0) + 0.2 * np.sum(waves, axis=0).std() * noise})


def weights_by_delay(forecaster: AutoformerForecaster, y: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Mean weight of every delay, by layer."""
    total: dict[str, NDArray[np.float64]] = {}
    ends = np.linspace(TRAIN_ROWS + CONTEXT, ROWS, 40).astype(int)
    for end in ends:
        reading = forecaster.explain(y.iloc[end - CONTEXT : end], lag_matrices=False, influence=False)
        for layer in LAYERS:
            one = reading.sel(layer=layer)
            used = one["delay"].notnull().values
            mean = total.setdefault(layer, np.zeros(CONTEXT))
            np.add.at(mean, one["delay"].values[used].astype(int), one["delay_weight"].values[used] / len(ends))
    return total


def near_multiple(period: int) -> NDArray[np.bool_]:
    """Which delays lie within a row of a multiple of a period; the context is one, and delays are circular."""
    delays = np.arange(CONTEXT)  # and as many in the decoder: half a context and the horizon
    return np.minimum(delays % period, -delays % period) <= 1


def draw(before: dict[str, Any], after: dict[str, Any]) -> Figure:
    """Weight by delay, a row for each layer, before the training at the left and after it at the right."""
    figure = new_figure(11.5, 5.6)
    grid = figure.subplots(len(LAYERS), 2, sharex=True, sharey="row")
    for row, layer in zip(grid, LAYERS, strict=True):
        for axes, found, when in ((row[0], before, "before training"), (row[1], after, "after training")):
            for at in range(0, CONTEXT + 1, 24):
                axes.axvline(at, color=COLOR[24 if at % 96 else 96], linewidth=5, alpha=0.25, zorder=0)
            axes.vlines(range(CONTEXT), 0, found[layer], color=OBSERVED, linewidth=1.4)
            style(axes, f"{layer.removesuffix(' 1').replace(' 1 ', ', ')}, {when}")
        row[0].set_ylim(bottom=0)  # shared, and both are drawn by now
        row[0].set_ylabel("weight of the delay")
    for axes in grid[-1]:
        axes.set_xlabel("delay, rows")
    handles = [grid[0, 0].axvspan(-9, -8, color=COLOR[p], alpha=0.3) for p in COLOR]
    grid[0, 0].set_xlim(-4, CONTEXT + 4)
    grid[0, 0].set_xticks(range(0, CONTEXT + 1, 24))
    names = ["multiple of the period 24", "multiple of both periods, 24 and 96"]
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    heading(figure, "Delays of Autoformer on a series with the periods 24 and 96, mean of 40 windows")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--small", action="store_true", help="one seed, one epoch")
    chosen = parser.parse_args()
    small, seeds = chosen.small, chosen.seeds[:1] if chosen.small else chosen.seeds
    warnings.simplefilter("ignore")
    began, results, drawn = time.perf_counter(), [], {}
    for seed in seeds:
        y = series(seed)
        for when, limits in (("before", {"max_steps": 1}), ("after", {"max_epochs": 1 if small else chosen.epochs})):
            forecaster = AutoformerForecaster(
                horizon=HORIZON, context_length=CONTEXT, d_model=32, learning_rate=1e-3, random_state=seed,
                device="cpu", **limits,
            ).fit(y.iloc[:TRAIN_ROWS])  # fmt: skip
            found = weights_by_delay(forecaster, y)
            drawn[seed, when] = found
            errors = forecaster.backtest(y, start=TRAIN_ROWS, stride=9)
            mse = float(((errors.forecast - errors.actual) ** 2).mean() / y["load"].var())
            row: dict[str, Any] = {"seed": seed, "when": when, "MSE": round(mse, 4)}
            for layer, weights in found.items():
                row[layer] = {
                    f"weight near multiples of {period}": round(float(weights[near_multiple(period)].sum()), 3)
                    for period in PERIODS
                } | {
                    "strongest": [int(one) for one in np.argsort(-weights)[:5]],
                }
            results.append(row)
            print(row, f"{time.perf_counter() - began:.0f} s", flush=True)
    (ROOT / "studies" / "results").mkdir(exist_ok=True)
    (ROOT / "studies" / "results" / "autoformer_delays.json").write_text(json.dumps(results, indent=1))
    if not small:
        figure = draw(drawn[seeds[0], "before"], drawn[seeds[0], "after"])
        figure.savefig(ROOT / "docs" / "evidence" / "figures" / "autoformer_delays.png", dpi=120)


if __name__ == "__main__":
    main()
