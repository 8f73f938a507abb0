"""What each fast form earns in a whole training step: plain PyTorch in its place, in turns with all forms on.

Every variant is a process of its own with one form taken out; all of them do the same step on the same data, one after
the other, so that a slow minute of the machine meets all. First their forecasts are compared. A ratio above 1 is what
the step takes longer without the form.

    python studies/speed/tricks.py SAMoVAR 7 [--compile] [--turns 30] [--against SCRIPT] [VARIANT ...]

``--against`` adds a variant: this script in another checkout, with nothing taken out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import steps
import torch
import torch.nn.functional as F
from measuring import ratio, rounded
from torch import Tensor, nn

import samovar_forecast
from samovar_forecast.layers import (
    arx_tokens,
    auto_correlation,
    chord,
    decomposition,
    dropout,
    feed_forward,
    instance_norm,
    linear,
    linear_attention,
    observed,
    revin,
    rms_norm,
    sparse_factor_attention,
)
from samovar_forecast.networks import autoformer, samovar, segment_network

CONTEXT_LENGTH = {"SAMoVAR": 1024, "PSFAttention": 512, "Autoformer": 512}
D_MODEL = {7: 64, 21: 128}  # of SAMoVAR, the others have their defaults
HORIZON, BATCH_SIZE = 96, 32


def feed_forward_in_pieces() -> None:
    feed_forward.FeedForward.forward = nn.Sequential.forward


def bias_after_the_product() -> None:
    linear.Linear.forward = nn.Linear.forward


def plain_rms_norm(tokens: Tensor, scale: Tensor, eps: float, dim: int = -1) -> Tensor:
    if dim == -1:
        return F.rms_norm(tokens, tokens.shape[-1:], eps=eps) * scale
    return tokens * (tokens.square().mean(dim, keepdim=True) + eps).rsqrt() * scale


def own_rms_norm() -> None:
    samovar.rms_norm = plain_rms_norm
    rms_norm.RMSNorm.forward = nn.RMSNorm.forward


def column_sums() -> None:
    rms_norm.column_sums = lambda rows: rows.sum(tuple(range(rows.dim() - 1)))


def own_dropout() -> None:
    dropout.Dropout.forward = nn.Dropout.forward


def plain_masked(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    n_queries, n_tokens = queries.shape[-2], keys.shape[-2]
    group = n_tokens // n_queries
    seen = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=keys.device).tril()[group - 1 :: group]
    return (queries @ keys.mT * seen) @ values


def masked_attention() -> None:
    linear_attention._masked = plain_masked


def narrow_heads_transposed() -> None:
    linear_attention._weigh = lambda weights, tokens, narrow: torch.bmm(weights, tokens)


def features_first() -> None:
    samovar.tokens_side_by_side = linear_attention.tokens_side_by_side = lambda heads: False


def contiguous_heads() -> None:
    samovar.SAMoVAR.split_heads = lambda self, tokens: tokens.unflatten(-1, (self.n_heads, -1)).transpose(-2, -3)


def norms_layer_by_layer() -> None:
    def joint(self: Any, tokens: Tensor, main_last: bool) -> list[Tensor]:
        made = samovar.rms_norm(self.projection(tokens).unflatten(-1, (-1, *self.heads)), self.scale, 1e-8)
        pieces = made.transpose(-4, -2).unbind(-3)
        return samovar._shortened(pieces, -2) if main_last else list(pieces)

    samovar.DynamicWeights._tokens_first = joint


def main_queries_alone() -> None:
    def backbone(self: Any, tokens: Tensor, series: slice = slice(None)) -> Tensor:
        tokens = self.transform_tokens(tokens)
        queries, values = self.weights(tokens, series)
        attended = self.output_map(sum(self.layer_outputs(queries, self.split_heads(tokens), values)))
        return segment_network.main_tokens(tokens + attended.transpose(-2, -3).flatten(-2))

    samovar.SAMoVAR.backbone = backbone


def observed_by_comparison() -> None:
    for module in (observed, instance_norm, segment_network, revin):
        module.is_observed = lambda values: ~values.isnan()


def mixture_from_the_left() -> None:
    arx_tokens.ARXTokens._mix = lambda self, segments: self.mixture(segments.movedim(1, -1)).movedim(-1, 1)


def freed_memory() -> None:
    steps.keep_freed_memory = lambda: None


def perceptrons_in_chunks() -> None:
    def forward(self: Any, tokens: Tensor) -> tuple[Tensor, ...]:
        hidden = F.gelu(F.linear(tokens, self.hidden_weight, self.hidden_bias)).unflatten(-1, (len(self.link_bias), -1))
        return (torch.einsum("...fd,fld->...fl", hidden, self.link_weight) + self.link_bias).unbind(-2)

    sparse_factor_attention.FactorWeights.forward = forward


def perceptrons_chunked_alone() -> None:
    def forward(self: Any, tokens: Tensor) -> tuple[Tensor, ...]:
        inputs = (self.hidden_weight, self.hidden_bias, self.link_weight, self.link_bias)
        links = sparse_factor_attention._perceptrons(tokens.flatten(0, -2), *inputs).unbind()
        return tuple(link.unflatten(-1, tokens.shape[:-1]).movedim(0, -1) for link in links)

    sparse_factor_attention.FactorWeights.forward = forward


def plain_chord_product(weights: Tensor, values: Tensor, direction: str, added: Tensor | None = None) -> Tensor:
    product = torch.zeros_like(values) if added is None else added
    for link, offset in zip(weights.unbind(-1), chord.chord_offsets(weights.shape[-1]), strict=True):
        if direction == "past":
            moved = F.pad(values, (0, 0, offset, -offset)) if offset < values.shape[1] else torch.zeros_like(values)
        else:
            moved = values.roll(-offset, 1)
        product = product + link.unsqueeze(-1) * moved
    return product


def chord_product() -> None:
    sparse_factor_attention.chord_product = plain_chord_product


def recorded_chord_product() -> None:
    class Recorded:
        @staticmethod
        def apply(*inputs: Any) -> Tensor:
            return chord._multiply(*inputs)

    chord._ChordProduct = Recorded


def gradient_of_rolls() -> None:
    def sum_of_rolls(values: Tensor, delays: Tensor, weights: Tensor) -> Tensor:
        batch, length, _ = values.shape
        rows = torch.arange(length, device=values.device).unsqueeze(1) + delays.unsqueeze(1)
        first = length * torch.arange(batch, device=values.device).reshape(-1, 1, 1)
        summed = F.embedding_bag(
            (rows % length + first).flatten(0, 1),
            values.flatten(0, 1),
            per_sample_weights=weights.unsqueeze(1).expand_as(rows).flatten(0, 1),
            mode="sum",
        )
        return summed.unflatten(0, (batch, length))

    auto_correlation.sum_of_rolls = sum_of_rolls


def rolls_by_embedding_bag() -> None:
    def sum_of_rolls(values: Tensor, delays: Tensor, weights: Tensor) -> Tensor:
        length = values.shape[1]
        total = torch.zeros_like(values)
        for delay, weight in zip(delays.unbind(1), weights.unbind(1), strict=True):
            rows = (torch.arange(length, device=values.device) + delay.unsqueeze(1)) % length  # (batch, length)
            rolled = values.gather(1, rows.unsqueeze(-1).expand_as(values))
            total = total + weight[:, None, None] * rolled
        return total

    auto_correlation.sum_of_rolls = sum_of_rolls


def gradient_of_correlation() -> None:
    def auto(queries: Tensor, keys: Tensor, values: Tensor, n_delays: int, shared_delays: bool = False) -> Tensor:
        batch, length, n_channels = queries.shape
        keys, values = (auto_correlation.fit_length(x, length) for x in (keys, values))
        correlation = auto_correlation.circular_correlation(queries, keys)
        chosen = correlation.detach().mean(0, keepdim=True) if shared_delays else correlation.detach()
        delays = auto_correlation.strongest_delays(chosen, n_delays).expand(batch, -1)
        weights = (correlation.gather(1, delays) / n_channels).softmax(-1)
        return auto_correlation.sum_of_rolls(values, delays, weights)

    auto_correlation.auto_correlation = auto


def moving_average_as_a_matrix() -> None:
    decomposition.SeriesDecomposition.forward = lambda self, series: (
        series - (trend := self._pooled(series)),
        trend,
    )


def convolution_as_a_product() -> None:
    def forward(self: Any, rows: Tensor) -> Tensor:
        padded = F.pad(rows.transpose(1, 2), (1, 1), mode="circular")
        return F.conv1d(padded, self.weight).transpose(1, 2)

    autoformer.CircularConvolution.forward = forward


Form = Callable[[], None]
ATTENTION = (masked_attention, features_first, contiguous_heads)
FEED_FORWARD = (feed_forward_in_pieces, bias_after_the_product)
SAMOVAR = (
    *FEED_FORWARD, own_rms_norm, column_sums, own_dropout, masked_attention, narrow_heads_transposed, features_first,
    contiguous_heads, norms_layer_by_layer, main_queries_alone, observed_by_comparison, mixture_from_the_left,
    freed_memory,
)  # fmt: skip
PSF = (perceptrons_in_chunks, perceptrons_chunked_alone, chord_product, recorded_chord_product, freed_memory)
AUTOFORMER = (
    gradient_of_rolls, rolls_by_embedding_bag, gradient_of_correlation, moving_average_as_a_matrix,
    convolution_as_a_product, observed_by_comparison, freed_memory,
)  # fmt: skip


def together(forms: Sequence[Form], *kept: Form) -> tuple[Form, ...]:
    return tuple(form for form in forms if form not in kept)


VARIANTS: dict[str, dict[str, tuple[Form, ...]]] = {
    "SAMoVAR": {form.__name__: (form,) for form in SAMOVAR}
    | {
        "attention, all of it": ATTENTION,
        "feed-forward, both": FEED_FORWARD,
        "everything": SAMOVAR,
        "everything but freed memory": together(SAMOVAR, freed_memory),
        "everything but freed memory and main queries": together(SAMOVAR, freed_memory, main_queries_alone),
    },
    "PSFAttention": {form.__name__: (form,) for form in PSF} | {"everything": (perceptrons_in_chunks, chord_product)},
    "Autoformer": {form.__name__: (form,) for form in AUTOFORMER},
}


def work(network_name: str, n_series: int, compiled: bool, forms: Sequence[Form]) -> None:
    """Take the forms out, build the step, print what the network forecasts, then do a step for every line read."""
    torch.set_num_threads(1)
    for form in forms:
        form()
    context_length = CONTEXT_LENGTH[network_name]
    settings = {"d_model": D_MODEL[n_series]} if network_name == "SAMoVAR" else {}
    if network_name == "Autoformer":
        settings["calendar"] = None
    forecaster = getattr(samovar_forecast, f"{network_name}Forecaster")(
        horizon=HORIZON, context_length=context_length, batch_size=BATCH_SIZE, device="cpu", **settings
    )
    windows = steps.windows_of(steps.synthetic_series(5_000, n_series), context_length, HORIZON)
    torch.manual_seed(0)
    network = type(forecaster).network_class(n_series, n_series, context_length, HORIZON, forecaster)
    past = torch.randn(2, context_length, n_series)
    print(json.dumps(network.eval()(past).flatten()[:200].tolist()), flush=True)
    step = steps.training_step(network, forecaster, windows, compile_it=compiled)
    for _ in range(3):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        step()  # finds caches and memory as it has left them
        wall, processor = time.perf_counter(), time.process_time()
        step()
        print(json.dumps([time.process_time() - processor, time.perf_counter() - wall]), flush=True)


class Worker:
    """A variant in a process of its own: a fork of this one, or a script of another checkout."""

    def __init__(self, ask: TextIO, answer: TextIO) -> None:
        self.ask, self.answer = ask, answer
        self.forecast = torch.tensor(json.loads(self.answer.readline()))
        assert self.answer.readline() == "ready\n"

    @classmethod
    def fork(cls, *arguments: Any) -> Worker:
        (asked, ask), (answer, answered) = os.pipe(), os.pipe()
        if os.fork() == 0:
            os.close(ask)
            os.dup2(asked, 0)
            os.dup2(answered, 1)
            work(*arguments)
            sys.stdout.flush()
            os._exit(0)
        os.close(asked)
        os.close(answered)
        os.set_inheritable(ask, False)
        return cls(os.fdopen(ask, "w"), os.fdopen(answer))

    @classmethod
    def of_script(cls, script: Path, *arguments: str) -> Worker:
        root = script.resolve().parents[2]
        environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'adapters'}"}
        command = [sys.executable, str(script), *arguments, "--worker"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, env=environment, **pipes)
        return cls(process.stdin, process.stdout)  # type: ignore[arg-type]

    def step(self) -> list[float]:
        """Seconds of the processor, and of the clock."""
        print(file=self.ask, flush=True)
        return json.loads(self.answer.readline())


def fast_calls(times: list[float]) -> float:
    """Mean of the fastest quarter: those that nothing else on the machine has slowed down."""
    return statistics.mean(sorted(times)[: max(1, len(times) // 4)])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=VARIANTS)
    parser.add_argument("n_series", type=int)
    parser.add_argument("variants", nargs="*")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--worker", action="store_true")
    arguments = parser.parse_args()
    variants = VARIANTS[arguments.network]
    if arguments.worker:
        work(arguments.network, arguments.n_series, arguments.compile, ())
        return
    case = [arguments.network, str(arguments.n_series), *(["--compile"] if arguments.compile else [])]
    names = arguments.variants or ([] if arguments.against else variants)
    workers = {}
    for name in ("all on", *names):
        taken_out = variants.get(name, ())
        workers[name] = Worker.fork(arguments.network, arguments.n_series, arguments.compile, taken_out)
        print(f"{name} is ready", file=sys.stderr, flush=True)
    if arguments.against is not None:
        workers["against"] = Worker.of_script(arguments.against, *case)
    expected = workers["all on"].forecast
    for worker in workers.values():
        torch.testing.assert_close(worker.forecast, expected, rtol=1e-3, atol=1e-4)
    times: dict[str, list[list[float]]] = {name: [] for name in workers}
    for _ in range(arguments.turns):
        for name, worker in workers.items():
            times[name].append(worker.step())
    for worker in workers.values():
        worker.ask.close()

    def seconds(name: str, clock: int) -> list[float]:
        return [pair[clock] for pair in times[name]]

    print(f"\n{' '.join(case)}, {arguments.turns} turns, {torch.backends.cpu.get_cpu_capability()}")
    for name in workers:
        pairs = [x / y for x, y in zip(seconds(name, 0), seconds("all on", 0), strict=True)]
        low, middle, high = statistics.quantiles(pairs)
        fastest = fast_calls(seconds(name, 0)) / fast_calls(seconds("all on", 0))
        milliseconds = rounded(1e3 * fast_calls(seconds(name, 0)))
        print(
            f"{name:45} {milliseconds:8.1f} ms   fastest x{fastest:.3f}   pairs x{middle:.3f} ({low:.3f} to {high:.3f})"
            f"   clock x{ratio(seconds(name, 1), seconds('all on', 1)):.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
