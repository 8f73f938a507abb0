"""The synthetic task of SAMoVAR's authors: many vector autoregressions, recovered from their windows.

Every series has two columns, 64 rows of context, one row to forecast and coefficients of its own: 20,000 to train on,
VAR(1) and VAR(2) with coefficients in +-0.5; 2,000 to validate, VAR(3) and VAR(4) with coefficients in +-0.25, orders
that no training series has. Noise 0.05, so that no forecast has less error than 0.0025. Width 32, 2 heads, 3 layers,
batches of 32, as the authors have them. They train for 100 epochs of 625 steps, here it is 16.

    python studies/samovar_synthetic.py                       SAMoVAR, on one core a minute and a half for an epoch
    python studies/samovar_synthetic.py --context 32 --series 4000 --validation 300 --epochs 8 --no-pictures
        --models SAMoVAR FixedVAR LinTrans                    all three at a smaller size

After each epoch it prints the error of the forecasts and the correlation of the lag matrices with the true ones, also
on fresh series of the kind that it trains on. A training that was killed goes on from studies/results/
samovar_synthetic. Writes studies/results/samovar_synthetic.json and docs/evidence/figures/samovar_synthetic.png,
samovar_paths.png.
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
from pytorch_lightning import Callback, LightningModule, Trainer

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.windows import Windows
from samovar_forecast.evaluation.pictures import plot_influence_paths
from samovar_forecast.evaluation.pictures.style import (
    COLORS,
    FAINT,
    OBSERVED,
    heading,
    heat_map,
    legend,
    new_figure,
    style,
)
from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.training.checkpoints import remove_checkpoint
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.engine import train

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "studies" / "results"
VALIDATION, SEEN = "VAR(3) and VAR(4)", "VAR(1) and VAR(2)"
NOISE, N_LAGS = 0.05, 8
SIZES: dict[str, Any] = {"d_model": 32, "n_heads": 2, "n_layers": 3, "segment_length": 1, "dropout": 0.0}
NETWORKS = {
    "SAMoVAR": (SAMoVAR, SAMoVARConfig),
    "FixedVAR": (FixedVAR, FixedVARConfig),
    "LinTrans": (LinTrans, LinTransConfig),
}
COLOR = {"SAMoVAR": COLORS[0], "FixedVAR": COLORS[1], "LinTrans": COLORS[2], "ridge": OBSERVED}
LINES = {"zero": (FAINT, "-."), "VAR(4) by ridge": (OBSERVED, "--"), "noise": (OBSERVED, ":")}


def simulate(
    count: int, context: int, orders: tuple[int, int], largest: float, seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Series (count, context + 1, 2) and their lag matrices (count, lag, target, source); none is unstable."""
    generator = np.random.default_rng(seed)
    series, coefficients = np.zeros((count, context + 1, 2)), np.zeros((count, N_LAGS, 2, 2))
    for number in range(count):
        order = int(generator.integers(orders[0], orders[1] + 1))
        while True:
            lags = generator.uniform(-largest, largest, size=(order, 2, 2))
            companion = np.eye(2 * order, k=-2)
            companion[:2] = lags.transpose(1, 0, 2).reshape(2, -1)
            if np.abs(np.linalg.eigvals(companion)).max() < 0.98:
                break
        values = np.zeros((context + 101, 2))
        noise = generator.normal(scale=NOISE, size=values.shape)
        for t in range(order, len(values)):
            values[t] = np.einsum("kij,kj->i", lags, values[t - order : t][::-1]) + noise[t]
        series[number], coefficients[number, :order] = values[-(context + 1) :], lags
    return series, coefficients


def windows(series: NDArray[Any]) -> Windows:
    """One window for each series, their rows one after the other."""
    rows = torch.tensor(series, dtype=torch.float32).flatten(0, 1)
    n_rows = series.shape[1]
    return Windows(rows, torch.arange(len(series)) * n_rows, n_rows - 1, 1, 2)


@torch.no_grad()
def error(network: torch.nn.Module, series: NDArray[Any]) -> float:
    values = torch.tensor(series, dtype=torch.float32)
    forecast = torch.cat([network(part[:, :-1]).squeeze(-1) for part in values.split(250)])
    return float((forecast - values[:, -1:]).square().mean())


