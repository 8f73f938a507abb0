"""The time axis of series: what it may be, how regular it is, and how it goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pandas as pd

from samovar_forecast.data.calendars import (
    check_order,
    irregular_dates,
    irregular_integers,
    irregular_periods,
    next_dates,
    step_of_dates,
)
from samovar_forecast.data.ignored_warnings import warnings_ignored

Frequency = pd.tseries.offsets.BaseOffset | int


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
        raise TypeError(
            f"{name} has an index of type {type(index).__name__} ({index.dtype}) that begins with "
            f"{index[:1].tolist()}; it must be dates, periods or integers, e.g. {_as_time_axis(index)}"
        )
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


def _as_time_axis(index: pd.Index) -> str:
    """Code that makes a time axis of another index."""
    if isinstance(index, pd.TimedeltaIndex):
        return "df.set_axis(pd.Timestamp('2000-01-01') + df.index, axis=0)"
    kind = "" if isinstance(index, pd.MultiIndex) else pd.api.types.infer_dtype(index)
    dates: dict[str, Callable[..., pd.Index]] = {
        "df.set_axis(pd.to_datetime(df.index), axis=0)": lambda **how: pd.to_datetime(index, **how),
        "df.set_axis(pd.to_datetime(df.index, utc=True), axis=0)": lambda **how: pd.to_datetime(index, utc=True, **how),
    }
    conversions: dict[str, Callable[..., pd.Index]] = {
        "df.set_axis(df.index.astype(int), axis=0)": lambda: index.astype(int),
        **dates,
    }
    order = {
        "string": (1, 2, 0),
        "datetime": (1, 2),
        "datetime64": (1,),
        "date": (1,),
        "integer": (0,),
        "floating": (0,),
    }
    for code in map(list(conversions).__getitem__, order.get(kind, ())):
        with warnings_ignored(), contextlib.suppress(ValueError, TypeError, OverflowError):
            made = conversions[code]()
            # Text that is not written as ISO 8601 is read as dates by guesses.
            guessed = code in dates and kind == "string" and not made.equals(dates[code](format="ISO8601"))
            if made.dtype != object and not guessed and (kind != "floating" or (made == index).all()):
                return code
    return "df.reset_index(drop=True)"
