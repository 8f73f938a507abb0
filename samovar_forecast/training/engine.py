"""Train a network on windows, with Lightning's Trainer doing what it does well."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, RichProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.best_weights import BestWeights
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.devices import resolve_device, resolve_precision
from samovar_forecast.training.module import ForecastingModule
from samovar_forecast.training.summary import TrainingSummary
from samovar_forecast.training.windows import Windows


class TrainingDivergedError(ValueError):
    """The loss became NaN or infinite before any epoch was worth keeping."""


def train(
    network: ForecastNetwork, windows: Windows, validation: Windows | None, config: TrainingConfig, seed: int
) -> TrainingSummary:
    """Train `network` in place and leave it in evaluation mode, on the device that it was trained on.

    Parameters
    ----------
    network : ForecastNetwork
    windows : Windows
        Training windows.
    validation : Windows or None
        Windows that choose the best epoch; None keeps the last.
    config : TrainingConfig
    seed : int
        Seed of the order of windows. Dropout draws from PyTorch's global generator: seed it, and fork it if
        the caller's state is to survive.

    Raises
    ------
    TrainingDivergedError
        If no epoch had a finite loss.
    """
    device = resolve_device(config.device)
    generator = torch.Generator().manual_seed(seed)
    module = ForecastingModule(network.train(), config, windows, validation, generator)
    best = BestWeights()
    began = time.perf_counter()
    with _quiet():
        trainer = _trainer(config, device, len(module.train_dataloader()), best, validation is not None)
        trainer.fit(module)
    loss = float(trainer.callback_metrics["training_loss"])
    if not math.isfinite(best.error if validation is not None else loss):
        raise TrainingDivergedError(
            f"training diverged: loss {loss} after {trainer.global_step} steps; lower learning_rate "
            f"(now {config.learning_rate}) or gradient_clip (now {config.gradient_clip})"
        )
    network.to(device).eval()
    return TrainingSummary(
        epochs=trainer.current_epoch,
        best_epoch=best.epoch or trainer.current_epoch,
        steps=trainer.global_step,
        validation_loss=best.error if validation is not None else None,
        training_loss=loss,
        seconds=time.perf_counter() - began,
        n_parameters=sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
        n_windows=len(windows),
    )


def _trainer(
    config: TrainingConfig, device: torch.device, batches: int, best: BestWeights, validates: bool
) -> pl.Trainer:
    callbacks: list[Callback] = [best]
    if validates and config.patience is not None:
        # A NaN error stops at once; the best weights so far are restored.
        callbacks.append(EarlyStopping("validation_loss", patience=config.patience, check_finite=True))
    if config.verbose:
        callbacks.append(RichProgressBar())
    last_batch = batches if config.max_steps is None else config.max_steps * config.accumulate_batches
    loggers: dict[str, Callable[[str], Logger]] = {"csv": CSVLogger, "tensorboard": TensorBoardLogger}
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index] if device.type == "cuda" else 1,
        precision=resolve_precision(config.precision, device),  # type: ignore[arg-type]
        max_epochs=config.max_epochs,
        max_steps=-1 if config.max_steps is None else config.max_steps,
        # A training that ends inside its first epoch is validated at its last step.
        val_check_interval=last_batch if last_batch < batches else 1.0,
        gradient_clip_val=config.gradient_clip,
        accumulate_grad_batches=config.accumulate_batches,
        callbacks=callbacks,
        logger=loggers[config.logger](config.log_dir) if config.logger else False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if validates else 0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=bool(config.verbose),
        use_distributed_sampler=False,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's banners about devices and tips away; its warnings about real trouble stay."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (
                ".*does not have many workers",
                ".*GPU available but not used",
                ".*LeafSpec.* is deprecated",
            ):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(level)
