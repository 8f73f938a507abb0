"""Files of series: CSV and Parquet in, frames out, and back."""

from __future__ import annotations

import gzip
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from samovar_forecast.data.frames import read_static
from samovar_forecast.files.atomic_files import replaced_file
from samovar_forecast.files.table_format import TableFormat, similar
from samovar_forecast.files.time_columns import read_times, regular_series, time_columns
from samovar_forecast.files.value_columns import as_numbers, chosen_columns, encoded_in, with_categories

_CSV, _PARQUET = (".csv", ".csv.gz"), (".parquet", ".pq")
_PLAIN = TableFormat()
_VALUE = re.compile(r"\s*[-+]?[\d.,:/T -]*\d[\d.,:/T -]*\s*")  # a number or a date


def read_table(
    path: str | PathLike[str],
    series: Sequence[str] = (),
    layout: TableFormat = _PLAIN,
    *,
    beside: bool = False,
    wanted: Collection[Any] | None = None,
) -> pd.DataFrame:
    r"""Read series from a CSV or Parquet file, or from a folder of them.

    The first column holds dates or whole numbers, unless the layout says where the time is; every other column is a
    series. A Parquet file that pandas wrote with a date, period or integer index keeps it. An empty cell of a CSV file
    is NaN. The files of a folder stand below one another.

    Parameters
    ----------
    path : path
        Ends in .csv, .csv.gz, .parquet or .pq, or is a folder of such files.
    series : sequence of str, default ()
        Columns of a long table that tell many series apart, which stand below one another. They become the first
        levels of a MultiIndex, as text; the first of the other columns is the time.
    layout : TableFormat
        Separators, time, columns.
    beside : bool, default False
        Whether the table goes with another one, and need not have the columns that the layout names.
    wanted : collection of str or None
        Columns that a trained forecaster knows; text in others is left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the ending is unknown, the file is damaged, its first column is no time axis, a cell is no number, rows are
        missing or have the same time, or one of `series` is no column or leaves a row without a name. The message has
        the row, the column, the cell and the parameter that helps.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sales.csv")
    ...     written = path.write_text("shop,date,sold\nA,2024-01-01,3\nA,2024-01-02,4\nB,2024-01-01,7\n")
    ...     read_table(path, series=["shop"])
                     sold
    shop date
    A    2024-01-01     3
         2024-01-02     4
    B    2024-01-01     7
    """
    path = Path(path)
    parts = []
    for file, frame in _read(path, layout, series):
        names = list(frame.columns) if _counts_rows(frame.index) else [*frame.index.names, *frame.columns]
        used = layout.limited_to(names) if beside else layout
        encoded = encoded_in(names, wanted or ())
        used = replace(used, encode=(*used.encode, *(name for name in encoded if name not in used.encode)))
        used.check_names(names, file)
        missing = [name for name in series if name not in names]
        if missing:
            raise ValueError(
                f"{file} has no column {missing[0]!r}, which is to name its series: {similar(missing[0], names)}"
            )
        parts.append(_part(frame, series, used, file, wanted))
        first = parts[0]
        if list(parts[-1].columns) != list(first.columns):
            raise ValueError(f"{file} has the columns {list(parts[-1].columns)}, another file {list(first.columns)}")
    table = parts[0] if len(parts) == 1 else pd.concat(parts)
    table = with_categories(table, used, wanted)
    return _regular(table, series, used, path)


