"""Series in a folder, larger than memory: their rows are mapped, not read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy
from numpy.typing import NDArray

from samovar_forecast.data.frames import read_frame
from samovar_forecast.data.panel import align_columns
from samovar_forecast.data.parquet_pieces import read_pieces
from samovar_forecast.data.time_axis import Frequency, frequency_of
from samovar_forecast.files.atomic_files import new_folder

_VALUES, _INDEX, _NAMES = "values.npy", "index.parquet", "names.json"


class StoredSeries:
    """A table of series on disk, for `Forecaster.fit`: one file of numbers, one of the index, one of the names.

    The numbers are a plain ``.npy`` file of float32 where every column that came in was that or smaller, else of
    float64. `write` and `from_parquet` make such a folder piece by piece, so that no more than one piece is ever in
    memory; opening it maps the file.

    Parameters
    ----------
    folder : path
        What `write` wrote.

    Attributes
    ----------
    values : ndarray
        The numbers, mapped into memory; NaN where not observed.
    columns : list of str
    index : Index

    Shape
    -----
    values : (n_rows, n_columns)

    Raises
    ------
    ValueError
        If the folder lacks a file, or its files do not fit together.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "series"
    >>> hours = pd.date_range("2024-01-01", periods=6, freq="h")
    >>> whole = pd.DataFrame({"a": range(6), "b": range(6)}, hours)
    >>> stored = StoredSeries.write(folder, (whole.iloc[rows : rows + 2] for rows in range(0, 6, 2)))
    >>> len(stored), stored.rows(slice(4, 6))["b"].tolist()
    (6, [4.0, 5.0])
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder: Path = Path(folder)
        missing = [name for name in (_VALUES, _INDEX, _NAMES) if not (self.folder / name).is_file()]
        if missing:
            raise ValueError(f"{folder} lacks {missing}; StoredSeries.write makes such a folder")
        self.values: NDArray[Any] = np.load(self.folder / _VALUES, mmap_mode="r")
        names = json.loads((self.folder / _NAMES).read_text())
        self.columns: list[str] = names["columns"]
        self.index: pd.Index = pd.Index(pd.read_parquet(self.folder / _INDEX)["label"]).rename(names["index"])
        if self.values.shape != (len(self.index), len(self.columns)):
            raise ValueError(
                f"{folder} does not fit together: numbers of the shape {self.values.shape}, {len(self.index)} labels "
                f"and {len(self.columns)} columns"
            )

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def write(cls, folder: str | os.PathLike[str], pieces: Iterable[pd.DataFrame]) -> StoredSeries:
        """Write frames that follow one another in time to a new folder, which appears complete or not at all.

        Raises
        ------
        TypeError, ValueError
            If a piece is no numeric frame, its columns are not those of the first one, or it does not follow the piece
            before it; the message names the piece, the column or the row.
        OSError
            If the folder is there already, or cannot be written.
        """
        with new_folder(folder) as temporary:
            columns, index = _write_pieces(temporary / _VALUES, pieces)
            (temporary / _NAMES).write_text(json.dumps({"columns": columns, "index": index.name}))
            index.to_frame(index=False, name="label").to_parquet(temporary / _INDEX)
        return cls(folder)

    @classmethod
    def from_parquet(
        cls,
        source: str | os.PathLike[str],
        folder: str | os.PathLike[str],
        time: str,
        rows: int = 65_536,
        *,
        columns: Sequence[str] | None = None,
        id_column: str | None = None,
        start: Hashable | None = None,
        end: Hashable | None = None,
    ) -> StoredSeries:
        """Write Parquet files to a new folder, piece by piece; nothing else of them is read.

        Each file holds a span of time, as in a table that is partitioned by date. Their order is that of the times in
        them, which their metadata tell.

        Parameters
        ----------
        source : path
            A file, or a folder of files, also in folders such as ``year=2024/month=10``.
        folder : path
            Where to write.
        time : str
            The column that becomes the index.
        rows : int, default 65536
            Rows of the files in memory at a time.
        columns : sequence of str or None, default None
            The columns to write. None: all.
        id_column : str or None, default None
            The files hold a long table in the order of time, and this column names its series: each becomes a column,
            with the one column of `columns` as its values.
        start, end : index label or None, default None
            First and last row. Files and groups of rows outside are not read.

        Raises
        ------
        TypeError, ValueError, OSError
            As `write`; and if a column is missing, two files cover the same time, or a long table has several columns
            of values, two values of a series at one time, or rows that are not in the order of time.

        Examples
        --------
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> hours = pd.date_range("2024-01-01", periods=4, freq="h")
        >>> for name, rows in {"day=9": slice(0, 2), "day=10": slice(2, 4)}.items():
        ...     long = pd.DataFrame({"a": 1.0, "b": 2.0}, hours[rows]).rename_axis("date").melt(ignore_index=False)
        ...     (folder / "table" / name).mkdir(parents=True)
        ...     long.reset_index().sort_values("date").to_parquet(folder / "table" / name / "part.parquet")
        >>> stored = StoredSeries.from_parquet(folder / "table", folder / "series", "date", id_column="variable")
        >>> stored.columns, len(stored)
        (['a', 'b'], 4)
        """
        return cls.write(folder, read_pieces(source, time, rows, columns, id_column, start, end))

    def frequency(self) -> Frequency:
        """The step of the index."""
        return frequency_of(self.index, str(self.folder))

    def rows(self, rows: slice, columns: list[Hashable] | None = None) -> pd.DataFrame:
        """Some of the rows, in memory, as float64."""
        frame = pd.DataFrame(self.values[rows].astype(np.float64), index=self.index[rows], columns=self.columns)
        return frame if columns is None else frame[columns]

    def scaled(self, columns: list[Hashable], scale: Callable[[pd.DataFrame], np.ndarray]) -> np.ndarray:
        """Every row, scaled piece by piece into a file without a name beside this one.

        It is gone when its last reader is, even where the process is killed.
        """
        with tempfile.TemporaryFile(dir=self.folder) as file:
            scaled = np.memmap(file, dtype=np.float32, mode="w+", shape=self.values.shape)  # outlives the handle
        for rows, frame in self.pieces(0, len(self), columns):
            scaled[rows] = scale(frame)
        return scaled

    def pieces(
        self, start: int, stop: int, columns: list[Hashable], n_values: int = 2**20
    ) -> Iterator[tuple[slice, pd.DataFrame]]:
        """The rows from `start` to before `stop`, so many numbers at a time."""
        size = max(1, n_values // len(self.columns))
        for first in range(start, stop, size):
            rows = slice(first, min(first + size, stop))
            yield rows, self.rows(rows, columns)


def _write_pieces(path: Path, pieces: Iterable[pd.DataFrame]) -> tuple[list[str], pd.Index]:
    columns: list[Any] = []
    indices: list[pd.Index] = []
    dtype: np.dtype = np.dtype(np.float32)
    with open(path, "w+b") as file:
        for number, piece in enumerate(pieces):
            name = f"piece {number}"
            frame = read_frame(piece, name, missing=True)
            if not indices:
                columns = list(frame.columns)
                names = [*columns, *[frame.index.name] * (frame.index.name is not None)]
                if not all(isinstance(name, str) for name in names):
                    raise TypeError(f"the names of stored columns and of the index must be strings, got {names}")
                dtype = np.dtype(np.float32 if all(map(_is_narrow, piece.dtypes)) else np.float64)
                _write_shape(file, dtype, (0, len(columns)))
            for column, kind in piece.dtypes.items():
                if dtype == np.float32 and not _is_narrow(kind):
                    raise TypeError(
                        f"{name} column {column!r} has dtype {kind}, and what the first piece stores is float32: give "
                        "float64 from the first piece on, or float32 in every one"
                    )
            file.write(align_columns(frame, columns, name, exact=True).to_numpy(dtype=dtype).tobytes())
            indices.append(frame.index)
            if len(indices) > 1:
                _check_follows(indices[-2], indices[-1], name)
        if not indices:
            raise ValueError("there are no pieces to write")
        index = indices[0].append(indices[1:])
        frequency_of(index, "the pieces together")
        file.seek(0)
        _write_shape(file, dtype, (len(index), len(columns)))
        file.flush()
        os.fsync(file.fileno())
    return columns, index


def _is_narrow(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and bool(np.can_cast(dtype, np.float32))


def _write_shape(file: Any, dtype: np.dtype, shape: tuple[int, int]) -> None:
    # The header of a .npy file leaves room for any number of rows, so it can be written before they are counted.
    npy.write_array_header_1_0(file, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})


def _check_follows(before: pd.Index, index: pd.Index, name: str) -> None:
    if type(before) is not type(index) and not (before.dtype.kind == index.dtype.kind == "i"):
        raise TypeError(
            f"{name} has an index of type {type(index).__name__}, the one before it {type(before).__name__}"
        )
    if index[0] <= before[-1]:
        raise ValueError(f"{name} begins at {index[0]}, not after {before[-1]}, where the piece before it ends")
