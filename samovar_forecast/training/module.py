"""The one LightningModule that trains every network."""

from __future__ import annotations

import math
from functools import partial

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from samovar_forecast.data.windows import Part, WindowBatches, Windows
from samovar_forecast.networks.network import Covariates, ForecastNetwork
from samovar_forecast.training.averaged_weights import AveragedWeights
from samovar_forecast.training.batch_sizes import forecast_batch_size
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.losses import LOSSES, ascending, pinball_loss, sum_over_observed
from samovar_forecast.training.metrics import MeanOverObserved
from samovar_forecast.training.schedules import multiplier
from samovar_forecast.training.sharpness import SharpnessAware


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
    n_parts : int, default 1
        Parts that a batch is run in, one after the other; the Trainer accumulates their gradients.

    Attributes
    ----------
    sums_of_losses : callable
        The network's training forecast and its losses: a method of this module, or a compiled form of it.
    """

    def __init__(
        self,
        network: ForecastNetwork,
        config: TrainingConfig,
        windows: Windows,
        validation: Windows | None,
        generator: torch.Generator,
        n_parts: int = 1,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.averaged = None if config.average_weights is None else AveragedWeights(network, config.average_weights)
        self.windows, self.validation = windows, validation
        self.generator, self.n_parts = generator, n_parts
        self.sums_of_losses = self._sums_of_losses
        # Means over the observed targets of an epoch; they and the quantiles move to the device with the module.
        self.training_loss, self.own_loss, self.validation_loss = (MeanOverObserved() for _ in range(3))
        self.quantiles: Tensor | None
        self.register_buffer("quantiles", None if config.quantiles is None else torch.tensor(config.quantiles))

    def setup(self, stage: str) -> None:
        self.windows = self.windows.to(self.device)
        if self.validation is not None:
            self.validation = self.validation.to(self.device)

    def train_dataloader(self) -> WindowBatches:
        weights = self.windows.equal_weights().cpu() if self.config.sampling == "series" else None
        return WindowBatches(self.windows.starts.cpu(), self.config.batch_size, self.generator, weights, self.n_parts)

    def val_dataloader(self) -> WindowBatches:
        assert self.validation is not None  # the Trainer asks for it only where it validates
        return WindowBatches(self.validation.starts.cpu(), forecast_batch_size(self.network, self.device))

    def training_step(self, part: Part, batch_index: int) -> Tensor:
        sums = self.sums_of_losses(*self.windows.gather(part.starts))
        for metric, (total, count) in zip((self.training_loss, self.own_loss), sums, strict=False):
            metric.update(total, count)
        return _sum_of_means(sums) * part.weight

    def loss_of(self, part: Part) -> Tensor:
        """What a part of a batch adds to the loss, with gradients; nothing is recorded."""
        return _sum_of_means(self.sums_of_losses(*self.windows.gather(part.starts))) * part.weight

    def _sums_of_losses(
        self, past: Tensor, future: Tensor, covariates: Covariates | None
    ) -> list[tuple[Tensor, Tensor]]:
        """Sum and number of the losses of the forecast and, where there is one, of the network's own objective."""
        result = self.network.training_forecast(past, covariates)
        sums = [self._sum_of_losses(result.forecast, future)]
        if result.own_forecast is not None and result.own_target is not None:
            sums.append(self._sum_of_losses(result.own_forecast, result.own_target))
        return sums

    def _sum_of_losses(self, forecast: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if self.quantiles is None:
            return sum_over_observed(LOSSES[self.config.loss], forecast[..., self.network.point_output], target)
        # Not sorted: were an output to change its quantile from window to window, training would get stuck in that.
        return sum_over_observed(partial(pinball_loss, quantiles=self.quantiles), forecast, target)

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

    def mean_training_loss(self) -> Tensor:
        """The mean loss of the epoch so far."""
        loss = self.training_loss.compute()
        if self.own_loss.update_called:
            loss = loss + self.own_loss.total / self.own_loss.count.clamp(min=1)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("training_loss", self.mean_training_loss(), prog_bar=True)
        self.training_loss.reset()
        self.own_loss.reset()

    def validation_step(self, part: Part, batch_index: int) -> None:
        assert self.validation is not None
        past, future, covariates = self.validation.gather(part.starts)
        self.validation_loss.update(*self._sum_of_losses(ascending(self.evaluated(past, covariates)), future))

    def on_validation_epoch_end(self) -> None:
        self.log("validation_loss", self.validation_loss, prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            # Plain numbers: those of numpy would be in the checkpoint, which is not read with any.
            lr=float(self.config.learning_rate),
            betas=(float(self.config.adam_betas[0]), float(self.config.adam_betas[1])),
            weight_decay=float(self.config.weight_decay),
            fused=True,
        )
        # Lightning clips no gradients for optimizers that undo a scaling of the loss. None of the precisions has one.
        optimizer._step_supports_amp_scaling = False
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


def _sum_of_means(sums: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.stack([total / count.clamp(min=1) for total, count in sums]).sum()
