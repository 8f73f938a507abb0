"""The time axis of series: what it may be, how regular it is, and how it goes on."""

from __future__ import annotations

import numpy as np
import pandas as pd

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
        mend = "df.set_index(df.index.astype(int))" if index.dtype.kind in "fb" else "df.set_index(pd.to_datetime(...))"
        raise TypeError(
            f"{name} has an index of type {type(index).__name__} ({index.dtype}) that begins with "
            f"{index[:1].tolist()}; it must be dates, periods or integers, e.g. {mend}"
        )
    _check_order(index, name)
    if isinstance(index, pd.PeriodIndex):
        step = index.freq
        assert step is not None  # a PeriodIndex always has one
        _check_steps(pd.Index(index.asi8), index, step.n, f"df.asfreq({index.freqstr!r}) after to_timestamp()", name)
        return step
    if isinstance(index, pd.DatetimeIndex):
        return _datetime_frequency(index, name, default)
    if index.dtype.kind == "u" and index[-1] > np.iinfo(np.int64).max:
        raise ValueError(f"{name} has the index label {index[-1]}, which is no 64-bit integer with a sign")
    if len(index) < 2:
        return default if isinstance(default, int) else 1
    steps = np.diff(index.to_numpy(dtype=np.int64))
    _check_steps(index, index, int(pd.Series(steps).mode()[0]), "df.reindex(range(...))", name)
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
            return pd.date_range(end, periods=periods + 1, freq=frequency, name=last.name, unit=last.unit)[1:]
        if isinstance(last, pd.PeriodIndex):
            return pd.period_range(end + 1, periods=periods, freq=last.freq, name=last.name)
        assert isinstance(frequency, int)
        end = int(end)
        if end + frequency * periods > np.iinfo(np.int64).max:
            raise OverflowError("there are no such integers of 64 bits")
        return pd.RangeIndex(end + frequency, end + frequency * (periods + 1), frequency, name=last.name)
    except (OverflowError, pd.errors.OutOfBoundsDatetime, pd.errors.OutOfBoundsTimedelta) as error:
        raise ValueError(f"the index cannot go on for {periods} steps of {frequency} behind {end}: {error}") from error


def match_axis(data: pd.DataFrame, index: pd.Index, name: str, other: str) -> pd.DataFrame:
    """A frame whose rows are to lie on the time axis of another one, in the time zone of that.

    Parameters
    ----------
    data : DataFrame
    index : Index
        The time axis.
    name, other : str
        What to call the frame and the owner of the time axis in an error.

    Raises
    ------
    ValueError
        If one has dates and the other periods or integers, or one a time zone and the other none.
    """
    own, wanted = _kind(data.index), _kind(index)
    if own != wanted:
        raise ValueError(
            f"{name} has an index of {own} ({data.index[0]}, ...), {other} one of {wanted} ({index[0]}, ...)"
        )
    if not (isinstance(index, pd.DatetimeIndex) and isinstance(data.index, pd.DatetimeIndex)):
        return data
    return data if index.tz == data.index.tz else data.tz_convert(index.tz)


def _kind(index: pd.Index) -> str:
    if isinstance(index, pd.DatetimeIndex):
        return "dates without a time zone" if index.tz is None else "dates with a time zone"
    return "periods" if isinstance(index, pd.PeriodIndex) else "integers"


def _check_order(index: pd.Index, name: str) -> None:
    if index.hasnans:
        raise ValueError(f"{name} has a missing label in its index at row {int(np.argmax(index.isna()))}; drop it")
    if index.has_duplicates:
        label = index[index.duplicated()][0]
        mend = "keep one row, e.g. df[~df.index.duplicated()]"
        if isinstance(index, pd.DatetimeIndex) and index.tz is None and label != label.normalize():
            mend += ", or, where clocks were set back, say so: df.tz_localize('Europe/Berlin', ambiguous='infer')"
        raise ValueError(f"{name} has the index label {label} more than once; {mend}")
    if not index.is_monotonic_increasing:
        row = int(np.argmax(np.asarray(index[1:] < index[:-1]))) + 1
        raise ValueError(f"{name} is not sorted by time: {index[row]} comes after {index[row - 1]}; df.sort_index()")


def _datetime_frequency(index: pd.DatetimeIndex, name: str, default: Frequency | None) -> Frequency:
    own = index.freq
    if own is not None and own.n < 0:  # one row, cut out of a reversed axis
        own = None
    if own is None and len(index) > 2:
        own = pd.tseries.frequencies.to_offset(pd.infer_freq(index))
    if default is not None and not isinstance(default, int) and own != default and _follows(index, default):
        return default
    if own is not None:
        return own
    if len(index) < 3:
        return pd.tseries.frequencies.to_offset(index[-1] - index[0]) if len(index) == 2 else pd.offsets.Day()
    steps = pd.Series(index[1:] - index[:-1])
    usual = steps.mode()[0]
    freq = pd.tseries.frequencies.to_offset(usual).freqstr
    _check_steps(index, index, usual, f"df.asfreq({freq!r}) and fill the gaps", name)
    raise ValueError(f"{name} has an index without a regular frequency; use df.asfreq(...)")


def _follows(index: pd.DatetimeIndex, step: pd.tseries.offsets.BaseOffset) -> bool:
    """Whether a step leads from label to label: Tuesday to Friday may be business days, and "QS" is "QS-OCT"."""
    return step.is_on_offset(index[0]) and continue_index(index[:1], step, len(index) - 1).equals(index[1:])


def _check_steps(numbers: pd.Index, labels: pd.Index, usual: object, mend: str, name: str) -> None:
    steps = np.asarray(numbers[1:] - numbers[:-1])
    wrong = np.flatnonzero(steps != (usual.to_timedelta64() if isinstance(usual, pd.Timedelta) else usual))
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"{name} has an irregular index: from {labels[row]} to {labels[row + 1]} the step is not the usual "
            f"{usual} ({len(wrong)} such places in all); make it regular, e.g. {mend}"
        )
