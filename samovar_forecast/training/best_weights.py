"""Keep the weights of the best epoch in memory and give them to the network at the end."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.module import ForecastingModule


class BestWeights(pl.Callback):
    """Remember the evaluated weights at the lowest validation loss; stop a training that diverges.

    Without validation these are the weights of the last epoch that was finite.

    Lightning's own checkpoints go through the disk, and a plain fit leaves nothing there.

    Attributes
    ----------
    error : float
        Lowest validation error, on the scaled series; infinite before there is one.
    epoch : int
        Epoch whose weights are kept, counted from 1; 0 before any is, and where they are from within one.
    training_loss : float
        Mean training loss of the newest epoch.
    diverged : bool
        Whether a loss or a weight was NaN or infinite at the end of an epoch.
    """

    def __init__(self) -> None:
        self.error, self.epoch = math.inf, 0
        self.training_loss, self.diverged = math.nan, False
        self._weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: ForecastingModule) -> None:  # type: ignore[override]
        error = float(trainer.callback_metrics["validation_loss"])
        if error < self.error:
            self.error = error
            self._keep(trainer, pl_module)
        elif not math.isfinite(error):
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: ForecastingModule) -> None:  # type: ignore[override]
        self.training_loss = float(pl_module.mean_training_loss())
        validates = trainer.limit_val_batches > 0
        if not math.isfinite(self.training_loss) or not (validates or _finite(pl_module.evaluated)):
            self._stop(trainer)
        elif not validates:
            self._keep(trainer, pl_module)

    def _keep(self, trainer: pl.Trainer, module: ForecastingModule) -> None:
        self.epoch = trainer.current_epoch + 1
        self._weights = {name: value.detach().clone() for name, value in module.evaluated.state_dict().items()}

    def _stop(self, trainer: pl.Trainer) -> None:
        self.diverged = trainer.should_stop = True

    def give_to_network(self, module: ForecastingModule, interrupted: bool = False) -> bool:
        """Put the kept weights into the network that was trained; say whether there are any worth it.

        An interrupted training without an epoch that was validated keeps what it has reached.
        """
        validated = self.error < math.inf
        weights = self._weights
        if interrupted and not validated and _finite(module.evaluated):
            weights, self.epoch = module.evaluated.state_dict(), 0
        if not weights:
            return False
        module.network.load_state_dict(weights)
        return validated or _forecasts_are_finite(module)

    def state_dict(self) -> dict[str, Any]:
        return {"error": self.error, "epoch": self.epoch, "weights": self._weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.error, self.epoch, self._weights = (state_dict[name] for name in ("error", "epoch", "weights"))


def _finite(network: ForecastNetwork) -> bool:
    largest = torch.nn.utils.get_total_norm(list(network.parameters()), norm_type=math.inf)
    return bool(torch.isfinite(largest))


@torch.inference_mode()
def _forecasts_are_finite(module: ForecastingModule) -> bool:
    """Weights of 1e30 are finite too: try them on some windows, without dropout."""
    past, _, covariates = module.windows.gather(module.windows.starts[: module.config.batch_size])
    return bool(torch.isfinite(module.network.eval()(past, covariates)).all())
