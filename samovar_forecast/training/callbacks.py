"""Lightning callbacks: the losses by epoch, the best weights, and when a training ends."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from samovar_forecast.training.interrupts import Interrupt, TrainingInterrupted
from samovar_forecast.training.module import ForecastingModule
from samovar_forecast.training.summary import EpochLosses

BATCHES_BETWEEN_TALKS = 8


class LossHistory(pl.Callback):
    """The losses of every epoch that was run to its end; a checkpoint holds them.

    Attributes
    ----------
    epochs : list of EpochLosses
    """

    def __init__(self) -> None:
        self.epochs: list[EpochLosses] = []
        self._validation_loss: float | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: ForecastingModule) -> None:  # type: ignore[override]
        self._validation_loss = float(trainer.callback_metrics["validation_loss"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: ForecastingModule) -> None:  # type: ignore[override]
        training_loss = float(pl_module.mean_training_loss())
        self.epochs.append(EpochLosses(trainer.current_epoch + 1, training_loss, self._validation_loss))

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": [tuple(losses) for losses in self.epochs]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = [EpochLosses(*losses) for losses in state_dict["epochs"]]


class KeepBest(pl.Callback):
    """Keep the weights of the epoch with the lowest validation error in memory; stop where that is not finite.

    Lightning's `ModelCheckpoint` goes through the disk, and a plain fit leaves nothing there.

    Parameters
    ----------
    monitor : str
        Name under which the module logs its validation error.

    Attributes
    ----------
    error : float
        Lowest validation error; infinite before there is one.
    epoch : int
        Epoch whose weights are kept, counted from 1; 0 before any is.
    weights : dict of str to Tensor
        The state of the module, or of its network `evaluated` where it has one.
    diverged : bool
        Whether a validation error was not finite.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor, self.error, self.epoch = monitor, math.inf, 0
        self.weights: dict[str, Tensor] = {}
        self.diverged = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        error = float(trainer.callback_metrics[self.monitor])
        if error < self.error:
            self.error = error
            self.keep(trainer, pl_module)
        elif not math.isfinite(error):
            self.stop(trainer)

    def keep(self, trainer: pl.Trainer, module: nn.Module) -> None:
        """Copy the weights of the moment."""
        self.epoch = trainer.current_epoch + 1
        evaluated: nn.Module = getattr(module, "evaluated", module)
        self.weights = {name: value.detach().clone() for name, value in evaluated.state_dict().items()}

    def stop(self, trainer: pl.Trainer) -> None:
        """End a training that has diverged."""
        self.diverged = trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"error": self.error, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.error, self.epoch, self.weights = (state_dict[name] for name in ("error", "epoch", "weights"))


class BestWeights(KeepBest):
    """The best epoch of a `ForecastingModule`; without validation, the last epoch that was finite.

    Parameters
    ----------
    history : LossHistory
        The losses by epoch; its place among the callbacks is before this one.

    Attributes
    ----------
    diverged : bool
        Whether a loss or a weight was not finite at the end of an epoch.
    """

    def __init__(self, history: LossHistory) -> None:
        super().__init__("validation_loss")
        self._history = history

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: ForecastingModule) -> None:  # type: ignore[override]
        validates = trainer.limit_val_batches > 0
        loss = self._history.epochs[-1].training_loss
        if not math.isfinite(loss) or not (validates or _finite(pl_module.evaluated)):
            self.stop(trainer)
        elif not validates:
            self.keep(trainer, pl_module)

    def give_to_network(self, module: ForecastingModule, interrupted: bool = False) -> bool:
        """Put the kept weights into the network that was trained; False if there are none that forecast.

        An interrupted training without an epoch that was validated keeps the weights of the moment; `epoch` is 0 then.
        """
        validated = self.error < math.inf
        weights = self.weights
        if interrupted and not validated and _finite(module.evaluated):
            weights, self.epoch = module.evaluated.state_dict(), 0
        if not weights:
            return False
        module.network.load_state_dict(weights)
        return validated or _forecasts_are_finite(module)


def _finite(network: nn.Module) -> bool:
    largest = torch.nn.utils.get_total_norm(list(network.parameters()), norm_type=math.inf)
    return bool(torch.isfinite(largest))


@torch.inference_mode()
def _forecasts_are_finite(module: ForecastingModule) -> bool:
    """Weights of 1e30 are finite too: try them on some windows, without dropout."""
    past, _, covariates = module.windows.gather(module.windows.starts[: module.batch_size])
    return bool(torch.isfinite(module.network.eval()(past, covariates)).all())


class StopWhenAsked(pl.Callback):
    """Leave the training between two batches once Ctrl-C was pressed.

    Several devices leave it together: from time to time they tell one another whether it was pressed.

    Raises
    ------
    TrainingInterrupted
        Lightning would answer a KeyboardInterrupt by ending the process.
    """

    def __init__(self, interrupt: Interrupt) -> None:
        self._interrupt = interrupt

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        self._stop_when_asked(trainer, batch_idx)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._stop_when_asked(trainer, batch_idx)

    def _stop_when_asked(self, trainer: pl.Trainer, batch_idx: int) -> None:
        if trainer.world_size > 1 and batch_idx % BATCHES_BETWEEN_TALKS:
            return
        if trainer.strategy.reduce_boolean_decision(self._interrupt.asked, all=False):
            if trainer.is_global_zero:
                told = "interrupted: the training stops and keeps its best weights so far"
                logging.getLogger(__name__).warning(told)
            raise TrainingInterrupted


class ValidateLastStep(pl.Callback):
    """Validate at the last step of a training also where that lies inside an epoch."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True  # Lightning validates before it stops
