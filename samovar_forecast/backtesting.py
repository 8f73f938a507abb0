"""Forecasts from every cutoff inside a frame, as an xarray Dataset."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

if TYPE_CHECKING:
    from samovar_forecast.predictor import Predictor


def backtest(
    forecaster: Predictor,
    frame: pd.DataFrame,
    X: pd.DataFrame | None = None,
    start: Hashable | None = None,
    stride: int = 1,
    quantiles: Sequence[float] | None = None,
    key: Hashable = None,
    static: NDArray[np.float32] | None = None,
) -> xr.Dataset:
    """Forecast one series, of the name `key`, from every cutoff; see `Forecaster.backtest`."""
    if isinstance(stride, bool) or not hasattr(stride, "__index__") or stride < 1:
        raise ValueError(f"stride must be a positive integer, got {stride!r}")
    horizon, targets = forecaster.horizon, forecaster.targets_
    name = "y" if key is None else f"y of series {key!r}"
    first = _first_cutoff(frame.index, start, forecaster.context_length_, name)
    cutoffs = np.arange(first, len(frame) - horizon + 1, stride)
    if len(cutoffs) == 0:
        raise ValueError(
            f"{name} is too short: a forecast from row {first} of its {len(frame)} rows needs {horizon} rows behind it"
        )
    outputs, scaler, values, ends = forecaster.forecast_rows(frame, X, cutoffs, horizon, key, static)
    point = outputs[..., forecaster.network_.point_output]
    actual = np.lib.stride_tricks.sliding_window_view(frame[targets].to_numpy(), horizon, axis=0)[cutoffs]
    dims = ("cutoff", "step", "series")
    last_observed = frame.index[cutoffs - 1]
    if isinstance(last_observed, pd.PeriodIndex):
        last_observed = last_observed.to_timestamp()  # xarray files have no periods
    elif isinstance(last_observed, pd.DatetimeIndex):
        last_observed = last_observed.tz_localize(None)  # nor time zones: the wall clock is kept
    result = xr.Dataset(
        {
            "forecast": (dims, scaler.inverse(point, len(targets))),
            "actual": (dims, actual.swapaxes(1, 2)),
        },
        coords={
            "cutoff": last_observed.rename("cutoff"),
            "step": np.arange(1, horizon + 1),
            "series": pd.Index(targets, tupleize_cols=False),
        },
        attrs={"model": type(forecaster).__name__, "context_length": forecaster.context_length_},
    )
    if quantiles is None:
        return result
    levels = [float(level) for level in quantiles]
    scaled = forecaster.outputs_to_quantiles(outputs, levels, values, ends)
    by_level = scaler.inverse(np.moveaxis(scaled, -1, 0), len(targets))
    return result.assign(quantiles=((*dims, "quantile"), np.moveaxis(by_level, 0, -1))).assign_coords(quantile=levels)


def _first_cutoff(index: pd.Index, start: Any, context_length: int, name: str) -> int:
    if start is None:
        return context_length
    try:
        first = index[index >= start]  # pandas compares a string with dates as it does in df.loc
    except TypeError as error:
        raise TypeError(f"start={start!r} cannot be a label of {name}, whose index begins at {index[0]!r}") from error
    position = len(index) - len(first)
    if position < context_length:
        raise ValueError(
            f"start={start} has {position} rows in front of it, the network needs {context_length}"
            + ("" if name == "y" else f" ({name})")
        )
    return position
