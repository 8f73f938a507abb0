"""Training of the models of other libraries: the choice of the best epoch, and quiet Lightning trainers."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from torch import nn

from samovar_forecast.training.callbacks import KeepBest

ACCELERATORS = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}


class BestEpoch(KeepBest):
    """`KeepBest` that also stops after `patience` epochs without a lower validation error.

    Parameters
    ----------
    monitor : str
        Name under which the library logs its validation error.
    patience : int or None
        None: never stop.
    """

    def __init__(self, monitor: str, patience: int | None) -> None:
        super().__init__(monitor)
        self.patience = patience

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if self.patience is not None and trainer.current_epoch + 1 - self.epoch >= self.patience:
            trainer.should_stop = True

    def give_to(self, module: nn.Module) -> None:
        """Put the kept weights in.

        Raises
        ------
        ValueError
            If no epoch had a finite error.
        """
        if not self.weights:
            raise ValueError("training diverged: no epoch has a finite validation error; lower the learning rate")
        module.load_state_dict(self.weights)


class Clock:
    """The seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._began


def trainer_settings(device: str) -> dict[str, Any]:
    """Settings of Lightning's Trainer in every library: it writes and shows nothing."""
    return {
        "accelerator": ACCELERATORS[device],
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the banners and tips of Lightning, and its warnings about the loaders of the libraries."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", message="'pin_memory' argument is set as true")
            yield
    finally:
        logger.setLevel(level)
