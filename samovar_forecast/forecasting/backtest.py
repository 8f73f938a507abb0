"""Backtests: forecasts after every cutoff inside a frame, by one training or by trainings that follow the cutoffs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from joblib import delayed
from numpy.typing import NDArray
from sklearn.base import clone

from samovar_forecast.data.fitted_data import OneSeries
from samovar_forecast.data.panel import read_panel
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.forecast import forecast_in_units
from samovar_forecast.training.jobs import results_of
from samovar_forecast.training.progress import counted


def backtest(
    fitted: Fitted,
    series: OneSeries,
    start: Hashable | None,
    stride: int,
    quantiles: Sequence[float] | None,
    model: str = "",
) -> xr.Dataset:
    """Forecasts of one series after every cutoff; see `Forecaster.backtest`."""
    data, frame, key = fitted.data, series.frame, series.key
    cutoffs = cutoffs_inside(frame, data.context_length, data.horizon, start, stride, key)
    levels = [float(level) for level in (() if quantiles is None else quantiles)]
    # A series that training has not seen is scaled by the rows before the first cutoff: nothing looks ahead.
    scaler = data.scaler_of(key, frame.iloc[: cutoffs[0]])
    windows = data.windows(series, cutoffs, data.horizon, scaler)
    forecast, by_level = forecast_in_units(fitted, windows, {key: scaler}, data.horizon, levels)
    actual = np.lib.stride_tricks.sliding_window_view(frame[data.targets].to_numpy(), data.horizon, axis=0)[cutoffs]
    dims = ("cutoff", "step", "series")
    result = xr.Dataset(
        {
            "forecast": (dims, forecast),
            "actual": (dims, actual.swapaxes(1, 2)),
        },
        coords={
            "cutoff": cutoff_labels(frame.index, cutoffs),
            "step": np.arange(1, data.horizon + 1),
            "series": pd.Index(data.targets, tupleize_cols=False),
        },
        attrs={"model": model, "context_length": data.context_length},
    )
    if quantiles is None:
        return result
    return result.assign(quantiles=((*dims, "quantile"), by_level)).assign_coords(quantile=levels)


def cutoffs_inside(
    frame: pd.DataFrame, context_length: int, horizon: int, start: Hashable | None, stride: int, key: Hashable = None
) -> NDArray[np.int64]:
    """Rows to forecast from, each with a full context before it and a full horizon from it on.

    Raises
    ------
    ValueError
        If there is none, or `stride` is no positive whole number.
    """
    check_count("stride", stride)
    name = "y" if key is None else f"y of series {key!r}"
    first = first_cutoff(frame.index, start, context_length, name)
    cutoffs = np.arange(first, len(frame) - horizon + 1, stride)
    if len(cutoffs) == 0:
        raise ValueError(
            f"{name} is too short: a forecast from row {first} of its {len(frame)} rows needs {horizon} rows after it"
        )
    return cutoffs


def check_count(name: str, count: Any) -> None:
    """Refuse what is no positive whole number."""
    if isinstance(count, bool) or not hasattr(count, "__index__") or count < 1:
        raise ValueError(f"{name} must be a positive integer, got {count!r}")


def cutoff_labels(index: pd.Index, cutoffs: NDArray[np.int64]) -> pd.Index:
    """Labels of the last observed rows, as xarray can write them: periods as their start, the wall clock of a zone."""
    last_observed = index[cutoffs - 1]
    if isinstance(last_observed, pd.PeriodIndex):
        last_observed = last_observed.to_timestamp()
    elif isinstance(last_observed, pd.DatetimeIndex):
        last_observed = last_observed.tz_localize(None)
    return last_observed.rename("cutoff")


def first_cutoff(index: pd.Index, start: Any, context_length: int, name: str) -> int:
    """Row of the label `start`; None: the first row with a full context before it."""
    if start is None:
        return context_length
    try:
        first = index[index >= start]  # pandas compares a string with dates as it does in df.loc
    except TypeError as error:
        raise TypeError(f"start={start!r} cannot be a label of {name}, whose index begins at {index[0]!r}") from error
    position = len(index) - len(first)
    if position < context_length:
        raise ValueError(
            f"start={start} has {position} rows before it, the network needs {context_length}"
            + ("" if name == "y" else f" ({name})")
        )
    return position


def backtest_refitting(
    forecaster: Any,
    y: Any,
    X: Any,
    start: Hashable | None,
    stride: int,
    refit_every: int,
    warm_start: bool,
    n_jobs: int | None,
    quantiles: Sequence[float] | None,
) -> xr.Dataset:
    """Backtest of a single series with a fresh training every `refit_every` rows; see `Forecaster.backtest`.

    The trainings are one joblib loop, which `joblib.parallel_config` moves to other processes or machines.

    Raises
    ------
    ValueError
        If `y` is a panel, `start` is missing, the counts do not fit together, or folds that begin with the weights of
        the fold before are to run side by side.
    """
    if read_panel(y, missing=True).layout.kind != "single":
        raise ValueError("refit_every takes one series or frame, not a panel; backtest its series one by one")
    check_count("stride", stride)
    check_count("refit_every", refit_every)
    if refit_every % stride:
        raise ValueError(f"refit_every must be a multiple of stride, got {refit_every} and {stride}")
    if warm_start and n_jobs not in (None, 1):
        raise ValueError(f"with warm_start every fold waits for the one before it, so n_jobs={n_jobs} must be 1")
    if start is None:
        raise ValueError("refit_every needs start, the first row to be forecast: the rows before it train")
    first, last = len(y) - len(y.index[y.index >= start]), len(y) - forecaster.horizon
    if first > last:
        raise ValueError(f"y is too short: there are not {forecaster.horizon} rows, a horizon, from start={start} on")
    # Every row of a fold's forecasts is given to it, and of the rows after them none.
    folds = [(cutoff, min(cutoff + refit_every - 1, last)) for cutoff in range(first, last + 1, refit_every)]
    if not warm_start:
        tasks = (delayed(_backtest_fold)(forecaster, y, X, fold, stride, quantiles) for fold in folds)
        return xr.concat(list(counted(results_of(tasks, n_jobs), "refit", len(folds))), "cutoff")
    results, before = [], None
    for fold in counted(folds, "refit", len(folds)):
        before = _fit_fold(forecaster, y, X, fold, before)
        results.append(_forecast_fold(before, y, X, fold, stride, quantiles))
    return xr.concat(results, "cutoff")


def _backtest_fold(
    forecaster: Any, y: Any, X: Any, fold: tuple[int, int], stride: int, quantiles: Sequence[float] | None
) -> xr.Dataset:
    return _forecast_fold(_fit_fold(forecaster, y, X, fold), y, X, fold, stride, quantiles)


def _fit_fold(forecaster: Any, y: Any, X: Any, fold: tuple[int, int], before: Any = None) -> Any:
    first, _ = fold
    forecaster = clone(forecaster)
    if forecaster.checkpoint_dir is not None:  # which serves one training
        forecaster.set_params(checkpoint_dir=str(Path(forecaster.checkpoint_dir) / str(first)))
    return forecaster.fit(y.iloc[:first], X, init_from=before)


def _forecast_fold(
    fitted: Any, y: Any, X: Any, fold: tuple[int, int], stride: int, quantiles: Sequence[float] | None
) -> xr.Dataset:
    first, last = fold
    rows = slice(max(0, first - fitted.context_length_), last + fitted.horizon)
    result = fitted.backtest(y.iloc[rows], X, y.index[first], stride, quantiles=quantiles)
    trained_until = result["cutoff"].to_numpy()[[0] * result.sizes["cutoff"]]
    return result.assign_coords(trained_until=("cutoff", trained_until))
