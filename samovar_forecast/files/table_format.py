"""How a table is written in a file: its signs, its time and its columns."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

Duplicates = Literal["refuse", "first", "last", "mean"]
DUPLICATES = get_args(Duplicates)
_SELECTIONS = ("columns", "drop", "encode")


@dataclass(frozen=True)
class TableFormat:
    r"""How a CSV or Parquet file is to be read; the defaults suit a CSV file with dates in its first column.

    Attributes
    ----------
    encoding : str
        Encoding of a CSV file.
    separator : str
        What stands between two cells of a CSV file.
    decimal : str
        What stands before the decimals of a number.
    thousands : str or None
        What groups the digits of a number, as in 1.234,5.
    names : tuple of str
        Names of the columns of a CSV file that has no header.
    skip_rows : int
        Lines of a CSV file before its header.
    missing : tuple of str
        Cells that hold no value, beside empty ones and pandas' own such as NA.
    columns : tuple of str
        Series to read, in this order. Empty: all.
    drop : tuple of str
        Columns to leave out.
    encode : tuple of str
        Columns of text that become one column of 0 and 1 for each of their values, such as ``wind=NW``.
    time : tuple of str
        The column of the time, or several: year, month, day, hour, minute, second; or the parts of a date, such as
        date and clock. Empty: the first column.
    date_format : str or None
        As Python has it, e.g. ``%d.%m.%Y %H:%M``, or s, ms, us or ns for a number of those since 1970.
    dayfirst : bool
        Whether 3/4/2024 is in April.
    timezone : str or None
        Zone of dates without an offset; dates with offsets are converted to it.
    start : str or None
        For tables without time: the date of the first row, or a number.
    freq : str or None
        The step, as pandas calls it, e.g. 15min, h, D, MS. With `start` the step of the rows; otherwise every date is
        taken to the nearest one of this step.
    duplicates : {"refuse", "first", "last", "mean"}
        What becomes of rows with the same time.
    fill_gaps : bool
        Whether rows that a regular time axis lacks are inserted, without values.

    Examples
    --------
    >>> import tempfile
    >>> from samovar_forecast.files.tables import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sales.csv")
    ...     written = path.write_text("Datum;Umsatz;Kasse\n30.12.2023;1,5;A\n31.12.2023;2,5;B\n")
    ...     read_table(path, layout=TableFormat(separator=";", decimal=",", drop=("Kasse",)))
                Umsatz
    Datum
    2023-12-30     1.5
    2023-12-31     2.5
    """

    encoding: str = "utf-8"
    separator: str = ","
    decimal: str = "."
    thousands: str | None = None
    names: tuple[str, ...] = ()
    skip_rows: int = 0
    missing: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    encode: tuple[str, ...] = ()
    time: tuple[str, ...] = ()
    date_format: str | None = None
    dayfirst: bool = False
    timezone: str | None = None
    start: str | None = None
    freq: str | None = None
    duplicates: Duplicates = "refuse"
    fill_gaps: bool = False

    def limited_to(self, names: Iterable[Hashable]) -> TableFormat:
        """The same without columns, drops and encodings of other names."""
        found = set(names)
        kept = {one: tuple(name for name in getattr(self, one) if name in found) for one in _SELECTIONS}
        return replace(self, **kept)  # type: ignore[arg-type]

    def check_names(self, names: Iterable[Hashable], path: Path) -> None:
        """Refuse names of columns that a table does not have.

        Raises
        ------
        ValueError
            With the name that comes closest.
        """
        found = [str(name) for name in names]
        for parameter in (*_SELECTIONS, "time"):
            for name in getattr(self, parameter):
                if name not in found:
                    raise ValueError(f"{path} has no column {name!r} for {parameter}: {similar(name, found)}")


def similar(name: str, found: list[str]) -> str:
    """What to say of the names that are there, instead of one that is not."""
    close = get_close_matches(name, found, n=1)
    listed = f"it has {found[:20]}{' and more' * (len(found) > 20)}"
    return f"is {close[0]!r} meant? {listed}" if close else listed
