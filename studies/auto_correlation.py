"""Time and memory of auto-correlation against the published way of computing it, at two lengths.

The published way, written here from its formulas: one inverse transform per head and channel; in training the values
rolled once per delay, each roll weighted by a full-sized copy of its weight; in inference the values repeated once and
gathered by a full-sized index once per delay. "aggregation" is the sum over delays alone, "whole" has the correlation
and the choice of delays before it; training includes gradients. Every case runs in a process of its own; memory is the
growth of the peak beyond the inputs, as Linux reports it. Writes studies/results/auto_correlation.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from samovar_forecast.layers.auto_correlation import auto_correlation, number_of_delays
from samovar_forecast.layers.fast.sum_of_rolls import sum_of_rolls

RESULTS = Path(__file__).parent / "results"
BATCH, N_HEADS, D_HEAD, FACTOR, LENGTHS = 32, 8, 64, 3, (96, 336)


def published_aggregation(values: Tensor, delays: Tensor, weights: Tensor, training: bool) -> Tensor:
    """Sum over delays of weighted rolls: (batch, n_heads, d_head, length), delays and weights (batch, n_delays)."""
    _, n_heads, d_head, length = values.shape
    total = torch.zeros_like(values)
    twice = values if training else values.repeat(1, 1, 1, 2)
    for i in range(delays.shape[1]):
        if training:
            pattern = torch.roll(values, -int(delays[0, i]), -1)
        else:
            index = torch.arange(length).expand(values.shape) + delays[:, i].reshape(-1, 1, 1, 1)
            pattern = torch.gather(twice, -1, index)
        total = total + pattern * weights[:, i].reshape(-1, 1, 1, 1).repeat(1, n_heads, d_head, length)
    return total


def published(queries: Tensor, keys: Tensor, values: Tensor, n_delays: int, training: bool) -> Tensor:
    """Auto-correlation of (batch, length, n_heads, d_head)."""
    queries, keys, values = (x.permute(0, 2, 3, 1).contiguous() for x in (queries, keys, values))
    product = torch.fft.rfft(queries, dim=-1) * torch.conj(torch.fft.rfft(keys, dim=-1))
    correlation = torch.fft.irfft(product, n=queries.shape[-1], dim=-1).mean(1).mean(1)  # (batch, length)
    if training:
        delays = correlation.mean(0).topk(n_delays).indices.expand(len(values), -1)
    else:
        delays = correlation.topk(n_delays).indices
    weights = correlation.gather(1, delays).softmax(-1)
    return published_aggregation(values, delays, weights, training).permute(0, 3, 1, 2)


def case(way: str, part: str, mode: str, length: int, batch: int) -> tuple[Callable[[], Tensor], list[Tensor]]:
    """What to run, and the inputs that have gradients in training."""
    training, n_delays = mode == "training", number_of_delays(FACTOR, length)
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).requires_grad_(training)

    if part == "whole":
        shape = (batch, length, N_HEADS, D_HEAD) if way == "published" else (batch, length, N_HEADS * D_HEAD)
        q, k, v = random(*shape), random(*shape), random(*shape)
        function = published if way == "published" else auto_correlation
        return lambda: function(q, k, v, n_delays, training), [q, k, v]
    weights = random(batch, n_delays)
    delays = torch.rand(1 if training else batch, length, generator=generator).topk(n_delays).indices.expand(batch, -1)
    if way == "published":
        v = random(batch, N_HEADS, D_HEAD, length)
        return lambda: published_aggregation(v, delays, weights, training), [v, weights]
    v = random(batch, length, N_HEADS * D_HEAD)
    return lambda: sum_of_rolls(v, delays, weights), [v, weights]


def run(function: Callable[[], Tensor], inputs: list[Tensor]) -> None:
    output = function()
    if output.requires_grad:
        torch.autograd.grad(output, inputs, torch.ones_like(output))


def megabytes(field: str) -> float:
    """A field of the process's memory: VmRSS is what it holds now, VmHWM the most it held since the last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) * 1024 / 1e6


def measure(way: str, part: str, mode: str, length: int) -> dict[str, float]:
    """Peak memory beyond the inputs in MB, and the least of seven times in milliseconds."""
    torch.set_num_threads(1)
    run(*case(way, part, mode, length, batch=1))  # the libraries are loaded before memory is looked at
    function, inputs = case(way, part, mode, length, BATCH)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, seconds = megabytes("VmRSS"), []
    for _ in range(7):
        began = time.perf_counter()
        run(function, inputs)
        seconds.append(time.perf_counter() - began)
    return {"milliseconds": round(1e3 * min(seconds), 2), "megabytes": round(megabytes("VmHWM") - before, 1)}


def check() -> None:
    """Both ways are one function."""
    for training in (True, False):
        tokens = [torch.randn(3, 97, 2, 8, dtype=torch.float64) for _ in range(3)]
        ours = auto_correlation(*(x.flatten(2) for x in tokens), 5, training)
        torch.testing.assert_close(ours, published(*tokens, 5, training).flatten(2))


def main() -> None:
    if len(sys.argv) > 1:
        way, part, mode, length = sys.argv[1:]
        print(json.dumps(measure(way, part, mode, int(length))))
        return
    check()
    rows = []
    for length in LENGTHS:
        for mode in ("training", "inference"):
            for part in ("whole", "aggregation"):
                found = {}
                for way in ("published", "ours"):
                    command = [sys.executable, __file__, way, part, mode, str(length)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    found[way] = json.loads(done.stdout)
                ratio = {unit: round(found["published"][unit] / found["ours"][unit], 1) for unit in found["ours"]}
                rows.append({"length": length, "mode": mode, "part": part, **found, "published / ours": ratio})
                print(rows[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "auto_correlation.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
