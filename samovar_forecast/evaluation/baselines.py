"""The seasonal naive forecast, which repeats the last season."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from samovar_forecast.data.frames import read_frame

NAIVE = "seasonal naive"


def seasonal_naive_backtest(
    y: pd.Series | pd.DataFrame, horizon: int, season: int, cutoffs: pd.Index | NDArray[Any] | xr.DataArray
) -> xr.Dataset:
    """Backtest of the forecast that repeats the last season.

    Where that was not observed, it repeats the season before, and so on back; where no season was, the newest value.
    The forecast is NaN only from cutoffs before the first value of a series.

    Parameters
    ----------
    y : Series or DataFrame
        The series; all columns are forecast.
    horizon : int
        Steps to forecast.
    season : int
        Rows in a season.
    cutoffs : Index, array or DataArray
        Last observed label of each forecast: labels of `y`, or the coordinate `cutoff` of another backtest.

    Returns
    -------
    xarray.Dataset
        `forecast` and `actual` with the dimensions cutoff, step and series, as `Forecaster.backtest` gives.

    Raises
    ------
    ValueError
        If a cutoff is no row of `y`, has less than a season up to it or less than a horizon after it.

    Examples
    --------
    >>> y = pd.DataFrame({"load": np.arange(6.0)})
    >>> seasonal_naive_backtest(y, horizon=2, season=3, cutoffs=[2, 3])["forecast"].values[..., 0]
    array([[0., 1.],
           [1., 2.]])
    """
    frame = read_frame(y, missing=True)
    if season < 1 or horizon < 1:
        raise ValueError(f"season and horizon must be at least 1, got {season=} and {horizon=}")
    rows = cutoff_rows(frame.index, cutoffs)
    if len(rows) == 0 or rows.min() < season - 1 or rows.max() + horizon >= len(frame):
        raise ValueError(
            f"cutoffs must be rows {season - 1} to {len(frame) - horizon - 1} of y (a season of {season} rows up to "
            f"each, a horizon of {horizon} after it), got {f'{rows.min()} to {rows.max()}' if len(rows) else 'none'}"
        )
    values, steps = frame.to_numpy(), np.arange(1, horizon + 1)
    seasons = frame.groupby(np.arange(len(frame)) % season).ffill().to_numpy()
    newest = rows[:, None]  # (cutoff, step)
    repeated = seasons[newest - season + 1 + (steps - 1) % season]
    dims = ("cutoff", "step", "series")
    return xr.Dataset(
        {
            "forecast": (dims, np.where(np.isnan(repeated), frame.ffill().to_numpy()[newest], repeated)),
            "actual": (dims, values[newest + steps]),
        },
        coords={
            "cutoff": _wall_clock(frame.index)[rows].rename("cutoff"),
            "step": steps,
            "series": pd.Index(list(frame.columns), tupleize_cols=False),
        },
        attrs={"model": NAIVE, "season": season},
    )


def cutoff_rows(index: pd.Index, cutoffs: pd.Index | NDArray[Any] | xr.DataArray) -> NDArray[np.intp]:
    """Row numbers of the last observed labels, given as labels of the index or as the coordinate of a backtest.

    A backtest drops the time zone. An hour that its clock shows twice, in autumn, is told by the equal steps between
    the other cutoffs.

    Raises
    ------
    ValueError
        If a label is no row, or may be one of two.
    """
    labels = pd.Index(cutoffs.values if isinstance(cutoffs, xr.DataArray) else cutoffs)
    if not isinstance(labels, pd.PeriodIndex) and getattr(labels, "tz", None) is None:
        index = _wall_clock(index)
    if labels.isin(index[index.duplicated()]).any():
        return _rows_at_equal_steps(index, labels)
    rows = index[~index.duplicated()].get_indexer(labels)
    if (rows < 0).any():
        raise ValueError(f"cutoff {labels[int((rows < 0).argmax())]} is no row of y")
    return np.flatnonzero(~index.duplicated())[rows]


def _rows_at_equal_steps(index: pd.Index, labels: pd.Index) -> NDArray[np.intp]:
    """The only rows at equal steps with these labels, of which the index has some twice."""
    fitting = {}
    for first in np.flatnonzero(index == labels[0]):
        for last in np.flatnonzero(index == labels[-1]):
            rows = np.linspace(first, last, len(labels)).round().astype(np.intp)
            equal = len(set(np.diff(rows))) <= 1 and rows[-1] == last
            if equal and (index[rows] == labels).all():
                fitting[tuple(rows)] = rows
    if len(fitting) != 1:
        raise ValueError(
            f"the clock of y shows {labels[labels.isin(index[index.duplicated()])][0]} twice, and the cutoffs do not "
            "say which is meant; give labels of y, or convert y to UTC first: df.tz_convert('UTC')"
        )
    return next(iter(fitting.values()))


def _wall_clock(index: pd.Index) -> pd.Index:
    """Labels as a backtest carries them: periods as their first moment, dates without time zone."""
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp()
    return index.tz_localize(None) if isinstance(index, pd.DatetimeIndex) else index
