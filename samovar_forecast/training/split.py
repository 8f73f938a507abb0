"""Which windows train and which validate, and how long a context the data allow."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.windows import Windows

LONGEST_CONTEXT = 4096


def training_rows(n_rows: int, config: TrainingConfig) -> int:
    """Rows in front of the held-out newest rows; all of them where the held-out part has no full horizon."""
    held_out = round(config.validation_fraction * n_rows)
    if 0 < held_out < config.horizon:
        warnings.warn(
            f"validation_fraction={config.validation_fraction} of {n_rows} rows is {held_out}, less than one "
            f"horizon of {config.horizon}: training on all rows without choosing the best epoch",
            stacklevel=4,
        )
        return n_rows
    return n_rows - held_out


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
    return context_length


def split_windows(
    values: Tensor, known: Tensor | None, n_training_rows: int, context_length: int, horizon: int, n_targets: int
) -> tuple[Windows, Windows | None]:
    """Training windows, and the windows whose every target row is held out.

    The contexts of validation windows reach back into the training rows; no training window has a target
    among the held-out rows.

    Shape
    -----
    values : (n_rows, n_series)
    known : (n_rows, n_known) or None
    """

    def windows(first: int, end: int) -> Windows:
        starts = torch.arange(first, end - context_length - horizon + 1)
        return Windows(values, starts, context_length, horizon, n_targets, known)

    n_rows = len(values)
    validation = windows(n_training_rows - context_length, n_rows) if n_rows > n_training_rows else None
    return windows(0, n_training_rows), validation
