"""Chord factors as an approximation of square matrices, beside a truncated SVD; and what they attend to when trained.

*Matrices*: eight kinds of 64 x 64, each approximated by a product of six chord factors (links 0, 1, 2, ..., 32 that
wrap round: 6 x 64 x 7 = 2,688 numbers, by Adam on the squared error, the best of two starts), and by the truncated SVD
of rank 21, which has 2,688 numbers as well (2 x 64 x 21).

*Attention*: the adding task of `psf_tasks.py` with 32 tokens, the answer read from the newest token alone. The newest
row of the product of all factors says how it weighs the values of every token; weight times value, taken to the answer,
is what a token adds to it: exactly, since all after the values is linear in them. Drawn for fresh examples whose marked
places are known.

    python studies/psf_factors.py
    python studies/psf_factors.py --part attention    one of the two alone

Writes studies/results/psf_factors.json, docs/evidence/figures/psf_factors.png and psf_attention_adding.png.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from psf_tasks import BATCH, LEARNING_RATE, SequenceModel, accuracy, adding
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from samovar_forecast.evaluation.pictures.style import COLORS, OBSERVED, heading, heat_map, new_figure, style
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
def attention_map(model: SequenceModel, sequences: Tensor) -> tuple[Tensor, Tensor]:
    """The product of all factors, and what every token adds to the answer.

    Shape
    -----
    output : (example, token that reads, token that is read) and (example, token)
    """
    tokens, attention = model.embedding(sequences), model.attention
    first = torch.eye(N_TOKENS).expand(len(tokens), -1, -1)
    product = first
    for weights in attention.weights(tokens):
        product = chord_product(weights, product, attention.direction, first if attention.residual else None)
    added = product[:, -1] * (attention.values(tokens) @ model.answer.weight[0])
    torch.testing.assert_close(added.sum(1) + model.answer.bias, model(sequences)[:, 0], rtol=1e-3, atol=1e-4)
    return product, added


def draw_matrices(errors: dict[str, dict[str, float]]) -> Figure:
    """Both errors of every matrix on one line."""
    figure = new_figure(9, 4.2)
    axes = figure.subplots()
    rows = range(len(errors))
    ways = {"chord factors": COLORS[0], "truncated SVD": COLORS[1]}
    ends = [[one[way] for way in ways] for one in errors.values()]
    axes.hlines(rows, [min(pair) for pair in ends], [max(pair) for pair in ends],
                color="#d5d9e0", linewidth=2, zorder=1)  # fmt: skip
    for name, color in ways.items():
        axes.plot([one[name] for one in errors.values()], rows, "o", color=color, markersize=8, label=name, alpha=0.9)
    style(axes, "", grid="x")
    axes.set_yticks(rows, errors)
    axes.set_ylim(len(errors) - 0.5, -0.5)
    axes.set(xlabel="relative error, |A - approximation| / |A| (Frobenius)", xlim=(-0.03, 1.0))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    heading(figure, f"{N} x {N} matrices by six chord factors and by rank {RANK}, 2,688 numbers each")
    return figure


def draw_attention(
    maps: NDArray[np.float64], added: NDArray[np.float64], marks: NDArray[np.bool_], share: float
) -> Figure:
    """What tokens add to the answer and how the newest one weighs them, with the marked places; one whole map."""
    figure = new_figure(14, 4.3)
    panels = figure.subplots(1, 3)
    examples, tokens = range(1, len(maps) + 1), range(1, N_TOKENS + 1)
    heat_map(panels[0], added, examples, tokens, "part of the answer", signed=True)
    heat_map(panels[1], maps[:, -1], examples, tokens, "weight", signed=True)
    heat_map(panels[2], maps[0], tokens, tokens, "weight", signed=True)
    example, place = np.nonzero(marks)
    for axes, title in zip(panels, ("added to the answer", "weights of the newest token"), strict=False):
        axes.plot(place, example, "s", markerfacecolor="none", markeredgecolor=OBSERVED, markersize=8)
        axes.set_title(f"{title} (square: marked)", loc="left", fontsize=10.5, color=OBSERVED)
        axes.set_xlabel("token, the newest at the right", fontsize=9.5, color=OBSERVED)
        axes.set_ylabel("example", fontsize=9.5, color=OBSERVED)
    panels[2].set_title("weights of all tokens, example 1", loc="left", fontsize=10.5, color=OBSERVED)
    panels[2].set_xlabel("token that is read", fontsize=9.5, color=OBSERVED)
    panels[2].set_ylabel("token that reads", fontsize=9.5, color=OBSERVED)
    heading(figure, f"The product of the factors on the adding task, {share:.1%} of fresh answers right")
    return figure


def compare_matrices(steps: int) -> dict[str, dict[str, float]]:
    began, errors = time.perf_counter(), {}
    for name, matrix in matrices().items():
        starts = [by_factors(matrix, steps, seed) for seed in range(STARTS)]
        errors[name] = {"chord factors": round(min(starts), 4), "truncated SVD": round(by_rank(matrix), 4),
                        "worst start": round(max(starts), 4)}  # fmt: skip
        print(name, errors[name], f"{time.perf_counter() - began:.0f} s", flush=True)
    return errors


def read_adding(steps: int) -> tuple[dict[str, object], Figure]:
    """Train on the adding task; how weights and additions of marked places differ from those of the others."""
    model, share, reached = train_adding(steps)
    sequences, _ = adding(500, N_TOKENS)
    product, parts = attention_map(model, sequences)
    maps, added = product.double().numpy(), parts.double().numpy()
    numbers, marks = sequences[..., 0].numpy(), sequences[..., 1].numpy() > 0
    usual = np.array([added[~marks[:, place], place].mean() for place in range(N_TOKENS)])  # of a place without a mark
    beyond = added - usual
    found = {
        "accuracy": share, "along the way": reached,
        "mean size of weight, marked and others": [float(np.abs(maps[:, -1][one]).mean()) for one in (marks, ~marks)],
        "deviation of what is added, marked and others": [float(beyond[one].std()) for one in (marks, ~marks)],
        "correlation of that with the marked number": float(np.corrcoef(beyond[marks], numbers[marks])[0, 1]),
        "its slope (exact: 0.25)": float(np.polyfit(numbers[marks], beyond[marks], 1)[0]),
    }  # fmt: skip
    return found, draw_attention(maps[:8], beyond[:8], marks[:8], share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["matrices", "attention", "both"], default="both")
    parser.add_argument("--steps", type=int, default=1200, help="of Adam for each matrix and start")
    parser.add_argument("--adding-steps", type=int, default=6000)
    parser.add_argument("--small", action="store_true", help="a few steps")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.steps, chosen.adding_steps = 20, 200
    path, figures = ROOT / "studies" / "results" / "psf_factors.json", ROOT / "docs" / "evidence" / "figures"
    path.parent.mkdir(exist_ok=True)
    results = json.loads(path.read_text()) if path.exists() else {}
    if chosen.part != "attention":
        results["matrices"] = errors = compare_matrices(chosen.steps)
        if not chosen.small:
            draw_matrices(errors).savefig(figures / "psf_factors.png", dpi=120)
    if chosen.part != "matrices":
        results["adding"], figure = read_adding(chosen.adding_steps)
        print(json.dumps(results["adding"], indent=1))
        if not chosen.small:
            figure.savefig(figures / "psf_attention_adding.png", dpi=110)
    path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
