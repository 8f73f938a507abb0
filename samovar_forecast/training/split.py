"""The split of windows into those that train and those that validate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from samovar_forecast.data.windows import Windows


def split_windows(
    windows: Windows, n_held_out: Sequence[int], n_new: Sequence[int] | None = None
) -> tuple[Windows, Windows | None]:
    """Training windows, and the windows whose every target row is held out.

    The contexts of validation windows reach back into the training rows; no training window has a target
    among the held-out rows. Windows without an observed target in context or future are left out.

    Parameters
    ----------
    windows : Windows
        Every window of every series.
    n_held_out : sequence of int
        Newest rows of each series that do not train.
    n_new : sequence of int or None
        Newest rows of each series; only windows with a target among them train. None: all windows do.

    Raises
    ------
    ValueError
        If no training window is left.
    """
    windows = windows.observed()
    held_out, new = torch.tensor(n_held_out), None if n_new is None else torch.tensor(n_new)

    def trains_or_validates(part: Windows) -> Tensor:
        blocks, left = part.blocks, part.rows_left()
        trains = left >= held_out[blocks] + part.horizon
        if new is not None:
            trains &= left - part.horizon < new[blocks]
        return torch.stack([trains, left <= held_out[blocks]], 1)

    trains, validates = windows.in_pieces(trains_or_validates).unbind(1)
    if not trains.any():
        raise ValueError(
            f"y holds no window to train on: no target is observed in a context of {windows.context_length} rows and "
            f"in the horizon of {windows.horizon} rows after it"
        )
    return windows.only(trains), windows.only(validates) if validates.any() else None
