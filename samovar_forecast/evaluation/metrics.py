"""Errors of point and quantile forecasts in a backtest.

Every metric takes the Dataset of a backtest and the dimensions to average over: `dim=("cutoff", "step")`, the default,
gives a value for each series, `dim="cutoff"` one for each step of each series, `dim=None` one for all. Values that were
not observed do not count. A missing forecast of an observed value makes the metric NaN.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from samovar_forecast.data.frames import read_frame
from samovar_forecast.data.lengths import season_length
from samovar_forecast.data.time_axis import frequency_of

Dims = str | Iterable[str] | None
_OVER_TIME = ("cutoff", "step")


def mse(backtest: xr.Dataset, *, dim: Dims = _OVER_TIME) -> xr.DataArray:
    """Mean squared error, in squared units of the data.

    Examples
    --------
    >>> dims = ("cutoff", "step", "series")
    >>> mse(xr.Dataset({"forecast": (dims, np.zeros((2, 3, 1))), "actual": (dims, np.full((2, 3, 1), 2.0))})).values
    array([4.])
    """
    return _mean(_errors(backtest) ** 2, backtest, dim)


def rmse(backtest: xr.Dataset, *, dim: Dims = _OVER_TIME) -> xr.DataArray:
    """Root mean squared error, in units of the data."""
    return mse(backtest, dim=dim) ** 0.5


def mae(backtest: xr.Dataset, *, dim: Dims = _OVER_TIME) -> xr.DataArray:
    """Mean absolute error, in units of the data."""
    return _mean(abs(_errors(backtest)), backtest, dim)


def bias(backtest: xr.Dataset, *, dim: Dims = _OVER_TIME) -> xr.DataArray:
    """Mean of forecast minus actual value, in units of the data: above 0, the forecasts are too high."""
    return _mean(_errors(backtest), backtest, dim)


def smape(backtest: xr.Dataset, *, dim: Dims = _OVER_TIME) -> xr.DataArray:
    """Symmetric mean absolute percentage error, between 0 and 200; it is 0 where forecast and actual value are.

    References
    ----------
    Makridakis et al., "The M4 Competition", International Journal of Forecasting, 2020.
    """
    size = abs(backtest["forecast"]) + abs(backtest["actual"])
    return 200 * _mean(abs(_errors(backtest)) / size.where(size != 0, 1), backtest, dim)


def mase(
    backtest: xr.Dataset, training: pd.Series | pd.DataFrame, *, season: int | None = None, dim: Dims = _OVER_TIME
) -> xr.DataArray:
    """Mean absolute scaled error: below 1 is better than the seasonal naive forecast was in training.

    Parameters
    ----------
    backtest : Dataset
        What `Forecaster.backtest` gives.
    training : Series or DataFrame
        The training rows. The error is divided by the mean absolute difference between their observed values
        one season apart, which is the error of the seasonal naive forecast one step ahead.
    season : int or None
        Rows in a season; None: `season_length` of the index.
    dim : str, sequence of str or None
        Dimensions to average over; None: all. Errors are scaled before they are averaged.

    Returns
    -------
    DataArray
        NaN for a series that repeats exactly from season to season, or has no two values a season apart.

    Raises
    ------
    ValueError
        If `training` lacks a series, or has no more rows than a season.

    References
    ----------
    Hyndman & Koehler, "Another look at measures of forecast accuracy", International Journal of Forecasting, 2006.
    """
    scale = abs(_seasonal_differences(training, backtest, season)).mean("row")
    return _mean(abs(_errors(backtest)) / scale.where(scale > 0), backtest, dim)


def rmsse(
    backtest: xr.Dataset, training: pd.Series | pd.DataFrame, *, season: int | None = None, dim: Dims = _OVER_TIME
) -> xr.DataArray:
    """Root mean squared scaled error; see `mase`, whose parameters these are.

    References
    ----------
    Makridakis et al., "M5 accuracy competition", International Journal of Forecasting, 2022.
    """
    scale = (_seasonal_differences(training, backtest, season) ** 2).mean("row")
    return _mean(_errors(backtest) ** 2 / scale.where(scale > 0), backtest, dim) ** 0.5


def coverage(backtest: xr.Dataset, *, nominal: float | None = None, dim: Dims = _OVER_TIME) -> xr.DataArray:
    """Share of the actual values that lie inside the interval between two quantiles.

    Parameters
    ----------
    backtest : Dataset
        What `Forecaster.backtest(..., quantiles=...)` gives.
    nominal : float or None
        Coverage of the interval: 0.8 is that between the quantiles 0.1 and 0.9. None: the outermost quantiles.
    dim : str, sequence of str or None
        Dimensions to average over; None: all.

    Raises
    ------
    ValueError
        If the backtest has no quantiles, or not those of the interval.
    """
    lower, upper = _interval(backtest, nominal)
    inside = ((lower <= backtest["actual"]) & (backtest["actual"] <= upper)).astype(float)
    return _mean(inside.where(lower.notnull() & upper.notnull()), backtest, dim)


def width(backtest: xr.Dataset, *, nominal: float | None = None, dim: Dims = _OVER_TIME) -> xr.DataArray:
    """Mean width of the interval between two quantiles, in units of the data; see `coverage`."""
    lower, upper = _interval(backtest, nominal)
    return _mean(upper - lower, backtest, dim)


def pinball(backtest: xr.Dataset, *, dim: Dims = _OVER_TIME) -> xr.DataArray:
    """Mean pinball loss of every quantile, in units of the data; the dimension `quantile` stays unless `dim` has it.

    Raises
    ------
    ValueError
        If the backtest has no quantiles.

    References
    ----------
    Koenker & Bassett, "Regression quantiles", Econometrica, 1978.
    """
    return _mean(_pinball_losses(backtest), backtest, dim)


def weighted_quantile_loss(backtest: xr.Dataset, *, dim: Dims = _OVER_TIME) -> xr.DataArray:
    """Pinball losses of all quantiles relative to the size of the actual values; without a unit.

    Twice the sum of the losses over the sum of the absolute actual values, averaged over the quantiles.

    Raises
    ------
    ValueError
        If the backtest has no quantiles.
    """
    losses = _pinball_losses(backtest).mean("quantile", skipna=False)
    size = _mean(abs(backtest["actual"]), backtest, dim)
    return 2 * _mean(losses, backtest, dim) / size.where(size > 0)


def crps(backtest: xr.Dataset, *, dim: Dims = _OVER_TIME) -> xr.DataArray:
    """Continuous ranked probability score, approximated from the quantiles; in units of the data.

    Twice the integral of the pinball loss over the levels between 0 and 1, where each quantile stands for the levels
    nearest to its own. Of the median alone it is the mean absolute error.

    Raises
    ------
    ValueError
        If the backtest has no quantiles.

    References
    ----------
    Gneiting & Raftery, "Strictly proper scoring rules, prediction, and estimation", JASA, 2007.
    """
    losses = _pinball_losses(backtest).sortby("quantile")
    levels = losses["quantile"].to_numpy()
    borders = np.concatenate([[0], (levels[1:] + levels[:-1]) / 2, [1]])
    share = xr.DataArray(np.diff(borders), dims="quantile", coords={"quantile": levels})
    return 2 * _mean((losses * share).sum("quantile", skipna=False), backtest, dim)


def _errors(backtest: xr.Dataset) -> xr.DataArray:
    return backtest["forecast"] - backtest["actual"]


def _mean(values: xr.DataArray, backtest: xr.Dataset, dim: Dims) -> xr.DataArray:
    """The mean over the observed values; NaN where one of these is missing, or none was observed."""
    over = list(values.dims) if dim is None else [dim] if isinstance(dim, str) else list(dim)
    observed = backtest["actual"].notnull()
    total = values.where(observed, 0).sum(over, skipna=False)
    count = xr.ones_like(values).where(observed, 0).sum(over)
    return total / count.where(count > 0)


def _pinball_losses(backtest: xr.Dataset) -> xr.DataArray:
    quantiles = _quantiles(backtest)
    error, level = backtest["actual"] - quantiles, quantiles["quantile"]
    return xr.where(error > 0, level * error, (level - 1) * error)


def _quantiles(backtest: xr.Dataset) -> xr.DataArray:
    if "quantiles" not in backtest:
        raise ValueError(
            "the backtest has no quantiles; ask for them: forecaster.backtest(y, quantiles=[0.1, 0.5, 0.9])"
        )
    return backtest["quantiles"]


def _interval(backtest: xr.Dataset, nominal: float | None) -> tuple[xr.DataArray, xr.DataArray]:
    quantiles = _quantiles(backtest)
    levels = quantiles["quantile"].to_numpy()
    ends = (levels.min(), levels.max()) if nominal is None else ((1 - nominal) / 2, (1 + nominal) / 2)
    places = [np.flatnonzero(np.isclose(levels, end)) for end in ends]
    if ends[0] == ends[1] or not all(map(len, places)):
        wanted = "two quantiles" if nominal is None else f"the quantiles {ends[0]:g} and {ends[1]:g}"
        raise ValueError(f"an interval needs {wanted}; the backtest has {levels.tolist()}")
    lower, upper = (quantiles.isel(quantile=int(place[0]), drop=True) for place in places)
    return lower, upper


def _seasonal_differences(training: Any, backtest: xr.Dataset, season: int | None) -> xr.DataArray:
    """Differences of training values one season apart: (row, series)."""
    frame = read_frame(training, "training", missing=True)
    season = season_length(frequency_of(frame.index)) if season is None else season
    series: list[Hashable] = backtest["series"].values.tolist()
    missing = [one for one in series if one not in frame.columns]
    if missing:
        raise ValueError(f"training lacks the series {missing}; it has {list(frame.columns)}")
    values = frame[series].to_numpy()
    if not 1 <= season < len(values):
        raise ValueError(f"season must be between 1 and the {len(values)} training rows less one, got {season}")
    return xr.DataArray(
        values[season:] - values[:-season], dims=("row", "series"), coords={"series": backtest["series"]}
    )
