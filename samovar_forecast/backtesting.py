"""Forecasts from every cutoff inside a frame, as an xarray Dataset."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from samovar_forecast.rolling import forecast_cutoffs

if TYPE_CHECKING:
    from samovar_forecast.forecaster import Forecaster


def backtest(
    forecaster: Forecaster,
    y: pd.Series | pd.DataFrame,
    X: pd.DataFrame | None = None,
    start: Hashable | None = None,
    stride: int = 1,
) -> xr.Dataset:
    """Forecast from every cutoff; see `Forecaster.backtest`."""
    if isinstance(stride, bool) or not hasattr(stride, "__index__") or stride < 1:
        raise ValueError(f"stride must be a positive integer, got {stride!r}")
    frame = forecaster._read_history(y)
    horizon, targets = forecaster.horizon, forecaster.targets_
    first = _first_cutoff(frame.index, start, forecaster.context_length_)
    cutoffs = np.arange(first, len(frame) - horizon + 1, stride)
    if len(cutoffs) == 0:
        raise ValueError(
            f"y is too short: a forecast from row {first} of its {len(frame)} rows needs {horizon} rows behind it"
        )
    values, known = forecaster._scaled(frame, forecaster._known_rows(X, frame.index))
    scaled = forecast_cutoffs(forecaster.network_, values, torch.from_numpy(cutoffs), horizon, known)
    actual = np.lib.stride_tricks.sliding_window_view(frame[targets].to_numpy(), horizon, axis=0)[cutoffs]
    dims = ("cutoff", "step", "series")
    last_observed = frame.index[cutoffs - 1]
    if isinstance(last_observed, pd.PeriodIndex):
        last_observed = last_observed.to_timestamp()  # xarray files have no periods
    elif isinstance(last_observed, pd.DatetimeIndex):
        last_observed = last_observed.tz_localize(None)  # nor time zones: the wall clock is kept
    return xr.Dataset(
        {
            "forecast": (dims, forecaster.scaler_.inverse(scaled, len(targets))),
            "actual": (dims, actual.swapaxes(1, 2)),
        },
        coords={"cutoff": last_observed, "step": np.arange(1, horizon + 1), "series": targets},
        attrs={"model": type(forecaster).__name__, "context_length": forecaster.context_length_},
    )


def _first_cutoff(index: pd.Index, start: Any, context_length: int) -> int:
    if start is None:
        return context_length
    first = index[index >= start]  # pandas compares a string with dates as it does in df.loc
    position = len(index) - len(first)
    if position < context_length:
        raise ValueError(f"start={start} has {position} rows in front of it, the network needs {context_length}")
    return position
