"""The split of windows into those that train and those that validate, and the context that the data allow."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from samovar_forecast.data.windows import Windows
from samovar_forecast.training.config import TrainingConfig

LONGEST_CONTEXT = 4096


def training_rows(lengths: Sequence[int], config: TrainingConfig) -> list[int]:
    """Rows of each series before its held-out newest rows; all where the held-out part has no full horizon."""
    held_out = [round(config.validation_fraction * n_rows) for n_rows in lengths]
    if 0 < max(held_out) < config.horizon:
        n_rows = max(lengths)
        warnings.warn(
            f"validation_fraction={config.validation_fraction} of {n_rows} rows is {max(held_out)}, less than one "
            f"horizon of {config.horizon}: training on all rows without choosing the best epoch",
            stacklevel=4,
        )
    return [n - held if held >= config.horizon else n for n, held in zip(lengths, held_out, strict=True)]


def choose_context_length(n_training_rows: int, config: TrainingConfig) -> int:
    """The given context length, or ten horizons as far as the data allow.

    Raises
    ------
    ValueError
        If the training rows do not hold one window; the message says how many rows would.
    """
    if config.context_length is None:
        context_length = min(10 * config.horizon, LONGEST_CONTEXT, (n_training_rows - config.horizon) // 2)
    else:
        context_length = config.context_length
    needed = max(context_length, 1) + config.horizon
    if context_length < 1 or n_training_rows < needed:
        raise ValueError(
            f"y is too short: {n_training_rows} rows to train on, but context_length={max(context_length, 1)} and "
            f"horizon={config.horizon} need at least {needed}, beside the validation rows "
            f"(validation_fraction={config.validation_fraction}); lower one of them or give more rows"
        )
    return int(context_length)


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
    held_out, left = torch.tensor(n_held_out)[windows.blocks], windows.rows_left()
    trains, validates = left >= held_out + windows.horizon, left <= held_out
    if n_new is not None:
        trains &= left - windows.horizon < torch.tensor(n_new)[windows.blocks]
    if not trains.any():
        raise ValueError(
            f"y holds no window to train on: no target is observed in a context of {windows.context_length} rows and "
            f"in the horizon of {windows.horizon} rows after it"
        )
    validation = windows.at(windows.starts[validates]) if validates.any() else None
    return windows.at(windows.starts[trains]), validation
