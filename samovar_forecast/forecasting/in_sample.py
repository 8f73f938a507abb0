"""In-sample forecasts and scores of rows whose values are known."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.fitted_data import Given, OneSeries
from samovar_forecast.data.scaling import scale_frame
from samovar_forecast.data.time_axis import continue_index
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.forecast import forecast_in_units, forecast_scaled


def forecast_in_sample(fitted: Fitted, given: Given) -> dict[Hashable, pd.DataFrame]:
    """Forecasts of observed rows, each as part of the horizon that begins before it; by series.

    The rows are cut into horizons, counted from the newest row back. Every horizon is forecast from the rows before
    it, all in large batches.

    Raises
    ------
    ValueError
        If a series has no row with a full context before it.
    """
    data = fitted.data
    columns = data.layout.columns(data.targets)
    frames = {}
    for one in given.series():
        key, frame = one.key, one.frame
        least = min(data.context_length, data.horizon) if data.is_panel else data.context_length
        first = len(frame) - (len(frame) - least) // data.horizon * data.horizon
        if first >= len(frame):
            needed = least + data.horizon
            raise ValueError(f"{given.panel.name_of(key)} is too short: {len(frame)} rows, {needed} are needed")
        scaler = data.scaler_of(key, frame.iloc[:first])
        cutoffs = np.arange(first, len(frame), data.horizon)
        windows = data.windows(one, cutoffs, data.horizon, scaler)
        points, _ = forecast_in_units(fitted, windows, {key: scaler}, data.horizon)
        frames[key] = pd.DataFrame(points.reshape(-1, len(data.targets)), frame.index[first:], columns)
    return frames


def score(fitted: Fitted, given: Given) -> float:
    """Negative mean squared error of the forecast of the rows that follow the training data, over all series.

    The unit of errors is the training deviation of each target.

    Raises
    ------
    ValueError
        If a series is new, its rows do not begin right after the training data, or no target has a value.
    """
    data = fitted.data
    errors: list[NDArray[np.float32]] = []
    for one in given.series():
        key, frame, name = one.key, one.frame, given.panel.name_of(one.key)
        if key not in data.series:
            raise ValueError(f"{name} is no series of the training data")
        series = data.series[key]
        expected = continue_index(series.history.index, data.frequency, 1)[0]
        if frame.index[0] != expected:
            raise ValueError(f"{name} must follow the training data: it begins at {frame.index[0]}, not at {expected}")
        cutoff, steps = np.array([len(series.history)]), len(frame)
        before = OneSeries(key, series.history, one.known, series.static)
        windows = data.windows(before, cutoff, steps, series.scaler, n_future=steps)
        ((_, outputs),) = forecast_scaled(fitted, windows, {key: series.scaler}, steps)
        points = outputs[0, ..., fitted.network.point_output].clip(
            *data.bounds.scaled(series.scaler, len(data.targets))
        )
        actual = scale_frame(frame[data.targets], series.scaler, name)
        errors.append((points - actual).ravel())
    squared = np.concatenate(errors).astype(np.float64) ** 2
    if np.isnan(squared).all():
        raise ValueError("y holds no value of a target")
    return -float(np.nanmean(squared))
