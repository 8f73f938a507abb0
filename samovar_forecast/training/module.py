"""The LightningModule that trains every network."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torchmetrics import Metric

from samovar_forecast.data.windows import Windows
from samovar_forecast.layers.batch_mean import divided_batch
from samovar_forecast.layers.observed import is_observed
from samovar_forecast.networks.network import Covariates, ForecastNetwork
from samovar_forecast.training.batches import (
    Part,
    WindowBatches,
    forecast_batch_size,
    resolve_batch_size,
    windows_of_epoch,
)
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.losses import LOSSES, ascending, pinball_loss, sum_over_observed
from samovar_forecast.training.optimisation import AveragedWeights, multiplier
from samovar_forecast.training.random_state import forked
from samovar_forecast.training.sharpness import SharpnessAware


class MeanOverObserved(Metric):
    """The mean of a loss over all observed targets of an epoch, on all devices.

    It stays on the device until it is computed. torchmetrics' `MeanMetric` does not: its ways of treating NaN read the
    values on the host at every update, and the one that does not drops the weights.

    Parameters
    ----------
    empty : float, default NaN
        The mean where no target was observed.

    Examples
    --------
    >>> mean = MeanOverObserved()
    >>> mean.update(torch.tensor(6.0), torch.tensor(2))  # a batch with two observed targets
    >>> mean.update(torch.tensor(1.0), torch.tensor(2))
    >>> mean.compute()
    tensor(1.7500)
    """

    total: Tensor
    count: Tensor

    def __init__(self, empty: float = math.nan) -> None:
        super().__init__()
        self.empty = empty
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: Tensor) -> None:
        """Take in the sum of the losses of a batch and the number of its observed targets."""
        self.total += total.detach()
        self.count += count

    def compute(self) -> Tensor:
        """The mean so far."""
        return torch.where(self.count > 0, self.total / self.count, self.empty)


class ForecastingModule(pl.LightningModule):
    """Train a network on windows that lie on the training device.

    Batches are indices: `training_step` gathers the windows from the resident series. Losses stay on the device until
    the end of an epoch. The loss of an optimizer step is the mean over the observed targets of all its windows, however
    many batches and parts they are run in, and over however many devices they are divided.

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
        Parts that a batch is run in, one after the other.

    Attributes
    ----------
    sums_of_losses : callable
        The network's training forecast and its losses: a method of this module, or a compiled form of it.
    parts_per_step : int
        Parts of all batches of a step. The Trainer accumulates the gradients of so many, and divides by their number.
    rank, n_ranks : int
        Number of this device among those of the training, and how many there are. Lightning averages their gradients.
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
        self.parts_per_step = int(config.accumulate_batches) * n_parts
        self.sums_of_losses = self._sums_of_losses
        # Means over the observed targets of an epoch; they and the quantiles move to the device with the module.
        self.training_loss, self.validation_loss = MeanOverObserved(), MeanOverObserved()
        self.own_loss = MeanOverObserved(empty=0.0)
        self.quantiles: Tensor | None
        self.register_buffer("quantiles", None if config.quantiles is None else torch.tensor(config.quantiles))
        self.rank, self.n_ranks = 0, 1

    def setup(self, stage: str) -> None:
        self.rank, self.n_ranks = self.trainer.global_rank, self.trainer.world_size
        self.windows = self.windows.to(self.device)
        if self.validation is not None:
            self.validation = self.validation.to(self.device)

    def train_dataloader(self) -> WindowBatches:
        weights = self.windows.equal_weights().cpu() if self.config.sampling == "series" else None
        return WindowBatches(
            self.windows.starts.cpu(),
            self.batch_size,
            self.generator,
            weights,
            self.config.windows_per_epoch,
            accumulate_batches=self.config.accumulate_batches,
            n_parts=self.n_parts,
            count=self.count_targets,
            rank=self.rank,
            n_ranks=self.n_ranks,
            add_up=self._add_up if self.n_ranks > 1 else None,
        )

    def _add_up(self, count: Tensor) -> Tensor:
        total = self.trainer.strategy.reduce(count, reduce_op="sum")
        assert isinstance(total, Tensor)
        return total

    @torch.no_grad()
    def count_targets(self, starts: Tensor) -> tuple[Tensor, ...]:
        """Numbers of observed targets of the forecast and, where there is one, of the network's own objective."""
        counts: list[list[Tensor]] = []
        with forked(self.device):  # finding out may take a forward pass of the network
            for some in starts.split(math.ceil(self.batch_size / self.n_parts)):
                past, future, covariates = self.windows.gather(some)
                observed = (is_observed(future), self.network.observed_own_targets(past, covariates))
                counts.append([each.sum() for each in observed if each is not None])
        return tuple(torch.stack(each).sum() for each in zip(*counts, strict=True))

    def val_dataloader(self) -> WindowBatches:
        assert self.validation is not None  # the Trainer asks for it only where it validates
        batch_size = self.n_ranks * forecast_batch_size(self.network, self.device)
        return WindowBatches(
            self.validation.starts.cpu(), batch_size, n_windows=self.config.windows_per_epoch, rank=self.rank,
            n_ranks=self.n_ranks,
        )  # fmt: skip

    def training_step(self, part: Part, batch_index: int) -> Tensor:
        sums = self._sums_of(part)
        for metric, (total, count) in zip((self.training_loss, self.own_loss), sums, strict=False):
            metric.update(total, count)
        return self._loss(sums, part)

    def loss_of(self, part: Part, batch_index: int = 0) -> Tensor:
        """The loss of `training_step`, with gradients; nothing is recorded."""
        return self._loss(self._sums_of(part), part)

    def _sums_of(self, part: Part) -> list[tuple[Tensor, Tensor]]:
        with divided_batch(self._add_up, part.idle) if self.n_ranks > 1 else nullcontext():
            sums = self.sums_of_losses(*self.windows.gather(part.starts))
        return [(0 * total, 0 * count) for total, count in sums] if part.idle else sums

    def _loss(self, sums: list[tuple[Tensor, Tensor]], part: Part) -> Tensor:
        """What a part adds to the loss of its step, times the numbers that the Trainer divides it by."""
        counts = part.counts or tuple(count for _, count in sums)
        means = [total / count.clamp(min=1) for (total, _), count in zip(sums, counts, strict=True)]
        return torch.stack(means).sum() * (self.parts_per_step * self.n_ranks)

    def _sums_of_losses(
        self, past: Tensor, future: Tensor, covariates: Covariates | None
    ) -> list[tuple[Tensor, Tensor]]:
        """Sum and number of the losses of the forecast and, where there is one, of the network's own objective."""
        result = self.network.training_forecast(past, covariates)
        return [self._sum_of_losses(*pair) for pair in result.pairs(future)]

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
            loss = loss + self.own_loss.compute()
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("training_loss", self.mean_training_loss(), prog_bar=True)
        self.training_loss.reset()
        self.own_loss.reset()

    def validation_step(self, part: Part, batch_index: int) -> None:
        assert self.validation is not None
        past, future, covariates = self.validation.gather(part.starts)
        total, count = self._sum_of_losses(ascending(self.evaluated(past, covariates)), future)
        self.validation_loss.update(total * (not part.idle), count * (not part.idle))

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
    def batch_size(self) -> int:
        """Windows per training step on all devices together."""
        return resolve_batch_size(self.config.batch_size, len(self.windows))

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        n_windows = windows_of_epoch(len(self.windows), self.config.windows_per_epoch)
        return math.ceil(n_windows / (self.batch_size * self.config.accumulate_batches))

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training, were it not to stop early."""
        steps = self.config.max_epochs * self.steps_per_epoch
        return steps if self.config.max_steps is None else min(steps, self.config.max_steps)
