"""The synthetic task of SAMoVAR's authors at a small size: many vector autoregressions, recovered from their windows.

Every series has two columns, one row to forecast and coefficients of its own: to train on, VAR(1) and VAR(2) with
coefficients in +-0.5; to validate, VAR(3) and VAR(4) with coefficients in +-0.25, orders that no training series has.
Noise 0.05, so that no forecast has less error than 0.0025. Width 32, 2 heads, 3 layers. Here the context is 32 rows,
where the authors have 64, and 4,000 series train and 300 validate, where they have 20,000 and 2,000; fewer epochs.

    python studies/samovar_synthetic.py

Writes studies/results/samovar_synthetic.json and docs/evidence/figures/samovar_synthetic.png, samovar_paths.png.
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
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.windows import Windows
from samovar_forecast.evaluation.pictures import plot_influence_paths
from samovar_forecast.evaluation.pictures.style import (
    COLORS,
    FAINT,
    OBSERVED,
    heading,
    heat_map,
    integer_ticks,
    legend,
    new_figure,
    style,
)
from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.engine import train

ROOT = Path(__file__).parents[1]
CONTEXT, NOISE, N_LAGS = 32, 0.05, 8
SIZES: dict[str, Any] = {"d_model": 32, "n_heads": 2, "n_layers": 3, "segment_length": 1, "dropout": 0.0}
NETWORKS = {
    "SAMoVAR": (SAMoVAR, SAMoVARConfig),
    "FixedVAR": (FixedVAR, FixedVARConfig),
    "LinTrans": (LinTrans, LinTransConfig),
}
COLOR = {"SAMoVAR": COLORS[0], "FixedVAR": COLORS[1], "LinTrans": COLORS[2], "noise": OBSERVED, "least squares": FAINT}


def simulate(count: int, orders: tuple[int, int], largest: float, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Series (count, CONTEXT + 1, 2) and their lag matrices (count, lag, target, source); none is unstable."""
    generator = np.random.default_rng(seed)
    series, coefficients = np.zeros((count, CONTEXT + 1, 2)), np.zeros((count, N_LAGS, 2, 2))
    for number in range(count):
        order = int(generator.integers(orders[0], orders[1] + 1))
        while True:
            lags = generator.uniform(-largest, largest, size=(order, 2, 2))
            companion = np.eye(2 * order, k=-2)
            companion[:2] = lags.transpose(1, 0, 2).reshape(2, -1)
            if np.abs(np.linalg.eigvals(companion)).max() < 0.98:
                break
        values = np.zeros((CONTEXT + 101, 2))
        noise = generator.normal(scale=NOISE, size=values.shape)
        for t in range(order, len(values)):
            values[t] = np.einsum("kij,kj->i", lags, values[t - order : t][::-1]) + noise[t]
        series[number], coefficients[number, :order] = values[-(CONTEXT + 1) :], lags
    return series, coefficients


def windows(series: NDArray[Any]) -> Windows:
    """One window for each series, their rows one after the other."""
    rows = torch.tensor(series, dtype=torch.float32).flatten(0, 1)
    return Windows(rows, torch.arange(len(series)) * (CONTEXT + 1), CONTEXT, 1, 2)


@torch.no_grad()
def error(network: torch.nn.Module, series: NDArray[Any]) -> float:
    values = torch.tensor(series, dtype=torch.float32)
    forecast = torch.cat([network(part[:, :-1]).squeeze(-1) for part in values.split(250)])
    return float((forecast - values[:, -1:]).square().mean())


def least_squares(series: NDArray[Any], order: int) -> tuple[float, NDArray[Any]]:
    """Error of a VAR of this order fitted to each window, and its lag matrices: what its rows tell without training."""
    found, errors = np.zeros((len(series), N_LAGS, 2, 2)), []
    for number, values in enumerate(series):
        past = np.stack([values[order - lag : CONTEXT - lag] for lag in range(1, order + 1)], axis=1)
        solution = np.linalg.lstsq(past.reshape(len(past), -1), values[order:CONTEXT], rcond=None)[0]
        found[number, :order] = solution.reshape(order, 2, 2).transpose(0, 2, 1)
        newest = np.stack([values[CONTEXT - lag] for lag in range(1, order + 1)])
        errors.append((np.einsum("kij,kj->i", found[number, :order], newest) - values[CONTEXT]) ** 2)
    return float(np.mean(errors)), found


def lag_matrices(network: torch.nn.Module, series: NDArray[Any]) -> NDArray[Any]:
    """Derivative of the forecast of each window by its newest rows: (window, lag, target, source)."""
    past = torch.tensor(series[:, :-1], dtype=torch.float32).requires_grad_()
    by_target: list[Tensor] = []
    forecast = network(past)[:, 0, :, 0]
    for target in range(2):
        (gradient,) = torch.autograd.grad(forecast[:, target].sum(), past, retain_graph=True)
        by_target.append(gradient.flip(1)[:, :N_LAGS])
    return torch.stack(by_target, dim=2).double().numpy()


def agreement(found: NDArray[Any], true: NDArray[Any]) -> dict[str, float]:
    """Correlation over all lags, pairs and series, and over the lags 3 and 4 alone, which no training series has."""
    late = slice(2, 4)
    return {
        "correlation": round(float(np.corrcoef(found.ravel(), true.ravel())[0, 1]), 3),
        "correlation, lags 3 and 4": round(float(np.corrcoef(found[:, late].ravel(), true[:, late].ravel())[0, 1]), 3),
    }


