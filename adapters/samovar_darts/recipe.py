"""What a recipe of the core brings to darts: learning rates as a scheduler, the calendar as an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from samovar_forecast.data.calendar_features import calendar_features
from samovar_forecast.training.optimisation import multiplier


class Schedule(torch.optim.lr_scheduler.LambdaLR):
    """The core's learning rate over time, for `lr_scheduler_cls`.

    Parameters
    ----------
    optimizer : Optimizer
    kind : {"onecycle", "cosine", "cosine_restarts", "halving", "constant"}
        See `TrainingConfig.schedule`. In `lr_scheduler_kwargs`: ``{"kind": "onecycle", "interval": "step"}``.
    total_steps, steps_per_epoch : int
        Optimizer steps of the whole training and of one epoch; the module fills them in.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, kind: str, total_steps: int, steps_per_epoch: int) -> None:
        super().__init__(optimizer, multiplier(kind, total_steps, steps_per_epoch))


@dataclass(frozen=True)
class CalendarEncoder:
    """The core's calendar features of an index, for `add_encoders={"custom": {"future": [...]}}`.

    Parameters
    ----------
    names : sequence of str
        See `TrainingConfig.calendar`.

    Examples
    --------
    >>> CalendarEncoder(["hour"])(pd.date_range("2024-01-01", periods=2, freq="23h")).ravel()
    array([-0.5,  0.5], dtype=float32)
    """

    names: Sequence[str]

    def __call__(self, index: pd.DatetimeIndex) -> NDArray[np.float32]:
        return calendar_features(index, self.names)


def with_calendar(encoders: dict[str, Any] | None, names: Sequence[str]) -> dict[str, Any] | None:
    """The `add_encoders` of a model with the calendar after the other future encodings."""
    if not names:
        return encoders
    encoders = encoders or {}
    custom = encoders.get("custom", {})
    return encoders | {"custom": custom | {"future": [*custom.get("future", []), CalendarEncoder(names)]}}
