"""The gate for pandas data: what comes in is checked by name and row, what goes out continues the index."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.time_axis import Frequency, frequency_of, match_axis, plain_index

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


def align_columns(data: pd.DataFrame, columns: Sequence[Hashable], name: str, *, exact: bool = False) -> pd.DataFrame:
    """The columns seen in `fit`, in their order; others are left out with a warning.

    Parameters
    ----------
    data : DataFrame
    columns : sequence
        Names of the columns.
    name : str
        What to call the data in an error.
    exact : bool, default False
        Whether other columns are an error.

    Raises
    ------
    ValueError
        If a column is missing, or with `exact` if there is another one.

    Examples
    --------
    >>> align_columns(pd.DataFrame({"a": [1], "b": [2]}), ["b", "a"], "y").columns.tolist()
    ['b', 'a']
    """
    given, wanted = list(data.columns), set(columns)
    missing = [column for column in columns if column not in given]
    extra = [column for column in given if column not in wanted]
    if missing or (extra and exact):
        parts = [f"lacks {missing}"] * bool(missing) + [f"has unknown {extra}"] * bool(extra)
        raise ValueError(f"{name} {' and '.join(parts)}; it must have the columns of fit: {list(columns)}")
    if extra:
        warnings.warn(f"{name} has the columns {extra} that fit did not see; they are not used", stacklevel=3)
    return data[list(columns)]


def order_columns(data: pd.DataFrame, targets: Sequence[Hashable] | None) -> tuple[list[Hashable], list[Hashable]]:
    """The targets, and all columns in the order of the networks: covariates first, targets last.

    Of columns with several levels, a target may be the name of a whole group.

    Raises
    ------
    TypeError
        If `targets` is a single string, or no sequence.
    ValueError
        If a target is no column of the data, is named twice, or there is none.

    Examples
    --------
    >>> order_columns(pd.DataFrame({"a": [1], "b": [2], "c": [3]}), ["a"])
    (['a'], ['b', 'c', 'a'])
    >>> order_columns(pd.DataFrame({("g", "a"): [1], ("h", "b"): [2], ("g", "c"): [3]}), ["g"])[0]
    [('g', 'a'), ('g', 'c')]
    """
    columns: list[Hashable] = list(data.columns)
    if targets is None:
        return columns, columns
    if isinstance(targets, str) or not isinstance(targets, Iterable):
        raise TypeError(f"targets must be a sequence of column names, got {targets!r}; use [{targets!r}]")
    given = list(targets)
    groups = [_group(data.columns, target) for target in given]
    chosen = [column for group in groups for column in group]
    if not all(groups) or not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"targets must name columns of y, each once: got {given}, y has {columns}")
    return chosen, [column for column in columns if column not in chosen] + chosen


def _group(columns: pd.Index, target: Hashable) -> list[Hashable]:
    """The column of a name, or those whose first levels are that name."""
    if target in list(columns) or columns.nlevels == 1:
        return [column for column in columns if column == target]
    first = target if isinstance(target, tuple) else (target,)
    return [column for column in columns if column[: len(first)] == first]


def select_rows(data: pd.DataFrame, index: pd.Index, name: str) -> pd.DataFrame:
    """The rows of a frame at the given labels.

    Raises
    ------
    ValueError
        If a label is missing; the message names the first of them.
    """
    missing = index.difference(data.index)
    if len(missing):
        extent = f"; it goes from {data.index[0]} to {data.index[-1]}" if len(data) else ""
        raise ValueError(
            f"{name} lacks {len(missing)} of the {len(index)} rows that are needed, the first of them {missing[0]}"
            + extent
        )
    return data.loc[index]


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
