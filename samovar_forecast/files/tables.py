"""Files of series: CSV and Parquet in, frames out, and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import pandas as pd

from samovar_forecast.files.atomic_files import replaced_file

_CSV, _PARQUET = (".csv", ".csv.gz"), (".parquet", ".pq")


def read_table(path: str | PathLike[str], encoding: str = "utf-8", series: Sequence[str] = ()) -> pd.DataFrame:
    r"""Read series from a CSV or Parquet file, with the first column as the time axis.

    The first column holds dates or whole numbers; every other column is a series. A Parquet file that
    pandas wrote with a date, period or integer index keeps it. An empty cell of a CSV file is NaN.

    Parameters
    ----------
    path : path
        Ends in .csv, .csv.gz, .parquet or .pq.
    encoding : str, default "utf-8"
        Encoding of a CSV file.
    series : sequence of str, default ()
        Columns of a long table that tell many series apart, which stand below one another. They become the first
        levels of a MultiIndex, as text; the first of the other columns is the time.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the ending is unknown, the file is damaged, its first column is no time axis, or one of `series` is no
        column or leaves a row without a name.

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
    frame = _read(path, encoding, series)
    if series:
        return _with_names(frame, list(series), path)
    if isinstance(frame.index, pd.MultiIndex):
        raise ValueError(f"{path} holds many series, its index is {list(frame.index.names)}; name the levels of series")
    return _with_time_axis(frame, path)


def read_names_table(path: str | PathLike[str], n_names: int = 1, encoding: str = "utf-8") -> pd.DataFrame:
    r"""Read a table with a row for each series, whose first columns are its name.

    Parameters
    ----------
    path, encoding
        See `read_table`.
    n_names : int, default 1
        Columns of the name. They become the index, as text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the ending is unknown, the file is damaged or has no other columns, or a name is missing or given twice.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "shops.csv")
    ...     written = path.write_text("shop,area\n01,80\n02,120\n")
    ...     read_names_table(path)
          area
    shop
    01      80
    02     120
    """
    path = Path(path)
    frame = _index_as_columns(_read(path, encoding, range(n_names)))
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
    return frame.drop(columns=columns).set_index(index)


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


def _read(path: Path, encoding: str, names: Sequence[str | int]) -> pd.DataFrame:
    kind = check_ending(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} {'is a folder, not a file' if path.is_dir() else 'does not exist'}")
    return _read_csv(path, encoding, names) if kind == "csv" else _read_parquet(path)


def _read_csv(path: Path, encoding: str, names: Sequence[str | int]) -> pd.DataFrame:
    as_text = dict.fromkeys(names, str)  # converters, unlike dtypes, leave a series its name 007, or NA
    try:
        return pd.read_csv(path, encoding=encoding, index_col=False, converters=as_text)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not {encoding}: {error.reason} at byte {error.start}; name its encoding"
        ) from error
    except LookupError as error:
        raise ValueError(f"encoding={encoding!r} is no encoding; use e.g. 'utf-8' or 'latin-1'") from error
    except (ValueError, EOFError) as error:  # pandas' own errors for empty and ragged files, gzip's for cut ones
        raise ValueError(f"{path} is not a CSV file: {error}") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    from pyarrow import ArrowInvalid

    try:
        return pd.read_parquet(path)
    except ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from error


def _with_names(frame: pd.DataFrame, names: list[str], path: Path) -> pd.DataFrame:
    frame = _index_as_columns(frame)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}, which is to name its series: {list(frame.columns)}")
    levels = _name_levels(frame, names, path)
    frame = _with_time_axis(frame.drop(columns=names), path)
    return frame.set_index(pd.MultiIndex.from_arrays([*levels, frame.index]))


def _name_levels(frame: pd.DataFrame, columns: list[str], path: Path) -> list[pd.Series]:
    for column in columns:
        empty = frame[column].isna() | (frame[column].astype(str) == "")
        if empty.any():
            raise ValueError(f"{path} names no series in column {column!r} at data row {int(empty.argmax()) + 1}")
    return [frame[column].astype(str) for column in columns]


def _index_as_columns(frame: pd.DataFrame) -> pd.DataFrame:
    return frame if _counts_rows(frame.index) else frame.reset_index()


def _counts_rows(index: pd.Index) -> bool:
    """Whether an index is no time axis, but the numbers that pandas gives to rows."""
    return index.name is None and index.equals(pd.RangeIndex(len(index)))


def _with_time_axis(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    if isinstance(frame.index, (pd.DatetimeIndex, pd.PeriodIndex)):
        return frame
    if pd.api.types.is_integer_dtype(frame.index) and not _counts_rows(frame.index):
        return frame
    if frame.shape[1] < 2:
        raise ValueError(
            f"{path} has {frame.shape[1]} column(s): {list(frame.columns)}; it must have a column of dates or whole "
            "numbers and then the series, separated by commas"
        )
    column = frame.columns[0]
    labels = frame[column]
    if labels.isna().any():
        raise ValueError(f"{path} has no time in column {column!r} at data row {int(labels.isna().argmax()) + 1}")
    if pd.api.types.is_float_dtype(labels) or pd.api.types.is_bool_dtype(labels):
        raise ValueError(f"{path} column {column!r} must hold dates or whole numbers, it begins with {labels.iloc[0]}")
    if not pd.api.types.is_integer_dtype(labels) and not isinstance(labels.dtype, pd.PeriodDtype):
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Could not infer format")  # an error follows, or it is a date
                frame[column] = pd.to_datetime(labels)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path} column {column!r} must hold dates or whole numbers: {error}; if it names many series, say so "
                "(series)"
            ) from error
    return frame.set_index(column)
