"""Forecasts from every cutoff inside a frame, as an xarray Dataset."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from samovar_forecast.forecasting.rolling import forecast_batches

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
    levels = [float(level) for level in (() if quantiles is None else quantiles)]
    forecast, by_level = _forecasts(forecaster, frame, X, cutoffs, key, static, levels)
    actual = np.lib.stride_tricks.sliding_window_view(frame[targets].to_numpy(), horizon, axis=0)[cutoffs]
    dims = ("cutoff", "step", "series")
    last_observed = frame.index[cutoffs - 1]
    if isinstance(last_observed, pd.PeriodIndex):
        last_observed = last_observed.to_timestamp()  # xarray files have no periods
    elif isinstance(last_observed, pd.DatetimeIndex):
        last_observed = last_observed.tz_localize(None)  # nor time zones: the wall clock is kept
    result = xr.Dataset(
        {
            "forecast": (dims, forecast),
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
    return result.assign(quantiles=((*dims, "quantile"), by_level)).assign_coords(quantile=levels)


def _forecasts(
    forecaster: Predictor,
    frame: pd.DataFrame,
    X: pd.DataFrame | None,
    cutoffs: NDArray[np.int64],
    key: Hashable,
    static: NDArray[np.float32] | None,
    levels: Sequence[float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Point forecasts (n_cutoffs, horizon, n_targets), and quantiles of these levels with one dimension more.

    Each batch goes straight into them: a backtest may be larger than anything else in memory.
    """
    horizon, n_targets, network = forecaster.horizon, len(forecaster.targets_), forecaster.network_
    values, ends, known, statics, scaler = forecaster.row_contexts(frame, X, cutoffs, horizon, key, static)
    forecast = np.empty((len(cutoffs), horizon, n_targets))
    by_level = np.empty((*forecast.shape, len(levels)))
    for rows, outputs in forecast_batches(network, values, ends, horizon, known, statics):
        forecast[rows] = scaler.inverse(outputs[..., network.point_output], n_targets)
        if levels:
            scaled = forecaster.outputs_to_quantiles(outputs, levels, values, ends[rows])
            by_level[rows] = scaler.inverse_quantiles(scaled)
    return forecast, by_level


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
