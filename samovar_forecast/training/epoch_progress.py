"""How far a training is: its epoch of at most how many, the losses, the rate and the time that is left."""

from __future__ import annotations

import math
import time
from typing import Any

import pytorch_lightning as pl

from samovar_forecast.training.progress import Screen, Verbose, time_left
from samovar_forecast.training.summary import EpochLosses

_BAR = 24  # signs
_APART = 0.2  # seconds between two versions of the line


class EpochProgress(pl.Callback):
    """The epoch of at most how many, the losses, the best so far, the rate and the time that is left.

    Parameters
    ----------
    verbose : {0, 1, "auto"}
        See `Screen`.
    """

    def __init__(self, verbose: Verbose) -> None:
        self._screen = Screen(verbose)
        self._history: list[EpochLosses] = []
        self._validation_loss: float | None = None
        self._first_step = 0
        self._last_shown = -math.inf

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._screen.began, self._first_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if not self._screen.is_silent and now - self._last_shown > _APART:
            self._last_shown = now
            total = int(trainer.num_training_batches)
            filled = round(_BAR * (batch_idx + 1) / max(1, total))
            self._screen.show(f"{self._told(trainer)} [{'#' * filled}{'.' * (_BAR - filled)}]")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking and "validation_loss" in trainer.callback_metrics:
            self._validation_loss = float(trainer.callback_metrics["validation_loss"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._screen.is_silent:
            return
        loss = getattr(pl_module, "mean_training_loss", None)
        training_loss = math.nan if loss is None else float(loss())
        self._history.append(EpochLosses(trainer.current_epoch + 1, training_loss, self._validation_loss))
        self._screen.show(self._told(trainer), is_mark=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._screen.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._screen.close()

    def _told(self, trainer: pl.Trainer) -> str:
        """The state in one line."""
        parts = [f"epoch {trainer.current_epoch + 1} of at most {_most_epochs(trainer)}"]
        if self._history:
            last = self._history[-1]
            parts.append(f"training loss {last.training_loss:.4g}")
            if last.validation_loss is not None:
                losses = [(one.validation_loss, one.epoch) for one in self._history]
                loss, epoch = min((loss, epoch) for loss, epoch in losses if loss is not None)
                parts.append(f"validation loss {last.validation_loss:.4g} (best {loss:.4g} in epoch {epoch})")
        steps, seconds = trainer.global_step - self._first_step, time.monotonic() - self._screen.began
        if steps and seconds > 0:
            rate = steps / seconds
            most = _most_steps(trainer)
            parts.append(f"{rate:.3g} steps/s")
            if math.isfinite(most):
                parts.append(f"at most {time_left(max(0.0, most - trainer.global_step) / rate)} left")
        return ", ".join(parts)


def _most_steps(trainer: pl.Trainer) -> float:
    of_epochs = math.inf
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        of_epochs = trainer.max_epochs * math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    return min(of_epochs, trainer.max_steps if trainer.max_steps > 0 else math.inf)


def _most_epochs(trainer: pl.Trainer) -> int:
    per_epoch = max(1, math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
    most = _most_steps(trainer)
    return math.ceil(most / per_epoch) if math.isfinite(most) else int(trainer.max_epochs or 0)
