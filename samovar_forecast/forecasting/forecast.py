"""Points and quantiles of a fitted forecaster after windows, in the units of the data."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.fitted_data import FittedData
from samovar_forecast.data.frames import check_observed
from samovar_forecast.data.panel import Panel
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.intervals import activity, interpolate_levels, widen_beyond_horizon
from samovar_forecast.forecasting.rolling import forecast_batches


def newest_windows(
    data: FittedData,
    panel: Panel,
    given: Mapping[Hashable, pd.DataFrame],
    statics: Mapping[Hashable, NDArray[np.float32]],
    steps: int,
) -> tuple[Windows, list[Scaler]]:
    """The newest context of every series as one set of windows, and the scaling of each series.

    Parameters
    ----------
    data : FittedData
    panel : Panel
        Checked histories.
    given : mapping
        Known covariates of the steps to forecast, by series.
    statics : mapping
        Scaled static covariates, by series.
    steps : int
        Steps to forecast.

    Raises
    ------
    ValueError
        If a target has no value in its context, or a row of the known covariates is missing.
    """
    parts, scalers = [], []
    for key, whole in panel.frames.items():
        frame = whole.iloc[-data.context_length :]
        check_observed(frame, data.targets, panel.name_of(key))
        scalers.append(data.scaler_of(key, whole))
        cutoff = np.array([len(frame)])
        parts.append(
            data.windows(
                frame, cutoff, steps, scalers[-1], key=key, X=given.get(key), static=statics.get(key), n_future=steps
            )
        )
    return Windows.join(parts), scalers


def forecast_in_units(
    fitted: Fitted, windows: Windows, scalers: Sequence[Scaler], steps: int, levels: Sequence[float] = ()
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Forecast `steps` rows after every window, in the units of the data.

    Each batch goes straight into the result, which may be larger than anything else in memory.

    Parameters
    ----------
    fitted : Fitted
    windows : Windows
    scalers : sequence of Scaler
        The scaling of each block of the windows.
    steps : int
    levels : sequence of float
        Quantiles to forecast beside the points.

    Shape
    -----
    points : (n_windows, steps, n_targets)
    quantiles : (n_windows, steps, n_targets, n_levels)
    """
    n_targets = len(fitted.data.targets)
    points = np.empty((len(windows), steps, n_targets))
    by_level = np.empty((*points.shape, len(levels)))
    for rows, outputs in forecast_batches(fitted.network, windows, steps):
        scaled = outputs[..., fitted.network.point_output]
        batch = windows.at(windows.starts[rows])
        scaled_levels = quantiles_of(fitted, outputs, levels, batch) if levels else None
        for some, scaler in _by_scaler(batch, scalers):
            points[rows][some] = scaler.inverse(scaled[some], n_targets)
            if scaled_levels is not None:
                by_level[rows][some] = scaler.inverse_quantiles(scaled_levels[some])
    return points, by_level


def quantiles_of(
    fitted: Fitted, outputs: NDArray[np.float32], levels: Sequence[float], windows: Windows
) -> NDArray[np.float64]:
    """Quantiles, scaled, of what the network gave after each window.

    Raises
    ------
    ValueError
        If a level lies outside the trained ones; and without errors to go by.

    Shape
    -----
    outputs : (n_windows, steps, n_targets, n_outputs)
    output : (n_windows, steps, n_targets, n_levels)
    """
    data, point_output = fitted.data, fitted.network.point_output
    if fitted.quantiles is not None:
        return interpolate_levels(widen_beyond_horizon(outputs, data.horizon, point_output), fitted.quantiles, levels)
    if fitted.calibration is None:
        raise ValueError(
            "this forecaster comes from a model file of the first format, which keeps no errors of forecasts to "
            "make intervals from; fit again, e.g. fit(y, init_from=forecaster)"
        )
    active = activity(windows.values, windows.cutoffs, data.context_length, data.horizon, len(data.targets))
    point = outputs[..., point_output, None].astype(np.float64)
    return point + fitted.calibration.spread(levels, active, outputs.shape[1])


def _by_scaler(windows: Windows, scalers: Sequence[Scaler]) -> Iterator[tuple[slice | int, Scaler]]:
    if len(scalers) == 1:
        yield slice(None), scalers[0]
        return
    for number, block in enumerate(windows.blocks.tolist()):
        yield number, scalers[block]
