"""How good a backtest is, measured against the seasonal naive forecast."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from samovar_forecast.data.frames import read_frame
from samovar_forecast.data.time_axis import frequency_of
from samovar_forecast.evaluation.seasonal_naive import NAIVE, season_length, seasonal_naive_backtest

if TYPE_CHECKING:
    from samovar_forecast.estimator import Forecaster


def mse(backtest: xr.Dataset) -> xr.DataArray:
    """Mean squared error of each series, over all cutoffs and steps observed, in squared units of the data.

    A missing forecast of an observed value makes the error NaN.

    Shape
    -----
    output : (series,)

    Examples
    --------
    >>> dims = ("cutoff", "step", "series")
    >>> mse(xr.Dataset({"forecast": (dims, np.zeros((2, 3, 1))), "actual": (dims, np.full((2, 3, 1), 2.0))})).values
    array([4.])
    """
    return _mean_over_observed((backtest["forecast"] - backtest["actual"]) ** 2, backtest["actual"])


def mae(backtest: xr.Dataset) -> xr.DataArray:
    """Mean absolute error of each series, over all cutoffs and steps observed, in units of the data: (series,)."""
    return _mean_over_observed(abs(backtest["forecast"] - backtest["actual"]), backtest["actual"])


def mase(backtest: xr.Dataset, training: pd.Series | pd.DataFrame, season: int | None = None) -> xr.DataArray:
    """Mean absolute scaled error of each series: below 1 is better than seasonal naive was in training.

    Parameters
    ----------
    backtest : Dataset
        What `Forecaster.backtest` gives.
    training : Series or DataFrame
        The training rows. The error is divided by the mean absolute difference between their observed values
        one season apart, which is the error of the seasonal naive forecast one step ahead.
    season : int or None
        Rows in a season; None: `season_length` of the index.

    Returns
    -------
    DataArray
        NaN for a series that repeats exactly from season to season, or has no two values a season apart.

    Raises
    ------
    ValueError
        If `training` lacks a series, or has no more rows than a season.

    Shape
    -----
    output : (series,)

    References
    ----------
    Hyndman & Koehler, "Another look at measures of forecast accuracy", International Journal of Forecasting, 2006.
    """
    frame = read_frame(training, "training", missing=True)
    season = season_length(frequency_of(frame.index)) if season is None else season
    values = _select(frame, backtest["series"].values.tolist(), "training").to_numpy()
    if not 1 <= season < len(values):
        raise ValueError(f"season must be between 1 and the {len(values)} training rows less one, got {season}")
    differences = np.abs(values[season:] - values[:-season])
    observed = ~np.isnan(differences)
    scale = np.where(observed, differences, 0).sum(axis=0) / observed.sum(axis=0).clip(1)
    return mae(backtest) / np.where(scale > 0, scale, np.nan)


def accuracy_table(
    backtest: xr.Dataset, naive: xr.Dataset, training: pd.Series | pd.DataFrame, season: int | None = None
) -> pd.DataFrame:
    """MSE, MAE and MASE of a model beside those of the seasonal naive forecast.

    Parameters
    ----------
    backtest, naive : Dataset
        Backtests of the same series at the same cutoffs.
    training : Series or DataFrame
        The training rows, which scale the MASE.
    season : int or None
        Rows in a season; None: `season_length` of the index.

    Returns
    -------
    DataFrame
        A row for each series and their mean; columns (forecast, measure). MSE and MAE are in units of the
        data: their mean says something only where the series share a unit. MASE has no unit.

    Raises
    ------
    ValueError
        If the two backtests differ in cutoffs, steps or series.
    """
    try:
        xr.align(backtest, naive, join="exact")
    except ValueError as error:
        raise ValueError(f"both backtests must have the same cutoffs, steps and series: {error}") from error
    columns = {
        (name, measure): values.to_series()
        for name, one in ((backtest.attrs.get("model", "model"), backtest), (NAIVE, naive))
        for measure, values in (("MSE", mse(one)), ("MAE", mae(one)), ("MASE", mase(one, training, season)))
    }
    table = pd.DataFrame(columns, index=pd.Index(backtest["series"].values.tolist(), dtype=object, name="series"))
    return pd.concat([table, table.mean(skipna=False).to_frame("mean").T])


@dataclass(frozen=True)
class Evaluation:
    """A backtest, that of the seasonal naive forecast at the same cutoffs, and the table of both.

    Attributes
    ----------
    backtest, naive : Dataset
        Forecasts and actual values.
    table : DataFrame
        See `accuracy_table`.
    season : int
        Rows in the season of the naive forecast.
    """

    backtest: xr.Dataset
    naive: xr.Dataset
    table: pd.DataFrame
    season: int

    def to_dict(self) -> dict[str, Any]:
        """What `json.dumps` takes: errors by series and forecast; None stands for a MASE without scale."""
        cells = self.table.astype(object).where(self.table.notna(), None)
        errors = [{name: row[name].to_dict() for name in cells.columns.unique(0)} for _, row in cells.iterrows()]
        return {
            "horizon": self.backtest.sizes["step"],
            "cutoffs": self.backtest.sizes["cutoff"],
            "season": self.season,
            "mean": errors[-1],
            "series": dict(zip(map(str, cells.index[:-1]), errors[:-1], strict=True)),
        }


def evaluate(
    forecaster: Forecaster,
    y: pd.Series | pd.DataFrame,
    test_start: int,
    stride: int = 1,
    *,
    X: pd.DataFrame | None = None,
    key: Hashable = None,
) -> Evaluation:
    """Backtest a fitted forecaster and the seasonal naive forecast on the newest rows.

    Parameters
    ----------
    forecaster : Forecaster
        Fitted on rows in front of the test rows.
    y : Series or DataFrame
        Training and test rows.
    test_start : int
        Number of the first test row; the rows in front of it scale the MASE.
    stride : int, default 1
        Rows from one cutoff to the next.
    X : DataFrame or None
        The known covariates over the index of `y`.
    key : hashable or None
        Name of the series, if the forecaster was fitted on a panel.

    Raises
    ------
    ValueError
        If the test rows hold no horizon, or the rows in front of them no season and context.
    """
    frame = read_frame(y, missing=True)
    if not 0 < test_start < len(frame):
        raise ValueError(f"test_start must be a row between 1 and {len(frame) - 1}, got {test_start}")
    start, season = frame.index[test_start], season_length(forecaster.frequency_)
    if key is None:
        backtest = forecaster.backtest(frame, X, start, stride)
    else:
        backtest = forecaster.backtest({key: frame}, None if X is None else {key: X}, start, stride)[key]
    newest = test_start - 1 + stride * np.arange(backtest.sizes["cutoff"])
    targets = frame[forecaster.targets_]
    naive = seasonal_naive_backtest(targets, forecaster.horizon, season, frame.index[newest])
    return Evaluation(backtest, naive, accuracy_table(backtest, naive, targets.iloc[:test_start], season), season)


def _mean_over_observed(errors: xr.DataArray, actual: xr.DataArray) -> xr.DataArray:
    observed, dims = actual.notnull(), ("cutoff", "step")
    return errors.where(observed, 0).sum(dims, skipna=False) / observed.sum(dims)


def _select(frame: pd.DataFrame, series: Sequence[Any], name: str) -> pd.DataFrame:
    missing = [one for one in series if one not in frame.columns]
    if missing:
        raise ValueError(f"{name} lacks the series {missing}; it has {list(frame.columns)}")
    return frame[list(series)]
