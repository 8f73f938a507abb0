"""The one LightningModule that trains every network."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torchmetrics import MeanMetric

from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.averaged_weights import AveragedWeights
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.schedules import multiplier
from samovar_forecast.training.sharpness import SharpnessAware
from samovar_forecast.training.windows import WindowBatches, Windows

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


class ForecastingModule(pl.LightningModule):
    """Train a network on windows that lie on the training device.

    Batches are indices: `training_step` gathers the windows from the resident series. Losses stay on the
    device until the end of an epoch.

    Parameters
    ----------
    network : ForecastNetwork
        What to train.
    config : TrainingConfig
        Optimizer, schedule and loss.
    windows : Windows
        Training windows.
    validation : Windows or None
        Windows whose mean loss selects the epoch.
    generator : torch.Generator
        Source of the order of windows.
    """

    def __init__(
        self,
        network: ForecastNetwork,
        config: TrainingConfig,
        windows: Windows,
        validation: Windows | None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.averaged = None if config.average_weights is None else AveragedWeights(network, config.average_weights)
        self.windows, self.validation = windows, validation
        self.generator = generator
        self.criterion = LOSSES[config.loss]
        # Means over windows: a batch counts once per window. "disable" spares the host a look at every loss, and
        # drops weights, which is why the losses are expanded instead.
        self.training_loss = MeanMetric(nan_strategy="disable")
        self.validation_loss = MeanMetric(nan_strategy="disable")

    def setup(self, stage: str) -> None:
        self.windows = self.windows.to(self.device)
        if self.validation is not None:
            self.validation = self.validation.to(self.device)

    def train_dataloader(self) -> WindowBatches:
        return WindowBatches(self.windows.starts.cpu(), self.config.batch_size, self.generator)

    def val_dataloader(self) -> WindowBatches:
        assert self.validation is not None  # the Trainer asks for it only where it validates
        return WindowBatches(self.validation.starts.cpu(), 4 * self.config.batch_size)

    def training_step(self, starts: Tensor, batch_index: int) -> Tensor:
        loss = self.loss_of(starts)
        self.training_loss.update(loss.detach().expand(len(starts)))
        return loss

    def loss_of(self, starts: Tensor) -> Tensor:
        """The loss of the windows that begin at `starts`, with gradients; nothing is recorded."""
        past, future, covariates = self.windows.gather(starts)
        result = self.network.training_forecast(past, covariates)
        loss = self.criterion(result.forecast[..., self.network.point_output], future)
        if result.own_forecast is not None and result.own_target is not None:
            loss = loss + self.criterion(result.own_forecast[..., self.network.point_output], result.own_target)
        return loss

    def configure_callbacks(self) -> list[pl.Callback]:
        if self.config.sharpness_rho is None:
            return []
        return [SharpnessAware(self.config.sharpness_rho, self.config.sharpness_adaptive)]

    def on_train_batch_end(self, *_: object) -> None:
        if self.averaged is not None and self.trainer.global_step > self.averaged.steps:
            self.averaged.update(self.network)  # once per optimizer step, not per accumulated batch

    @property
    def evaluated(self) -> ForecastNetwork:
        """The network that is validated and kept: with averaged weights where they are averaged."""
        return self.network if self.averaged is None else self.averaged.network

    def on_train_epoch_end(self) -> None:
        self.log("training_loss", self.training_loss, prog_bar=True)

    def validation_step(self, starts: Tensor, batch_index: int) -> None:
        assert self.validation is not None
        past, future, covariates = self.validation.gather(starts)
        forecast = self.evaluated(past, covariates)[..., self.network.point_output]
        self.validation_loss.update(self.criterion(forecast.float(), future).expand(len(starts)))

    def on_validation_epoch_end(self) -> None:
        self.log("validation_loss", self.validation_loss, prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.config.learning_rate,
            betas=self.config.adam_betas,
            weight_decay=self.config.weight_decay,
        )
        rate = multiplier(self.config.schedule, self.total_steps, self.steps_per_epoch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the training windows."""
        return math.ceil(len(self.windows) / self.config.batch_size / self.config.accumulate_batches)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training, were it not to stop early."""
        steps = self.config.max_epochs * self.steps_per_epoch
        return steps if self.config.max_steps is None else min(steps, self.config.max_steps)
