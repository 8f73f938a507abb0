"""Train sparse factor attention on two synthetic tasks whose answer lies anywhere in a long sequence.

*adding*: every token is a number in (-1, 1] and a mark; the answer is .5 + (x1 + x2) / 4 for the two marked numbers,
correct within .04. *order*: six symbols; which of two symbols came first and second among four others, 4 classes.
Width 32, value width 8, batches of 40, Adam 1e-3, fresh examples at every step. By default the answer is read from the
newest token alone, so all that it knows came through the factors; ``--read all`` reads every token, as published.

    python studies/psf_tasks.py --task adding --n-tokens 128
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from samovar_forecast.layers.sparse_factor_attention import SparseFactorAttention

RESULTS = Path(__file__).parent / "results" / "psf_tasks.json"
D_MODEL, VALUE_WIDTH, BATCH, LEARNING_RATE = 32, 8, 40, 1e-3


def adding(n_examples: int, n_tokens: int) -> tuple[Tensor, Tensor]:
    """Numbers and marks (n_examples, n_tokens, 2), and the answers (n_examples, 1)."""
    numbers = 1 - 2 * torch.rand(n_examples, n_tokens)
    marked = two_places(n_examples, n_tokens)
    marks = torch.zeros_like(numbers).scatter_(1, marked, 1.0)
    return torch.stack([numbers, marks], -1), 0.5 + numbers.gather(1, marked).sum(1, keepdim=True) / 4


def order(n_examples: int, n_tokens: int) -> tuple[Tensor, Tensor]:
    """Symbols (n_examples, n_tokens), and the classes (n_examples,)."""
    symbols = torch.randint(4, (n_examples, n_tokens))
    relevant = torch.randint(2, (n_examples, 2))
    symbols.scatter_(1, two_places(n_examples, n_tokens).sort(1).values, 4 + relevant)
    return symbols, 2 * relevant[:, 0] + relevant[:, 1]


def two_places(n_examples: int, n_tokens: int) -> Tensor:
    """Two different places in each sequence: (n_examples, 2)."""
    return torch.rand(n_examples, n_tokens).topk(2, dim=1).indices


class SequenceModel(nn.Module):
    """Embedding, one layer of sparse factor attention, linear map of the newest token's values or of all of them."""

    def __init__(self, task: str, n_tokens: int, direction: str, residual: bool, read: str) -> None:
        super().__init__()
        self.embedding: nn.Module = nn.Linear(2, D_MODEL) if task == "adding" else nn.Embedding(6, D_MODEL)
        self.position = nn.Parameter(0.02 * torch.randn(n_tokens, D_MODEL)) if task == "order" else None
        self.attention = SparseFactorAttention(D_MODEL, n_tokens, VALUE_WIDTH, direction, residual=residual)
        self.reads_all = read == "all"
        self.answer = nn.Linear(VALUE_WIDTH * (n_tokens if self.reads_all else 1), 1 if task == "adding" else 4)

    def forward(self, sequence: Tensor) -> Tensor:
        tokens = self.embedding(sequence)
        values = self.attention(tokens if self.position is None else tokens + self.position)
        return self.answer(values.flatten(1) if self.reads_all else values[:, -1])


@torch.inference_mode()
def accuracy(model: nn.Module, task: str, n_tokens: int, n_examples: int = 5000) -> float:
    """Share of fresh examples that are answered correctly."""
    correct = 0
    for _ in range(n_examples // 500):
        sequences, answers = MAKE[task](500, n_tokens)
        output = model(sequences)
        right = (output - answers).abs() < 0.04 if task == "adding" else output.argmax(-1) == answers
        correct += int(right.sum())
    return correct / (n_examples // 500 * 500)


MAKE = {"adding": adding, "order": order}
LOSS = {"adding": nn.functional.mse_loss, "order": nn.functional.cross_entropy}


def train(options: argparse.Namespace) -> dict[str, object]:
    """Train until the accuracy reaches the goal or the steps are used up; the result is measured afterwards."""
    torch.manual_seed(options.seed)
    task, n_tokens = options.task, options.n_tokens
    model = SequenceModel(task, n_tokens, options.direction, not options.no_residual, options.read)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))  # the rate is constant, the answers settle
    began, total = time.perf_counter(), 0.0
    for step in range(1, options.steps + 1):
        sequences, answers = MAKE[task](BATCH, n_tokens)
        loss = LOSS[task](model(sequences), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        averaged.update_parameters(model)
        total += loss.item()
        if step % options.every == 0:
            reached = accuracy(averaged, task, n_tokens, 1000)
            print(f"{task} N={n_tokens} step {step}: loss {total / options.every:.5f}, accuracy {reached:.4f}, "
                  f"{time.perf_counter() - began:.0f} s", flush=True)  # fmt: skip
            total = 0.0
            if reached >= options.goal:
                break
    return {
        "task": task, "n_tokens": n_tokens, "direction": options.direction, "read": options.read,
        "residual": not options.no_residual, "seed": options.seed, "steps": step,
        "accuracy": round(accuracy(averaged, task, n_tokens), 4), "seconds": round(time.perf_counter() - began),
        "parameters": sum(p.numel() for p in model.parameters()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(MAKE), default="adding")
    parser.add_argument("--n-tokens", type=int, default=128)
    parser.add_argument("--direction", choices=["past", "circular"], default="past")
    parser.add_argument("--read", choices=["newest", "all"], default="newest")
    parser.add_argument("--no-residual", action="store_true")
    parser.add_argument("--steps", type=int, default=40_000, help="at most")
    parser.add_argument("--goal", type=float, default=0.995, help="accuracy on 1,000 fresh examples that ends training")
    parser.add_argument("--every", type=int, default=500, help="steps between two looks at the accuracy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    result = train(options := parser.parse_args())
    print(result)
    rows = json.loads(options.output.read_text()) if options.output.exists() else []
    measured = ("steps", "accuracy", "seconds", "parameters")
    same = {key: value for key, value in result.items() if key not in measured}
    rows = [
        row for row in rows if any(row[key] != value for key, value in same.items())
    ]  # a new run replaces an old one
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps([*rows, result], indent=1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
