"""SAMoVAR's training step against the forms it replaces and against the matrix products in it.

Batch 32, 1024 -> 96, 3 layers, 8 heads. All forms are one function with the same weights (checked first) and take turns
in one process, and so do the two floors: all matrix products of the step at the rate of a large one, and the very
products of the step with nothing between them. Then a profile says where the rest of the time goes.
"""

from __future__ import annotations

import copy
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from measuring import Case, milliseconds, ratio, rounded, run_part, take_turns
from plain_networks import MaskedSAMoVAR, PlainSAMoVAR, RunningSumSAMoVAR
from products import Products, large_product
from steps import synthetic_series, training_step, windows_of
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.networks.samovar import SAMoVAR
from samovar_forecast.training.devices import emulates_bfloat16

CONTEXT_LENGTH, HORIZON, BATCH_SIZE = 1024, 96, 32
FORMS: dict[str, dict[str, Any]] = {  # of our network
    "ours": {},
    "ours, compiled": {"compile_it": True},
}
if not emulates_bfloat16():  # as slow as it is, it would leave few turns to the others
    FORMS |= {
        "ours, bfloat16": {"dtype": torch.bfloat16},
        "ours, compiled, bfloat16": {"compile_it": True, "dtype": torch.bfloat16},
    }
CASES: list[Case] = [
    {"n_series": 7, "d_model": 64, "seconds": 20},
    {"n_series": 21, "d_model": 128, "seconds": 60},
    {"n_series": 7, "d_model": 64, "seconds": 20, "context_length": 512, "segment_length": 24},  # the default on hours
    {"n_series": 21, "d_model": 64, "seconds": 60, "context_length": 512, "segment_length": 24},
]
N_PROFILED = 5
_BACKWARD = "autograd::engine::evaluate_function"
_PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
_GROUPS = {  # by the name of the operation or of what it is a part of; the first that fits
    "AdamW, clipping, averaged weights": ("Optimizer.step", "_foreach"),
    "norms": ("rms_norm", "RMSNorm", "vector_norm"),
    "GELU": ("gelu",),
    "dropout": ("Dropout",),
    "triangle of the scores": ("tril",),
    "compiled kernels": ("cpp_fused", "CompiledFunction", "Torch-Compiled"),
    "copies and new memory": ("copy_", "clone", "cat", "stack", "pad", "empty", "fill_", "zero", "index", "gather"),
    "sums": ("sum", "mean"),
}


def measure(
    n_series: int,
    d_model: int,
    seconds: float,
    context_length: int = CONTEXT_LENGTH,
    segment_length: int | None = None,
) -> dict[str, Any]:
    config = forecaster(d_model, context_length, segment_length)
    forms = networks(n_series, config)
    windows = windows_of(synthetic_series(5_000, n_series), context_length, HORIZON)
    steps: dict[str, Callable[[], object]] = {
        name: training_step(network, config, windows, **FORMS.get(name, {})) for name, network in forms.items()
    }
    products = {name: products_of(steps[name]) for name in ("ours", "plain masked")}
    fewest = min(products.values(), key=lambda found: found.flops)
    large, large_flops = large_product()
    functions = steps | {"products alone": products["ours"].alone(), "large product": large}
    times = take_turns(functions, seconds, warm=True)
    rate = large_flops / statistics.median(times["large product"])
    floor = [fewest.flops * second / large_flops for second in times["large product"]]
    return {
        "milliseconds": {name: milliseconds(times[name]) for name in functions if name != "large product"}
        | {"floor": milliseconds(floor)},
        "turns": len(floor),
        "gigaflops": rounded(fewest.flops / 1e9),
        "gigaflops_per_second": rounded(rate / 1e9),
        "times ours": {name: ratio(times[name], times["ours"]) for name in forms if name != "ours"},
        "times the floor": {name: ratio(times[name], floor) for name in forms},
        "times the products alone": {name: ratio(times[name], times["products alone"]) for name in forms},
        "n_parameters": sum(parameter.numel() for parameter in forms["ours"].parameters()),
        "products": products["ours"].kinds(),
        "profile": profile_of(steps["ours"], forms["ours"]),
    }


