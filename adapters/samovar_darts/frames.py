"""From a checked DataFrame to a series of darts."""

from __future__ import annotations

import pandas as pd
from darts import TimeSeries

from samovar_forecast.data.frames import read_frame


def series_from_frame(frame: pd.Series | pd.DataFrame, name: str = "y") -> TimeSeries:
    """A darts series of a frame, after the checks that the core has for its data.

    `TimeSeries.from_dataframe` sorts rows, drops time zones, and where the index is irregular does not say where.

    Parameters
    ----------
    frame : Series or DataFrame
        Rows are time, columns are components; NaN stands for what was not observed.
    name : str
        What to call the frame in an error.

    Raises
    ------
    TypeError
        If a column is not numeric, or the index no time axis.
    ValueError
        If the index is duplicated, unsorted or irregular, or has a time zone, which darts does not know; if two column
        names are the same as strings; if a value is infinite. The message names the column or the row.

    Examples
    --------
    >>> series_from_frame(pd.DataFrame({"load": [1, 2, 3]}, index=pd.period_range("2024-01", periods=3, freq="M"))).freq
    <MonthBegin>
    """
    checked = read_frame(frame, name, missing=True)
    index = checked.index
    if isinstance(index, pd.PeriodIndex):
        checked.index = index = index.to_timestamp()
    if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        raise ValueError(
            f"{name} has the time zone {index.tz} in its index, and darts knows none: df.tz_convert(None), where no "
            "hour is missing or there twice, or df.tz_localize(None) if the clocks never change"
        )
    labels = pd.Index([str(column) for column in checked.columns])
    if labels.has_duplicates:
        raise ValueError(f"{name} has column names that are the same as strings: {labels[labels.duplicated()][0]!r}")
    checked.columns = labels
    return TimeSeries.from_dataframe(checked)
