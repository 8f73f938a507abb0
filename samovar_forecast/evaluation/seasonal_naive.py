"""The forecast that every other is measured against: the last season, repeated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from samovar_forecast.data.frames import read_frame
from samovar_forecast.data.time_axis import Frequency

NAIVE = "seasonal naive"
_STEPS_PER_YEAR = {"Week": 52, "MonthBegin": 12, "MonthEnd": 12, "BusinessMonthBegin": 12, "BusinessMonthEnd": 12,
                   "QuarterBegin": 4, "QuarterEnd": 4, "BQuarterBegin": 4, "BQuarterEnd": 4}  # fmt: skip


def season_length(frequency: Frequency) -> int:
    """Rows in the season that a frequency suggests.

    A day for steps between a minute and less than a day (hourly 24, 15 minutes 96), a week for days (7;
    business days 5), a year for weeks (52), months (12) and quarters (4). Otherwise 1.

    Examples
    --------
    >>> [season_length(pd.tseries.frequencies.to_offset(step)) for step in ("h", "15min", "D", "W", "MS", "QE", "YS")]
    [24, 96, 7, 52, 12, 4, 1]
    >>> season_length(1)
    1
    """
    if isinstance(frequency, int):
        return 1
    if isinstance(frequency, pd.offsets.Tick):
        seconds = pd.Timedelta(frequency).total_seconds()
        whole = seconds >= 60 and (24 * 3600) % seconds == 0
        return int(24 * 3600 // seconds) if whole else 1
    step = frequency.n
    name = type(frequency).__name__
    per_season = {"Day": 7, "BusinessDay": 5}.get(name, _STEPS_PER_YEAR.get(name, 1))
    return per_season // step if per_season % step == 0 else 1


def seasonal_naive_backtest(
    y: pd.Series | pd.DataFrame, horizon: int, season: int, cutoffs: pd.Index | NDArray[Any] | xr.DataArray
) -> xr.Dataset:
    """Backtest the forecast that repeats the last season.

    Where that was not observed, it repeats the season before, and so on back; where no season was, the newest value.
    The forecast is NaN only from cutoffs in front of the first value of a series.

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
        If a cutoff is no row of `y`, has less than a season up to it or less than a horizon behind it.

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
            f"each, a horizon of {horizon} behind it), got {f'{rows.min()} to {rows.max()}' if len(rows) else 'none'}"
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
    """Row numbers of the last observed labels, whether they are labels of the index or of a backtest.

    Raises
    ------
    ValueError
        If a label is no row, or stands for two rows because the backtest has dropped the time zone.
    """
    labels = pd.Index(cutoffs.values if isinstance(cutoffs, xr.DataArray) else cutoffs)
    if not isinstance(labels, pd.PeriodIndex) and getattr(labels, "tz", None) is None:
        index = _wall_clock(index)
    if index.has_duplicates:
        raise ValueError(
            f"the wall clock shows {index[index.duplicated()][0]} twice when the time zone is dropped; "
            "give labels of y, or convert y to UTC first: df.tz_convert('UTC')"
        )
    rows = index.get_indexer(labels)
    if (rows < 0).any():
        raise ValueError(f"cutoff {labels[int((rows < 0).argmax())]} is no row of y")
    return rows


def _wall_clock(index: pd.Index) -> pd.Index:
    """Labels as a backtest carries them: periods as their first moment, dates without time zone."""
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp()
    return index.tz_localize(None) if isinstance(index, pd.DatetimeIndex) else index
