"""Files of series: CSV and Parquet in, frames out, and back."""

from __future__ import annotations

import warnings
from os import PathLike
from pathlib import Path

import pandas as pd

_CSV, _PARQUET = (".csv", ".csv.gz"), (".parquet", ".pq")


def read_table(path: str | PathLike[str], encoding: str = "utf-8") -> pd.DataFrame:
    r"""Read series from a CSV or Parquet file, with the first column as the time axis.

    The first column holds dates or whole numbers; every other column is a series. A Parquet file that
    pandas wrote with a date, period or integer index keeps it.

    Parameters
    ----------
    path : path
        Ends in .csv, .csv.gz, .parquet or .pq.
    encoding : str, default "utf-8"
        Encoding of a CSV file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the ending is unknown, the file is damaged, or its first column is no time axis.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sales.csv")
    ...     written = path.write_text("date,shop\n2024-01-01,3\n2024-01-02,4\n")
    ...     read_table(path)
                shop
    date
    2024-01-01     3
    2024-01-02     4
    """
    path = Path(path)
    kind = _kind(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} {'is a folder, not a file' if path.is_dir() else 'does not exist'}")
    frame = _read_csv(path, encoding) if kind == "csv" else _read_parquet(path)
    counted = frame.index.name is None and frame.index.equals(pd.RangeIndex(len(frame)))  # row numbers, no time axis
    if isinstance(frame.index, (pd.DatetimeIndex, pd.PeriodIndex)):
        return frame
    if pd.api.types.is_integer_dtype(frame.index) and not counted:
        return frame
    if frame.shape[1] < 2:
        raise ValueError(
            f"{path} has {frame.shape[1]} column(s): {list(frame.columns)}; it must have a column of dates or whole "
            "numbers and then the series, separated by commas"
        )
    return _with_time_axis(frame, path)


def write_table(frame: pd.DataFrame, path: str | PathLike[str]) -> None:
    """Write a frame with its index as the first column, as CSV or Parquet by the ending of the path.

    Raises
    ------
    ValueError
        If the ending is unknown.
    """
    path = Path(path)
    if _kind(path) == "csv":
        frame.to_csv(path)
    else:
        frame.to_parquet(path)


def _kind(path: Path) -> str:
    name = path.name.lower()
    if name.endswith(_CSV):
        return "csv"
    if name.endswith(_PARQUET):
        return "parquet"
    raise ValueError(f"{path} must end in one of {[*_CSV, *_PARQUET]}")


def _read_csv(path: Path, encoding: str) -> pd.DataFrame:
    try:
        return pd.read_csv(path, encoding=encoding, index_col=False)
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


def _with_time_axis(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    column = frame.columns[0]
    labels = frame[column]
    if labels.isna().any():
        raise ValueError(f"{path} has no time in column {column!r} at data row {int(labels.isna().argmax()) + 1}")
    if pd.api.types.is_float_dtype(labels) or pd.api.types.is_bool_dtype(labels):
        raise ValueError(f"{path} column {column!r} must hold dates or whole numbers, it begins with {labels.iloc[0]}")
    if not pd.api.types.is_integer_dtype(labels):
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Could not infer format")  # an error follows, or it is a date
                frame[column] = pd.to_datetime(labels)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} column {column!r} must hold dates or whole numbers: {error}") from error
    return frame.set_index(column)