def _part(
    frame: pd.DataFrame, series: Sequence[str], layout: TableFormat, path: Path, wanted: Collection[Any] | None
) -> pd.DataFrame:
    """The rows of one file, with series and time in the index and numbers in the columns."""
    if len(frame) == 0:
        raise ValueError(f"{path} has no rows, only the columns {list(frame.columns)}")
    if isinstance(frame.index, pd.MultiIndex) and not series:
        raise ValueError(
            f"{path} holds many series, its index is {list(frame.index.names)}; name the levels of series: "
            f"series={list(frame.index.names[:-1])}"
        )
    if not series and not layout.time and layout.start is None and _is_time_axis(frame.index):
        times, others = frame.index, []
    else:
        timed = _is_time_axis(frame.index) and not layout.time and layout.start is None
        if timed and not isinstance(frame.index, pd.MultiIndex) and not set(series) & set(frame.index.names):
            times, others = frame.index, list(series)
        else:
            frame = _index_as_columns(frame)
            columns = time_columns(frame, layout, series, path)
            times, others = read_times(frame, columns, layout, path), [*series, *columns]
    levels = _name_levels(frame, list(series), path)
    if layout.start is not None and series:  # every series begins there
        position = frame.groupby(list(series), sort=False).cumcount()
        times = read_times(frame.head(int(position.max()) + 1), [], layout, path)[position.to_numpy()]
    chosen = chosen_columns(frame, layout, others, path).drop(columns=others)
    try:
        chosen = as_numbers(chosen, layout, (), path, wanted)
    except ValueError as error:
        names = "" if series or not times.has_duplicates else _names_of_series(frame.drop(columns=others), times)
        raise ValueError(f"{error}{names}") from error
    index = pd.MultiIndex.from_arrays([*levels, times]) if series else times
    return chosen.set_axis(index, axis=0)


def _regular(table: pd.DataFrame, series: Sequence[str], layout: TableFormat, path: Path) -> pd.DataFrame:
    """Every series in the order of time, with its gaps filled where that is wanted."""
    if not series:
        hint = _names_of_series(table, table.index) if table.index.has_duplicates else ""
        return regular_series(table, layout, str(path), hint)
    levels: list[Any] = list(series)
    longest = table.groupby(level=levels, sort=False).size().max()
    groups = {key: part.droplevel(levels) for key, part in table.groupby(level=levels, sort=False)}
    step = None
    for part in groups.values():
        if len(part) == longest and layout.fill_gaps and isinstance(part.index, pd.DatetimeIndex):
            step = _step_of(part.index)
            break
    regular: dict[Any, pd.DataFrame] = {
        key: regular_series(part, layout, f"{path} of series {_told(key)!r}", step=step) for key, part in groups.items()
    }
    time = table.index.names[-1]
    if len(series) == 1:
        regular = {key[0] if isinstance(key, tuple) else key: part for key, part in regular.items()}
    return pd.concat(regular, names=[*series, time])


def _step_of(index: pd.DatetimeIndex) -> Any:
    from samovar_forecast.data.calendars import covering_step, infer_step

    ordered = pd.DatetimeIndex(index.unique().sort_values())
    if len(ordered) < 3:
        return None
    found = infer_step(ordered)
    covering = None if found is not None else covering_step(ordered)
    return found or (covering[0] if covering else None)


def _told(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) and len(key) == 1 else key


def _names_of_series(frame: pd.DataFrame, times: pd.Index) -> str:
    """The column that tells apart rows with the same time, in words; empty where there is none."""
    for column in frame.columns:
        names = frame[column]
        if names.nunique() < len(frame) / 2 and not names.isna().any():
            keyed = pd.MultiIndex.from_arrays([names, times])
            if keyed.is_unique:
                return f"; if it holds many series, name the columns that tell them apart: series=[{column!r}]"
    return ""


