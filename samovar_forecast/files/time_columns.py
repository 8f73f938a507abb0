"""The time of a table: from a column, from several, or from a start and a step; sorted, and with its gaps filled."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from samovar_forecast.data.calendars import covering_step, infer_step, wall_clock_of
from samovar_forecast.data.ignored_warnings import warnings_ignored
from samovar_forecast.data.panel import PARTS_OF_DATES
from samovar_forecast.files.table_format import TableFormat

_DAY_OR_MONTH = re.compile(r"\s*\d{1,2}([./-])\d{1,2}\1\d{2,4}\b.*")
_OFFSET = re.compile(r".*\d\d:?\d\d.*([+-]\d\d:?\d\d|Z)\s*")
_UNITS = ("s", "ms", "us", "ns")
_USUAL_STEPS = ("1s", "1min", "5min", "10min", "15min", "30min", "1h", "D")


def time_columns(frame: pd.DataFrame, layout: TableFormat, series: Sequence[str], path: Path) -> list[str]:
    """The columns that hold the time: those that were named, else the first beside the names of series.

    Raises
    ------
    ValueError
        If there is none.
    """
    if layout.start is not None:
        if layout.time:
            raise ValueError(f"give start={layout.start!r} or time={list(layout.time)}, not both")
        return []
    if layout.time:
        return list(layout.time)
    others = [column for column in frame.columns if column not in series]
    if len(others) < 2:
        raise ValueError(
            f"{path} has {frame.shape[1]} column(s): {list(frame.columns)}; it must have a column of dates or whole "
            f"numbers and then the series, separated by commas; a table without time: start=0 numbers its rows"
        )
    return others[:1]


def read_times(frame: pd.DataFrame, columns: Sequence[str], layout: TableFormat, path: Path) -> pd.Index:
    """The time of every row: dates without a time zone that was not given, periods, or whole numbers.

    Raises
    ------
    ValueError
        If a time is missing or is none; the message names the row.
    """
    if not columns:
        return _numbered(len(frame), layout)
    for column in columns:
        empty = frame[column].isna() | (frame[column].astype(str).str.strip() == "")
        if empty.any():
            raise ValueError(f"{path} has no time in column {column!r} at data row {int(empty.argmax()) + 1:,}")
    if len(columns) == 1:
        return _read_labels(frame[columns[0]], columns[0], frame, layout, path)
    by_part = {str(column).strip().lower(): frame[column] for column in columns}
    if set(by_part) <= set(PARTS_OF_DATES) and "year" in by_part:
        return _from_parts(by_part, path, layout).rename("time")
    text = frame[columns[0]].astype(str).str.strip()
    for column in columns[1:]:
        text = text + " " + frame[column].astype(str).str.strip()
    return _read_labels(text, " ".join(columns), frame, layout, path).rename("time")


def _numbered(n_rows: int, layout: TableFormat) -> pd.Index:
    start, freq = str(layout.start), layout.freq
    if re.fullmatch(r"[-+]?\d{1,3}|[-+]?\d{5,7}", start) and (freq is None or freq.isdigit()):
        step = int(freq or 1)
        return pd.RangeIndex(int(start), int(start) + step * n_rows, step, name="time")
    if freq is None:
        raise ValueError(f"start={start!r} needs the step of the rows too, e.g. freq='h' for hours, freq='D' for days")
    try:
        dates = pd.date_range(pd.Timestamp(start), periods=n_rows, freq=freq, tz=layout.timezone, name="time")
    except (ValueError, TypeError) as error:
        raise ValueError(f"start={start!r} and freq={freq!r} begin no time axis: {error}") from error
    return dates


def _from_parts(parts: dict[str, pd.Series], path: Path, layout: TableFormat) -> pd.Index:
    """Dates of columns named year, month, day, hour, minute and second."""
    numbers = {}
    for name in PARTS_OF_DATES:
        given = parts.get(name)
        default = 1 if name in ("month", "day") else 0
        numbers[name] = pd.Series(default, parts["year"].index) if given is None else given
        whole = pd.to_numeric(numbers[name], errors="coerce")
        wrong = whole.isna() | (whole % 1 != 0)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(f"{path} data row {row + 1:,}, column {name!r}: {given.iloc[row]!r} is no {name}")  # type: ignore[union-attr]
        numbers[name] = whole.astype(np.int64)
    days = pd.to_datetime(pd.DataFrame({name: numbers[name] for name in PARTS_OF_DATES[:3]}), errors="coerce")
    if days.isna().any():
        row = int(days.isna().argmax())
        told = "-".join(str(numbers[name].iloc[row]) for name in PARTS_OF_DATES[:3])
        raise ValueError(f"{path} data row {row + 1:,}: {told} is no date")
    seconds = numbers["hour"] * 3600 + numbers["minute"] * 60 + numbers["second"]  # an hour 24 is the next midnight
    return _localized(pd.DatetimeIndex(days + pd.to_timedelta(seconds, unit="s")), layout, path)


def _read_labels(labels: pd.Series, column: str, frame: pd.DataFrame, layout: TableFormat, path: Path) -> pd.Index:
    types = pd.api.types
    if isinstance(labels.dtype, pd.PeriodDtype):
        return pd.Index(labels, name=column)
    if types.is_datetime64_any_dtype(labels.dtype):
        return _localized(pd.DatetimeIndex(labels, name=column), layout, path)
    if layout.date_format is None and types.is_integer_dtype(labels.dtype):
        return pd.Index(labels, name=column)
    if layout.date_format is None and (types.is_float_dtype(labels.dtype) or types.is_bool_dtype(labels.dtype)):
        raise ValueError(
            f"{path} column {column!r} must hold dates or whole numbers, it begins with {labels.iloc[0]}"
            + _other_time(frame, column)
        )
    return _parse(labels, column, frame, layout, path).rename(column)


def _parse(labels: pd.Series, column: str, frame: pd.DataFrame, layout: TableFormat, path: Path) -> pd.DatetimeIndex:
    """Dates of text, or of numbers in a format."""
    text = labels.astype(str).str.strip()
    if layout.date_format in _UNITS:
        count = pd.to_numeric(text, errors="coerce")
        dates = pd.to_datetime(count, unit=cast(Any, layout.date_format), errors="coerce")
        offsets = pd.Series(False, text.index)
    else:
        offsets = text.str.fullmatch(_OFFSET.pattern)
        dates = _dates(text, layout, column, path, utc=bool(offsets.any()))
    wrong = dates.isna()
    if wrong.any():
        row = int(wrong.argmax())
        form = f"in the format {layout.date_format!r}" if layout.date_format else "a date or a whole number"
        cure = "date_format='%d.%m.%Y %H:%M', with the signs of your dates"
        if not layout.date_format and not wrong.iloc[0] and int(wrong.sum()) < len(wrong) / 2:
            cure = f"correct the cell, or name the format of all, {cure}"
        raise ValueError(
            f"{path} data row {row + 1:,}, column {column!r}: {text.iloc[row]!r} is not {form}; the column must "
            f"hold dates or whole numbers: {cure}{_other_time(frame, column)}"
        )
    if offsets.any() and not offsets.all():
        row = int((~offsets).argmax())
        raise ValueError(
            f"{path} data row {row + 1:,}, column {column!r}: {text.iloc[row]!r} has no offset from UTC, and others "
            "have; write all of them in one way"
        )
    return _localized(pd.DatetimeIndex(dates), layout, path)


def _dates(text: pd.Series, layout: TableFormat, column: str, path: Path, utc: bool) -> pd.Series:
    """Dates where text is one, in the order of day and month that the whole column allows."""

    def read(**options: Any) -> pd.Series:
        with warnings_ignored(category=UserWarning):  # of formats that differ, or that day and month are guessed
            return cast(pd.Series, pd.to_datetime(text, errors="coerce", utc=utc, **options))

    if layout.date_format is not None:
        return read(format=layout.date_format)
    if not text.iloc[:50].str.fullmatch(_DAY_OR_MONTH.pattern).all():
        dates = read(dayfirst=layout.dayfirst)
        return dates if dates.notna().all() else read(format="ISO8601").fillna(dates)
    day_first = read(dayfirst=True)
    if layout.dayfirst:
        return day_first
    month_first = read(dayfirst=False)
    strict = text.str.extract(r"^\s*(\d{1,2})[./-](\d{1,2})[./-]").astype(float)
    if (strict[0] > 12).any():
        return day_first
    if (strict[1] > 12).any():
        return month_first
    if day_first.equals(month_first) or text.iloc[0].lstrip("0123456789").startswith("."):
        return day_first  # dots stand in dates that begin with the day
    regular = [_is_regular(dates) for dates in (day_first, month_first)]
    if regular == [True, False]:
        return day_first
    if regular == [False, True]:
        return month_first
    raise ValueError(
        f"{path} column {column!r}: {text.iloc[0]!r} may begin with the day or with the month; say which: "
        "dayfirst=True, or date_format='%m/%d/%Y'"
    )


def _is_regular(dates: pd.Series) -> bool:
    index = pd.DatetimeIndex(dates.dropna().unique())
    return len(index) > 2 and index.is_monotonic_increasing and infer_step(index) is not None


def _other_time(frame: pd.DataFrame, column: str) -> str:
    """Where else in a table the time may be."""
    parts = [name for name in frame.columns if str(name).strip().lower() in PARTS_OF_DATES]
    if len(parts) > 1 and str(parts[0]).strip().lower() == "year":
        return f"; if the time is in several columns, time={parts}"
    for other in frame.columns:
        values = frame[other].dropna().head(20)
        if other == column or pd.api.types.is_numeric_dtype(values.dtype) or not len(values):
            continue
        with warnings_ignored(category=UserWarning):
            if pd.to_datetime(values.astype(str), errors="coerce").notna().all():
                named = f", and if {column!r} tells many series apart, series=[{column!r}]"
                return f"; if the time is in another column, time=[{other!r}]{named}"
    return "; a table without time: start=0 numbers its rows, start='2024-01-01' with freq='D' dates them"


def _localized(dates: pd.DatetimeIndex, layout: TableFormat, path: Path) -> pd.DatetimeIndex:
    """Dates in the zone given: those with an offset are converted, for others it is the clock on the wall."""
    if layout.timezone is None or dates.tz is None:
        return dates  # a clock on the wall is read series by series, see `regular_series`
    return dates.tz_convert(_zone(layout))


def _zone(layout: TableFormat) -> str:
    try:
        pd.Timestamp(0, tz=layout.timezone)
    except Exception as error:  # pandas 2 raises what pytz does
        raise ValueError(f"timezone={layout.timezone!r} is no time zone; use e.g. 'Europe/Berlin' or 'UTC'") from error
    return str(layout.timezone)


def regular_series(
    frame: pd.DataFrame, layout: TableFormat, name: str, hint: str = "", step: Any = None
) -> pd.DataFrame:
    """The rows of one series in the order of time: in its zone, without doubled times, with its gaps filled.

    Parameters
    ----------
    frame : DataFrame
        With the time as index.
    layout : TableFormat
    name : str
        What to call the series in an error.
    hint : str
        What to say where rows have the same time.
    step : offset or None
        The step of other series of the table, for gaps.

    Raises
    ------
    ValueError
        If rows have the same time, or the step cannot be told; with the parameters that help.
    """
    index = frame.index
    if isinstance(index, pd.DatetimeIndex) and index.tz is None and layout.timezone is not None:
        frame = frame.set_axis(_wall_clock(index, layout, name), axis=0)
    if layout.freq is not None and layout.start is None:
        frame = frame.set_axis(_to_step(frame.index, layout.freq, name), axis=0)
    frame = _without_doubled(frame, layout, name, hint)
    index = frame.index
    if not index.is_monotonic_increasing:
        if not index.is_monotonic_decreasing:
            row = int(np.argmax(np.asarray(index[1:] < index[:-1]))) + 1
            warnings.warn(
                f"{name} is not in the order of time: {index[row]} comes after {index[row - 1]} (data row "
                f"{row + 1:,}); its rows are sorted",
                stacklevel=2,
            )
        frame = frame.sort_index(kind="stable")
    return _filled(frame, layout, name, step) if len(frame) > 2 else frame


def _wall_clock(index: pd.DatetimeIndex, layout: TableFormat, name: str) -> pd.DatetimeIndex:
    zone = _zone(layout)
    try:
        return index.tz_localize(zone, ambiguous="infer")
    except Exception as error:  # pandas 2 raises what pytz does
        told = " ".join(str(error).split())[:120]
    with warnings_ignored():
        try:
            made = index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        except Exception:  # nothing can be said of single labels then; the first error is raised all the same
            made = None
    wrong = "" if made is None or not made.hasnans else f": {index[int(made.isna().argmax())]}"
    raise ValueError(
        f"{name} has times that the clock of {zone} does not show once{wrong} ({told}); leave timezone={zone!r} out, "
        "or write the offsets into the file"
    )


def _to_step(index: pd.Index, freq: str, name: str) -> pd.Index:
    """Every date at the nearest one of a step; for months and longer, at that of its own month."""
    if not isinstance(index, pd.DatetimeIndex):
        raise ValueError(f"freq={freq!r} needs dates, and the time of {name} begins with {index[0]}")
    try:
        offset = pd.tseries.frequencies.to_offset(freq)
    except ValueError as error:
        raise ValueError(f"freq={freq!r} is no step; use e.g. '15min', 'h', 'D', 'W', 'MS'") from error
    if isinstance(offset, pd.offsets.Tick) and not isinstance(offset, pd.offsets.Day):
        if index.tz is None:
            return index.round(freq)
        return index.tz_convert("UTC").round(freq).tz_convert(index.tz)
    days = index.normalize()
    if isinstance(offset, pd.offsets.Day):
        return days
    forward = "E" in offset.rule_code.partition("-")[0] or offset.rule_code.startswith("W")
    return pd.DatetimeIndex(
        [offset.rollforward(day) if forward else offset.rollback(day) for day in days], name=index.name
    )


def _without_doubled(frame: pd.DataFrame, layout: TableFormat, name: str, hint: str) -> pd.DataFrame:
    index = frame.index
    if not index.has_duplicates:
        return frame
    if layout.duplicates == "mean":
        return frame.groupby(level=0, sort=True).mean()
    if layout.duplicates in ("first", "last"):
        return frame[~index.duplicated(keep=layout.duplicates)]
    doubled = index[index.duplicated()]
    zone = wall_clock_of(index) if isinstance(index, pd.DatetimeIndex) else None
    cure = hint or "; take the mean of such rows: duplicates='mean' (or 'first', 'last')"
    if zone is not None:
        cure = f"; where clocks were set back, say so with your time zone: timezone={zone!r}"
    raise ValueError(f"{name} has the time {doubled[0]} more than once ({len(doubled):,} such rows){cure}")


def _filled(frame: pd.DataFrame, layout: TableFormat, name: str, step: Any) -> pd.DataFrame:
    """The rows at every step between the first and the last; refused where rows would have to be inserted."""
    index = frame.index
    full: pd.Index
    if isinstance(index, pd.DatetimeIndex):
        if layout.freq is None and infer_step(index) is not None:
            return frame
        found = _dates_of(index, layout.freq if layout.start is None else None, step)
        if found is None:
            raise ValueError(_no_step(index, name))
        told, full = found
    elif isinstance(index, pd.PeriodIndex):
        told, full = f"a period of {index.freqstr!r}", pd.period_range(index[0], index[-1], freq=index.freq)
    else:
        numbers = index.to_numpy(dtype=np.int64)
        size = int(np.gcd.reduce(np.diff(numbers)))
        told, full = f"a step of {size}", pd.RangeIndex(int(numbers[0]), int(numbers[-1]) + 1, size)
        if len(full) > 10 * len(index):
            dates = _as_dates(index)
            raise ValueError(
                f"{name} has an irregular time: its numbers go from {index[0]} to {index[1]} and so on, with no step; "
                + (f"if they are dates, {dates}" if dates else "if it is no time, start=0 numbers the rows")
            )
    lacking: Any = full.difference(cast(Any, index))
    if not len(lacking):
        return frame
    if not layout.fill_gaps:
        row = int((index < lacking[0]).sum())
        dates = "" if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)) else _as_dates(index)
        raise ValueError(
            f"{name} has an irregular index: with {told}, {len(lacking):,} rows are missing, the first of them at "
            f"{lacking[0]}, after data row {row:,}; insert them without values: fill_gaps=True"
            + (f"; or if these are dates, {dates}" if dates else "")
        )
    return frame.reindex(full.rename(index.name))


def _dates_of(index: pd.DatetimeIndex, freq: str | None, step: Any) -> tuple[str, pd.DatetimeIndex] | None:
    """A step that leads over all dates, in words, and every date of it."""
    for one in [freq] if freq else [step] * (step is not None):
        dates = pd.date_range(index[0], index[-1], freq=one, unit=index.unit)
        if index.isin(dates).all():
            return f"a step of {one}", dates
    found = covering_step(index)
    return None if found is None else (f"a step of {found[0]}", found[1])


def _no_step(index: pd.DatetimeIndex, name: str) -> str:
    steps = pd.Series(index[1:] - index[:-1])
    median = steps.median()
    near = [step for step in _USUAL_STEPS if pd.Timedelta("1D" if step == "D" else step) <= 1.05 * median]
    usual = near[-1] if near else "1s"
    if median > pd.Timedelta(days=5):
        usual = "W" if median < pd.Timedelta(days=27) else "MS" if median < pd.Timedelta(days=80) else "QS"
    moved = index.tz_localize(None) if index.tz is not None else index
    doubled = _to_step(moved, usual, name).has_duplicates
    mean = ", duplicates='mean'" if doubled else ""
    return (
        f"{name} has an irregular index: its steps are between {steps.min()} and {steps.max()}, from {index[0]} to "
        f"{index[1]} and so on; take every row to the nearest of equal steps: freq={usual!r}{mean}, fill_gaps=True"
    )


def _as_dates(index: pd.Index) -> str:
    """The parameter that reads whole numbers such as 20240131 as dates, where they are some."""
    text = pd.Series(index.astype(str))
    if text.str.len().eq(8).all() and pd.to_datetime(text, format="%Y%m%d", errors="coerce").notna().all():
        return "date_format='%Y%m%d'"
    if text.str.len().eq(6).all() and pd.to_datetime(text, format="%Y%m", errors="coerce").notna().all():
        return "date_format='%Y%m'"
    for unit, digits in (("s", 10), ("ms", 13)):
        if text.str.len().eq(digits).all():
            return f"date_format={unit!r}"
    return ""
