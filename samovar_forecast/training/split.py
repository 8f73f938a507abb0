"""Which windows train and which validate, and how long a context the data allow."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.windows import Windows
from samovar_forecast.training.config import TrainingConfig

LONGEST_CONTEXT = 4096


@dataclass(frozen=True)
class Block:
    """One series, or several with a common time axis, as the networks see them.

    Shape
    -----
    values : (n_rows, n_series), targets last, NaN where not observed
    known : (n_rows, n_known) or None
    static : (n_static,) or None
    """

    values: Tensor
    n_training_rows: int
    known: Tensor | None = None
    static: NDArray[np.float32] | None = None


def training_rows(lengths: Sequence[int], config: TrainingConfig) -> list[int]:
    """Rows of each series in front of its held-out newest rows; all where the held-out part has no full horizon."""
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


def split_windows(
    blocks: Sequence[Block], context_length: int, horizon: int, n_targets: int, n_new: Sequence[int] | None = None
) -> tuple[Windows, Windows | None]:
    """Training windows, and the windows whose every target row is held out.

    The contexts of validation windows reach back into the training rows; no training window has a target
    among the held-out rows. A series too short for a full context is filled up with missing values in front,
    so that its first window has one horizon of history. Windows without an observed target in context or
    future are left out; so are, where `n_new` is given, those without a target among that many newest rows of a
    series.

    Raises
    ------
    ValueError
        If no training window is left.
    """
    training, validation, padded = [], [], []
    first = 0
    for number, block in enumerate(blocks):
        n_rows, n_training = len(block.values), block.n_training_rows
        front = 0
        if n_training < context_length + horizon:
            front = context_length - min(horizon, max(n_training - horizon, 0))
        end = first + front + n_training
        skipped = 0 if n_new is None else max(0, front + n_training - n_new[number] - context_length - horizon + 1)
        training.append(torch.arange(first + skipped, max(first + skipped, end - context_length - horizon + 1)))
        if n_training < n_rows:
            validation.append(torch.arange(end, first + front + n_rows - horizon + 1) - context_length)
        padded.append(front)
        first += front + n_rows

    def joined(parts: list[Tensor | None], fill: float) -> Tensor | None:
        filled = [
            part if front == 0 else torch.cat([part.new_full((front, part.shape[1]), fill), part])
            for part, front in zip(parts, padded, strict=True)
            if part is not None
        ]
        if len(filled) == 1:
            return filled[0]  # not copied: it may be larger than memory
        return torch.cat(filled) if filled else None

    values, known = joined([block.values for block in blocks], torch.nan), joined([block.known for block in blocks], 0)
    assert values is not None
    statics = [block.static for block in blocks if block.static is not None]
    static = torch.from_numpy(np.stack(statics)) if statics else None
    lengths = torch.tensor([front + len(block.values) for front, block in zip(padded, blocks, strict=True)])
    owner = torch.repeat_interleave(torch.arange(len(blocks)), lengths) if len(blocks) > 1 else None
    pieces = values[:, -n_targets:].split(2**16)
    observed = torch.cat([piece.isnan().logical_not_().any(1) for piece in pieces]).cumsum(0)
    observed = torch.cat([observed.new_zeros(1), observed])

    def windows(starts: list[Tensor]) -> Windows:
        chosen = torch.cat(starts)
        cutoff = chosen + context_length
        counts = observed[cutoff] > observed[chosen], observed[cutoff + horizon] > observed[cutoff]
        chosen = chosen[counts[0] & counts[1]]
        return Windows(values, chosen, context_length, horizon, n_targets, known, static, owner)

    train = windows(training)
    if len(train) == 0:
        raise ValueError(
            f"y holds no window to train on: no target is observed in a context of {context_length} rows and in the "
            f"horizon of {horizon} rows behind it"
        )
    held_out = windows(validation) if validation else None
    return train, held_out if held_out is not None and len(held_out) else None
