"""The hyperparameters of training, which all forecasters share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any, Literal, Protocol, runtime_checkable

from numpy.random import RandomState

from samovar_forecast.data.bounds import check_bounds
from samovar_forecast.hyperparameters import check_types, hyperparameters


@runtime_checkable
class MetricsLogger(Protocol):
    """What a logger of Lightning is here, which is slow to import."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Record numbers by name."""
        ...


@hyperparameters
class TrainingConfig:
    """Hyperparameters of data preparation and training.

    Parameters
    ----------
    horizon : int, default 24
        Steps that `predict` forecasts.
    context_length : int or None, default None
        Points of history that the network sees. None: ten times what it forecasts at once, at most 512 rows or twelve
        seasons of the index, whichever is longer; of few rows about a sixth.
    output_length : int or None, default None
        Steps that the network forecasts at once; longer forecasts roll forward. None: the horizon, at most 96 rows or
        two seasons of the index, whichever is longer.
    targets : sequence of column names or None, default None
        Columns to forecast; the others are past covariates. None: all columns.
    calendar : sequence of str, "auto" or None, default None
        Features made from the index and used like covariates that are known in the future: "minute", "hour",
        "dayofweek", "day", "dayofyear", "week", "month". "auto": those that tell the steps of the index apart, and none
        for integers. None: none.
    batch_size : int or None, default None
        Windows per training step. None: 32, and 8 where training has fewer than 512 windows.
    max_epochs : int, default 100
        Passes over the training windows, at most.
    max_steps : int or None, default None
        Training steps, at most. None: no limit beside `max_epochs`.
    windows_per_epoch : int or None, default 8192
        Windows of an epoch, at most: of more, every epoch draws others, and so many, evenly spaced, validate it. Then
        the best epoch is found as finely in long data as in short ones. None: every epoch has all windows.
    learning_rate : float, default 3e-4
        Peak learning rate.
    weight_decay : float, default 0.1
        Decoupled weight decay of AdamW.
    adam_betas : tuple of float, default (0.9, 0.95)
        How slowly AdamW's averages of the gradient and of its square forget.
    sharpness_rho : float or None, default None
        Sharpness-aware minimisation: take the gradient at the worst weights within this distance. It finds flatter
        minima and takes twice the time. None: the gradient at the weights themselves.
    sharpness_adaptive : bool, default False
        Measure `sharpness_rho` relative to the size of each weight.
    schedule : {"onecycle", "cosine", "cosine_restarts", "halving", "constant"}, default "constant"
        Learning rate over time. Per step: linear warm-up over the first 5 % and linear decay ("onecycle"), the same
        warm-up and cosine decay ("cosine"). Per epoch: cosine decay that restarts every five epochs
        ("cosine_restarts"), half the rate every epoch after the second ("halving"). "constant": no change; the
        averaged weights settle all the same.
    average_weights : float or None, default 0.999
        Decay of the moving average of the weights, which is what is validated and kept. The average reaches back
        over about a tenth of the steps so far, at most over 1 / (1 - decay). None: the weights themselves.
    gradient_clip : float or None, default 1.0
        Largest norm of the gradient. None: no clipping.
    accumulate_batches : int, default 1
        Batches per optimizer step. Its loss is the mean over all of them, also at the end of an epoch, where fewer may
        be left.
    patience : int or None, default 5
        Epochs without a better validation loss before training stops. None: never.
    validation_fraction : float, default 0.2
        Share of the newest rows held out to choose the best epoch and to stop early. 0: train on everything for
        all of `max_epochs` and keep the last.
    sampling : {"windows", "series"}, default "windows"
        In a panel, how often a series is drawn in training: in proportion to its windows, or as often as any other.
    scaler : {"standard", "robust", "none"}, default "standard"
        Scaling of each series, fitted on the training rows and undone on output: by mean and standard deviation, by
        median and interquartile range, or not at all.
    log1p : bool, default False
        Forecast ``log(1 + y)`` of the targets, undone on output; for counts and other values above -1.
    lower : float, tuple of float or None, default None
        Smallest value of the targets, 0 for counts: no forecast, quantile or interval goes below it, and data that do
        are an error. A tuple has a bound, or None, for each target. None: no bound.
    upper : float, tuple of float or None, default None
        Largest value of the targets, as `lower`. None: no bound.
    loss : {"mse", "mae", "huber"}, default "mae"
        Loss of training and validation, on the scaled series. Without effect where `quantiles` are given.
    quantiles : tuple of float or None, default None
        Quantiles that the network forecasts, trained by the pinball loss: ascending, an odd number of them, 0.5 in the
        middle as the point forecast. None: point forecasts, with intervals from the errors on the validation windows.
    device : str, default "auto"
        "cpu", "cuda", "cuda:1", "mps", or "auto": the fastest one there is.
    devices : int or "auto", default 1
        Devices of this machine, on each machine of several, that one training is divided over. Every batch is: the
        training is that on one device, up to rounding and to what dropout hides. "auto": all GPUs. On a CPU, processes.
    num_nodes : int, default 1
        Machines that one training is divided over; torchrun or SLURM starts the processes of more than one.
    strategy : str, default "auto"
        Lightning's name for the way in which devices share a training. "auto" is "ddp"; there is
        "ddp_find_unused_parameters_true" for networks of your own that do not use all their weights in each batch.
    precision : {"auto", "32-true", "bf16-mixed"}, default "auto"
        Arithmetic of training. "auto": bfloat16 mixed precision on GPUs that have it, and for trainings of at least
        5,000 steps on processors with AVX512-BF16 or AMX, where steps take .5 to .85 of the time; else float32.
        Processors without AVX512 emulate bfloat16, several times slower than float32.
    compile : {"auto", True, False}, default "auto"
        Let PyTorch compile the network for training, which takes half a minute or more. "auto": on a GPU, for
        trainings of at least 5,000 steps; a CPU gains too little.
    logger : {"csv", "tensorboard"}, Lightning logger or None, default None
        Where losses are written while training: also any logger of Lightning, such as those of W&B and MLflow. None:
        nowhere.
    callbacks : tuple of Lightning callbacks or None, default None
        Further callbacks of the training, after those of the package. Model files do not hold them. None: none.
    log_dir : str, default "logs"
        Folder of the logger; untouched where `logger` is None.
    checkpoint_dir : str or None, default None
        Folder where `fit` writes its state after every epoch, and from which the same `fit` goes on after it was
        killed. A folder serves one training at a time. None: nothing is written.
    n_members : int, default 1
        Networks to train, each from a seed of its own, whose forecasts and quantiles are averaged. They take as many
        times as long, unless `joblib.parallel_config` spreads them over processes. The first one is that of
        ``n_members=1``.
    random_state : int, RandomState or None, default None
        Seed of initial weights, dropout and the order of windows.
    verbose : {0, 1, "auto"}, default "auto"
        How far the training is: 0: nothing is shown. 1: a line that is rewritten in a terminal or a notebook, and
        plain lines elsewhere. "auto": that line, where the training takes longer than a few seconds and a terminal or
        a notebook shows it; never inside sktime.
    """

    horizon: int = 24
    context_length: int | None = None
    output_length: int | None = None
    targets: tuple[str, ...] | list[str] | None = None
    calendar: tuple[str, ...] | list[str] | Literal["auto"] | None = None
    batch_size: int | None = None
    max_epochs: int = 100
    max_steps: int | None = None
    windows_per_epoch: int | None = 8192
    learning_rate: float = 3e-4
    weight_decay: float = 0.1
    adam_betas: tuple[float, float] = (0.9, 0.95)
    sharpness_rho: float | None = None
    sharpness_adaptive: bool = False
    schedule: Literal["onecycle", "cosine", "cosine_restarts", "halving", "constant"] = "constant"
    average_weights: float | None = 0.999
    gradient_clip: float | None = 1.0
    accumulate_batches: int = 1
    patience: int | None = 5
    validation_fraction: float = 0.2
    sampling: Literal["windows", "series"] = "windows"
    scaler: Literal["standard", "robust", "none"] = "standard"
    log1p: bool = False
    lower: float | tuple[float | None, ...] | list[float | None] | None = None
    upper: float | tuple[float | None, ...] | list[float | None] | None = None
    loss: Literal["mse", "mae", "huber"] = "mae"
    quantiles: tuple[float, ...] | list[float] | None = None
    device: str = "auto"
    devices: int | Literal["auto"] = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    compile: Literal["auto", True, False] = "auto"
    logger: str | MetricsLogger | None = None
    callbacks: tuple[Any, ...] | list[Any] | None = None
    log_dir: str = "logs"
    checkpoint_dir: str | None = None
    n_members: int = 1
    random_state: int | RandomState | None = None
    verbose: Literal[0, 1, "auto"] = "auto"


