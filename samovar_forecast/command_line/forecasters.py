"""Forecasters of the commands: loaded from files, built from options, trained with a word on how it went."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from samovar_forecast.command_line.outputs import keep_model
from samovar_forecast.command_line.telling import tell

if TYPE_CHECKING:
    from samovar_forecast.estimator import Forecaster


def load(model_file: Path) -> Forecaster:
    """A trained forecaster.

    Raises
    ------
    ValueError
        If the file is a table.
    """
    from samovar_forecast.estimator import Forecaster
    from samovar_forecast.files.tables import is_table

    if is_table(model_file):
        raise ValueError(f"{model_file} is a table, no model; the model that `fit` wrote comes first, then the table")
    return Forecaster.load(model_file)


def load_for_frames(model_file: Path) -> Forecaster:
    """A trained forecaster whose forecasts have an index, also where it was fitted on a long table."""
    forecaster = load(model_file)
    data = forecaster.fitted_.data
    layout = replace(data.layout, long=None)
    forecaster.fitted_ = replace(forecaster.fitted_, data=replace(data, layout=layout))
    return forecaster


def load_to_test(model_file: Path, model: str | None, static: Path | None, settings: dict[str, Any]) -> Forecaster:
    """A trained forecaster, unless options of training were given too, which would have no effect."""
    given = [name for name, value in (("model", model), ("static", static)) if value is not None] + list(settings)
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise ValueError(f"give {option} or --model-file, not both: the model file is trained and has its own")
    return load_for_frames(model_file)


def build(model: str | None, source: Forecaster | None, settings: dict[str, Any]) -> Forecaster:
    """An untrained forecaster, of a name or like another one; all other hyperparameters keep their defaults."""
    if source is not None:
        from sklearn.base import clone

        if model is not None:
            raise ValueError("give --model or --init-from, not both: the model file has its own kind")
        return clone(source).set_params(**known_to(type(source), settings))
    if "horizon" not in settings:
        raise ValueError("give --horizon to train a forecaster, or a model file that has one")
    from samovar_forecast.forecasters import ALL_FORECASTERS

    by_name = {cls.__name__.removesuffix("Forecaster").lower(): cls for cls in ALL_FORECASTERS}
    chosen = "samovar" if model is None else model.lower()
    if chosen not in by_name:
        raise ValueError(f"there is no model {model!r}; there are {', '.join(by_name)}")
    return by_name[chosen](**known_to(by_name[chosen], settings))


def known_to(forecaster_class: type[Forecaster], settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, all of which the model has."""
    from samovar_forecast.files.table_format import similar

    names = [field.name for field in fields(forecaster_class)]
    for name in settings:
        if name not in names:
            model = forecaster_class.__name__.removesuffix("Forecaster").lower()
            raise ValueError(f"--set {name}: {model} has no such hyperparameter; {similar(name, names)}")
    return settings


def train(forecaster: Forecaster, y: Any, X: Any = None, **arguments: Any) -> None:
    """Train a forecaster and say how it went."""
    name = type(forecaster).__name__
    forecaster.fit(y, X, **arguments)
    done = forecaster.training_summary_
    error = "" if done.validation_loss is None else f", validation loss {done.validation_loss:.4g}"
    tell(
        f"trained {name}: {done.n_parameters:,} parameters, {done.epochs} epochs, kept epoch {done.best_epoch}{error}, "
        f"{done.seconds:.1f} s",
    )


def keep(forecaster: Forecaster, output: Path) -> None:
    """Save a trained model; the exit code 2 says that it is in another place."""
    place = keep_model(forecaster, output)
    if place != output:
        raise typer.Exit(2)
    tell(f"saved {output}")