def forecaster(d_model: int, context_length: int, segment_length: int | None) -> SAMoVARForecaster:
    return SAMoVARForecaster(
        horizon=HORIZON,
        context_length=context_length,
        segment_length=segment_length,
        d_model=d_model,
        n_layers=3,
        n_heads=8,
        batch_size=BATCH_SIZE,
        device="cpu",
    )


def networks(n_series: int, config: SAMoVARForecaster) -> dict[str, SAMoVAR]:
    """The forms, with the same weights; their forecasts and gradients are compared first."""
    torch.manual_seed(0)
    assert config.context_length is not None
    shape = (n_series, n_series, config.context_length, HORIZON, config)
    ours = SAMoVAR(*shape)
    plain: dict[str, PlainSAMoVAR] = {"plain masked": MaskedSAMoVAR(*shape), "running sum": RunningSumSAMoVAR(*shape)}
    past = torch.randn(2, config.context_length, n_series)
    expected = ours.eval()(past)
    for network in plain.values():
        network.take_weights(ours)
        torch.testing.assert_close(network.eval()(past), expected, rtol=1e-3, atol=1e-4)
    return {name: copy.deepcopy(ours) for name in FORMS} | plain


def products_of(step: Callable[[], object]) -> Products:
    step()
    with Products() as products:
        step()
    return products


def profile_of(step: Callable[[], object], network: nn.Module) -> dict[str, Any]:
    """Share of each group of operations, and the longest operations, of the processor's time in a step."""
    with modules_named(network), profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(N_PROFILED):
            step()
    events = [event for event in profiler.events() if event.device_type == DeviceType.CPU]
    # An operation of the backward pass carries the number of the one in the forward pass that it belongs to.
    forward = {event.sequence_nr: event for event in events if event.sequence_nr >= 0 and not event.fwd_thread}
    total = sum(event.self_cpu_time_total for event in events)
    groups: dict[str, float] = defaultdict(float)
    operations: dict[str, list[float]] = defaultdict(list)
    for event in events:
        groups[group_of(event, forward)] += event.self_cpu_time_total
        operations[event.name].append(event.self_cpu_time_total)
    longest = sorted(operations.items(), key=lambda item: -sum(item[1]))[:15]
    return {
        "groups": {
            name: rounded(spent / total, 3) for name, spent in sorted(groups.items(), key=lambda item: -item[1])
        },
        "operations": {
            name: {"calls": len(spent) // N_PROFILED, "share": rounded(sum(spent) / total, 3)}
            for name, spent in longest
        },
    }


@contextmanager
def modules_named(network: nn.Module) -> Iterator[None]:
    """Let the profiler see which kind of module an operation belongs to."""
    running: list[record_function] = []

    def begin(module: nn.Module, _: Any) -> None:
        running.append(record_function(type(module).__name__))
        running[-1].__enter__()

    def end(*_: Any) -> None:
        running.pop().__exit__(None, None, None)

    handles = [module.register_forward_pre_hook(begin) for module in network.modules()]
    handles += [module.register_forward_hook(end) for module in network.modules()]
    yield
    for handle in handles:
        handle.remove()


def group_of(event: Any, forward: dict[int, Any]) -> str:
    """The group of an operation: by its own name, or by what it is a part of, forward or backward."""
    names = [event.name]
    if any(part in event.name for part in _PRODUCTS):
        return "matrix products"
    while event is not None:
        backward = event.name.startswith(_BACKWARD) and event.sequence_nr in forward
        event = forward[event.sequence_nr] if backward else event.cpu_parent
        names += [] if event is None else [event.name]
    for group, parts in _GROUPS.items():
        if any(part in name for name in names for part in parts):
            return group
    return "elementwise"


if __name__ == "__main__":
    run_part(__file__, measure, CASES)
