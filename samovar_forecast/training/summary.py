"""What a training did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSummary:
    """What a training did.

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
