"""Models of darts, trained by darts, whose epochs are shuffled passes over the training windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from samovar_forecast.benchmark.library_training import BestEpoch, Clock, count_parameters, quiet, trainer_settings
from samovar_forecast.benchmark.protocol import Task, Trained
from samovar_forecast.benchmark.recipes import plain_name
from samovar_forecast.benchmark.runs import Run

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_CLASSES = {"linear": "NLinearModel"}


def train(run: Run, task: Task) -> Trained:
    """Train a model of darts on the training windows; the validation windows choose the epoch.

    Raises
    ------
    ImportError
        If the extra ``samovar-forecast[darts]`` is not installed.
    ValueError
        If darts has no such model, or it diverged.
    """
    import darts.models
    from darts import TimeSeries

    context_length = run.context_length
    assert context_length is not None
    name = _CLASSES.get(run.model, f"{plain_name(run.model)}Model")
    if not hasattr(darts.models, name):
        raise ValueError(f"darts has no model {name}")
    settings: dict[str, Any] = dict(run.hyperparameters)
    best = BestEpoch("val_loss", settings.pop("patience"))
    if "learning_rate" in settings:
        settings["optimizer_kwargs"] = {"lr": settings.pop("learning_rate")}
    model = getattr(darts.models, name)(
        input_chunk_length=context_length,
        output_chunk_length=run.horizon,
        n_epochs=settings.pop("max_epochs"),
        random_state=run.seed,
        pl_trainer_kwargs=trainer_settings(run.device) | {"callbacks": [best]},
        **settings,
    )
    clock = Clock()
    with quiet():
        model.fit(TimeSeries.from_dataframe(task.train), val_series=TimeSeries.from_dataframe(task.validation_windows))
    best.give_to(model.model)
    seconds, epochs = clock.seconds(), model.epochs_trained

    def forecast(rows: pd.DataFrame) -> NDArray[np.float32]:
        with quiet():
            made = model.historical_forecasts(
                TimeSeries.from_dataframe(rows),
                forecast_horizon=run.horizon,
                retrain=False,
                last_points_only=False,
                verbose=False,
            )
        return np.stack([window.values(copy=False) for window in made])

    return Trained(forecast, context_length, count_parameters(model.model), epochs, best.epoch, seconds)
