"""Keep the weights of the best epoch in memory and give them to the network at the end."""

from __future__ import annotations

import math

import pytorch_lightning as pl
from torch import Tensor

from samovar_forecast.training.module import ForecastingModule


class BestWeights(pl.Callback):
    """Remember the evaluated weights at the lowest validation loss; give them to the network when training ends.

    Without validation these are the weights at the end.

    Lightning's own checkpoints go through the disk, and a plain fit leaves nothing there.

    Attributes
    ----------
    error : float
        Lowest validation error, on the scaled series.
    epoch : int
        Epoch that reached it, counted from 1; 0 before any did.
    """

    def __init__(self) -> None:
        self.error, self.epoch = math.inf, 0
        self._weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: ForecastingModule) -> None:  # type: ignore[override]
        error = float(trainer.callback_metrics["validation_loss"])
        if error < self.error:
            self.error, self.epoch = error, trainer.current_epoch + 1
            self._weights = {name: value.detach().clone() for name, value in pl_module.evaluated.state_dict().items()}

    def on_fit_end(self, trainer: pl.Trainer, pl_module: ForecastingModule) -> None:  # type: ignore[override]
        pl_module.network.load_state_dict(self._weights or pl_module.evaluated.state_dict())
