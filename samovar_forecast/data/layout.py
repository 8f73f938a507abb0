"""The forms in which series come and forecasts go: single, by name, by a MultiIndex, or in a long table."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, cast

import narwhals as nw
import numpy as np
import pandas as pd

from samovar_forecast.data.frames import check_names_differ
from samovar_forecast.data.ignored_warnings import warnings_ignored

Library = Literal["pandas", "polars", "pyarrow"]
LIBRARIES: tuple[Library, ...] = ("pandas", "polars", "pyarrow")


@dataclass(frozen=True)
class LongTable:
    """Where a long table has the names of its series and their time, and whose table it is.

    Attributes
    ----------
    ids : tuple of str
        Columns that tell the series apart; none where there is a single series.
    time : str
        The column of the time: dates, also as text, or whole numbers.
    library : {"pandas", "polars", "pyarrow"}
        Where forecasts go back to.

    Examples
    --------
    >>> long = LongTable(("shop",), "date")
    >>> table = pd.DataFrame({"shop": [1, 2, 1], "date": ["2024-01-02", "2024-01-01", "2024-01-01"], "sold": [5, 7, 4]})
    >>> long.read(table, "y")
                     sold
    shop date
    1    2024-01-01     4
         2024-01-02     5
    2    2024-01-01     7
    >>> long.write(long.read(table, "y")).columns.tolist()
    ['shop', 'date', 'sold']
    """

    ids: tuple[str, ...]
    time: str
    library: Library = "pandas"

    @classmethod
    def of(cls, id_column: str | Sequence[str] | None, time_column: str | None) -> LongTable | None:
        """The columns that were named; None where neither was.

        Raises
        ------
        ValueError
            If the time is not named, or a column is named twice.
        """
        if id_column is None and time_column is None:
            return None
        ids = () if id_column is None else (id_column,) if isinstance(id_column, str) else tuple(id_column)
        if time_column is None:
            raise ValueError(f"id_column={id_column!r} needs time_column too, the column of the time")
        if len({*ids, time_column}) <= len(ids):
            raise ValueError(f"id_column and time_column must name columns once, got {id_column!r} and {time_column!r}")
        return cls(ids, time_column)

    def read(self, data: Any, name: str) -> pd.DataFrame | None:
        """A table as a frame with names and time in its index, sorted by time; None for what is no long table.

        Raises
        ------
        ValueError
            If a column is missing or there twice, or a row has no name or no time; the message names the row.
        """
        table = _as_pandas(data)
        if table is None or (self.time not in table.columns and _has_index(table)):
            return None
        check_names_differ(table, name)
        missing = [column for column in (*self.ids, self.time) if column not in table.columns]
        if missing:
            raise ValueError(
                f"{name} has no column {missing[0]!r}, which is to hold "
                f"{'the time' if missing[0] == self.time else 'the names of its series'}; it has {list(table.columns)}"
            )
        for column in (*self.ids, self.time):
            empty = table[column].isna()
            if empty.any():
                raise ValueError(
                    f"{name} has no value in column {column!r} at row {int(empty.argmax())}; leave the row out, e.g. "
                    f"df.dropna(subset=[{column!r}])"
                )
        times = _times(table[self.time], name)
        values = table.drop(columns=[*self.ids, self.time])
        if not self.ids:
            return values.set_axis(times, axis=0).sort_index(kind="stable")
        levels: list[Any] = [_plain(table[column]) for column in self.ids]
        framed = values.set_axis(pd.MultiIndex.from_arrays([*levels, times], names=[*self.ids, self.time]), axis=0)
        moments = times.asi8 if isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex)) else times.to_numpy()
        names = pd.MultiIndex.from_arrays(levels)
        place = names.factorize()[0]  # series stay in the order in which they first stand
        return framed.iloc[np.lexsort((moments, place))]

    def names_of(self, static: Any, name: str = "static") -> Any:
        """A table with a row for each series, its name in the index instead of columns; others as they are."""
        table = _as_pandas(static)
        if table is None or not self.ids or not set(self.ids) <= set(table.columns):
            return static
        names: list[Any] = [_plain(table[column]) for column in self.ids]
        index = pd.MultiIndex.from_arrays(names, names=list(self.ids)) if len(names) > 1 else pd.Index(names[0])
        return table.drop(columns=list(self.ids)).set_axis(index, axis=0)

    def write(self, frame: pd.DataFrame) -> Any:
        """A frame with names and time in its index as a long table of the library; columns of two levels in one name.

        Raises
        ------
        ImportError
            If the library is not installed.
        """
        if isinstance(frame.columns, pd.MultiIndex):
            frame = frame.set_axis([" ".join(map(str, column)) for column in frame.columns], axis=1)
        table = frame.rename_axis(index=[*self.ids, self.time], columns=None).reset_index()
        if self.library == "pandas":
            return table
        narwhal = nw.from_native(table, eager_only=True)
        return narwhal.to_polars() if self.library == "polars" else narwhal.to_arrow()


@dataclass(frozen=True)
class Layout:
    """The form in which series come and forecasts go.

    Attributes
    ----------
    kind : {"single", "dict", "multiindex"}
        A single series, a mapping from names to series, or an index whose last level is time.
    is_series : bool
        Whether a series is a pandas Series, not a DataFrame.
    names : tuple
        Names of the levels of a MultiIndex before the time.
    column_names : tuple
        Names of the levels of the columns.
    is_named : bool
        Whether a Series has a name.
    long : LongTable or None
        The columns of names and time of a long table.
    """

    kind: Literal["single", "dict", "multiindex"] = "single"
    is_series: bool = False
    names: tuple[Hashable, ...] = ()
    column_names: tuple[Hashable, ...] = (None,)
    is_named: bool = True
    long: LongTable | None = None

    def labelled_as(self, data: Any) -> Layout:
        """The same form, with the labels that a series or frame has for its columns."""
        if isinstance(data, pd.DataFrame):
            return replace(self, column_names=tuple(data.columns.names))
        return replace(self, is_named=not isinstance(data, pd.Series) or data.name is not None)

    def columns(self, labels: Sequence[Hashable]) -> pd.Index:
        """An index of columns with these labels."""
        if len(self.column_names) > 1:
            return pd.MultiIndex.from_tuples(labels, names=self.column_names)  # type: ignore[arg-type]
        return pd.Index(list(labels), name=self.column_names[0], tupleize_cols=False)

    def assemble(self, frames: Mapping[Hashable, pd.DataFrame]) -> Any:
        """Give frames by key back in this form."""
        parts: dict[Hashable, Any] = dict(frames)
        if self.is_series and all(frame.shape[1] == 1 for frame in frames.values()):
            parts = {key: frame.iloc[:, 0] for key, frame in frames.items()}
            if not self.is_named:
                parts = {key: part.rename(None) for key, part in parts.items()}
        if self.kind == "dict":
            return parts
        first = next(iter(parts.values()))
        frame = first if self.kind == "single" else pd.concat(parts, names=[*self.names, first.index.name])
        return frame if self.long is None else self.long.write(frame)


class Parts(NamedTuple):
    """Series as they were given, by key; the key of a single series is None."""

    layout: Layout
    series: Mapping[Hashable, Any]


def take_apart(data: Any, name: str, long: LongTable | None) -> Parts:
    """Tell the form of series, and each of them from the others.

    Parameters
    ----------
    data : Series, DataFrame, mapping or table
        See `read_panel`.
    name : str
        What to call the data in an error.
    long : LongTable or None
        Where a long table has names and time; data in another form are taken as they are.

    Raises
    ------
    TypeError, ValueError
        If there is no series, a row has no name of its series, or names and time of a long table are wrong or not told.
    """
    if long is not None:
        table = long.read(data, name)
        long, data = (None, data) if table is None else (replace(long, library=_library_of(data)), table)
    parts: dict[Hashable, Any]
    if isinstance(data, Mapping):
        parts = dict(data)
        layout = Layout("dict", bool(parts) and all(isinstance(part, pd.Series) for part in parts.values()))
        first = next(iter(parts.values()), None)
    elif isinstance(data, (pd.Series, pd.DataFrame)) and isinstance(data.index, pd.MultiIndex):
        levels: list[Any] = list(range(data.index.nlevels - 1))
        if not levels:
            raise TypeError(f"{name} has a MultiIndex of one level; it needs the names of the series, then time")
        layout = Layout("multiindex", isinstance(data, pd.Series), tuple(data.index.names[:-1]), long=long)
        first = data
        for level in levels:
            unnamed = data.index.get_level_values(level).isna()
            if unnamed.any():
                raise ValueError(f"{name} has a row without the name of its series: row {int(unnamed.argmax())}")
        groups = data.groupby(level=levels if len(levels) > 1 else 0, sort=False, observed=True)
        parts = {key: part.droplevel(levels) for key, part in groups}
    else:
        _check_is_wide(data, name)
        return Parts(Layout("single", isinstance(data, pd.Series), long=long).labelled_as(data), {None: data})
    if not parts:
        raise ValueError(f"{name} is empty: it holds no series")
    if layout.is_series:
        given = {part.name for part in parts.values()}
        common = given.pop() if len(given) == 1 else None
        parts = {key: part.rename(name if common is None else common) for key, part in parts.items()}
    return Parts(layout.labelled_as(first), parts)


def _check_is_wide(data: Any, name: str) -> None:
    """Refuse a long table whose columns were not named, with the names that it probably has."""
    if isinstance(data, pd.Series) or _as_pandas(data) is None:
        return
    hint = _hint_at_columns(data)
    if hint and (not isinstance(data, pd.DataFrame) or "id_column" in hint):
        raise TypeError(
            f"{name} has its time in a column, and no index; name the columns of time and of the names of series: "
            f"{hint}"
        )


def _library_of(data: Any) -> Library:
    """The library of a table that forecasts can go back to, pandas for those of others."""
    narwhal = data if isinstance(data, pd.DataFrame) else nw.from_native(data, pass_through=True)
    name = "" if narwhal is data else nw.get_native_namespace(narwhal).__name__
    return cast(Library, name) if name in LIBRARIES else "pandas"


def _as_pandas(data: Any) -> pd.DataFrame | None:
    """A table of any library that narwhals knows as a pandas frame; None for what is no table.

    Examples
    --------
    >>> import pyarrow as pa
    >>> _as_pandas(pa.table({"sold": [3, 4]}))
       sold
    0     3
    1     4
    """
    if isinstance(data, pd.DataFrame):
        return data
    narwhal = nw.from_native(data, pass_through=True)
    if isinstance(narwhal, nw.LazyFrame):
        narwhal = narwhal.collect()
    if not isinstance(narwhal, nw.DataFrame):
        return None
    decimals = [name for name, dtype in narwhal.schema.items() if dtype == nw.Decimal]
    if decimals:
        narwhal = narwhal.with_columns(nw.col(*decimals).cast(nw.Float64))
    return narwhal.to_pandas()


def _hint_at_columns(data: Any) -> str:
    """How to name the columns of a table that has its time in a column; empty where it has none.

    Examples
    --------
    >>> days = ["2024-01-01", "2024-01-02"]
    >>> _hint_at_columns(pd.DataFrame({"shop": ["A", "A", "B", "B"], "date": days * 2, "sold": [1, 2, 3, 4]}))
    "fit(y, id_column='shop', time_column='date')"
    """
    table = _as_pandas(data)
    if table is None or _has_index(table) or table.columns.has_duplicates:  # doubled names are told by `read_frame`
        return ""
    time = next((column for column in table.columns if isinstance(column, str) and _is_time(table[column])), None)
    if time is None:
        return ""
    if not table[time].duplicated().any():
        return f"fit(y, time_column={time!r})"
    others = [column for column in table.columns if column != time and isinstance(column, str)]
    for column in others:
        if not table.duplicated([column, time]).any() and table[column].nunique() < len(table) / 2 + 1:
            return f"fit(y, id_column={column!r}, time_column={time!r})"
    return f"fit(y, id_column=..., time_column={time!r})"


def _is_time(values: pd.Series) -> bool:
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or isinstance(values.dtype, pd.PeriodDtype):
        return True
    if pd.api.types.is_numeric_dtype(values.dtype) or not len(values):
        return False
    some = values.dropna().head(20).astype(str)
    with warnings_ignored(category=UserWarning):  # of text that is no date
        return bool(some.str.contains(r"\d").all() and pd.to_datetime(some, errors="coerce").notna().all())


def _has_index(table: pd.DataFrame) -> bool:
    """Whether a frame has an index of its own, not the numbers that pandas gives to rows."""
    index = table.index
    return index.nlevels > 1 or not (pd.api.types.is_integer_dtype(index.dtype) and index.name is None)


def _times(values: pd.Series, name: str) -> pd.Index:
    """Dates, periods or whole numbers; text is read as dates.

    Raises
    ------
    ValueError
        If text is no date; with its row.
    """
    if isinstance(values.dtype, pd.ArrowDtype) and values.dtype.kind == "M":
        return pd.DatetimeIndex(values, name=values.name)
    if pd.api.types.is_numeric_dtype(values.dtype) or values.dtype.kind == "M":
        return pd.Index(values)
    if isinstance(values.dtype, (pd.PeriodDtype, pd.DatetimeTZDtype)):
        return pd.Index(values)
    with warnings_ignored(category=UserWarning):
        dates = pd.to_datetime(values, errors="coerce")
    wrong = dates.isna()
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name} column {values.name!r} holds {values.iloc[row]!r} at row {row}, which is no date; convert it "
            f"first, e.g. pd.to_datetime(df[{values.name!r}], format='%d.%m.%Y')"
        )
    return pd.DatetimeIndex(dates, name=values.name)


def _plain(values: pd.Series) -> pd.Series:
    """Names of series as they are, categories as the values that they stand for."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.astype(values.cat.categories.dtype)
    return values
