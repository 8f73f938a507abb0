"""The training of a network on windows, by Lightning's Trainer."""

from __future__ import annotations

import copy
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from numbers import Integral
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from sklearn.exceptions import ConvergenceWarning

from samovar_forecast.data.ignored_warnings import warnings_ignored
from samovar_forecast.data.windows import Windows
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.batches import count_parts, resolve_batch_size
from samovar_forecast.training.callbacks import BestWeights, LossHistory, StopWhenAsked, ValidateLastStep
from samovar_forecast.training.checkpoints import CheckpointFiles, Checkpoints, remove_checkpoint
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.devices import (
    compiled,
    count_devices,
    resolve_compile,
    resolve_device,
    resolve_precision,
)
from samovar_forecast.training.epoch_progress import EpochProgress
from samovar_forecast.training.fine_tuning import plain_network
from samovar_forecast.training.fingerprints import describe_training
from samovar_forecast.training.freed_memory import keep_freed_memory
from samovar_forecast.training.interrupts import TrainingInterrupted, interrupts_held_back
from samovar_forecast.training.module import ForecastingModule
from samovar_forecast.training.processes import own_number, run_together
from samovar_forecast.training.random_state import seeded
from samovar_forecast.training.summary import TrainingSummary


class TrainingDivergedError(ValueError):
    """The loss became NaN or infinite before any epoch was worth keeping."""


def train(
    network: ForecastNetwork,
    windows: Windows,
    validation: Windows | None,
    config: TrainingConfig,
    seed: int,
    begun_with: ForecastNetwork | None = None,
) -> TrainingSummary:
    """Train `network` in place and leave it in evaluation mode, on the device that it was trained on.

    With several `devices` the training is divided over as many processes. They are started here, unless torchrun, SLURM
    or another launcher has started them, each of which then calls this function and gets the whole result.

    With `checkpoint_dir` the training goes on from the checkpoint that it left there when it was killed. Ctrl-C
    stops it between two batches; the best weights so far are kept, see `interrupts_held_back`. The caller removes
    the checkpoint when it has kept what was trained.

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
    begun_with : ForecastNetwork or None
        Where the first weights come from, if not from the seed: a checkpoint serves the same beginning alone.

    Raises
    ------
    TrainingDivergedError
        If no epoch had a finite loss.
    CheckpointError
        If the checkpoint is damaged, or of another training.
    MemoryError
        If the GPU has not enough memory.
    ProcessEndedError
        If a process of several was killed; the fit goes on from its checkpoint when it is called again.
    ValueError
        If the devices are not there, or the training cannot be divided over several.
    """
    n_devices, number = count_devices(config.devices, resolve_device(config.device)), own_number()
    if n_devices * config.num_nodes > 1:
        _check_divisible(config, network, len(windows), n_devices, number)
    if not starts_processes(config):
        return _train(network, windows, validation, config, seed, begun_with)
    with interrupts_held_back() as interrupt:
        arguments = (network, windows, validation, replace(config), seed, begun_with)
        weights, summary = run_together(_train_for_others, arguments, n_devices, interrupt)
        network.load_state_dict(weights)
        network.to(resolve_device(config.device)).eval()
    return summary


def starts_processes(config: TrainingConfig) -> bool:
    """Whether a training with these hyperparameters starts processes, to which all of its windows are sent."""
    return own_number() is None and count_devices(config.devices, resolve_device(config.device)) > 1


def _check_divisible(
    config: TrainingConfig, network: ForecastNetwork, n_windows: int, n_devices: int, number: int | None
) -> None:
    total = n_devices * config.num_nodes
    if config.num_nodes > 1 and number is None:
        raise ValueError(
            f"num_nodes={config.num_nodes}: start the processes on every machine, e.g. by torchrun "
            f"--nnodes={config.num_nodes} --nproc-per-node={n_devices} --rdzv-backend=c10d --rdzv-endpoint=HOST:PORT "
            "script.py"
        )
    if ":" in config.device:
        raise ValueError(f"device={config.device!r} names one device, and devices={config.devices}; use device='cuda'")
    if network.windows_interact and not network.interact_by_mean:
        raise ValueError(
            f"{type(plain_network(network)).__name__} looks at a whole batch at once in training, which cannot be "
            "divided over several devices; use devices=1"
        )
    batch_size = resolve_batch_size(config.batch_size, n_windows)
    if batch_size < total:
        raise ValueError(f"{batch_size=} leaves some of {total} devices without a window; raise it")
    if number is not None and not isinstance(config.random_state, Integral):
        raise ValueError(
            "every process that a launcher starts must draw the same numbers: give random_state a whole number, got "
            f"{config.random_state!r}"
        )


def _train_for_others(network: ForecastNetwork, *arguments: Any) -> tuple[dict[str, torch.Tensor], TrainingSummary]:
    """Train in one process of several; the weights for the process that started them."""
    network = copy.deepcopy(network)  # the processes share the memory of what they are given
    summary = _train(network, *arguments)
    return {name: value.cpu() for name, value in network.state_dict().items()}, summary


