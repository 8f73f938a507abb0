"""Residual blocks, plain and reversible: the latter need memory for one block, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import get_device_states, set_device_states


class ResidualSequence(nn.Module):
    """Blocks of two residual functions, ``x = x + f(x)`` and then ``x = x + g(x)``.

    Parameters
    ----------
    pairs : iterable of (nn.Module, nn.Module)
        The functions ``f`` and ``g`` of each block. Both are called with `x`, and `f` also with `context`.

    Shape
    -----
    x : (...), kept
    context : any, the same for all blocks

    Examples
    --------
    >>> sequence = ResidualSequence([(nn.Linear(4, 4), nn.Linear(4, 4))])
    >>> sequence(torch.zeros(2, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(self, pairs: Iterable[tuple[nn.Module, nn.Module]]) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(nn.ModuleList(pair) for pair in pairs)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        for f, g in self.functions():
            x = x + f(x, *context)
            x = x + g(x)
        return x

    def functions(self) -> list[tuple[nn.Module, nn.Module]]:
        """The pairs of functions, first to last."""
        return [(pair[0], pair[1]) for pair in self.pairs]  # type: ignore[index]


class ReversibleSequence(ResidualSequence):
    """Blocks on two streams, ``y1 = x1 + f(x2)`` and ``y2 = x2 + g(y1)``, whose inputs follow from their outputs.

    Both streams start as `x` and their mean is the output. Training keeps the streams of the last block only: the
    backward pass recovers the input of each block and computes it again, with the random numbers (dropout) and the
    automatic precision of the forward pass. The memory does not grow with the number of blocks, except for the
    state of the random number generator (5 kB for each function on a CPU), and a step costs about one more
    forward pass. Checkpoints (`torch.utils.checkpoint`) keep the input of every block instead.

    Parameters
    ----------
    pairs : iterable of (nn.Module, nn.Module)
        See `ResidualSequence`.

    Shape
    -----
    x : (...), kept
    context : any, the same for all blocks

    Raises
    ------
    RuntimeError
        From a backward pass that is itself to be differentiated.

    References
    ----------
    Gomez et al., "The Reversible Residual Network", NeurIPS 2017, arXiv 1707.04585; Kitaev et al., "Reformer",
    ICLR 2020, arXiv 2001.04451.

    Examples
    --------
    >>> sequence = ReversibleSequence([(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(8)])
    >>> sequence(torch.zeros(2, 4)).shape
    torch.Size([2, 4])
    """

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            functions = self.functions()
            first, second = _Recomputed.apply(functions, len(context), x, *context, *trainable(functions))
        else:
            first, second = run_streams(self.functions(), x, context)
        return (first + second) / 2


Functions = list[tuple[nn.Module, nn.Module]]
RandomState = tuple[Tensor, list[int], list[Tensor]]  # of the host, and of the devices by their numbers


def trainable(functions: Functions) -> list[nn.Parameter]:
    """The parameters that are trained, each once."""
    every = (parameter for pair in functions for function in pair for parameter in function.parameters())
    return [parameter for parameter in dict.fromkeys(every) if parameter.requires_grad]


def run_streams(functions: Functions, x: Tensor, context: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Both streams after all blocks, by plain operations."""
    first = second = x
    for f, g in functions:
        first = first + f(second, *context)
        second = second + g(first)
    return first, second


class _Surroundings:
    """The random state and automatic precision in which a function ran, to run it again."""

    def __init__(self, device: torch.device) -> None:
        self.device_type = device.type
        enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
        # No cache: the backward pass, with gradients, must not find weights that the forward pass cast without.
        self.autocast: dict[str, Any] = {"enabled": enabled, "dtype": dtype, "cache_enabled": False}
        self.random_states: list[RandomState] = []

    @contextmanager
    def precision(self) -> Iterator[None]:
        with torch.autocast(self.device_type, **self.autocast):
            yield

    def record(self, x: Tensor) -> None:
        """Remember the random state in which the next function runs."""
        self.random_states.append((torch.get_rng_state(), *get_device_states(x)))

    @contextmanager
    def replay(self, state: RandomState) -> Iterator[None]:
        """Go back to a random state, and afterwards to the present one."""
        cpu_state, devices, device_states = state
        with torch.random.fork_rng(devices, device_type=self.device_type):
            torch.set_rng_state(cpu_state)
            set_device_states(devices, device_states, device_type=self.device_type)
            yield


class _Recomputed(torch.autograd.Function):
    """The reversible blocks as one function; parameters are inputs, so that their gradients go where autograd says."""

    @staticmethod
    def forward(ctx: Any, functions: Functions, n_context: int, x: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        context = tuple(tensor.detach() for tensor in rest[:n_context])
        surroundings = _Surroundings(x.device)
        first = second = x.detach()
        with surroundings.precision():
            for f, g in functions:
                surroundings.record(x)
                first = first + f(second, *context)
                surroundings.record(x)
                second = second + g(first)
        ctx.functions, ctx.surroundings = functions, surroundings
        ctx.save_for_backward(first, second, *context)
        return first, second

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # `once_differentiable` lets `torch.autograd.grad` pass, which would leave the second derivative out.
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a reversible sequence has no second derivative: it keeps no graph to differentiate "
                "(create_graph=True); blocks that are not reversible have one"
            )
        first, second, *context = ctx.saved_tensors
        d_first, d_second = gradients
        wanted = ctx.needs_input_grad[3 : 3 + len(context)]
        context = [tensor.detach().requires_grad_(wants) for tensor, wants in zip(context, wanted, strict=True)]
        random_states = reversed(ctx.surroundings.random_states)
        total: dict[Tensor, Tensor] = {}

        def recompute(function: nn.Module, x: Tensor, extra: list[Tensor], d_output: Tensor) -> tuple[Tensor, Tensor]:
            """The function's output and the gradient of its input; adds those of parameters and context to `total`."""
            sources = [source for source in (*function.parameters(), *extra) if source.requires_grad]
            x = x.detach().requires_grad_()
            with torch.enable_grad(), ctx.surroundings.precision(), ctx.surroundings.replay(next(random_states)):
                output = function(x, *extra)
            d_x, *d_sources = torch.autograd.grad(output, [x, *sources], d_output.to(output.dtype), allow_unused=True)
            for source, d_source in zip(sources, d_sources, strict=True):
                if d_source is not None:
                    total[source] = total[source] + d_source if source in total else d_source
            return output.detach(), d_x

        for f, g in reversed(ctx.functions):
            output, d_x = recompute(g, first, [], d_second)
            second, d_first = second - output, d_first + d_x
            output, d_x = recompute(f, second, context, d_first)
            first, d_second = first - output, d_second + d_x
        sources = [*context, *trainable(ctx.functions)]
        return None, None, d_first + d_second, *(total.get(source) for source in sources)
