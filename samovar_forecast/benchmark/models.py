"""Models of the benchmark by name, trained on the same windows with the same budget, each by its own library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samovar_forecast.benchmark.plan import FORECASTERS
from samovar_forecast.benchmark.protocol import Forecast, Task, Trained
from samovar_forecast.benchmark.runs import Run
from samovar_forecast.data.lengths import season_length
from samovar_forecast.data.time_axis import frequency_of
from samovar_forecast.estimator import Forecaster
from samovar_forecast.evaluation.baselines import seasonal_naive_backtest

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


_FINISHED = "resumed_after_epoch_{}"  # a model whose training is over


def train(run: Run, task: Task, folder: Path) -> Trained:
    """The trained model of a run; the folder has its checkpoint, from which a killed training goes on."""
    library, _, _ = run.model.rpartition(":")
    trainers: dict[str, Callable[[Run, Task, Path], Trained]] = {
        "darts": _train_darts, "neuralforecast": _train_neuralforecast, "": _train_ours,
    }  # fmt: skip
    named = {"naive": _train_naive, "linear": _train_darts}
    return named.get(run.model, trainers[library])(run, task, folder)


def _train_ours(run: Run, task: Task, folder: Path) -> Trained:
    from samovar_forecast.training.checkpoints import CheckpointError, remove_checkpoint

    def forecast(rows: pd.DataFrame) -> NDArray[np.float64]:
        return forecaster.backtest(rows)["forecast"].to_numpy()

    cls = FORECASTERS[run.model]
    for finished in folder.glob(_FINISHED.format("*")):  # killed while it was scored
        forecaster = cls.load(finished)
        return _ours(forecaster, forecast, int(finished.name.rpartition("_")[2]))
    rows = task.rows_to_fit
    forecaster = cls(
        **run.hyperparameters,
        horizon=run.horizon,
        context_length=run.context_length,
        validation_fraction=len(task.validation) / len(rows),
        random_state=run.seed,
        device=run.device,
        checkpoint_dir=str(folder),
    )
    try:
        before = _epochs_in(folder)
        forecaster.fit(rows)
    except CheckpointError as error:  # such as of another version of PyTorch
        print(f"{error}; the training begins again", file=sys.stderr)
        remove_checkpoint(folder)
        before = 0
        forecaster.fit(rows)
    forecaster.save(folder / _FINISHED.format(before))
    return _ours(forecaster, forecast, before)


def _ours(forecaster: Forecaster, forecast: Forecast, before: int) -> Trained:
    done = forecaster.training_summary_
    return Trained(
        forecast, forecaster.context_length_, done.n_parameters, done.epochs, done.best_epoch, done.seconds, before,
        done.precision,
    )  # fmt: skip


def _epochs_in(folder: Path) -> int:
    from samovar_forecast.training.checkpoints import FILE_NAME, read_checkpoint

    checkpoint = folder / FILE_NAME
    return int(read_checkpoint(checkpoint)["epoch"]) + 1 if checkpoint.exists() else 0


def _train_naive(run: Run, task: Task, folder: Path) -> Trained:
    season = season_length(frequency_of(task.train.index))
    assert run.context_length is not None
    if season > run.context_length:
        raise ValueError(f"a season has {season} rows and the look-back {run.context_length}; raise the context length")
    context_length = run.context_length

    def forecast(rows: pd.DataFrame) -> NDArray[np.float64]:
        cutoffs = np.arange(context_length - 1, len(rows) - run.horizon)
        return seasonal_naive_backtest(rows, run.horizon, season, rows.index[cutoffs])["forecast"].to_numpy()

    return Trained(forecast, context_length)


def _train_darts(run: Run, task: Task, folder: Path) -> Trained:
    from samovar_forecast.benchmark.darts_models import train

    return train(run, task)


def _train_neuralforecast(run: Run, task: Task, folder: Path) -> Trained:
    from samovar_forecast.benchmark.neuralforecast_models import train

    return train(run, task)
