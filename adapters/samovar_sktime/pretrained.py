"""Weights that were trained before, taken over for new series."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from dataclasses import fields, replace
from typing import Any

from samovar_forecast.data.bounds import Bounds
from samovar_forecast.data.fitted_data import FittedSeries, Given
from samovar_forecast.data.layout import Layout
from samovar_forecast.data.panel import Panel, align_columns, read_panel
from samovar_forecast.estimator import Forecaster
from samovar_forecast.training.config import TrainingConfig

# Beside the hyperparameters of the network itself these decide what goes into it and what comes out.
_INPUTS_AND_OUTPUTS = {"horizon", "context_length", "targets", "calendar", "scaler", "log1p", "quantiles", "n_members"}


def take_over(source: Forecaster, hyperparameters: dict[str, Any], y: Any, X: Any) -> Forecaster:
    """A fitted forecaster of `y` with the weights of another one; nothing is trained.

    A series that `source` was trained on keeps its scaling, and so does any series where `source` was trained on
    a single one; a new series beside a panel is scaled by its own rows.

    Parameters
    ----------
    source : Forecaster
        Fitted; it is left as it is.
    hyperparameters : dict
        Those of the new forecaster.
    y : DataFrame
        One series or a panel. Its columns are those of `source`, by name, or by position where no name is the same.
    X : DataFrame or None
        The known covariates over the index of `y`.

    Raises
    ------
    ValueError
        If a hyperparameter, the columns, the index or the covariates do not fit the weights.
    """
    check_fits(source, hyperparameters)
    _check_covariates(source, X)
    trained = source.fitted_
    if X is not None and not trained.data.known:
        raise ValueError(
            "X is given, and the weights were trained without covariates: pretrain with X, or train on with "
            "fine_tune_epochs=1 or more"
        )
    panel = read_panel(y, missing=True)
    targets, columns, frequency = _matched(source, panel)
    align_columns(next(iter(panel.frames.values())), columns, panel.name, exact=True)
    # The series of a single one keep its scaling; those of a panel theirs, and new ones are scaled by their own rows.
    data = replace(
        trained.data,
        layout=_layout(source, panel),
        targets=targets,
        columns=columns,
        frequency=frequency,
        bounds=Bounds.of(hyperparameters["lower"], hyperparameters["upper"], len(targets)),
    )
    panel = replace(data, series={}).read_history(y)  # new series may lie in another time zone
    given = Given(panel, data.read_known(X, panel), data.read_statics(panel, None))
    series: dict[Hashable, FittedSeries] = {}
    for key, frame, given_known, static in given.series():
        known = data.known_rows(given_known, frame.index, key)
        scaler, number = trained.data.scaler_of(key, frame), trained.data.number_of(key)
        series[key] = data.newest(frame, known, scaler, static, number)
    core = type(source)(**hyperparameters)
    core.fitted_ = replace(
        trained,
        network=copy.deepcopy(trained.network),
        data=replace(data, series=series),
        hyperparameters=copy.deepcopy(hyperparameters),
    )
    return core


def train_on(
    source: Forecaster, hyperparameters: dict[str, Any], y: Any, X: Any, epochs: int | None = None
) -> Forecaster:
    """A forecaster of `y` that begins with the weights of another one and is trained further.

    Parameters
    ----------
    source, hyperparameters, y, X
        See `take_over`. Covariates that `source` does not know are learnt.
    epochs : int or None
        Passes over `y`. None: as the hyperparameters say.

    Raises
    ------
    ValueError
        As `take_over`, or if `y` holds nothing to train on.
    """
    check_fits(source, hyperparameters)
    _check_covariates(source, X)
    panel = read_panel(y, missing=True)
    _, columns, _ = _matched(source, panel)
    panel = panel.align(columns)
    layout = _layout(source, panel)
    # Without a context length the weights bring their own, and shorter series are filled up.
    passing: dict[str, Any] = {"context_length": None}
    if epochs is not None:
        passing |= {"max_epochs": epochs, "max_steps": None}
    trained = type(source)(**hyperparameters | passing)
    if layout.kind == "single":
        trained.fit(panel.frames[None], X, init_from=source)
    else:
        known = {None: X} if X is not None and panel.layout.kind == "single" else X
        trained.fit(panel.frames, known, init_from=source)
    fitted = trained.fitted_
    core = type(source)(**hyperparameters)
    core.fitted_ = replace(
        fitted, data=replace(fitted.data, layout=layout), hyperparameters=copy.deepcopy(hyperparameters)
    )
    return core


def check_fits(source: Forecaster, hyperparameters: dict[str, Any]) -> None:
    """Refuse hyperparameters of the network other than those that the weights were trained with.

    Raises
    ------
    ValueError
        With the names and both values.
    """
    free = {field.name for field in fields(TrainingConfig)} - _INPUTS_AND_OUTPUTS
    trained = {name: value for name, value in source.fitted_.hyperparameters.items() if name not in free}
    for part, length in source.fitted_.data.lengths._asdict().items():
        if hyperparameters.get(name := f"{part}_length") in (None, length):
            trained.pop(name, None)
    changed = [name for name, value in trained.items() if _plain(value) != _plain(hyperparameters[name])]
    if changed:
        wanted = ", ".join(f"{name}={hyperparameters[name]!r}" for name in changed)
        given = ", ".join(f"{name}={trained[name]!r}" for name in changed)
        raise ValueError(
            f"{wanted} does not fit the pretrained weights, which have {given}: set it back, or drop the weights "
            "with reset()"
        )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _check_covariates(source: Forecaster, X: Any) -> None:
    if source.known_ and X is None:
        raise ValueError(f"X is missing: the weights were trained with the covariates {source.known_}")


def _matched(source: Forecaster, panel: Panel) -> tuple[list[Hashable], list[Hashable], Any]:
    """Names of the targets and of all columns, and the step of the index, of new data for old weights."""
    frequency = panel.frequency(default=source.frequency_)
    if source.calendar_ and frequency != source.frequency_:
        raise ValueError(
            f"y has a step of {frequency}, and the weights know the calendar {source.calendar_} of a step of "
            f"{source.frequency_}; pretrain with calendar=None for series with other steps"
        )
    new, old = panel.columns, source.columns_
    by_position = source.targets is None and len(new) == len(old) and not set(new) & set(old)
    return (new, new, frequency) if by_position else (source.targets_, old, frequency)


def _layout(source: Forecaster, panel: Panel) -> Layout:
    """A single series is one to a forecaster of panels too, which fills up short histories."""
    return panel.layout if panel.layout.kind != "single" or not source.is_panel_ else Layout("dict")
