"""Learning rates over time, as multiples of the peak, stepped once per optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable


def multiplier(schedule: str, total_steps: int) -> Callable[[int], float]:
    """The factor on the peak learning rate at a step.

    "onecycle" is the published recipe: linear from 1/10 to 1 over the first 5 % of the steps, then linear to
    nearly zero. "cosine" warms up over the same share and decays along half a cosine. "constant" is 1.

    Parameters
    ----------
    schedule : {"onecycle", "cosine", "constant"}
    total_steps : int
        Optimizer steps of the whole training.

    Examples
    --------
    >>> rate = multiplier("onecycle", 100)
    >>> [round(rate(step), 2) for step in (0, 5, 100)]
    [0.1, 1.0, 0.0]
    """
    warm_up = max(1, round(0.05 * total_steps))

    def factor(step: int) -> float:
        if schedule == "constant":
            return 1.0
        if step < warm_up:
            return 0.1 + 0.9 * step / warm_up
        done = min(1.0, (step - warm_up) / max(1, total_steps - warm_up))
        return 1 - done if schedule == "onecycle" else 0.5 * (1 + math.cos(math.pi * done))

    return factor
