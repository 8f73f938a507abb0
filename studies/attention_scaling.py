"""Time and memory of a training step of five attentions as the sequence grows from 2^7 to 2^13 tokens.

Sparse factor attention, linear attention (causal and over all tokens), softmax attention written out and torch's fused
one; all with one head, tokens of width 32 in and out, forward and backward of two sequences in one thread. Every point
runs in a process of its own: memory is the growth of the peak beyond a tiny step that comes first, time the median of
repeated steps, in seconds of the processor, which other work on the machine disturbs least. Growth exponents are slopes
of log2 over the last three doublings. Writes studies/results/attention_scaling.json and
docs/evidence/figures/attention_scaling.png.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from samovar_forecast.layers.mixed_attention import LinearAttention, MixedAttention
from samovar_forecast.layers.sparse_factor_attention import SparseFactorAttention

RESULTS = Path(__file__).parent / "results" / "attention_scaling.json"
FIGURE = Path(__file__).parents[1] / "docs" / "evidence" / "figures" / "attention_scaling.png"
LENGTHS = [2**k for k in range(7, 14)]
N_SEQUENCES, D_MODEL, VALUE_WIDTH = 2, 32, 8
MOST_SECONDS = 8.0  # of repeated steps


class SoftmaxAttention(nn.Module):
    """One head of softmax attention with maps in and out, written out or fused."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.maps = nn.Linear(D_MODEL, 3 * D_MODEL)
        self.output_projection = nn.Linear(D_MODEL, D_MODEL)

    def forward(self, tokens: Tensor) -> Tensor:
        queries, keys, values = self.maps(tokens).chunk(3, dim=-1)
        if self.fused:
            heads = (x.unsqueeze(1).contiguous() for x in (queries, keys, values))
            return self.output_projection(F.scaled_dot_product_attention(*heads).squeeze(1))
        weights = (queries @ keys.mT / D_MODEL**0.5).softmax(-1)  # (n_sequences, n_tokens, n_tokens)
        return self.output_projection(weights @ values)


def linear(causal: bool) -> nn.Module:
    return MixedAttention(D_MODEL, 1, LinearAttention(causal, blindspot=None, image=False, dropout=0.0))


def sparse_factors(n_tokens: int) -> nn.Module:
    return nn.Sequential(SparseFactorAttention(D_MODEL, n_tokens, VALUE_WIDTH), nn.Linear(VALUE_WIDTH, D_MODEL))


ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {
    "sparse factors": sparse_factors,
    "linear, causal": lambda n_tokens: linear(causal=True),
    "linear, all tokens": lambda n_tokens: linear(causal=False),
    "softmax, written out": lambda n_tokens: SoftmaxAttention(fused=False),
    "softmax, fused": lambda n_tokens: SoftmaxAttention(fused=True),
}


def step(layer: nn.Module, n_tokens: int) -> None:
    """Forward and backward, gradients of the tokens included."""
    tokens = torch.randn(N_SEQUENCES, n_tokens, D_MODEL, requires_grad=True)
    layer(tokens).square().mean().backward()


def measure(name: str, n_tokens: int) -> dict[str, float]:
    """Median processor seconds of a step, how many there were, and megabytes beyond a tiny step."""
    torch.set_num_threads(1)
    step(ATTENTIONS[name](16), 16)
    with torch.device("meta"):  # no memory: what the initial weights take to draw is not part of a step
        layer = ATTENTIONS[name](n_tokens)
    layer.to_empty(device="cpu")
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.1)
    before = peak()
    step(layer, n_tokens)
    megabytes = (peak() - before) / 2**20
    seconds: list[float] = []
    while len(seconds) < 5 or (len(seconds) < 50 and sum(seconds) < MOST_SECONDS):
        began = time.process_time()
        step(layer, n_tokens)
        seconds.append(time.process_time() - began)
    return {"seconds": statistics.median(seconds), "repeats": len(seconds), "megabytes": round(megabytes, 1)}


def peak() -> int:
    """Largest resident memory of this process so far, in bytes; unlike ru_maxrss not inherited from its parent."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def exponent(values: list[float]) -> float:
    """Slope of log2 over the last three doublings."""
    return float(torch.tensor(values[-1] / values[-4]).log2() / 3)


def draw(rows: list[dict[str, float | str]]) -> Figure:
    """Time and memory against the number of tokens, both axes logarithmic."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = zip(
        figure.subplots(1, 2),
        ("seconds", "megabytes"),
        ("processor seconds per step", "megabytes at the peak"),
        strict=True,
    )
    for axes, quantity, label in panels:
        for name in ATTENTIONS:
            points = [float(row[quantity]) for row in rows if row["attention"] == name]
            axes.plot(LENGTHS, points, marker="o", label=f"{name} (N^{exponent(points):.2f})")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("tokens N")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, title=f"growth from N = {LENGTHS[-4]} on", title_fontsize=8)
    return figure


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
        return
    rows: list[dict[str, float | str]] = []
    for n_tokens in LENGTHS:  # the attentions take turns, so that a slow minute of the machine meets all of them
        for name in ATTENTIONS:
            run = subprocess.run(
                [sys.executable, __file__, name, str(n_tokens)], capture_output=True, text=True, check=True
            )
            rows.append({"attention": name, "n_tokens": n_tokens, **json.loads(run.stdout)})
            print(rows[-1], flush=True)
    for name in ATTENTIONS:
        growth = {
            q: exponent([float(row[q]) for row in rows if row["attention"] == name]) for q in ("seconds", "megabytes")
        }
        print(f"{name}: time N^{growth['seconds']:.2f}, memory N^{growth['megabytes']:.2f}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1))
    FIGURE.parent.mkdir(exist_ok=True)
    draw(rows).savefig(FIGURE, dpi=120)


if __name__ == "__main__":
    main()
