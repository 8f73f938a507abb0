"""From a checked DataFrame to a series of darts."""

from __future__ import annotations

from typing import Any

import pandas as pd
from darts import TimeSeries

from samovar_forecast.data.frames import read_frame
from samovar_forecast.data.time_axis import frequency_of


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
        If the index is duplicated, unsorted or irregular, or has a time zone or a step that darts does not know; if two
        column names are the same as strings; if a value is infinite. The message names the column or the row.

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
    if isinstance(index, pd.DatetimeIndex) and len(index) > 2:
        checked.index = _with_step(index, name)
    labels = pd.Index([str(column) for column in checked.columns])
    if labels.has_duplicates:
        raise ValueError(f"{name} has column names that are the same as strings: {labels[labels.duplicated()][0]!r}")
    checked.columns = labels
    return TimeSeries.from_dataframe(checked)


def _with_step(index: pd.DatetimeIndex, name: str) -> pd.DatetimeIndex:
    """Dates with the step that generates them; darts' own guess may generate others, and go on with those."""
    step: Any = frequency_of(index, name)
    try:
        with_step = pd.DatetimeIndex(index, freq=step)
        if all(index[0] + row * step == index[row] for row in (0, len(index) - 1)):  # as darts counts
            return with_step
    except (TypeError, ValueError):  # a calendar that pandas has no offset for
        pass
    raise ValueError(
        f"{name} has dates with a step of {step}, which darts cannot count by; number the rows in their place: "
        "df.reset_index(drop=True)"
    )