def draw(curves: dict[str, list[float]], floor: dict[str, float], found: dict[str, Any], true: NDArray[Any]) -> Figure:
    """Errors by epoch; recovered against true coefficients; lag matrices of one series beside the true ones."""
    figure = new_figure(12, 6.6)
    above, below = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    errors, *scatters = above.subplots(1, 3, width_ratios=[1.2, 1, 1])
    for name, curve in curves.items():
        errors.plot(range(1, len(curve) + 1), curve, "o-", color=COLOR[name], markersize=3.5, linewidth=1.7, label=name)
    errors.axhline(floor["VAR(4) by least squares"], color=COLOR["least squares"], linestyle="--", linewidth=1.6,
                   label="VAR(4) by least squares in each window")  # fmt: skip
    errors.axhline(NOISE**2, color=COLOR["noise"], linestyle=":", linewidth=1.6, label="noise")
    style(errors, "validation error")
    errors.set(xlabel="epoch", ylabel="MSE")
    low, high = errors.get_ylim()
    errors.set_ylim(low, high + 0.75 * (high - low))  # room for the legend
    integer_ticks(errors)
    legend(errors, loc="upper right")
    for axes, name in zip(scatters, ("SAMoVAR", "least squares"), strict=True):
        axes.axline((0, 0), slope=1, color=OBSERVED, linewidth=0.9, linestyle=":")
        pairs = true[:, :4].ravel(), found[name][:, :4].ravel()
        axes.plot(*pairs, ".", color=COLOR[name], markersize=2.5, alpha=0.35, markeredgewidth=0)
        style(axes, f"{name}, lags 1 to 4", grid="both")
        axes.set(xlabel="true coefficient", ylabel="recovered", xlim=(-0.28, 0.28), ylim=(-0.6, 0.6))
    shown = {"truth": true[0], "SAMoVAR": found["SAMoVAR"][0], "VAR(4) by least squares": found["least squares"][0]}
    rows = ["a from a", "a from b", "b from a", "b from b"]
    for axes, (name, matrix) in zip(below.subplots(1, 3), shown.items(), strict=True):
        heat_map(axes, matrix.reshape(N_LAGS, 4).T, rows, range(1, N_LAGS + 1), "coefficient", signed=True)
        axes.images[0].set_clim(-0.3, 0.3)
        axes.set_title(f"one series: {name}", loc="left", fontsize=10.5, color=OBSERVED)
        axes.set_xlabel("lag, rows", fontsize=9.5, color=OBSERVED)
    heading(figure, "VAR(3) and VAR(4) read from windows by networks that have seen VAR(1) and VAR(2)")
    return figure


def draw_paths(network: SAMoVAR, series: NDArray[Any]) -> Figure:
    """Influence paths in one window, by a forecaster that takes over the trained weights."""
    frame = pd.DataFrame(series[:-1], columns=["a", "b"])
    padded = pd.concat([frame] * 3, ignore_index=True)
    forecaster = SAMoVARForecaster(
        horizon=1, context_length=CONTEXT, scaler="none", max_steps=1, random_state=0, device="cpu", **SIZES
    ).fit(padded)
    forecaster.network_.load_state_dict(network.state_dict())
    paths = forecaster.influence_paths(frame, n_paths=8)
    return plot_influence_paths(paths, title="The strongest 8 influence paths of a VAR(4) window, SAMoVAR")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=4_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="300 series, one epoch")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.series, chosen.epochs = 300, 1
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    training, _ = simulate(chosen.series, (1, 2), 0.5, seed=1)
    validation, true = simulate(300, (3, 4), 0.25, seed=2)
    fitted, by_squares = least_squares(validation, 4)
    # The networks see the series in units of their deviation: in those of the data the loss would be a hundredth.
    recipe = TrainingConfig(
        horizon=1, context_length=CONTEXT, learning_rate=1e-3, max_epochs=chosen.epochs, patience=None, loss="mse",
        device="cpu",
    )  # fmt: skip
    results: dict[str, Any] = {"VAR(4) by least squares": {"MSE": round(fitted, 5)} | agreement(by_squares, true)}
    results["zero"] = {"MSE": round(float((validation[:, -1] ** 2).mean()), 5)}
    scale = float(training.std())
    curves, found, trained = {}, {"least squares": by_squares}, {}
    for name, (network_class, config) in NETWORKS.items():
        torch.manual_seed(chosen.seed)
        network = network_class(2, 2, CONTEXT, 1, config(**SIZES))
        summary = train(network, windows(training / scale), windows(validation / scale), recipe, seed=chosen.seed)
        curves[name] = [float(one.validation_loss) * scale**2 for one in summary.history]
        found[name], trained[name] = lag_matrices(network, validation / scale), network
        results[name] = {"MSE": round(error(network, validation / scale) * scale**2, 5)} | agreement(found[name], true)
        print(name, results[name], f"{time.perf_counter() - began:.0f} s", flush=True)
    print(json.dumps(results, indent=1))
    (ROOT / "studies" / "results").mkdir(exist_ok=True)
    path = ROOT / "studies" / "results" / "samovar_synthetic.json"
    path.write_text(json.dumps(results | {"curves": curves}, indent=1))
    order_four = int(np.flatnonzero(np.abs(true[:, 3]).sum((1, 2)) > 0)[0])
    if not chosen.small:
        folder = ROOT / "docs" / "evidence" / "figures"
        drawn = {name: np.roll(one, -order_four, axis=0) for name, one in found.items()}
        draw(curves, {"VAR(4) by least squares": fitted}, drawn, np.roll(true, -order_four, axis=0)).savefig(
            folder / "samovar_synthetic.png", dpi=120
        )
        draw_paths(trained["SAMoVAR"], validation[order_four] / scale).savefig(folder / "samovar_paths.png", dpi=120)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
