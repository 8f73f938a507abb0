"""Leave a training when somebody asked for it, or with its last step."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl

from samovar_forecast.training.interrupts import Interrupt, TrainingInterrupted


class StopWhenAsked(pl.Callback):
    """Leave the training between two batches once Ctrl-C was pressed.

    Raises
    ------
    TrainingInterrupted
        Lightning would answer a KeyboardInterrupt by ending the process.
    """

    def __init__(self, interrupt: Interrupt) -> None:
        self._interrupt = interrupt

    def on_train_batch_start(self, *_: Any) -> None:
        self._stop_when_asked()

    def on_validation_batch_start(self, *_: Any) -> None:
        self._stop_when_asked()

    def _stop_when_asked(self) -> None:
        if self._interrupt.asked:
            logging.getLogger(__name__).warning("interrupted: the training stops and keeps its best weights so far")
            raise TrainingInterrupted


class ValidateLastStep(pl.Callback):
    """Validate at the last step of a training also where that lies inside an epoch."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True  # Lightning validates before it stops
