"""SAMformer's toy regression: attention that does not train without sharpness-aware minimisation.

The target is a linear map of the input, ``y = x W + noise``, drawn as 10,000 samples to train on, 5,000 to choose the
epoch and 2,000 to test. The network is SAMformer without its normalisation; the oracle is the least-squares map of
the training samples. Its attention has nothing to find, so all it needs is not to stand in the way. The values have
rank 16, as in the authors' own network.

    python studies/sharpness_toy.py
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from samovar_forecast.data.windows import Windows
from samovar_forecast.networks.samformer import SAMformer, SAMformerConfig, SpectralLinear
from samovar_forecast.training.engine import train
from samovar_forecast.training.recipes import SAMformerRecipe

ROOT = Path(__file__).parents[1]
N_SERIES, CONTEXT, HORIZON = 7, 512, 96
NOISE = 0.5


class Unnormalised(nn.Module):
    """Stands in for SAMformer's normalisation and leaves the windows as they are."""

    def forward(self, past: Tensor, n_locations: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return past.transpose(1, 2), lambda forecast: forecast


def samples(count: int, weight: Tensor, generator: torch.Generator) -> Windows:
    """Samples one after the other as rows, so that the engine gathers them like windows of a series."""
    past = torch.randn(count, CONTEXT, N_SERIES, generator=generator)
    future = torch.einsum("blc,lh->bhc", past, weight)
    future += NOISE * torch.randn(future.shape, generator=generator)
    rows = torch.cat([past, future], dim=1).flatten(0, 1)
    return Windows(rows, torch.arange(count) * (CONTEXT + HORIZON), CONTEXT, HORIZON, N_SERIES)


def error(windows: Windows, forecast: Callable[[Tensor], Tensor]) -> float:
    """Mean squared error over all samples."""
    total = 0.0
    with torch.inference_mode():
        for starts in windows.starts.split(500):
            past, future, _ = windows.gather(starts)
            total += float((forecast(past) - future).square().mean()) * len(starts)
    return total / len(windows)


def oracle(windows: Windows) -> Tensor:
    """The least-squares map of the samples."""
    gram, cross = torch.zeros(CONTEXT, CONTEXT), torch.zeros(CONTEXT, HORIZON)
    for starts in windows.starts.split(500):
        past, future, _ = windows.gather(starts)
        inputs, outputs = past.transpose(1, 2).flatten(0, 1), future.transpose(1, 2).flatten(0, 1)
        gram += inputs.T @ inputs
        cross += inputs.T @ outputs
    return torch.linalg.solve(gram, cross)


def toy_network(seed: int, value_rank: int | None, sigma_reparam: bool = False) -> SAMformer:
    """SAMformer without normalisation, with initial weights under which attention starts far from even."""
    torch.manual_seed(seed)
    config = SAMformerConfig(value_rank=value_rank, sigma_reparam=sigma_reparam)
    network = SAMformer(N_SERIES, N_SERIES, CONTEXT, HORIZON, config)
    network.norm = Unnormalised()
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)  # as in the authors' experiment
            nn.init.zeros_(layer.bias)
        if isinstance(layer, SpectralLinear):  # its singular vectors are those of the weights that it was made with
            left, _, right = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
            layer.left, layer.right = left[:, 0].clone(), right[0].clone()
    return network


def curve(
    network: SAMformer,
    rho: float | None,
    seed: int,
    epochs: int,
    training: Windows,
    validation: Windows,
    test: Windows,
) -> list[float]:
    """Train the network in place; test errors after every epoch. The rate falls along half a cosine."""
    errors: list[float] = []
    for epoch in range(epochs):
        rate = 1e-3 * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        recipe = SAMformerRecipe(
            sharpness_rho=rho, learning_rate=rate, max_epochs=1, patience=None, schedule="constant", device="cpu"
        )
        train(network, training, validation, recipe, seed=1000 * seed + epoch)
        errors.append(error(test, lambda past: network(past).squeeze(-1)))
        print(rho, seed, epoch + 1, round(errors[-1], 5), flush=True)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rho", type=float, nargs="+", default=[0.5, 1.0])
    parser.add_argument("--value-rank", type=int, default=16, help="0: values of full rank")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    chosen = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(CONTEXT, HORIZON, generator=generator) / CONTEXT**0.5
    training, validation, test = (samples(count, weight, generator) for count in (10_000, 5_000, 2_000))
    best_map = oracle(training)
    results = {"oracle": error(test, lambda past: torch.einsum("blc,lh->bhc", past, best_map))}
    print(results, flush=True)
    curves: dict[str, list[float]] = {}
    for rho in [None, *chosen.rho]:
        for seed in chosen.seeds:
            name = f"{'without' if rho is None else f'rho {rho}'}, seed {seed}"
            network = toy_network(seed, chosen.value_rank or None)
            curves[name] = curve(network, rho, seed, chosen.epochs, training, validation, test)
            results[name] = curves[name][-1]
    (ROOT / "studies" / "results").mkdir(exist_ok=True)
    (ROOT / "studies" / "results" / "sharpness_toy.json").write_text(
        json.dumps({**results, "curves": curves}, indent=1)
    )
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for name, errors in curves.items():
        axes.plot(range(1, len(errors) + 1), errors, label=name)
    axes.axhline(results["oracle"], color="black", linestyle="--", label="oracle")
    axes.set(xlabel="epoch", ylabel="test error (MSE)", title="Attention over series on a linear task")
    axes.legend()
    figure.savefig(ROOT / "docs" / "evidence" / "figures" / "sharpness_toy.png", dpi=150)


if __name__ == "__main__":
    main()
