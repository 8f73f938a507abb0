"""PyTorch's random number generators: seeded for a training and given back, by one thread at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# PyTorch's generators, the filters of warnings and the levels of loggers belong to the process. Trainings in several
# threads wait for one another, so each gives what it gives alone; processes train in parallel.
_turn = threading.RLock()


def _new_turn() -> None:
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):  # a forked child would wait without end for a thread that it does not have
    os.register_at_fork(after_in_child=_new_turn)


@contextmanager
def forked(device: torch.device) -> Iterator[None]:
    """Draw without a trace: the states of the generators of the CPU and of one device come back afterwards.

    Unlike `torch.random.fork_rng` it waits until no training in another thread uses the generators.

    Examples
    --------
    >>> _ = torch.manual_seed(1)
    >>> with forked(torch.device("cpu")):
    ...     inside = torch.rand(1)
    >>> torch.equal(torch.rand(1), inside)
    True
    """
    with _turn:
        states = random_states(device)
        try:
            yield
        finally:
            set_random_states(device, states)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the generators of the CPU and of one device; the caller's states come back afterwards.

    `torch.manual_seed` would seed every GPU, also those that are not in use yet.

    Examples
    --------
    >>> _ = torch.manual_seed(1)
    >>> with seeded(torch.device("cpu"), 0):
    ...     inside = torch.rand(1)
    >>> torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(1)))
    True
    """
    with forked(device):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


def random_states(device: torch.device) -> list[Tensor]:
    """The states of the generators of the CPU and of a device."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def set_random_states(device: torch.device, states: list[Tensor]) -> None:
    """Put back what `random_states` gave."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states[1])