_COUNTS = ("horizon", "max_epochs", "accumulate_batches", "n_members", "num_nodes")
LOGGERS = ("csv", "tensorboard")
_OPTIONAL_COUNTS = ("context_length", "output_length", "batch_size", "max_steps", "windows_per_epoch", "patience")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")


def check_training_config(config: TrainingConfig) -> None:
    """Check every training hyperparameter that can be judged without data.

    Raises
    ------
    TypeError
        If a value is of another type than declared.
    ValueError
        If a value is out of range; the message names the hyperparameter and what would be right.
    """
    check_types(config, fields(config))
    for name in (*_COUNTS, *_OPTIONAL_COUNTS):
        value = getattr(config, name)
        if value is None and name in _OPTIONAL_COUNTS:
            continue
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    positive, not_negative = (lambda x: x > 0), (lambda x: x >= 0)
    for name, holds, rule in (
        ("learning_rate", positive, "greater than 0"),
        ("weight_decay", not_negative, "0 or greater"),
        ("gradient_clip", positive, "greater than 0, or None"),
        ("validation_fraction", lambda x: 0 <= x < 1, "in [0, 1)"),
        ("average_weights", lambda x: 0 <= x < 1, "in [0, 1), or None"),
        ("sharpness_rho", not_negative, "0 or greater, or None"),
    ):
        value = getattr(config, name)
        if value is None and name in ("gradient_clip", "average_weights", "sharpness_rho"):
            continue
        if not holds(value):
            raise ValueError(f"{name} must be {rule}, got {value}")
    betas = config.adam_betas
    if not isinstance(betas, (tuple, list)) or len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"adam_betas must be two numbers in [0, 1), got {betas!r}")
    check_bounds(config.lower, config.upper)
    if isinstance(config.logger, str) and config.logger not in LOGGERS:
        raise ValueError(f"logger must be one of {LOGGERS}, a Lightning logger or None, got {config.logger!r}")
    if config.callbacks is not None and not all(hasattr(one, "on_train_start") for one in config.callbacks):
        raise TypeError(f"callbacks must be a tuple of Lightning callbacks, got {config.callbacks!r}")
    if config.quantiles is not None:
        check_quantiles(config.quantiles)
    if config.devices != "auto" and config.devices < 1:
        raise ValueError(f"devices must be at least 1, or 'auto', got {config.devices}")
    if config.strategy not in STRATEGIES:
        raise ValueError(
            f"strategy must be one of {STRATEGIES}, got {config.strategy!r}: they keep all weights on every device, "
            "and these networks are small enough for that; where memory is short, lower batch_size and raise "
            "accumulate_batches"
        )


def check_quantiles(quantiles: Sequence[float]) -> None:
    """Check the quantiles that a network is to forecast.

    Raises
    ------
    TypeError
        If they are no sequence of numbers.
    ValueError
        If they are not ascending inside (0, 1) with 0.5 in the middle.

    Examples
    --------
    >>> check_quantiles((0.1, 0.5, 0.9))
    """
    if not isinstance(quantiles, (tuple, list)) or not all(isinstance(level, float) for level in quantiles):
        raise TypeError(f"quantiles must be a tuple of numbers such as (0.1, 0.5, 0.9), got {quantiles!r}")
    ascending = all(low < high for low, high in pairwise((0.0, *quantiles, 1.0)))
    if not ascending or len(quantiles) % 2 == 0 or quantiles[len(quantiles) // 2] != 0.5:
        raise ValueError(f"quantiles must ascend inside (0, 1) with 0.5 in the middle, got {tuple(quantiles)}")
