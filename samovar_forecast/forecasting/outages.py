"""Targets without a value in their context: their last known level stands in for a forecast."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from samovar_forecast.data.windows import Windows


class Outages(NamedTuple):
    """Which targets of which windows have no value in the context, and what was last known of them.

    Attributes
    ----------
    dead : ndarray
        Whether a target has no value in a context.
    level : ndarray
        Its last value before the context, scaled; 0, the center of the training rows, where there is none.

    Shape
    -----
    dead, level : (n_windows, n_targets)
    """

    dead: NDArray[np.bool_]
    level: NDArray[np.float32]


def find_outages(windows: Windows) -> Outages | None:
    """The outages of windows; None where every target has a value in every context."""
    targets = windows.values[:, -windows.n_targets :]
    observed = targets.isnan().logical_not_()
    if observed.all():
        return None
    rows = torch.arange(len(targets), device=targets.device).unsqueeze(1)
    newest = torch.where(observed, rows, -1).cummax(0).values  # the newest observed row up to each row
    last = newest[windows.cutoffs - 1]  # (n_windows, n_targets)
    dead = last < windows.starts.unsqueeze(1)
    if not dead.any():
        return None
    first = torch.zeros_like(windows.starts)
    if windows.block is not None:
        counts = windows.block.bincount()
        first = (counts.cumsum(0) - counts)[windows.blocks]  # a level of another series is none
    known = last >= first.unsqueeze(1)
    level = torch.where(known, targets.gather(0, last.clamp(min=0)), 0.0)
    return Outages(dead.cpu().numpy(), level.cpu().numpy())
