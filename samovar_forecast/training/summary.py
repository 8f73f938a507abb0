"""What a training did: its length, its losses epoch by epoch, which epoch was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple


class EpochLosses(NamedTuple):
    """The mean losses of one epoch, on the scaled series.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    training_loss : float
        Over the training windows, while the weights moved.
    validation_loss : float or None
        Over the validation windows, of the weights at the end of the epoch; None without validation.
    """

    epoch: int
    training_loss: float
    validation_loss: float | None


@dataclass(frozen=True)
class TrainingSummary:
    """What a training did.

    Of several members: steps, seconds and parameters of all together, mean losses, and the epochs and history of the
    first.

    Attributes
    ----------
    epochs : int
        Epochs run to their end.
    best_epoch : int
        Epoch whose weights were kept, counted from 1.
    steps : int
        Optimizer steps.
    validation_loss : float or None
        Mean loss of the kept weights over the validation windows, steps and series, on the scaled series.
    training_loss : float
        Mean loss of the last epoch, as far as it went.
    seconds : float
        Wall time; of a training that was resumed, since then.
    n_parameters : int
        Trainable parameters.
    n_windows : int
        Training windows.
    interrupted : bool
        Whether Ctrl-C ended the training.
    history : tuple of EpochLosses
        The losses of every epoch run to its end, also of those before a training was resumed. A training that
        diverged ends with a loss that is not finite. ``pd.DataFrame(summary.history)`` is their table. Empty in model
        files of versions that kept none.

    precision : str or None
        Lightning's name for the arithmetic of the training, "32-true" or "bf16-mixed". None in model files of versions
        that did not tell.

    Examples
    --------
    >>> history = [[1, 0.9, 0.8], [2, 0.7, 0.6]]  # as JSON has it
    >>> summary = TrainingSummary(2, 2, 8, 0.6, 0.7, 1.0, 100, 50, history=history)
    >>> summary.history[-1]
    EpochLosses(epoch=2, training_loss=0.7, validation_loss=0.6)
    """

    epochs: int
    best_epoch: int
    steps: int
    validation_loss: float | None
    training_loss: float
    seconds: float
    n_parameters: int
    n_windows: int
    interrupted: bool = False
    history: tuple[EpochLosses, ...] = ()
    precision: str | None = None

    @classmethod
    def of_members(cls, members: Sequence[TrainingSummary]) -> TrainingSummary:
        """What the trainings of several networks of one kind did together."""
        first = members[0]
        validation = [one.validation_loss for one in members if one.validation_loss is not None]
        return replace(
            first,
            steps=sum(one.steps for one in members),
            seconds=sum(one.seconds for one in members),
            n_parameters=sum(one.n_parameters for one in members),
            training_loss=fmean(one.training_loss for one in members),
            validation_loss=fmean(validation) if validation else None,
            interrupted=any(one.interrupted for one in members),
        )

    def __post_init__(self) -> None:
        # JSON knows neither tuples nor names in them.
        object.__setattr__(self, "history", tuple(EpochLosses(*losses) for losses in self.history))
