"""The gate for pandas data: what comes in is checked by name and row, what goes out continues the index."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

Frequency = pd.tseries.offsets.BaseOffset | int


def read_frame(data: pd.Series | pd.DataFrame, name: str = "y", *, missing: bool = False) -> pd.DataFrame:
    """Check a Series or DataFrame and return it as a float64 DataFrame with the same index.

    Parameters
    ----------
    data : Series or DataFrame
        Rows are points in time, columns are series.
    name : str
        What to call the data in an error.
    missing : bool, default False
        Whether values may be missing; they come out as NaN.

    Raises
    ------
    TypeError
        If `data` is not pandas, a column is not numeric, or the index is no time axis.
    ValueError
        If there are no rows, a column name is duplicated, the index is duplicated, unsorted or irregular, or
        a value is infinite or, unless `missing`, NaN. The message names the column or the row.

    Examples
    --------
    >>> read_frame(pd.Series([1, 2, 3], name="sales")).dtypes["sales"]
    dtype('float64')
    """
    if isinstance(data, pd.Series):
        data = data.to_frame()
    if not isinstance(data, pd.DataFrame):
        raise TypeError(f"{name} must be a pandas Series or DataFrame (rows are time), got {type(data).__name__}")
    if data.shape[0] == 0 or data.shape[1] == 0:
        raise ValueError(f"{name} is empty: {data.shape[0]} rows x {data.shape[1]} columns")
    if data.columns.has_duplicates:
        raise ValueError(f"{name} has duplicate column names: {list(data.columns[data.columns.duplicated()])}")
    for column, dtype in data.dtypes.items():
        if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
            raise TypeError(
                f"{name} column {column!r} has dtype {dtype}; it must be numeric: convert it (pd.to_numeric), "
                "encode it, or drop it"
            )
    frequency_of(data.index, name)
    values = data.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.isinf(values) if missing else ~np.isfinite(values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        mend = "replace them by NaN, which means not observed" if missing else "fill or drop them first"
        raise ValueError(
            f"{name} column {data.columns[column]!r} is {values[row, column]} at {data.index[row]} "
            f"({int(wrong.sum())} such values in all); {mend}, "
            + ("e.g. df.replace([np.inf, -np.inf], np.nan)" if missing else "e.g. df.interpolate()")
        )
    return pd.DataFrame(values, index=data.index, columns=data.columns)


def align_columns(data: pd.DataFrame, columns: Sequence[Hashable], name: str) -> pd.DataFrame:
    """The columns seen in `fit`, in their order.

    Raises
    ------
    ValueError
        If a column is missing or was not there in `fit`.
    """
    missing = [column for column in columns if column not in data.columns]
    extra = [column for column in data.columns if column not in set(columns)]
    if missing or extra:
        parts = [f"lacks {missing}"] * bool(missing) + [f"has unknown {extra}"] * bool(extra)
        raise ValueError(f"{name} {' and '.join(parts)}; it must have the columns of fit: {list(columns)}")
    return data[list(columns)]


def order_columns(data: pd.DataFrame, targets: Sequence[Hashable] | None) -> tuple[list[Hashable], list[Hashable]]:
    """The targets, and all columns in the order of the networks: covariates first, targets last.

    Raises
    ------
    TypeError
        If `targets` is a single string.
    ValueError
        If a target is no column of the data, is named twice, or there is none.

    Examples
    --------
    >>> order_columns(pd.DataFrame({"a": [1], "b": [2], "c": [3]}), ["a"])
    (['a'], ['b', 'c', 'a'])
    """
    if targets is None:
        return list(data.columns), list(data.columns)
    if isinstance(targets, str):
        raise TypeError(f"targets must be a sequence of column names, got the string {targets!r}; use [{targets!r}]")
    chosen = list(targets)
    unknown = [target for target in chosen if target not in data.columns]
    if unknown or not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"targets must name columns of y, each once: got {chosen}, y has {list(data.columns)}")
    return chosen, [column for column in data.columns if column not in chosen] + chosen


def select_rows(data: pd.DataFrame, index: pd.Index, name: str) -> pd.DataFrame:
    """The rows of a frame at the given labels.

    Raises
    ------
    ValueError
        If a label is missing; the message names the first of them.
    """
    missing = index.difference(data.index)
    if len(missing):
        raise ValueError(
            f"{name} lacks {len(missing)} of the {len(index)} rows that are needed, the first of them {missing[0]}"
        )
    return data.loc[index]


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
            f"{name} has an index of type {type(index).__name__} ({index.dtype}); it must be dates, periods or "
            "integers, e.g. df.set_index(pd.to_datetime(df['date']))"
        )
    _check_order(index, name)
    if isinstance(index, pd.PeriodIndex):
        _check_steps(pd.Index(index.asi8), index, 1, f"df.asfreq({index.freqstr!r}) after to_timestamp()", name)
        return index.freq  # type: ignore[return-value]  # a PeriodIndex always has one
    if isinstance(index, pd.DatetimeIndex):
        return _datetime_frequency(index, name, default)
    if len(index) < 2:
        return default if isinstance(default, int) else 1
    steps = np.diff(index.to_numpy(dtype=np.int64))
    _check_steps(index, index, int(pd.Series(steps).mode()[0]), "df.reindex(range(...))", name)
    return int(steps[0])


def read_static(static: Any) -> pd.DataFrame:
    """Check static covariates: a row for each series, under its name, all numbers.

    Raises
    ------
    TypeError
        If they are no DataFrame, or a column is not numeric.
    ValueError
        If a value is missing or infinite, or a series has two rows.
    """
    if not isinstance(static, pd.DataFrame):
        raise TypeError(f"static must be a DataFrame with a row for each series, got {type(static).__name__}")
    for column, dtype in static.dtypes.items():
        if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
            raise TypeError(f"static column {column!r} has dtype {dtype}; encode it, e.g. pd.get_dummies(static)")
    if static.index.has_duplicates:
        raise ValueError(f"static has more than one row for {static.index[static.index.duplicated()][0]!r}")
    values = static.to_numpy(dtype=np.float64, na_value=np.nan)
    if not np.isfinite(values).all():
        row, number = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"static column {static.columns[number]!r} is {values[row, number]} for {static.index[row]!r}")
    return pd.DataFrame(values, index=static.index, columns=static.columns)


def check_observed(frame: pd.DataFrame, targets: Sequence[Hashable], name: str) -> None:
    """Refuse a series that has a target without a single value.

    Raises
    ------
    ValueError
        With the name of the first such column.
    """
    empty = frame[list(targets)].isna().all().to_numpy()
    if empty.any():
        raise ValueError(
            f"{name} column {targets[int(empty.argmax())]!r} has no value in rows {frame.index[0]} to {frame.index[-1]}"
        )


def check_above_minus_one(frame: pd.DataFrame, targets: Sequence[Hashable], name: str) -> None:
    """Refuse values that have no ``log(1 + y)``.

    Raises
    ------
    ValueError
        With the column and the row of the first one.
    """
    wrong = frame[list(targets)].to_numpy() <= -1
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{name} column {targets[column]!r} is {frame[targets[column]].iloc[row]} at {frame.index[row]}; "
            "log1p=True needs values above -1"
        )


def continue_index(last: pd.Index, frequency: Frequency, periods: int) -> pd.Index:
    """The index of the next `periods` steps after the last label of an index.

    Examples
    --------
    >>> continue_index(pd.RangeIndex(4), 1, 3).tolist()
    [4, 5, 6]
    """
    end = last[-1]
    if isinstance(last, pd.DatetimeIndex):
        assert not isinstance(frequency, int)
        return pd.date_range(end, periods=periods + 1, freq=frequency, name=last.name, unit=last.unit)[1:]
    if isinstance(last, pd.PeriodIndex):
        return pd.period_range(end + 1, periods=periods, freq=last.freq, name=last.name)
    assert isinstance(frequency, int)
    return pd.RangeIndex(end + frequency, end + frequency * (periods + 1), frequency, name=last.name)


def _check_order(index: pd.Index, name: str) -> None:
    if index.hasnans:
        raise ValueError(f"{name} has a missing label in its index at row {int(np.argmax(index.isna()))}; drop it")
    if index.has_duplicates:
        label = index[index.duplicated()][0]
        raise ValueError(
            f"{name} has the index label {label} more than once; keep one row, e.g. df[~df.index.duplicated()]"
        )
    if not index.is_monotonic_increasing:
        row = int(np.argmax(np.asarray(index[1:] < index[:-1]))) + 1
        raise ValueError(f"{name} is not sorted by time: {index[row]} comes after {index[row - 1]}; df.sort_index()")


def _datetime_frequency(index: pd.DatetimeIndex, name: str, default: Frequency | None) -> Frequency:
    own = index.freq
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
