"""What each fast form earns in a whole training step: plain PyTorch in its place, in turns with all forms on.

Every variant is a process of its own with one form taken out; all of them do the same step on the same data, one after
the other, so that a slow minute of the machine meets all. First their forecasts are compared. A ratio above 1 is what
the step takes longer without the form.

    python studies/speed/tricks.py SAMoVAR 7 ["without RMS norm" "only freed memory" ...] [--compile] [--turns 30]

``--against SCRIPT`` adds a variant: this script in another checkout, with nothing taken out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import steps
import torch
from measuring import ratio, rounded
from torch import Tensor, nn
from torch.nn import functional

import samovar_forecast
from samovar_forecast.layers import auto_correlation, dropout, rms_norm
from samovar_forecast.layers.fast.rms_norm import plain_rms_norm
from samovar_forecast.networks import autoformer

CONTEXT_LENGTH = {"SAMoVAR": 1024, "PSFAttention": 512, "Autoformer": 512}
D_MODEL = {7: 64, 21: 128}  # of SAMoVAR, the others have their defaults
HORIZON, BATCH_SIZE = 96, 32
Form = Callable[[], None]


def own_rms_norm() -> None:
    rms_norm.fast_rms_norm = plain_rms_norm


def own_dropout() -> None:
    dropout.Dropout.forward = nn.Dropout.forward


def freed_memory() -> None:
    steps.keep_freed_memory = lambda: None


def library_convolution() -> None:
    def forward(self: Any, series: Tensor) -> Tensor:
        padded = functional.pad(series.transpose(1, 2), (1, 1), mode="circular")
        return functional.conv1d(padded, self.weight).transpose(1, 2)

    autoformer.CircularConvolution.forward = forward


def scattered_rolls() -> None:
    def rolls(values: Tensor, delays: Tensor, weights: Tensor) -> Tensor:
        batch, length, _ = values.shape
        rows = (torch.arange(length).unsqueeze(1) + delays.unsqueeze(1)) % length  # (batch, length, n_delays)
        first_rows = length * torch.arange(batch).reshape(-1, 1, 1)
        shares = weights.to(values.dtype).unsqueeze(1).expand_as(rows)
        summed = functional.embedding_bag(
            (rows + first_rows).flatten(0, 1), values.flatten(0, 1), per_sample_weights=shares.flatten(0, 1), mode="sum"
        )
        return summed.unflatten(0, (batch, length))

    auto_correlation.sum_of_rolls = rolls


FORMS: dict[str, Form] = {
    "RMS norm": own_rms_norm, "dropout": own_dropout, "freed memory": freed_memory,
    "convolution as a product": library_convolution, "gradient of rolls": scattered_rolls,
}  # fmt: skip


def taken_out(variant: str) -> tuple[Form, ...]:
    """The forms that a variant goes without: "without A" goes without A, "only A, B" without all but A and B."""
    kind, _, names = variant.partition(" ")
    chosen = names.split(", ")
    return tuple(form for name, form in FORMS.items() if (name in chosen) == (kind == "without"))


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
    parser.add_argument("network", choices=CONTEXT_LENGTH)
    parser.add_argument("n_series", type=int)
    parser.add_argument("variants", nargs="*")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--worker", action="store_true")
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.network, arguments.n_series, arguments.compile, ())
        return
    case = [arguments.network, str(arguments.n_series), *(["--compile"] if arguments.compile else [])]
    names = arguments.variants or ([] if arguments.against else [f"without {name}" for name in FORMS])
    workers = {}
    for name in ("all on", *names):
        forms = () if name == "all on" else taken_out(name)
        workers[name] = Worker.fork(arguments.network, arguments.n_series, arguments.compile, forms)
        print(f"{name} is ready", file=sys.stderr, flush=True)
    if arguments.against is not None:
        workers["against"] = Worker.of_script(arguments.against, *case)
    expected = workers["all on"].forecast
    for worker in workers.values():
        torch.testing.assert_close(worker.forecast, expected, rtol=1e-3, atol=1e-4)
    times: dict[str, list[list[float]]] = {name: [] for name in workers}
    for _ in range(arguments.turns):
        for name, worker in random.sample(list(workers.items()), len(workers)):  # none always comes after the same
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
