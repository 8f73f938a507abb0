"""When the optimizer steps of a fit end, by a hook of torch that serves every library."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook


@dataclass
class Steps:
    """The optimizer steps of a fit: when each ended and when the fit went on by a clock, and the optimizer."""

    clock: Callable[[], float]
    ends: list[float] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    optimizer: Optimizer | None = None

    @property
    def of_fit(self) -> list[float]:
        """Seconds of all steps but the first, which has preparations before it."""
        return [end - start for start, end in zip(self.resumed, self.ends[1:], strict=False)]

    @property
    def pauses(self) -> list[float]:
        """Seconds between a step and the next one in which the fit waited."""
        return [start - end for start, end in zip(self.resumed, self.ends, strict=True)][:-1]


@contextmanager
def optimizer_steps(
    clock: Callable[[], float] = time.perf_counter, between: Callable[[], object] = lambda: None
) -> Iterator[Steps]:
    """Note every step of any optimizer of torch: the same clock for all libraries.

    `between` is called after each of them, and its own steps are not noted.
    """
    steps = Steps(clock)
    waiting = False

    def note(optimizer: Optimizer, *_: Any) -> None:
        nonlocal waiting
        if waiting:
            return
        steps.ends.append(clock())
        steps.optimizer = optimizer
        waiting = True
        between()
        waiting = False
        steps.resumed.append(clock())

    handle = register_optimizer_step_post_hook(note)
    try:
        yield steps
    finally:
        handle.remove()
