"""The split of rows and windows into those that train and those that validate."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from samovar_forecast.data.lengths import Lengths
from samovar_forecast.data.windows import Windows


def training_rows(n_rows: Sequence[int], output_length: int, validation_fraction: float) -> list[int]:
    """Rows of each series before its held-out newest rows; all where the held-out part has no full output."""
    held_out = [round(validation_fraction * n) for n in n_rows]
    if 0 < max(held_out) < output_length:
        warnings.warn(
            f"validation_fraction={validation_fraction} of {max(n_rows)} rows is {max(held_out)}, less than the "
            f"{output_length} rows forecast at once: training on all rows without choosing the best epoch",
            stacklevel=5,
        )
    return [n - held if held >= output_length else n for n, held in zip(n_rows, held_out, strict=True)]


def check_enough_rows(n_training_rows: int, lengths: Lengths, validation_fraction: float) -> None:
    """Refuse training rows that do not hold one window; the message says how many rows would.

    Raises
    ------
    ValueError
    """
    context = max(lengths.context, 1)
    if lengths.context < 1 or n_training_rows < context + lengths.output:
        raise ValueError(
            f"y is too short: {n_training_rows} rows to train on, but context_length={context} and {lengths.output} "
            f"rows to forecast at once need at least {context + lengths.output}, beside the validation rows "
            f"(validation_fraction={validation_fraction}); lower context_length, horizon or output_length, or give "
            "more rows"
        )


def window_cutoffs(n_rows: int, n_training: int, context_length: int, horizon: int) -> Tensor:
    """The cutoffs of every window of a series, first rows of their futures: (n_windows,).

    A series too short for a full context begins with the window that has one horizon of history.
    """
    short = n_training < context_length + horizon
    first = min(horizon, max(n_training - horizon, 0)) if short else context_length
    return torch.arange(first, max(first, n_rows - horizon + 1))


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