def read_names_table(
    path: str | PathLike[str], n_names: int = 1, layout: TableFormat = _PLAIN, wanted: Collection[Any] | None = None
) -> pd.DataFrame:
    r"""Read a table with a row for each series, whose first columns are its name.

    Parameters
    ----------
    path, layout, wanted
        See `read_table`; the layout's columns, drops and encodings need not be there.
    n_names : int, default 1
        Columns of the name. They become the index, as text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the ending is unknown, the file is damaged or has no other columns, a name is missing or given twice, or a
        cell is no number.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "shops.csv")
    ...     written = path.write_text("shop,area\n01,80\n02,120\n")
    ...     read_names_table(path)
           area
    shop
    01     80.0
    02    120.0
    """
    path = Path(path)
    frame = _index_as_columns(pd.concat([part for _, part in _read(path, layout, range(n_names))]))
    if frame.shape[1] <= n_names:
        raise ValueError(
            f"{path} has {frame.shape[1]} column(s): {list(frame.columns)}; it must have {n_names} with the names of "
            "the series and then the values, separated by commas"
        )
    columns = list(frame.columns[:n_names])
    levels = _name_levels(frame, columns, path)
    index = pd.MultiIndex.from_arrays(levels) if n_names > 1 else pd.Index(levels[0])
    if index.has_duplicates:
        raise ValueError(f"{path} has series {index[index.duplicated()][0]!r} more than once")
    used = layout.limited_to(frame.columns)
    values = as_numbers(frame.drop(columns=[*columns, *used.drop]), used, (), path, wanted)
    return read_static(with_categories(values, used, wanted).set_axis(index, axis=0))


def write_table(frame: pd.DataFrame, path: str | PathLike[str]) -> None:
    """Write a frame with its index as the first columns, as CSV or Parquet by the ending of the path.

    The file appears complete or not at all; see `replaced_file`.

    Raises
    ------
    ValueError
        If the ending is unknown.
    OSError
        If the file cannot be written.
    """
    kind, packed = check_ending(Path(path)), str(path).lower().endswith(".gz")
    with replaced_file(path) as beside:
        if kind == "csv":
            frame.to_csv(beside, compression="gzip" if packed else None)
        else:
            frame.to_parquet(beside)


def is_table(path: Path) -> bool:
    """Whether the ending of a path is that of a table."""
    return path.name.lower().endswith((*_CSV, *_PARQUET))


def check_ending(path: Path) -> str:
    """The kind of file that an ending stands for, "csv" or "parquet".

    Raises
    ------
    ValueError
        If the ending is unknown.
    """
    name = path.name.lower()
    if name.endswith(_CSV):
        return "csv"
    if name.endswith(_PARQUET):
        return "parquet"
    raise ValueError(f"{path} must end in one of {[*_CSV, *_PARQUET]}")


