"""Automatic statistical forecasts of statsforecast, fitted once and moved from cutoff to cutoff."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from samovar_forecast.evaluation.baselines import seasonal_naive_backtest

STATISTICAL = ("AutoETS", "AutoARIMA", "AutoTheta")
_LONGEST_SEASON = 24  # beyond which exponential smoothing has no seasonal form


def statistical_backtest(
    y: pd.DataFrame, horizon: int, season: int, cutoffs: pd.Index, name: str = "AutoETS"
) -> xr.Dataset:
    """Backtest of an automatic statistical model, column by column.

    The model is chosen and fitted on the rows up to the first cutoff, then takes in the rows up to each next one.
    Missing values are interpolated, as the models take none.

    Parameters
    ----------
    y : DataFrame
        The series, with rows for a season before the first cutoff.
    horizon, season : int
        Steps to forecast, and rows in a season.
    cutoffs : Index
        Last observed label of each forecast.
    name : {"AutoETS", "AutoARIMA", "AutoTheta"}

    Returns
    -------
    xarray.Dataset
        `forecast` and `actual` with the dimensions cutoff, step and series.

    Raises
    ------
    ImportError
        If statsforecast is not installed.
    ValueError
        If there is no such model.

    References
    ----------
    Garza et al., "StatsForecast: lightning fast forecasting with statistical and econometric models", 2022.
    Hyndman & Khandakar, "Automatic time series forecasting: the forecast package for R", JSS, 2008.
    """
    if name not in STATISTICAL:
        raise ValueError(f"there is no baseline {name!r}; there are {STATISTICAL}")
    try:
        from statsforecast import models
    except ImportError as error:
        raise ImportError(f"{name} needs statsforecast: pip install 'samovar-forecast[baselines]'") from error
    naive = seasonal_naive_backtest(y, horizon, season, cutoffs)  # its cutoffs, actual values and shape
    rows = np.flatnonzero(y.index.isin(cutoffs))
    values = y.to_numpy(dtype=np.float64)
    used = season if season <= _LONGEST_SEASON or name != "AutoETS" else 1
    forecasts = np.stack(
        [_forecasts(getattr(models, name)(season_length=used), values[:, n], rows, horizon) for n in range(y.shape[1])],
        axis=-1,
    )
    return naive.assign(forecast=(("cutoff", "step", "series"), forecasts)).assign_attrs(model=name, season=used)


def _forecasts(model: Any, values: NDArray[np.float64], rows: NDArray[np.intp], horizon: int) -> NDArray[np.float64]:
    """Forecasts of one series after each cutoff: (cutoff, step)."""
    # Filled anew for each cutoff: no value after it may be seen.
    known = [pd.Series(values[: row + 1]).interpolate(limit_direction="both").to_numpy() for row in rows]
    fitted = model.fit(y=known[0])
    return np.stack([np.asarray(fitted.forward(y=one, h=horizon)["mean"]) for one in known])