def estimated(series: NDArray[Any], order: int, penalty: float = 0.0) -> tuple[float, NDArray[Any]]:
    """Error of a VAR of this order fitted to each window, and its lag matrices: what its rows tell without training.

    The penalty on the squares of the coefficients makes a ridge regression of least squares. The best one is the
    variance of the noise over that of the coefficients: of normal coefficients the estimate is then the mean, given the
    window.
    """
    found, errors, context = np.zeros((len(series), N_LAGS, 2, 2)), [], series.shape[1] - 1
    for number, values in enumerate(series):
        past = np.stack([values[order - lag : context - lag] for lag in range(1, order + 1)], axis=1)
        past = past.reshape(len(past), -1)
        squares = past.T @ past + penalty * np.eye(past.shape[1])
        solution = np.linalg.solve(squares, past.T @ values[order:context])
        found[number, :order] = solution.reshape(order, 2, 2).transpose(0, 2, 1)
        newest = np.stack([values[context - lag] for lag in range(1, order + 1)])
        errors.append((np.einsum("kij,kj->i", found[number, :order], newest) - values[context]) ** 2)
    return float(np.mean(errors)), found


def lag_matrices(network: torch.nn.Module, series: NDArray[Any]) -> NDArray[Any]:
    """Derivative of the forecast of each window by its newest rows: (window, lag, target, source)."""
    found = []
    for part in torch.tensor(series[:, :-1], dtype=torch.float32).split(250):
        past, by_target = part.requires_grad_(), []
        with torch.enable_grad():
            forecast = network(past)[:, 0, :, 0]
            for target in range(2):
                (gradient,) = torch.autograd.grad(forecast[:, target].sum(), past, retain_graph=True)
                by_target.append(gradient.flip(1)[:, :N_LAGS])
        found.append(torch.stack(by_target, dim=2))
    return torch.cat(found).double().numpy()


def correlation(found: NDArray[Any], true: NDArray[Any]) -> float:
    """Over all lags, pairs and series; 0 where one of them is constant."""
    varies = found.std() > 0 and true.std() > 0
    return round(float(np.corrcoef(found.ravel(), true.ravel())[0, 1]), 3) if varies else 0.0


def agreement(found: NDArray[Any], true: NDArray[Any]) -> dict[str, float]:
    """Correlation over all lags, and over the lags 3 and 4 alone, which no training series has."""
    late = slice(2, 4)
    return {
        "correlation": correlation(found, true),
        "correlation, lags 3 and 4": correlation(found[:, late], true[:, late]),
    }


class Watch(Callback):
    """Error and correlation after every epoch, of sets of series with their lag matrices."""

    def __init__(self, sets: dict[str, tuple[NDArray[Any], NDArray[Any]]], scale: float) -> None:
        self.sets, self.scale, self.began = sets, scale, time.perf_counter()
        self.seen: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        network = pl_module.evaluated
        network.eval()
        row = {"step": trainer.global_step}
        for name, (series, true) in self.sets.items():
            row[f"MSE, {name}"] = round(error(network, series) * self.scale**2, 5)
            row[f"correlation, {name}"] = correlation(lag_matrices(network, series), true)
        self.seen.append(row)
        print(row, f"{time.perf_counter() - self.began:.0f} s", flush=True)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seen = state_dict["seen"]


