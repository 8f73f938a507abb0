"""What every kind of model gives the benchmark once it is trained."""

from __future__ import annotations

from dataclasses import dataclass

from samovar_forecast.benchmark.protocol import Forecast


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes
    ----------
    forecast : callable
        Gives the forecasts of every window of a frame: (n_windows, horizon, n_series).
    parameters : int
        Trainable ones.
    epochs, best_epoch : int
        Passes over all training windows, and the one whose weights were kept.
    seconds : float
        Of training, with validation, since `resumed_after_epoch`.
    resumed_after_epoch : int
        Epochs of a process before this one, which was killed.
    """

    forecast: Forecast
    parameters: int = 0
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    resumed_after_epoch: int = 0

    @property
    def seconds_per_epoch(self) -> float:
        return self.seconds / max(self.epochs - self.resumed_after_epoch, 1)
