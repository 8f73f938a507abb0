"""Points and quantiles of a fitted forecaster after windows, in the units of the data."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray

from samovar_forecast.data.fitted_data import FittedData, Given
from samovar_forecast.data.frames import check_observed
from samovar_forecast.data.scaling import Scaler, scale_frame
from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting.activity import activity
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.intervals import interpolate_levels, widen_beyond_horizon
from samovar_forecast.forecasting.outages import Outages, find_outages
from samovar_forecast.forecasting.rolling import forecast_batches

NO_CALIBRATION = (
    "this forecaster comes from a model file of the first format, which keeps no errors of forecasts to make intervals "
    "from; fit again, e.g. fit(y, init_from=forecaster)"
)


def newest_windows(data: FittedData, given: Given, steps: int) -> tuple[Windows, dict[Hashable, Scaler]]:
    """The newest context of every series as one set of windows, and the scaling of each series by its name.

    Parameters
    ----------
    data : FittedData
    given : Given
        Histories, and the known covariates of the steps to forecast.
    steps : int
        Steps to forecast.

    Raises
    ------
    ValueError
        If no target of a series has a value in its context, a target of a new series has none at all, or a row of the
        known covariates is missing.
    """
    parts: list[Windows] = []
    scalers: dict[Hashable, Scaler] = {}
    for one in given.series():
        key, whole, name = one.key, one.frame, given.panel.name_of(one.key)
        frame = whole.iloc[-data.context_length :]
        dead = frame[data.targets].isna().all()
        if dead.all():
            check_observed(frame, data.targets, name)
        if dead.any() and data.is_panel and key not in data.series:  # then no level is known from training either
            check_observed(whole, data.targets, name)
        scalers[key] = scaler = data.scaler_of(key, whole)
        newest = one._replace(frame=frame)
        windows = data.windows(newest, np.array([len(frame)]), steps, scaler, n_future=steps)
        if dead.any() and len(whole) > len(frame):
            last_known = whole.iloc[: -len(frame)].ffill().iloc[-1:]
            windows = windows.after_row(torch.from_numpy(scale_frame(last_known, scaler, name)))
        parts.append(windows)
    return Windows.join(parts), scalers


def forecast_in_units(
    fitted: Fitted, windows: Windows, scalers: Mapping[Hashable, Scaler], steps: int, levels: Sequence[float] = ()
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Forecast `steps` rows after every window, in the units of the data.

    Each batch goes straight into the result, which may be larger than anything else in memory.

    Parameters
    ----------
    fitted : Fitted
    windows : Windows
    scalers : mapping
        The scaling of each block of the windows, by the name of its series, in the order of the blocks.
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
    bounds = fitted.data.bounds
    for rows, outputs in forecast_scaled(fitted, windows, scalers, steps):
        scaled = outputs[..., fitted.network.point_output]
        batch = windows.at(windows.starts[rows])
        scaled_levels = quantiles_of(fitted, outputs, levels, batch, list(scalers)) if levels else None
        for some, scaler in _by_scaler(batch, list(scalers.values())):
            points[rows][some] = scaler.inverse(scaled[some], n_targets)
            bounds.clip(points[rows][some])
            if scaled_levels is not None:
                by_level[rows][some] = scaler.inverse_quantiles(scaled_levels[some])
                bounds.clip_quantiles(by_level[rows][some])
    return points, by_level


def forecast_scaled(
    fitted: Fitted, windows: Windows, scalers: Mapping[Hashable, Scaler], steps: int
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """What `forecast_batches` gives, with the last known level where a target has no value in its context.

    Trained quantiles then are those of a normal distribution around that level, as far off as two rows of the series
    are from one another. Where forecasts roll forward, the points that enter the context lie inside the bounds; what is
    returned may not.

    Warns
    -----
    UserWarning
        Names every such target.

    Shape
    -----
    forecasts : (batch, steps, n_targets, n_outputs)
    """
    outages = find_outages(windows)
    if outages is not None:
        _warn_of(outages, windows, fitted, list(scalers))
    offsets = np.zeros(fitted.network.n_outputs, dtype=np.float32)
    if fitted.quantiles is not None:
        offsets += np.sqrt(2) * np.array([NormalDist().inv_cdf(level) for level in fitted.quantiles])
    for rows, outputs in forecast_batches(fitted.network, windows, steps, _scaled_bounds(fitted.data, scalers)):
        if outages is None:
            yield rows, outputs
        else:
            dead, level = (part[rows, None, :, None] for part in outages)
            yield rows, np.where(dead, level + offsets, outputs)


def _scaled_bounds(data: FittedData, scalers: Mapping[Hashable, Scaler]) -> tuple[torch.Tensor, torch.Tensor] | None:
    if not data.bounds.is_bounded:
        return None
    of_blocks = [data.bounds.scaled(scaler, len(data.targets)) for scaler in scalers.values()]
    lower, upper = (torch.from_numpy(np.stack(bound)) for bound in zip(*of_blocks, strict=True))
    return lower, upper


def _warn_of(outages: Outages, windows: Windows, fitted: Fitted, keys: Sequence[Hashable]) -> None:
    blocks = windows.blocks.numpy()
    for block, target in sorted({(int(blocks[row]), int(target)) for row, target in np.argwhere(outages.dead)}):
        name = "y" if keys[block] is None else f"y of series {keys[block]!r}"
        chosen = outages.dead[blocks == block, target]
        of_all = "" if len(chosen) == 1 else f" {int(chosen.sum())} of {len(chosen)} times"
        warnings.warn(
            f"{name} column {fitted.data.targets[target]!r} has no value in the {windows.context_length} rows before "
            f"the forecast{of_all}: its last known level stands in, with intervals as wide as the series",
            stacklevel=5,
        )


def quantiles_of(
    fitted: Fitted,
    outputs: NDArray[np.float32],
    levels: Sequence[float],
    windows: Windows,
    keys: Sequence[Hashable],
) -> NDArray[np.float64]:
    """Quantiles, scaled, of what the network gave after each window.

    Parameters
    ----------
    fitted : Fitted
    outputs : ndarray
    levels : sequence of float
    windows : Windows
    keys : sequence
        The name of the series of each block of the windows.

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
        return interpolate_levels(
            widen_beyond_horizon(outputs, data.output_length, point_output), fitted.quantiles, levels
        )
    if fitted.calibration is None:
        raise ValueError(NO_CALIBRATION)
    active = activity(windows.values, windows.cutoffs, data.context_length, data.output_length, len(data.targets))
    point = outputs[..., point_output, None].astype(np.float64)
    numbers = np.array([data.number_of(key) for key in keys])[windows.blocks.numpy()]
    return point + fitted.calibration.spread(levels, active, outputs.shape[1], numbers)


def _by_scaler(windows: Windows, scalers: Sequence[Scaler]) -> Iterator[tuple[slice | int, Scaler]]:
    if len(scalers) == 1:
        yield slice(None), scalers[0]
        return
    for number, block in enumerate(windows.blocks.tolist()):
        yield number, scalers[block]
