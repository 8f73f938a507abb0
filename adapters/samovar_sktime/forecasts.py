"""Forecasts of a fitted forecaster at any rows of its series, after the newest row and before it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sktime.split.base import BaseSplitter

from samovar_forecast.data.fitted_data import Given, OneSeries
from samovar_forecast.data.panel import Panel
from samovar_forecast.data.time_axis import continue_index
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.forecast import forecast_in_units, newest_windows
from samovar_sktime.observed_rows import ObservedRows
from samovar_sktime.rows_asked import RowsAsked


def forecast_asked(
    fitted: Fitted,
    observed: Mapping[Hashable, ObservedRows],
    asked: Mapping[Hashable, RowsAsked],
    given: Mapping[Hashable, pd.DataFrame],
    levels: Sequence[float] | None = None,
) -> dict[Hashable, NDArray[np.float64]]:
    """Forecast the requested rows of every series: points, or quantiles.

    Rows ahead are forecast from the newest row, in one batch for all series that reach equally far. Rows that
    were seen are forecast one step ahead, each from the rows before it, in one batch per series.

    Parameters
    ----------
    fitted : Fitted
    observed, asked : mapping
        For each series of the forecaster.
    given : mapping
        The known covariates given, for series of the forecaster.
    levels : sequence of float or None
        Levels of the quantiles. None: point forecasts.

    Shape
    -----
    output : (n_asked, n_targets, n_levels) for each series, where points count as one level
    """
    n_levels = 1 if levels is None else len(levels)
    values = {key: np.empty((len(rows.steps), len(fitted.data.targets), n_levels)) for key, rows in asked.items()}
    furthest: dict[int, list[Hashable]] = {}
    for key, (_, steps) in asked.items():
        seen = steps <= 0
        if seen.any():
            values[key][seen] = _one_step_ahead(fitted, key, observed[key], given.get(key), steps[seen], levels)
        if not seen.all():
            furthest.setdefault(int(steps.max()), []).append(key)
    for n_steps, keys in furthest.items():
        forecasts = _from_newest_row(fitted, keys, given, n_steps, levels)
        for key, forecast in zip(keys, forecasts, strict=True):
            steps = asked[key].steps
            values[key][steps > 0] = forecast[steps[steps > 0] - 1]
    return values


def _from_newest_row(
    fitted: Fitted,
    keys: Sequence[Hashable],
    given: Mapping[Hashable, pd.DataFrame],
    n_steps: int,
    levels: Sequence[float] | None,
) -> NDArray[np.float64]:
    """Forecasts of the next rows of some series: (n_keys, n_steps, n_targets, n_levels)."""
    data = fitted.data
    panel = Panel({key: data.series[key].history for key in keys}, data.layout, "the training data")
    histories = Given(panel, given, data.read_statics(panel, None))
    windows, scalers = newest_windows(data, histories, n_steps)
    points, by_level = forecast_in_units(fitted, windows, scalers, n_steps, levels or ())
    return points[..., None] if levels is None else by_level


def _one_step_ahead(
    fitted: Fitted,
    key: Hashable,
    observed: ObservedRows,
    given: pd.DataFrame | None,
    steps: NDArray[np.int64],
    levels: Sequence[float] | None,
) -> NDArray[np.float64]:
    """Forecasts of rows that were seen, each from those before it: (n_rows, n_targets, n_levels)."""
    data = fitted.data
    frame, known = observed.newest(data.context_length + 1 - int(steps.min()))
    if given is not None:
        known = _replaced(known, given[given.index.isin(frame.index)])
    series = data.series[key]
    cutoffs = steps - 1 + len(frame)
    windows = data.windows(OneSeries(key, frame, known, series.static), cutoffs, 1, series.scaler)
    points, by_level = forecast_in_units(fitted, windows, {key: series.scaler}, 1, levels or ())
    return points[:, 0, :, None] if levels is None else by_level[:, 0]


def forecast_windows(
    fitted: Fitted,
    observed: Mapping[Hashable, ObservedRows],
    panel: Panel,
    cv: BaseSplitter,
    given: Mapping[Hashable, pd.DataFrame],
    steps: NDArray[np.int64],
) -> list[tuple[Any, dict[Hashable, pd.DataFrame]]] | None:
    """Forecasts from every window of a splitter, in large batches: the cutoff and a frame for each series.

    None where the windows cannot be served so: where one has a gap, leaves too short a history, or where `panel`
    does not follow the rows that were seen.

    Parameters
    ----------
    fitted : Fitted
    observed : mapping
        The rows seen, for each series of the forecaster.
    panel : Panel
        New rows, split by `cv`.
    cv : BaseSplitter
    given : mapping
        Known covariates for series of the panel.
    steps : ndarray
        The steps to forecast from each window, 1 or greater.
    """
    data, n_steps = fitted.data, int(steps.max())
    by_series: list[list[tuple[Any, pd.DataFrame]]] = []
    for key, new in panel.frames.items():
        ends = window_ends(cv, new.index)
        if ends is None or key not in observed:
            return None
        new = new.iloc[: ends.max()]
        seen, seen_known = observed[key].newest(data.context_length, before=new.index[0])
        follows = len(seen) == 0 or continue_index(seen.index, data.frequency, 1)[0] == new.index[0]
        if not follows or (not data.is_panel and len(seen) + ends.min() < data.context_length):
            return None
        axis = new.index.append(continue_index(new.index, data.frequency, n_steps))
        if isinstance(axis, pd.DatetimeIndex) and not isinstance(data.frequency, int):
            axis = pd.DatetimeIndex(axis, freq=data.frequency)
        series = data.series[key]
        whole = OneSeries(key, pd.concat([seen, new]), _replaced(seen_known, given.get(key)), series.static)
        n_future = int(ends.max() - ends.min()) + n_steps
        windows = data.windows(whole, len(seen) + ends, n_steps, series.scaler, n_future=n_future)
        points, _ = forecast_in_units(fitted, windows, {key: series.scaler}, n_steps)
        values = points[:, steps - 1]
        by_series.append(
            [
                (axis[end - 1], pd.DataFrame(forecast, index=axis.take(end - 1 + steps), columns=data.targets))
                for end, forecast in zip(ends, values, strict=True)
            ]
        )
    forecasts = []
    for window in zip(*by_series, strict=False):  # as many windows as the shortest series has
        cutoffs, frames = zip(*window, strict=True)
        forecasts.append((max(cutoffs), dict(zip(panel.frames, frames, strict=True))))
    return forecasts


def window_ends(cv: BaseSplitter, index: pd.Index) -> NDArray[np.int64] | None:
    """For each window of a splitter, the number of rows up to the window's last one.

    None where a window has a gap, or begins after the rows that the windows so far have shown: its cutoff
    does not know every row before it, so one frame cannot serve all cutoffs.

    Examples
    --------
    >>> from sktime.split import ExpandingWindowSplitter
    >>> window_ends(ExpandingWindowSplitter(fh=[1], initial_window=2, step_length=3), pd.RangeIndex(10))
    array([2, 5, 8])
    """
    ends: list[int] = []
    shown = 0
    for window, _ in cv.split(index):
        if len(window) == 0 or window[0] > shown or (np.diff(window) != 1).any():
            return None
        ends.append(int(window[-1]) + 1)
        shown = max(shown, ends[-1])
    return np.array(ends, dtype=np.int64) if ends else None


def _replaced(known: pd.DataFrame | None, given: pd.DataFrame | None) -> pd.DataFrame | None:
    """Known covariates, with rows that are given in place of those that were seen."""
    if known is None or given is None:
        return given if known is None else known
    return pd.concat([known[~known.index.isin(given.index)], given])
