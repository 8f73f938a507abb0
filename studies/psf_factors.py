"""Chord factors as an approximation of square matrices, beside a truncated SVD; and what they attend to when trained.

*Matrices*: eight kinds of 64 x 64, each approximated by a product of six chord factors (links 0, 1, 2, ..., 32 that
wrap round: 6 x 64 x 7 = 2,688 numbers, by Adam on the squared error, the best of two starts), and by the truncated SVD
of rank 21, which has 2,688 numbers as well (2 x 64 x 21).

*Attention*: the adding task of `psf_tasks.py` with 32 tokens, the answer read from the newest token alone. The row of
the product of all factors that the newest token reads, drawn for fresh examples whose two marked places are known.

    python studies/psf_factors.py

Writes studies/results/psf_factors.json, docs/evidence/figures/psf_factors.png and psf_attention_adding.png.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from psf_tasks import BATCH, LEARNING_RATE, SequenceModel, accuracy, adding
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from samovar_forecast.evaluation.pictures.style import COLORS, OBSERVED, heading, heat_map, legend, new_figure, style
from samovar_forecast.files import datasets
from samovar_forecast.layers.sparse_factor_attention import chord_product

ROOT = Path(__file__).parents[1]
N, N_FACTORS, N_LINKS, RANK, STARTS = 64, 6, 7, 21, 2
N_TOKENS = 32


def matrices() -> dict[str, Tensor]:
    """Square matrices of several kinds, each with a Frobenius norm of 8, as the identity has."""
    generator = torch.Generator().manual_seed(0)
    place = torch.arange(N, dtype=torch.float32)
    apart = (place[:, None] - place).abs()
    noise = torch.randn(N, N, generator=generator)
    hours = torch.tensor(datasets.load("ETTh1").iloc[: 24 * N, -1].to_numpy(), dtype=torch.float32).reshape(N, 24)
    days = (hours - hours.mean(1, keepdim=True)) / hours.std(1, keepdim=True).clamp_min(0.1)
    found = {
        "attention of the days of ETTh1": (days @ days.T / 24**0.5).softmax(-1),
        "smooth (Gaussian kernel)": torch.exp(-((apart / 8) ** 2)),
        "low rank (8)": noise[:, :8] @ torch.randn(8, N, generator=generator),
        "random": noise,
        "band of width 3": (apart <= 1).float(),
        "cumulative sums": (place[:, None] >= place).float(),
        "permutation": torch.eye(N)[torch.randperm(N, generator=generator)],
        "Fourier (cosine and sine)": torch.cos(angle := 2 * torch.pi * place[:, None] * place / N) + torch.sin(angle),
    }
    return {name: matrix * (8 / matrix.norm()) for name, matrix in found.items()}


def product_of_factors(weights: Tensor) -> Tensor:
    """The matrix that the factors (n_factors, N, n_links) make one after the other."""
    product = torch.eye(weights.shape[1]).unsqueeze(0)
    for factor in weights:
        product = chord_product(factor.unsqueeze(0), product, "circular")
    return product[0]


def by_factors(matrix: Tensor, steps: int, seed: int) -> float:
    """Relative error of the product found by Adam, from near the identity, at a rate that falls along half a cosine."""
    generator = torch.Generator().manual_seed(seed)
    weights = 0.1 * torch.randn(N_FACTORS, N, N_LINKS, generator=generator)
    weights[..., 0] += 0.8
    weights.requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = (product_of_factors(weights) - matrix).square().sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([weights], 10.0)  # a product of six has steep walls
        optimizer.step()
        schedule.step()
    return float((product_of_factors(weights.detach()) - matrix).norm() / matrix.norm())


def by_rank(matrix: Tensor) -> float:
    """Relative error of the truncated SVD, the best matrix of its rank."""
    values = torch.linalg.svdvals(matrix)
    return float(values[RANK:].norm() / values.norm())


def train_adding(steps: int) -> tuple[SequenceModel, float, list[tuple[int, float]]]:
    """The model with averaged weights, its accuracy on fresh examples, and the accuracy along the way."""
    torch.manual_seed(0)
    model = SequenceModel("adding", N_TOKENS, "past", residual=True, read="newest")
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    reached = []
    for step in range(1, steps + 1):
        sequences, answers = adding(BATCH, N_TOKENS)
        loss = torch.nn.functional.mse_loss(model(sequences), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        averaged.update_parameters(model)
        if step % 1000 == 0:
            reached.append((step, accuracy(averaged, "adding", N_TOKENS, 1000)))
            print(reached[-1], flush=True)
    return averaged.module, accuracy(averaged, "adding", N_TOKENS), reached


@torch.no_grad()
def attention_map(model: SequenceModel, sequences: Tensor) -> Tensor:
    """The product of all factors with their residuals: (example, token that reads, token that is read)."""
    tokens, attention = model.embedding(sequences), model.attention
    first = torch.eye(N_TOKENS).expand(len(tokens), -1, -1)
    product = first
    for weights in attention.weights(tokens):
        product = chord_product(weights, product, attention.direction, first if attention.residual else None)
    return product


def draw_matrices(errors: dict[str, dict[str, float]]) -> Figure:
    """Both errors of every matrix on one line."""
    figure = new_figure(9, 4.2)
    axes = figure.subplots()
    rows = range(len(errors))
    axes.hlines(rows, [min(one.values()) for one in errors.values()], [max(one.values()) for one in errors.values()],
                color="#d5d9e0", linewidth=2, zorder=1)  # fmt: skip
    for name, color in (("chord factors", COLORS[0]), ("truncated SVD", COLORS[1])):
        axes.plot([one[name] for one in errors.values()], rows, "o", color=color, markersize=8, label=name, alpha=0.9)
    style(axes, "", grid="x")
    axes.set_yticks(rows, errors)
    axes.set_ylim(len(errors) - 0.5, -0.5)
    axes.set(xlabel="relative error, |A - approximation| / |A| (Frobenius)", xlim=(-0.03, 1.0))
    legend(axes, loc="lower right")
    heading(figure, f"{N} x {N} matrices by six chord factors and by rank {RANK}, 2,688 numbers each")
    return figure


def draw_attention(maps: NDArray[np.float64], marks: NDArray[np.bool_], share: float) -> Figure:
    """The newest row for eight examples with their marked places; the whole map of the first example."""
    figure = new_figure(11, 4.4)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    heat_map(left, maps[:, -1], range(1, len(maps) + 1), range(1, N_TOKENS + 1), "weight", signed=True)
    example, place = np.nonzero(marks)
    left.plot(place, example, "s", markerfacecolor="none", markeredgecolor=OBSERVED, markersize=11, markeredgewidth=1.4)
    left.set_title("what the newest token reads (square: marked)", loc="left", fontsize=10.5, color=OBSERVED)
    left.set_xlabel("token, the newest at the right", fontsize=9.5, color=OBSERVED)
    left.set_ylabel("example", fontsize=9.5, color=OBSERVED)
    heat_map(right, maps[0], range(1, N_TOKENS + 1), range(1, N_TOKENS + 1), "weight", signed=True)
    right.set_title("all tokens of example 1", loc="left", fontsize=10.5, color=OBSERVED)
    right.set_xlabel("token that is read", fontsize=9.5, color=OBSERVED)
    right.set_ylabel("token that reads", fontsize=9.5, color=OBSERVED)
    heading(figure, f"Product of the factors on the adding task, {share:.1%} of fresh answers right")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200, help="of Adam for each matrix and start")
    parser.add_argument("--adding-steps", type=int, default=6000)
    parser.add_argument("--small", action="store_true", help="a few steps")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.steps, chosen.adding_steps = 20, 1000
    figures = ROOT / "docs" / "evidence" / "figures"
    began = time.perf_counter()
    elapsed: Callable[[], str] = lambda: f"{time.perf_counter() - began:.0f} s"  # noqa: E731
    errors = {}
    for name, matrix in matrices().items():
        starts = [by_factors(matrix, chosen.steps, seed) for seed in range(STARTS)]
        errors[name] = {"chord factors": round(min(starts), 4), "truncated SVD": round(by_rank(matrix), 4),
                        "worst start": round(max(starts), 4)}  # fmt: skip
        print(name, errors[name], elapsed(), flush=True)
    model, share, reached = train_adding(chosen.adding_steps)
    sequences, answers = adding(500, N_TOKENS)
    with torch.no_grad():
        right = ((model(sequences) - answers).abs() < 0.04).flatten()
    maps, marks = attention_map(model, sequences).double().numpy(), sequences[..., 1].numpy() > 0
    newest = np.abs(maps[:, -1, :-1])  # without itself
    marked = marks[:, :-1]
    size = {"marked": float(newest[marked].mean()), "others": float(newest[~marked].mean())}
    print("accuracy", share, "of the drawn", float(right.float().mean()), "mean size of weight", size, elapsed())
    (ROOT / "studies" / "results").mkdir(exist_ok=True)
    found = {"matrices": errors, "adding": {"accuracy": share, "along the way": reached, "mean size of weight": size}}
    (ROOT / "studies" / "results" / "psf_factors.json").write_text(json.dumps(found, indent=1))
    if not chosen.small:
        compared = {name: {k: v for k, v in one.items() if k != "worst start"} for name, one in errors.items()}
        draw_matrices(compared).savefig(figures / "psf_factors.png", dpi=120)
        draw_attention(maps[:8], marks[:8], share).savefig(figures / "psf_attention_adding.png", dpi=120)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