def draw(curves: dict[str, Any], floor: dict[str, float], found: dict[str, Any], true: NDArray[Any]) -> Figure:
    """Errors by step; recovered against true coefficients; lag matrices of one series beside the true ones."""
    figure = new_figure(12, 6.6)
    above, below = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    errors, *scatters = above.subplots(1, 3, width_ratios=[1.2, 1, 1])
    for name, curve in curves.items():
        steps, values = [row["step"] for row in curve], [row[f"MSE, {VALIDATION}"] for row in curve]
        errors.plot(steps, values, "o-", color=COLOR[name], markersize=3.5, linewidth=1.7, label=name)
    for name, (color, dashes) in LINES.items():
        errors.axhline(floor[name], color=color, linestyle=dashes, linewidth=1.6, label=name)
    style(errors, "validation error")
    errors.set(xlabel="step", ylabel="MSE")
    low, high = errors.get_ylim()
    errors.set_ylim(low, high + 0.6 * (high - low))  # room for the legend
    legend(errors, loc="upper right")
    for axes, name in zip(scatters, ("SAMoVAR", "ridge"), strict=True):
        axes.axline((0, 0), slope=1, color=OBSERVED, linewidth=0.9, linestyle=":")
        pairs = true[:, :4].ravel(), found[name][:, :4].ravel()
        axes.plot(*pairs, ".", color=COLOR[name], markersize=2.5, alpha=0.35, markeredgewidth=0)
        style(axes, f"{name}, lags 1 to 4", grid="both")
        axes.set(xlabel="true coefficient", ylabel="recovered", xlim=(-0.28, 0.28), ylim=(-0.5, 0.5))
    shown = {"truth": true[0], "SAMoVAR": found["SAMoVAR"][0], "VAR(4) by ridge": found["ridge"][0]}
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
        horizon=1, context_length=len(frame), scaler="none", max_steps=1, random_state=0, device="cpu", **SIZES
    ).fit(padded)
    forecaster.network_.load_state_dict(network.state_dict())
    paths = forecaster.influence_paths(frame, n_paths=8)
    return plot_influence_paths(paths, title="The strongest 8 influence paths of a VAR(4) window, SAMoVAR")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--validation", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=["SAMoVAR"])
    parser.add_argument("--no-pictures", action="store_true")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    training, _ = simulate(chosen.series, chosen.context, (1, 2), 0.5, seed=1)
    scale = float(training.std())
    sets = {
        VALIDATION: (4, 0.25, *simulate(chosen.validation, chosen.context, (3, 4), 0.25, seed=2)),
        SEEN: (2, 0.5, *simulate(chosen.validation, chosen.context, (1, 2), 0.5, seed=3)),
    }
    results: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for kind, (order, largest, series, lags) in sets.items():
        floors = results[kind] = {"zero": {"MSE": round(float((series[:, -1] ** 2).mean()), 5)}}
        # Coefficients that are uniform within +-largest have the variance largest^2 / 3.
        for name, penalty in (("least squares", 0.0), ("ridge", 3 * (NOISE / largest) ** 2)):
            fitted, by_name = estimated(series, order, penalty)
            floors[f"VAR({order}) by {name}"] = {"MSE": round(fitted, 5)} | agreement(by_name, lags)
            if kind == VALIDATION:
                found[name] = by_name
    print(json.dumps(results, indent=1), flush=True)
    validation, true = sets[VALIDATION][2:]
    curves, trained = {}, {}
    for name in chosen.models:
        network_class, config = NETWORKS[name]
        watch = Watch({kind: (series / scale, lags) for kind, (_, _, series, lags) in sets.items()}, scale)
        # The networks see the series in units of their deviation: in those of the data the loss would be a hundredth.
        recipe = TrainingConfig(
            horizon=1, context_length=chosen.context, batch_size=32, learning_rate=1e-3, max_epochs=chosen.epochs,
            windows_per_epoch=None, patience=None, loss="mse", precision="32-true", device="cpu", callbacks=(watch,),
            checkpoint_dir=str(RESULTS / "samovar_synthetic" / name),
        )  # fmt: skip
        torch.manual_seed(chosen.seed)
        network = network_class(2, 2, chosen.context, 1, config(**SIZES))
        train(network, windows(training / scale), windows(validation / scale), recipe, seed=chosen.seed)
        remove_checkpoint(RESULTS / "samovar_synthetic" / name)
        curves[name], trained[name] = watch.seen, network
        for kind, (_, _, series, lags) in sets.items():
            matrices = lag_matrices(network, series / scale)
            results[kind][name] = {"MSE": round(error(network, series / scale) * scale**2, 5)}
            results[kind][name] |= agreement(matrices, lags)
            if kind == VALIDATION:
                found[name] = matrices
        print(name, *(results[kind][name] for kind in sets), flush=True)
        (RESULTS / "samovar_synthetic.json").write_text(json.dumps(results | {"curves": curves}, indent=1))
    if not chosen.no_pictures:
        folder = ROOT / "docs" / "evidence" / "figures"
        order_four = int(np.flatnonzero(np.abs(true[:, 3]).sum((1, 2)) > 0)[0])
        drawn = {name: np.roll(one, -order_four, axis=0) for name, one in found.items()}
        floor = {"noise": NOISE**2} | {name: one["MSE"] for name, one in results[VALIDATION].items()}
        draw(curves, floor, drawn, np.roll(true, -order_four, axis=0)).savefig(
            folder / "samovar_synthetic.png", dpi=120
        )
        draw_paths(trained["SAMoVAR"], validation[order_four] / scale).savefig(folder / "samovar_paths.png", dpi=120)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
