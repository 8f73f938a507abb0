"""What the gate and the local convolution earn in the Linear Attention Transformer, on a cut of ETTh1.

3,000 rows, the newest fifth of them to validate; horizon 48, context 96, no early stop. The published form without
either part, the convolution alone, and both, three seeds each, all else at the defaults. Errors are the lowest of any
epoch on the validation rows, in standard deviations of the training rows.

    python studies/linear_attention_parts.py

Writes studies/results/linear_attention_parts.json and docs/evidence/figures/linear_attention_parts.png.
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

from samovar_forecast import LinearAttentionForecaster
from samovar_forecast.evaluation.pictures.style import COLORS, heading, integer_ticks, legend, new_figure, style
from samovar_forecast.files import datasets

ROOT = Path(__file__).parents[1]
FORMS = {
    "neither": {"gate": False, "local_convolution": False},
    "convolution": {"gate": False, "local_convolution": True},
    "gate and convolution": {"gate": True, "local_convolution": True},
}
COLOR = dict(zip(FORMS, (COLORS[7], COLORS[2], COLORS[0]), strict=True))
ROWS, CONTEXT, HORIZON = 3_000, 96, 48


def draw(results: dict[str, list[dict[str, Any]]]) -> Figure:
    """The lowest error of every seed at the left, the mean over the seeds by epoch at the right."""
    figure = new_figure(10, 3.5)
    left, right = figure.subplots(1, 2)
    for place, (form, runs) in enumerate(results.items()):
        lowest = [run["validation MSE"] for run in runs]
        left.plot(lowest, place + 0.12 * (np.arange(len(lowest)) - 1), "o", color=COLOR[form], markersize=6, alpha=0.85)
        left.plot([np.mean(lowest)] * 2, [place - 0.33, place + 0.33], color=COLOR[form], linewidth=2)
        by_epoch = np.mean([run["by epoch"] for run in runs], axis=0)
        right.plot(range(1, len(by_epoch) + 1), by_epoch, color=COLOR[form], linewidth=1.8, label=form)
    style(left, "lowest of any epoch; a dot per seed, bar: mean", grid="x")
    left.set_yticks(range(len(results)), results)
    left.set(xlabel="validation MSE", ylim=(len(results) - 0.5, -0.5))
    left.locator_params(axis="x", nbins=6)
    style(right, "by epoch, mean over the seeds")
    right.set(xlabel="epoch", ylabel="validation MSE")
    integer_ticks(right)
    legend(right)
    heading(figure, "Linear attention with and without gate and convolution, cut of ETTh1")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="one seed, one epoch")
    chosen = parser.parse_args()
    seeds, epochs = (range(1), 1) if chosen.small else (range(3), chosen.epochs)
    warnings.simplefilter("ignore")
    y = datasets.load("ETTh1").iloc[:ROWS]
    began = time.perf_counter()
    results: dict[str, list[dict[str, Any]]] = {form: [] for form in FORMS}
    for seed in seeds:
        for form, parts in FORMS.items():
            forecaster = LinearAttentionForecaster(
                horizon=HORIZON, context_length=CONTEXT, max_epochs=epochs, patience=None, loss="mse",
                random_state=seed, device="cpu", **parts,
            ).fit(y)  # fmt: skip
            history = pd.DataFrame(forecaster.training_summary_.history)["validation_loss"]
            row = {
                "seed": seed, "validation MSE": round(float(history.min()), 4), "best epoch": int(history.argmin()) + 1,
                "by epoch": [round(one, 4) for one in history],
                "parameters": forecaster.training_summary_.n_parameters,
            }  # fmt: skip
            results[form].append(row)
            print(form, row, f"{time.perf_counter() - began:.0f} s", flush=True)
    for form, runs in results.items():
        lowest = [run["validation MSE"] for run in runs]
        print(f"{form}: {np.mean(lowest):.4f} +- {np.std(lowest, ddof=min(1, len(lowest) - 1)):.4f}")
    (ROOT / "studies" / "results").mkdir(exist_ok=True)
    (ROOT / "studies" / "results" / "linear_attention_parts.json").write_text(json.dumps(results, indent=1))
    if not chosen.small:
        draw(results).savefig(ROOT / "docs" / "evidence" / "figures" / "linear_attention_parts.png", dpi=120)


if __name__ == "__main__":
    main()