def _read(path: Path, layout: TableFormat, names: Sequence[str | int]) -> Iterator[tuple[Path, pd.DataFrame]]:
    """The tables of a file or of the files of a folder, with their paths."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith((".", "_")))
        kinds = {ending for file in files for ending in (*_CSV, *_PARQUET) if file.name.lower().endswith(ending)}
        if not kinds:
            raise ValueError(f"{path} is a folder without files that end in one of {[*_CSV, *_PARQUET]}")
        if kinds & set(_PARQUET) and kinds & set(_CSV):
            raise ValueError(f"{path} holds CSV and Parquet files; keep one kind in a folder")
        if kinds & set(_PARQUET):
            yield path, _read_parquet(path)  # a partitioned data set has columns in the names of its folders
            return
        for file in files:
            if file.name.lower().endswith(_CSV):
                yield file, _read_csv(file, layout, names)
        return
    kind = check_ending(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    yield path, _read_csv(path, layout, names) if kind == "csv" else _read_parquet(path)


def _read_csv(path: Path, layout: TableFormat, names: Sequence[str | int]) -> pd.DataFrame:
    as_text: dict[Any, Any] = dict.fromkeys(names, str)  # converters, unlike dtypes, leave a series its name 007, or NA
    for column in layout.time:
        if layout.date_format is not None:
            as_text[column] = str
    try:
        _check_header(path, layout)
        if layout.date_format is not None and not layout.time and not names and layout.start is None:
            as_text[0] = str
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of cells that would be lost
            frame = pd.read_csv(
                path,
                sep=layout.separator,
                decimal=layout.decimal,
                thousands=layout.thousands,
                encoding=layout.encoding,
                skiprows=layout.skip_rows,
                header=None if layout.names else 0,
                names=list(layout.names) or None,
                na_values=list(layout.missing) or None,
                index_col=False,
                converters=as_text,
                low_memory=False,
            )
    except UnicodeDecodeError as error:
        with path.open("rb") as file:
            likely = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        raise ValueError(
            f"{path} is not {layout.encoding}: {error.reason} at byte {error.start}; name its encoding, e.g. "
            f"encoding={likely!r}"
        ) from error
    except LookupError as error:
        raise ValueError(f"encoding={layout.encoding!r} is no encoding; use e.g. 'utf-8' or 'latin-1'") from error
    except (ValueError, EOFError, pd.errors.ParserWarning) as error:  # of empty and ragged files, gzip's of cut ones
        told = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise ValueError(f"{path} is not a CSV file: {told}{_lines_before_header(path, layout)}") from error
    empty = [name for name in frame.columns if str(name).startswith("Unnamed: ") and frame[name].isna().all()]
    return frame.drop(columns=empty)  # of lines that end in a separator


def _first_lines(path: Path, layout: TableFormat, n_lines: int) -> list[str]:
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rt", encoding=layout.encoding) if packed else path.open(encoding=layout.encoding) as file:
        return [str(line).rstrip("\n") for line in islice(file, n_lines)]


def _check_header(path: Path, layout: TableFormat) -> None:
    """Refuse a file with another separator, or without names for its columns."""
    lines = [line for line in _first_lines(path, layout, layout.skip_rows + 2)[layout.skip_rows :] if line.strip()]
    if not lines or layout.names:
        return
    header = lines[0]
    if layout.separator not in header:
        other = next((sign for sign in (";", "\t", "|", ",") if sign in header), None)
        if other is not None:
            raise ValueError(
                f"{path} has columns separated by {other!r}, not by {layout.separator!r}: separator={other!r}"
            )
    cells = [cell.strip().strip('"') for cell in header.split(layout.separator)]
    if len(cells) > 1 and all(_VALUE.fullmatch(cell) for cell in cells):
        names = ["time", *(f"series{number}" for number in range(1, len(cells)))]
        raise ValueError(
            f"{path} has no header, its first line holds values: {header[:60]!r}; name its columns, e.g. names={names}"
        )
    doubled = [cell for number, cell in enumerate(cells) if cell and cell in cells[:number]]
    if doubled:
        warnings.warn(f"{path} has more than one column {doubled[0]!r}; the second is '{doubled[0]}.1'", stacklevel=3)


def _lines_before_header(path: Path, layout: TableFormat) -> str:
    """What to say where the first lines of a file have fewer cells than those that follow."""
    try:
        counts = [line.count(layout.separator) for line in _first_lines(path, layout, 60)]
    except (OSError, EOFError, ValueError):
        return ""
    usual = max(set(counts), key=counts.count) if counts else 0
    first = counts.index(usual) if counts else 0
    if usual and first > layout.skip_rows:
        return f"; if lines stand before the header, skip_rows={first}"
    return ""


def _read_parquet(path: Path) -> pd.DataFrame:
    from pyarrow import ArrowInvalid

    try:
        return pd.read_parquet(path)
    except ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from error


def _name_levels(frame: pd.DataFrame, columns: list[str], path: Path) -> list[pd.Series]:
    for column in columns:
        empty = frame[column].isna() | (frame[column].astype(str) == "")
        if empty.any():
            raise ValueError(f"{path} names no series in column {column!r} at data row {int(empty.argmax()) + 1:,}")
    return [frame[column].astype(str) for column in columns]


def _index_as_columns(frame: pd.DataFrame) -> pd.DataFrame:
    return frame if _counts_rows(frame.index) else frame.reset_index()


def _counts_rows(index: pd.Index) -> bool:
    """Whether an index is no time axis, but the numbers that pandas gives to rows."""
    return index.name is None and index.equals(pd.RangeIndex(len(index)))


def _is_time_axis(index: pd.Index) -> bool:
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        return True
    return pd.api.types.is_integer_dtype(index.dtype) and not _counts_rows(index)
