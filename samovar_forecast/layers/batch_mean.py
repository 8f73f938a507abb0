"""The mean over a batch, also where the batch is divided over several devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_add_up: Callable[[Tensor], Tensor] | None = None  # of this process: one training at a time runs in it


def mean_over_batch(values: Tensor) -> Tensor:
    """The mean over all windows of the batch, those on other devices included; without a gradient there.

    Shape
    -----
    values : (batch, ...)
    output : (1, ...)

    Examples
    --------
    >>> mean_over_batch(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    tensor([[2., 4.]])
    """
    if _add_up is None:
        return values.mean(0, keepdim=True)
    own = torch.cat([values.detach().sum(0).flatten(), values.new_full((1,), len(values))])
    every = _add_up(own)
    return (every[:-1] / every[-1]).view(1, *values.shape[1:])


@contextmanager
def divided_batch(add_up: Callable[[Tensor], Tensor], is_idle: bool = False) -> Iterator[None]:
    """Within it a batch is the part of this device, and `add_up` adds what all devices have.

    Parameters
    ----------
    add_up : callable
        Called by all devices together.
    is_idle : bool, default False
        Whether the windows of this device count for nothing.

    Examples
    --------
    >>> with divided_batch(lambda own: own + torch.tensor([7.0, 2.0])):  # two windows elsewhere, whose sum is 7
    ...     mean_over_batch(torch.tensor([[5.0]]))
    tensor([[4.]])
    """
    global _add_up
    before, _add_up = _add_up, (lambda own: add_up(0 * own)) if is_idle else add_up
    try:
        yield
    finally:
        _add_up = before
