"""Parquet files in pieces that follow one another in time, whatever their folders and names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as parquet


def read_pieces(
    source: str | os.PathLike[str],
    time: str,
    rows: int,
    columns: Sequence[str] | None = None,
    id_column: str | None = None,
    start: Any = None,
    end: Any = None,
) -> Iterator[pd.DataFrame]:
    """Frames of consecutive rows, of which one is in memory at a time.

    The files are taken by the first time in them, which their metadata tell. Only the columns that are wanted are read,
    and of a span of time only the groups of rows that lie in it.

    Parameters
    ----------
    source : path
        A file, or a folder of files, also in folders such as ``year=2024``.
    time : str
        The column that becomes the index.
    rows : int
        Rows of the files in memory at a time.
    columns : sequence of str or None
        None: all but `time` and `id_column`.
    id_column : str or None
        The files hold a long table, whose series this column names: each becomes a column. Its rows are in the order of
        time.
    start, end : label or None
        First and last time.

    Raises
    ------
    ValueError
        If a column is missing, two files cover the same time, or a long table has more than one column of values, two
        values at one time, or rows that are not in the order of time.
    """
    table = parquet.dataset(source, format="parquet")
    unnamed_index = "__index_level_"  # of pandas
    names = [name for name in table.schema.names if name not in (time, id_column) and unnamed_index not in name]
    chosen = names if columns is None else list(columns)
    wanted = [time, *chosen, *([] if id_column is None else [id_column])]
    for column in wanted:
        if column not in table.schema.names:
            raise ValueError(f"{source} has no column {column!r}; it has {table.schema.names}")
    if id_column is not None and len(chosen) != 1:
        raise ValueError(f"a long table has one column of values, and there are {chosen}; choose one by columns")
    of_time = table.schema.field(time).type
    span = None
    for label, is_inside in ((start, pc.greater_equal), (end, pc.less_equal)):
        if label is not None:
            inside = is_inside(pc.field(time), _as_scalar(label, of_time))
            span = inside if span is None else span & inside
    parts = _in_order_of_time(table, time, span)
    if id_column is not None:
        return _wide(parts, table.schema, time, id_column, chosen[0], rows, span)
    return (frame.set_index(time)[chosen] for frame in _frames(parts, table.schema, wanted, rows, span))


def _as_scalar(label: Any, kind: pa.DataType) -> pa.Scalar:
    if pa.types.is_timestamp(kind):
        label = pd.Timestamp(label)
        if kind.tz is not None and label.tz is None:
            label = label.tz_localize(kind.tz)
    return pa.scalar(label).cast(kind)


def _frames(
    parts: Sequence[parquet.Fragment], schema: pa.Schema, columns: list[str], rows: int, span: pc.Expression | None
) -> Iterator[pd.DataFrame]:
    for part in parts:
        batches = part.to_batches(
            schema=schema, columns=columns, filter=span, batch_size=rows, fragment_readahead=1, batch_readahead=1
        )
        for batch in batches:
            if batch.num_rows:
                yield batch.to_pandas(ignore_metadata=True)  # every column as a column, also an index of pandas


def _in_order_of_time(table: parquet.Dataset, time: str, span: pc.Expression | None) -> list[parquet.Fragment]:
    """The files that hold a row of a span, by the first time in them."""
    bounds = [(_bounds(part, time), part) for part in table.get_fragments(filter=span)]
    ordered = sorted(((both, part) for both, part in bounds if both is not None), key=lambda one: one[0])
    for ((_, last), before), ((first, _), part) in pairwise(ordered):
        if first < last:
            raise ValueError(
                f"{part.path} begins at {first}, and {before.path} ends at {last}: each file must hold a span of time"
            )
    return [part for _, part in ordered]


def _bounds(part: parquet.Fragment, time: str) -> tuple[Any, Any] | None:
    """First and last time of a file, by its metadata where they tell it; None where it has no row."""
    found = [group.statistics.get(time) for group in part.row_groups if group.statistics]
    if len(found) < len(part.row_groups) or None in found:
        column = part.to_table(columns=[time])[time]
        found = [pc.min_max(column).as_py()] if len(column) else []
    firsts, lasts = [one["min"] for one in found], [one["max"] for one in found]
    return (min(firsts), max(lasts)) if found else None


def _wide(
    parts: Sequence[parquet.Fragment],
    schema: pa.Schema,
    time: str,
    id_column: str,
    value: str,
    rows: int,
    span: pc.Expression | None,
) -> Iterator[pd.DataFrame]:
    """A long table with a column for each series; the names are read first, without the values."""
    names: set[str] = set()
    for frame in _frames(parts, schema, [id_column], rows, span):
        if frame[id_column].isna().any():
            raise ValueError(f"a row has no name of a series in column {id_column!r}")
        names |= set(frame[id_column].astype(str).unique())
    waiting: list[pd.DataFrame] = []  # rows of a time that may go on in the next piece
    for frame in _frames(parts, schema, [time, id_column, value], rows, span):
        if not frame[time].is_monotonic_increasing or (waiting and frame[time].iloc[0] < waiting[0][time].iloc[0]):
            raise ValueError(f"the rows of a long table must be in the order of {time!r}; sort each file by it")
        goes_on = frame[time] == frame[time].iloc[-1]
        if goes_on.all() and waiting and waiting[0][time].iloc[0] == frame[time].iloc[0]:
            waiting.append(frame)
            continue
        complete = pd.concat([*waiting, frame[~goes_on]])
        waiting = [frame[goes_on]]
        if len(complete):
            yield _pivoted(complete, time, id_column, value, sorted(names))
    if waiting:
        yield _pivoted(pd.concat(waiting), time, id_column, value, sorted(names))


def _pivoted(rows: pd.DataFrame, time: str, id_column: str, value: str, names: list[str]) -> pd.DataFrame:
    rows = rows.astype({id_column: str})
    twice = rows.duplicated([time, id_column])
    if twice.any():
        first = rows[twice].iloc[0]
        raise ValueError(f"series {first[id_column]!r} has two values at {first[time]}")
    frame = rows.pivot(index=time, columns=id_column, values=value).reindex(columns=names)
    return frame.rename_axis(columns=None)
