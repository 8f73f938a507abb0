"""What sharpness-aware training and sigma-reparam do to SAMformer: curvature, attention entropy, nuclear norms.

Three trainings that differ in nothing else: plain, with sharpness-aware minimisation, and with sigma-reparam, each on
the toy task of `sharpness_toy.py` and on a cut of ETTh1 (2,500 rows to train on, the 1,000 after them to test).
Measured afterwards:

- the largest eigenvalue of the Hessian of the training error over 256 windows, by power iteration in the weights that
  are in effect, so that sigma-reparam, which has others beside them, compares;
- the mean entropy of the rows of attention over 256 test windows, at most ln 7 = 1.95 where they are even;
- the nuclear norm (sum of singular values) of the product of query and key matrices, and that of the value matrix.

    python studies/samformer_minima.py

Writes studies/results/samformer_minima.json and docs/evidence/figures/samformer_minima.png.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sharpness_toy import CONTEXT, HORIZON, N_SERIES, curve, oracle, samples, toy_network
from torch import Tensor, nn
from torch.func import functional_call

from samovar_forecast.data.windows import Windows
from samovar_forecast.evaluation.pictures.style import COLORS, heading, new_figure, style
from samovar_forecast.files import datasets
from samovar_forecast.networks.samformer import SAMformer, SAMformerConfig, SpectralLinear

ROOT = Path(__file__).parents[1]
WAYS = {"plain": COLORS[1], "SAM": COLORS[0], "sigma-reparam": COLORS[2]}
TRAIN_ROWS, TEST_ROWS = 2_500, 1_000
MEASURES = {
    "test error": "MSE",
    "largest eigenvalue": "MSE per squared weight",
    "attention entropy": "nats",
    "query-key norm": "nuclear norm",
    "value norm": "nuclear norm",
}
RHO = 0.5


def etth1() -> tuple[Windows, Windows]:
    """Windows of the cut, scaled by its training rows."""
    frame = datasets.load("ETTh1").iloc[: TRAIN_ROWS + TEST_ROWS]
    training = frame.iloc[:TRAIN_ROWS]
    values = torch.tensor(((frame - training.mean()) / training.std(ddof=0)).to_numpy(), dtype=torch.float32)
    last = len(values) - HORIZON
    cutoffs = torch.arange(CONTEXT, TRAIN_ROWS - HORIZON + 1), torch.arange(TRAIN_ROWS, last + 1)
    return tuple(Windows.before(one, values, CONTEXT, HORIZON, N_SERIES) for one in cutoffs)  # type: ignore[return-value]


def etth1_network(seed: int, sigma_reparam: bool) -> SAMformer:
    torch.manual_seed(seed)
    return SAMformer(N_SERIES, N_SERIES, CONTEXT, HORIZON, SAMformerConfig(sigma_reparam=sigma_reparam))


def in_effect(network: SAMformer) -> SAMformer:
    """The same function with plain linear maps in place of those that sigma-reparam scales."""
    plain = copy.deepcopy(network).eval()
    for name, layer in list(plain.named_modules()):
        if isinstance(layer, SpectralLinear):
            linear = nn.Linear(layer.in_features, layer.out_features)
            with torch.no_grad():
                linear.weight.copy_(layer.scaled_weight())
                linear.bias.copy_(layer.bias)
            parent, _, own = name.rpartition(".")
            setattr(plain.get_submodule(parent), own, linear)
    return plain


def spread(windows: Windows, count: int) -> Tensor:
    """Starts of windows at equal distances."""
    return windows.starts[torch.linspace(0, len(windows) - 1, count).long()]


def largest_eigenvalue(network: SAMformer, windows: Windows, iterations: int = 40) -> float:
    """Of the Hessian of the mean squared error, the largest in size, by power iteration."""
    past, future, _ = windows.gather(spread(windows, 256))
    weights = {name: weight.detach().requires_grad_() for name, weight in network.named_parameters()}
    loss = (functional_call(network, weights, (past,)).squeeze(-1) - future).square().mean()
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    gradient = torch.cat([one.flatten() for one in gradients])
    direction = torch.randn(len(gradient), generator=torch.Generator().manual_seed(0))
    value = 0.0
    for _ in range(iterations):
        direction /= direction.norm()
        product = torch.autograd.grad(gradient @ direction, list(weights.values()), retain_graph=True)
        curved = torch.cat([one.flatten() for one in product])
        before, value = value, float(curved @ direction)
        direction = curved
        if abs(value - before) < 1e-4 * abs(value):
            break
    return value


@torch.no_grad()
def attention_entropy(network: SAMformer, windows: Windows) -> float:
    past, _, _ = windows.gather(spread(windows, 256))
    series, _ = network.norm(past, network.n_locations)
    attention = network.attention(series, series)
    return float(-(attention * attention.clamp_min(1e-30).log()).sum(-1).mean())


@torch.no_grad()
def nuclear_norms(network: SAMformer) -> tuple[float, float]:
    """Of the product of the query and key matrices, and of the value matrix."""
    layers = list(network.values) if isinstance(network.values, nn.Sequential) else [network.values]
    values = torch.eye(CONTEXT)
    for layer in layers:
        values = layer.weight @ values
    product = network.queries.weight.T @ network.keys.weight
    return tuple(float(torch.linalg.matrix_norm(one, ord="nuc")) for one in (product, values))  # type: ignore[return-value]


def measure(network: SAMformer, training: Windows, test: Windows, test_error: float) -> dict[str, float]:
    plain = in_effect(network)
    query_key, value = nuclear_norms(plain)
    found = (test_error, largest_eigenvalue(plain, training), attention_entropy(plain, test), query_key, value)
    return {name: round(one, 4) for name, one in zip(MEASURES, found, strict=True)}


def draw(results: dict[str, dict[str, list[dict[str, float]]]]) -> Figure:
    """A row for each task, a column for each measure, a dot for each seed."""
    figure = new_figure(13, 0.7 + 2.1 * len(results))
    grid = figure.subplots(len(results), len(MEASURES), squeeze=False)
    for row, (task, by_way) in zip(grid, results.items(), strict=True):
        for axes, (name, units) in zip(row, MEASURES.items(), strict=True):
            for place, (way, runs) in enumerate(by_way.items()):
                values = [run[name] for run in runs]
                across = place + 0.14 * (np.arange(len(values)) - (len(values) - 1) / 2)
                axes.plot(across, values, "o", color=WAYS[way], markersize=6, alpha=0.85, markeredgewidth=0)
            style(axes, name)
            axes.set_xticks(range(len(by_way)), [way.replace("-", "-\n") for way in by_way], fontsize=8.5)
            axes.set_xlim(-0.6, len(by_way) - 0.4)
            axes.set_ylabel(units, fontsize=8.5)
            axes.margins(y=0.2)
            axes.set_ylim(bottom=0)
        row[0].set_ylabel(f"{task}\n\nMSE", fontsize=9)
    heading(figure, "SAMformer after three ways of training, a dot for each seed")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--toy-seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="on ETTh1")
    parser.add_argument("--small", action="store_true", help="one epoch, ETTh1 alone, one seed")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.epochs, chosen.toy_seeds, chosen.seeds = 1, [], [0]
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(CONTEXT, HORIZON, generator=generator) / CONTEXT**0.5
    toy = tuple(samples(count, weight, generator) for count in (3_000, 100, 1_000)) if chosen.toy_seeds else None
    training, test = etth1()
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for way in WAYS:
        rho, sigma = (RHO if way == "SAM" else None), way == "sigma-reparam"
        for task, seeds in (("toy task", chosen.toy_seeds), ("cut of ETTh1", chosen.seeds)):
            for seed in seeds:
                if task == "toy task":
                    assert toy is not None
                    network, windows = toy_network(seed, 16, sigma), toy
                else:
                    network, windows = etth1_network(seed, sigma), (training, test.at(spread(test, 50)), test)
                errors = curve(network, rho, seed, chosen.epochs, *windows)
                found = measure(network, windows[0], windows[2], errors[-1])
                results.setdefault(task, {}).setdefault(way, []).append(found)
                print(task, way, seed, found, f"{time.perf_counter() - began:.0f} s", flush=True)
    if toy is not None:
        best = oracle(toy[0])
        past, future, _ = toy[2].gather(toy[2].starts)
        print("oracle of the toy task", float((torch.einsum("blc,lh->bhc", past, best) - future).square().mean()))
    (ROOT / "studies" / "results").mkdir(exist_ok=True)
    (ROOT / "studies" / "results" / "samformer_minima.json").write_text(json.dumps(results, indent=1))
    if not chosen.small:
        draw(results).savefig(ROOT / "docs" / "evidence" / "figures" / "samformer_minima.png", dpi=120)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
