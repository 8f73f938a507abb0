"""Keep the weights of the best epoch in memory and put them back at the end."""

from __future__ import annotations

import math

import pytorch_lightning as pl
from torch import Tensor

from samovar_forecast.networks.network import ForecastNetwork


class BestWeights(pl.Callback):
    """Remember the network's weights at the lowest validation error; restore them when training ends.

    Lightning's own checkpoints go through the disk, and a plain fit leaves nothing there.

    Parameters
    ----------
    network : ForecastNetwork
        The network in training.

    Attributes
    ----------
    error : float
        Lowest validation error, on the scaled series.
    epoch : int
        Epoch that reached it, counted from 1; 0 before any did.
    """

    def __init__(self, network: ForecastNetwork) -> None:
        self.network = network
        self.error, self.epoch = math.inf, 0
        self._weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        error = float(trainer.callback_metrics["validation_error"])
        if error < self.error:
            self.error, self.epoch = error, trainer.current_epoch + 1
            self._weights = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._weights:
            self.network.load_state_dict(self._weights)
