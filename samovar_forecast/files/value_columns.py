"""The columns of values of a table: which are read, what is no number, and categories as numbers."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from samovar_forecast.data.frames import LARGEST
from samovar_forecast.files.table_format import TableFormat

_DECIMAL_COMMA = re.compile(r"\s*[-+]?(\d{1,3}(\.\d{3})+|\d*),\d+\s*")
_THOUSANDS = re.compile(r"\s*[-+]?\d{1,3}(,\d{3})+(\.\d+)?\s*")
_ENCODED = "{}={}"  # column and category


def chosen_columns(frame: pd.DataFrame, layout: TableFormat, others: Sequence[str], path: Path) -> pd.DataFrame:
    """The columns that are to be read, beside `others`, which tell time and series.

    Raises
    ------
    ValueError
        If none is left.
    """
    series = [column for column in frame.columns if column not in others]
    if layout.columns:
        wanted = [*layout.columns, *(one for one in layout.encode if one not in layout.columns)]
        series = [column for column in wanted if column not in others]
    series = [column for column in series if column not in layout.drop]
    if not series:
        raise ValueError(f"{path} has no series left: its columns are {list(frame.columns)}")
    return frame[[*(column for column in frame.columns if column in others), *series]]


def as_numbers(
    frame: pd.DataFrame, layout: TableFormat, others: Sequence[str], path: Path, wanted: Collection[object] | None
) -> pd.DataFrame:
    """The frame with numbers in all columns but `others` and those to encode.

    Text in a column that is not `wanted` drops the column.

    Raises
    ------
    ValueError
        If a cell is text, a date or infinite; with its row, its column and the parameters that help.
    """
    made = {}
    for column in frame.columns:
        values = frame[column]
        if column in others or column in layout.encode:
            made[column] = values
            continue
        is_number = pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype)
        if wanted is not None and column not in wanted and not is_number:
            continue
        made[column] = _numbers(values, layout, path)
    return pd.DataFrame(made, index=frame.index)


def _numbers(values: pd.Series, layout: TableFormat, path: Path) -> pd.Series:
    column, types = values.name, pd.api.types
    if types.is_bool_dtype(values.dtype) or (
        types.is_numeric_dtype(values.dtype) and not types.is_complex_dtype(values.dtype)
    ):
        if layout.missing:
            values = values.mask(values.astype(str).isin(layout.missing))
        numbers = pd.Series(values.to_numpy(dtype=np.float64, na_value=np.nan), values.index)
        wrong = np.flatnonzero(numbers.abs() > LARGEST)
        if len(wrong):
            row = int(wrong[0])
            cell = str(values.iloc[row])
            raise ValueError(
                f"{path} data row {row + 1:,}, column {column!r}: {cell} is not finite ({len(wrong)} such cells); it "
                f"becomes a gap by missing={sorted({str(values.iloc[one]) for one in wrong})[:9]}, or leave the column "
                f"out: drop=[{column!r}]"
            )
        return values
    if types.is_datetime64_any_dtype(values.dtype) or isinstance(values.dtype, pd.PeriodDtype):
        raise ValueError(
            f"{path} column {column!r} holds dates such as {values.dropna().iloc[0]}; if it is the time, say so: "
            f"time=[{column!r}], otherwise drop=[{column!r}]"
        )
    text = values.astype(str).str.strip()
    empty = values.isna() | (text == "") | text.isin(layout.missing)
    numbers = pd.to_numeric(text.mask(empty), errors="coerce")
    wrong = np.flatnonzero((numbers.isna() & ~empty).to_numpy())
    if len(wrong):
        raise ValueError(_text_in(values, text, wrong, int((~empty).sum()), path))
    return _numbers(pd.Series(numbers, name=column), layout, path)


def _text_in(values: pd.Series, text: pd.Series, wrong: np.ndarray, n_cells: int, path: Path) -> str:
    """What is said of a column with cells that are no numbers."""
    column, row = values.name, int(wrong[0])
    cells = text.iloc[wrong]
    place = f"{path} data row {row + 1:,}, column {column!r}: {str(values.iloc[row])!r}"
    if cells.str.fullmatch(_DECIMAL_COMMA.pattern).all():
        grouped = ", thousands='.'" if cells.str.contains(".", regex=False).any() else ""
        return f"{place} has a comma in it; if it stands before the decimals, say so: decimal=','{grouped}"
    if cells.str.fullmatch(_THOUSANDS.pattern).all():
        return f"{place} has a comma in it; if it groups the digits, say so: thousands=','"
    kinds = sorted(cells.unique())
    if len(wrong) * 2 < n_cells and len(kinds) <= 9:
        return (
            f"{place} is no number ({len(wrong):,} such cells); it becomes a gap by missing={kinds}, or leave the "
            f"column out: drop=[{column!r}]"
        )
    encodable = f"; or make a column of 0 and 1 of each of its {len(kinds)} values: encode=[{column!r}]"
    return f"{place} is text; leave the column out: drop=[{column!r}]" + encodable * (1 < len(kinds) <= 50)


def with_categories(frame: pd.DataFrame, layout: TableFormat, wanted: Collection[object] | None) -> pd.DataFrame:
    """A column of 0 and 1 for each value of the columns to encode; all 0 where there was none.

    Categories that are `wanted`, and do not occur, are columns of 0.
    """
    for column in layout.encode:
        values = frame[column].astype("string").str.strip()
        values = values.mask(values.isin(["", *layout.missing]))
        kinds = sorted(values.dropna().unique())
        names = [_ENCODED.format(column, kind) for kind in kinds]
        made = {name: (values == kind).fillna(False).astype(float) for name, kind in zip(names, kinds, strict=True)}
        prefix = _ENCODED.format(column, "")
        for name in wanted or ():
            if isinstance(name, str) and name.startswith(prefix):
                made.setdefault(name, pd.Series(0.0, frame.index))
        frame = pd.concat([frame.drop(columns=column), pd.DataFrame(made, index=frame.index)], axis=1)
    return frame


def encoded_in(names: Collection[object], wanted: Collection[object]) -> tuple[str, ...]:
    """The columns among `names` of whose categories some are `wanted`."""
    texts = [name for name in wanted if isinstance(name, str)]
    return tuple(
        name
        for name in names
        if isinstance(name, str) and any(text.startswith(_ENCODED.format(name, "")) for text in texts)
    )