def _train(
    network: ForecastNetwork,
    windows: Windows,
    validation: Windows | None,
    config: TrainingConfig,
    seed: int,
    begun_with: ForecastNetwork | None,
) -> TrainingSummary:
    device = resolve_device(config.device)
    n_devices = count_devices(config.devices, device)
    n_ranks, number = n_devices * config.num_nodes, own_number() or 0
    if n_ranks > 1 and device.type == "cuda":
        device = torch.device("cuda", number)
    generator = torch.Generator().manual_seed(seed)
    checkpoints = None
    if config.checkpoint_dir is not None:
        described = describe_training(config, device, network, windows, validation, begun_with)
        checkpoints = Checkpoints(config.checkpoint_dir, described)
    n_parts = 1
    if device.type == "cpu":
        n_parts = count_parts(
            network, windows, math.ceil(resolve_batch_size(config.batch_size, len(windows)) / n_ranks)
        )
        keep_freed_memory()
    module = ForecastingModule(network.train(), config, windows, validation, generator, n_parts)
    if resolve_compile(config.compile, device, module.total_steps):
        module.sums_of_losses = compiled(module.sums_of_losses, device)
    history = LossHistory()
    best = BestWeights(history)
    began = time.perf_counter()
    with interrupts_held_back() as interrupt, torch.enable_grad():  # Lightning enables it for good
        with _quiet():
            callbacks: list[Callback] = [history, best, StopWhenAsked(interrupt), ValidateLastStep()]
            if checkpoints is not None:
                callbacks.append(checkpoints)
            trainer = _trainer(config, device, n_devices, module, callbacks)
            with seeded(device, seed + trainer.global_rank) if n_ranks > 1 else nullcontext():
                interrupted = _fit(trainer, module, checkpoints)  # dropout on each device hides activations of its own
        if interrupted and trainer.global_step == 0:
            raise KeyboardInterrupt  # nothing is there to keep
        loss = history.epochs[-1].training_loss if history.epochs else math.nan
        if interrupted and module.training_loss.update_called:
            loss = float(module.mean_training_loss())
        network.to(device).eval()
        kept = best.give_to_network(module, interrupted)
        best_epoch = best.epoch or trainer.current_epoch + 1
        if best.diverged or not kept:
            _tell_divergence(config, loss, trainer, best_epoch if kept else None)
        return TrainingSummary(
            epochs=trainer.current_epoch,
            best_epoch=best_epoch,
            steps=trainer.global_step,
            validation_loss=best.error if math.isfinite(best.error) else None,
            training_loss=loss,
            seconds=time.perf_counter() - began,
            n_parameters=sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
            n_windows=len(windows),
            interrupted=interrupted,
            history=tuple(history.epochs),
            precision=str(trainer.precision),
        )


def _fit(trainer: pl.Trainer, module: ForecastingModule, checkpoints: Checkpoints | None) -> bool:
    """Let Lightning train; say whether Ctrl-C ended it."""
    try:
        trainer.fit(module, ckpt_path=None if checkpoints is None or not checkpoints.found else checkpoints.path)
    except TrainingInterrupted:
        return True
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning's answer to one
            raise KeyboardInterrupt from None
        raise
    except torch.OutOfMemoryError as error:
        raise MemoryError(
            f"{module.device} has not enough memory for this training: lower batch_size (now "
            f"{module.batch_size}; accumulate_batches makes up for it), context_length or d_model: {error}"
        ) from error
    return False


def _tell_divergence(config: TrainingConfig, loss: float, trainer: pl.Trainer, kept_epoch: int | None) -> None:
    advice = f"lower learning_rate (now {config.learning_rate}) or gradient_clip (now {config.gradient_clip})"
    told = f"training diverged: loss {loss} after {trainer.global_step} steps"
    if kept_epoch is None:
        if config.checkpoint_dir is not None:
            remove_checkpoint(config.checkpoint_dir)  # going on from there would end here again
        raise TrainingDivergedError(f"{told}; {advice}")
    warnings.warn(f"{told}; the weights of epoch {kept_epoch} are kept; {advice}", ConvergenceWarning, stacklevel=6)


def _trainer(
    config: TrainingConfig, device: torch.device, n_devices: int, module: ForecastingModule, callbacks: list[Callback]
) -> pl.Trainer:
    validates = module.validation is not None
    keeps_checkpoints = any(isinstance(callback, Checkpoints) for callback in callbacks)
    if validates and config.patience is not None:
        stopping = EarlyStopping("validation_loss", patience=int(config.patience), check_on_train_epoch_end=False)
        callbacks.append(stopping)
    shown = config.verbose if own_number() in (None, 0) else 0  # by one process of several
    callbacks += [EpochProgress(shown), *(config.callbacks or ())]
    is_divided = n_devices * config.num_nodes > 1
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index] if device.type == "cuda" and not is_divided else n_devices,
        num_nodes=int(config.num_nodes),
        strategy={"auto": "ddp"}.get(config.strategy, config.strategy) if is_divided else "auto",
        precision=resolve_precision(config.precision, device, module.total_steps),  # type: ignore[arg-type]
        max_epochs=int(config.max_epochs),  # Lightning refuses the numbers of numpy
        max_steps=-1 if config.max_steps is None else int(config.max_steps),
        gradient_clip_val=None if config.gradient_clip is None else float(config.gradient_clip),
        accumulate_grad_batches=module.parts_per_step,
        callbacks=callbacks,
        logger=_logger(config),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if validates else 0,
        plugins=[CheckpointFiles()] if keeps_checkpoints else None,
        enable_checkpointing=keeps_checkpoints,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )


def _logger(config: TrainingConfig) -> Any:
    """The logger that a name stands for, or the one that was given; False: none."""
    named: dict[str, Callable[[str], Logger]] = {"csv": CSVLogger, "tensorboard": TensorBoardLogger}
    if isinstance(config.logger, str):
        return named[config.logger](config.log_dir)
    return config.logger or False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's banners about devices and tips away; its warnings about real trouble stay."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings_ignored(
            ".*does not have many workers",
            ".*GPU available but not used",
            ".*LeafSpec.* is deprecated",
            ".*It is recommended to use `self.log",  # what is logged is that of all devices already
        ):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
