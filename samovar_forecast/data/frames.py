"""The gate for pandas data: what comes in is checked by name and row, and takes the time zone that it goes with."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.time_axis import Frequency, frequency_of

LARGEST = 1e300  # forecasts of such values are still finite


def read_frame(
    data: pd.Series | pd.DataFrame,
    name: str = "y",
    *,
    missing: bool = False,
    step: Frequency | None = None,
    axis: pd.Index | None = None,
    owner: str = "the training data",
) -> pd.DataFrame:
    """Check a Series or DataFrame and return it as a float64 DataFrame with the same index.

    Parameters
    ----------
    data : Series or DataFrame
        Rows are points in time, columns are series.
    name : str
        What to call the data in an error.
    missing : bool, default False
        Whether values may be missing; they come out as NaN.
    step : offset, int or None
        The step of the index where its labels allow several, or do not tell it.
    axis : Index or None
        A time axis whose time zone the rows take, before anything is read off their dates.
    owner : str
        What to call the data with that time axis in an error.

    Raises
    ------
    TypeError
        If `data` is not pandas, a column is not numeric, or the index is no time axis.
    ValueError
        If there are no rows, a column name is duplicated, the index is duplicated, unsorted or irregular, or
        a value is infinite (or beyond 1e300) or, unless `missing`, NaN, or the index is of another kind than `axis`.
        The message names the column or the row.

    Examples
    --------
    >>> read_frame(pd.Series([1, 2, 3], name="sales")).dtypes["sales"]
    dtype('float64')
    """
    if isinstance(data, pd.Series):
        data = data.to_frame()
    if not isinstance(data, pd.DataFrame):
        cure = (
            "data.to_pandas(), with its time as index"
            if hasattr(data, "to_pandas")
            else "pd.DataFrame(data, index=...)"
        )
        raise TypeError(
            f"{name} must be a pandas Series or DataFrame (rows are time), got {type(data).__name__}; e.g. {cure}"
        )
    if data.shape[0] == 0 or data.shape[1] == 0:
        raise ValueError(f"{name} is empty: {data.shape[0]} rows x {data.shape[1]} columns")
    check_names_differ(data, name)
    for column, dtype in data.dtypes.items():
        if not _is_real(dtype):
            raise TypeError(
                f"{name} column {column!r} has dtype {dtype}; it must be numeric: {_as_numbers(data, column)}"
            )
    index = plain_index(data.index)
    if axis is not None:
        index = match_axis(index, axis, name, owner)
    frequency_of(index, name, step)
    values = _numbers(data)
    wrong = np.abs(values) > LARGEST
    if not missing:
        wrong |= np.isnan(values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{name} column {data.columns[column]!r} is {values[row, column]} at {index[row]} "
            f"({int(wrong.sum())} such values in all); {_replaced(values[wrong], missing)}"
        )
    return pd.DataFrame(values, index=index, columns=data.columns)


def check_names_differ(data: pd.DataFrame, name: str) -> None:
    """Refuse a frame with two columns of one name.

    Raises
    ------
    ValueError
        With the names that are there twice.

    Examples
    --------
    >>> check_names_differ(pd.DataFrame({"load": [1.0], "heat": [2.0]}), "y")
    """
    if data.columns.has_duplicates:
        raise ValueError(f"{name} has duplicate column names: {list(data.columns[data.columns.duplicated()])}")


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
        if not _is_real(dtype):
            raise TypeError(f"static column {column!r} has dtype {dtype}; encode it, e.g. pd.get_dummies(static)")
    if static.index.has_duplicates:
        raise ValueError(f"static has more than one row for {static.index[static.index.duplicated()][0]!r}")
    values = _numbers(static)
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


def _is_real(dtype: Any) -> bool:
    types = pd.api.types
    if isinstance(dtype, pd.CategoricalDtype) or types.is_complex_dtype(dtype):
        return False
    return types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype)  # pyarrow's truth values are not numeric


def _as_numbers(data: pd.DataFrame, column: Hashable) -> str:
    """Code that makes a numeric column of another one, without losing a value where there is a way."""
    values = data[column]
    if pd.api.types.is_complex_dtype(values.dtype):
        return f"take one part, e.g. df.assign(**{{{column!r}: df[{column!r}].map(lambda value: value.real)}})"
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return f"if it is the time of the rows, df.set_index({column!r})"
    with contextlib.suppress(ValueError, TypeError):
        if all(map(_is_real, data.apply(pd.to_numeric).dtypes)):
            return "convert it, e.g. df.apply(pd.to_numeric)"
    with contextlib.suppress(ValueError, TypeError):
        values.astype(float)
        return f"convert it, e.g. df.astype({{{column!r}: float}})"
    return f"drop it, or encode its categorical values, e.g. pd.get_dummies(df, columns=[{column!r}])"


def _replaced(wrong: NDArray[np.float64], missing: bool) -> str:
    """Code that replaces values which the gate refuses."""
    finite = "" if np.isnan(wrong).all() else "df.replace([np.inf, -np.inf], np.nan)"
    if np.isfinite(wrong).any():
        finite = f"df.where(df.abs() <= {LARGEST})"
    if missing:
        return f"replace them by NaN, which means not observed, e.g. {finite}"
    return f"fill or drop them first, e.g. {finite or 'df'}.interpolate(limit_direction='both')"


def _numbers(data: pd.DataFrame) -> NDArray[np.float64]:
    """The values of numeric columns in double precision, NaN where there is none."""
    return data.to_numpy(dtype=np.float64, na_value=np.nan)
