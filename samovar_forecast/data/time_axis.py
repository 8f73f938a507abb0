"""The time axis of series: what it may be, how regular it is, and how it goes on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from samovar_forecast.data.calendars import (
    check_order,
    irregular_dates,
    irregular_integers,
    irregular_periods,
    next_dates,
    no_time_axis,
    step_of_dates,
)

Frequency = pd.tseries.offsets.BaseOffset | int


def plain_index(index: pd.Index) -> pd.Index:
    """Dates and integers of pandas' nullable and pyarrow types as those of numpy; any other index as it is.

    Examples
    --------
    >>> plain_index(pd.Index([3, 4], dtype="Int64")).dtype
    dtype('int64')
    """
    if isinstance(index.dtype, pd.ArrowDtype) and index.dtype.kind == "M":
        return pd.DatetimeIndex(index, name=index.name)
    if isinstance(index, pd.RangeIndex) or not pd.api.types.is_integer_dtype(index.dtype) or index.hasnans:
        return index
    if index.dtype.kind == "u" and len(index) and index.max() > np.iinfo(np.int64).max:
        return index
    return pd.Index(index.to_numpy(dtype=np.int64), name=index.name)


def frequency_of(index: pd.Index, name: str = "y", default: Frequency | None = None) -> Frequency:
    """The step of a regular time axis: an offset for dates and periods, an int for numbers.

    Parameters
    ----------
    index : Index
        A DatetimeIndex, PeriodIndex or integer index.
    name : str
        What to call the data in an error.
    default : Frequency or None
        The step where the labels allow several, as those of a few rows do; None: a step of 1, or a day.

    Raises
    ------
    TypeError
        If the index is no time axis.
    ValueError
        If it is duplicated, unsorted or irregular; the message names the first rows at fault.

    Examples
    --------
    >>> frequency_of(pd.date_range("2024-01-01", periods=5, freq="h"))
    <Hour>
    >>> frequency_of(pd.RangeIndex(0, 10, 2))
    2
    """
    integer = pd.api.types.is_integer_dtype(index.dtype)
    if not integer and not isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        raise no_time_axis(index, name)
    check_order(index, name)
    if isinstance(index, pd.PeriodIndex):
        step = index.freq
        assert step is not None  # a PeriodIndex always has one
        if (np.diff(index.asi8) != step.n).any():
            raise irregular_periods(index, name)
        return step
    if isinstance(index, pd.DatetimeIndex):
        dates_step = step_of_dates(index, None if isinstance(default, int) else default)
        if dates_step is None:
            raise irregular_dates(index, name)
        return dates_step
    if index.dtype.kind == "u" and index[-1] > np.iinfo(np.int64).max:
        raise ValueError(
            f"{name} has the index label {index[-1]}, which is no 64-bit integer with a sign, e.g. "
            "df.reset_index(drop=True)"
        )
    if len(index) < 2:
        return default if isinstance(default, int) else 1
    steps = np.diff(index.to_numpy(dtype=np.int64))
    if (steps != steps[0]).any():
        raise irregular_integers(index, name)
    return int(steps[0])


def continue_index(last: pd.Index, frequency: Frequency, periods: int) -> pd.Index:
    """The index of the next `periods` steps after the last label of an index.

    Raises
    ------
    ValueError
        If there are no such dates or integers.

    Examples
    --------
    >>> continue_index(pd.RangeIndex(4), 1, 3).tolist()
    [4, 5, 6]
    """
    end = last[-1]
    try:
        if isinstance(last, pd.DatetimeIndex):
            assert not isinstance(frequency, int)
            return next_dates(last, frequency, periods)
        if isinstance(last, pd.PeriodIndex):
            return pd.period_range(end + 1, periods=periods, freq=last.freq, name=last.name)
        assert isinstance(frequency, int)
        end = int(end)
        if end + frequency * periods > np.iinfo(np.int64).max:
            raise OverflowError("there are no such integers of 64 bits")
        return pd.RangeIndex(end + frequency, end + frequency * (periods + 1), frequency, name=last.name)
    except (OverflowError, pd.errors.OutOfBoundsDatetime, pd.errors.OutOfBoundsTimedelta) as error:
        raise ValueError(f"the index cannot go on for {periods} steps of {frequency} after {end}: {error}") from error


def match_axis(index: pd.Index, axis: pd.Index, name: str, owner: str) -> pd.Index:
    """An index in the time zone of a time axis that it goes with.

    Parameters
    ----------
    index, axis : Index
        The index, and the time axis.
    name, owner : str
        What to call the data with the index, and those with the time axis, in an error.

    Raises
    ------
    ValueError
        If one holds dates and the other periods, or periods of another length, or integers, or if only one has a time
        zone.

    Examples
    --------
    >>> axis = pd.date_range("2024-01-01", periods=3, freq="h", tz="Europe/Berlin")
    >>> match_axis(axis.tz_convert("UTC")[:1], axis, "X", "y")[0]
    Timestamp('2024-01-01 00:00:00+0100', tz='Europe/Berlin')
    """
    own, wanted = _kind(index), _kind(axis)
    if own != wanted:
        raise ValueError(
            f"{name} has an index of {own} ({index[0]}, ...), {owner} one of {wanted} ({axis[0]}, ...)"
            + _conversion(index, axis)
        )
    if not (isinstance(axis, pd.DatetimeIndex) and isinstance(index, pd.DatetimeIndex)) or index.tz == axis.tz:
        return index
    return index.tz_convert(axis.tz)


def _kind(index: pd.Index) -> str:
    if isinstance(index, pd.DatetimeIndex):
        return "dates without a time zone" if index.tz is None else "dates with a time zone"
    return f"periods of {index.freqstr!r}" if isinstance(index, pd.PeriodIndex) else "integers"


def _conversion(index: pd.Index, axis: pd.Index) -> str:
    """Code that takes an index to the kind of a time axis, where there is one way only."""
    if isinstance(index, pd.DatetimeIndex) and isinstance(axis, pd.DatetimeIndex):
        return f"; if both are the same clock, df.tz_localize({None if axis.tz is None else str(axis.tz)!r})"
    if isinstance(index, pd.PeriodIndex) and isinstance(axis, pd.DatetimeIndex):
        zone = "" if axis.tz is None else f".tz_localize({str(axis.tz)!r})"
        return f"; e.g. df.set_axis(df.index.to_timestamp(){zone}, axis=0)"
    if not (isinstance(index, pd.DatetimeIndex) and isinstance(axis, pd.PeriodIndex)):
        return ""
    if not index.tz_localize(None).to_period(axis.freqstr).is_unique:
        return ""
    zone = "" if index.tz is None else ".tz_localize(None)"
    return f"; e.g. df.set_axis(df.index{zone}.to_period({axis.freqstr!r}), axis=0)"
