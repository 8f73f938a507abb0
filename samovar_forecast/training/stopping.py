"""Leave a training when somebody asked for it."""

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
