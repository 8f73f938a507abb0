"""Calendars: the step that leads from label to label of an index, or what keeps the labels from having one.

Every error ends in code that makes the index regular without losing a value, for a frame `df` with that index.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.ignored_warnings import warnings_ignored

try:  # pandas 2 raises what pytz does of clocks that are changed; pandas 3 needs no pytz
    from pytz import InvalidTimeError as _ClockError  # type: ignore[import-untyped,import-not-found,unused-ignore]
except ImportError:
    _ClockError = ValueError

Offset = pd.tseries.offsets.BaseOffset

_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # in the units of an index
_LAST_SAFE_DAY = 28  # which every month has
_MOST_LABELS = 10  # an axis with more labels than this for each given one is no gap in a calendar, but another calendar
_RENUMBERED = "df.reset_index(drop=True)"
_ZONES = ("Europe/Berlin", "America/New_York", "Europe/London", "Australia/Sydney", "America/Santiago")
_BETWEEN_ZONES = (".tz_convert('UTC')", ".tz_convert('{zone}')")
_PERIODS = ("Y", "Q", "M", "W", "D")  # from the longest
_ROUNDED = ("1h", "30min", "15min", "10min", "5min", "1min", "1s")


def infer_step(index: pd.DatetimeIndex) -> Offset | None:
    """The step that generates exactly these dates, None where no calendar does so with certainty.

    What `pandas.infer_freq` says is a suggestion: it calls any steps of 1, 17 and 65 hours business hours, and any
    dates in the same week of a month monthly. Beyond its names, this finds one day of every month or year, every k-th
    month of a weekday, two days of every month and office hours other than 9 to 17. Office hours count only where a
    weekend shows that they are some.

    Shape
    -----
    index : (n_rows,), at least 3, increasing

    Examples
    --------
    >>> infer_step(pd.DatetimeIndex(["2024-01-15", "2024-02-15", "2024-03-15", "2024-04-15"]))
    <DateOffset: months=1>
    >>> infer_step(pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-04"])) is None
    True
    """
    steps = np.diff(index.asi8)
    if (steps == steps[0]).all() and steps[0] % _day(index):
        return _tick(steps[0], index.unit)
    suggested = pd.tseries.frequencies.to_offset(pd.infer_freq(index))
    uncertain = (pd.offsets.BusinessHour, pd.offsets.Day)  # July 15, August 15, September 15 are 31 days apart
    if suggested is not None and not isinstance(suggested, uncertain) and leads(index, suggested):
        return suggested
    return next((step for step in _steps_that_meet(index) if leads(index, step)), None)


def step_of_dates(index: pd.DatetimeIndex, default: Offset | None) -> Offset | None:
    """The step that generates exactly these dates: `default` where it does, else their own; None where none does."""
    own = index.freq
    # One row may be cut out of a reversed axis, and pandas 2 keeps the step of dates that go to another zone.
    if own is not None and (own.n < 0 or not leads(index, own)):
        own = None
    if default is not None and own != default and leads(index, default):
        return default
    if own is not None:
        return own
    if len(index) < 3:
        return _step_between(index) if len(index) == 2 else pd.offsets.Day()
    return infer_step(index)


def _step_between(index: pd.DatetimeIndex) -> Offset:
    """The step from the first to the second of two dates: whole days of the wall clock, or a time."""
    wall = index.tz_localize(None)
    duration = wall[1] - wall[0]
    if duration % pd.Timedelta(days=1) == pd.Timedelta(0):
        return pd.offsets.Day(duration.days)
    return _tick(np.diff(index.asi8)[0], index.unit)


def leads(index: pd.DatetimeIndex, step: Offset) -> bool:
    """Whether a step leads from each date to the next one, in the wall-clock time of the zone for all but hours."""
    wall = index if _is_absolute(step) else index.tz_localize(None)
    if not step.is_on_offset(wall[0]):
        return False
    with warnings_ignored(category=pd.errors.PerformanceWarning):  # of offsets that step from date to date
        try:
            if bool((wall[:-1] + step == wall[1:]).all()):
                return True
            # Clocks that are changed at midnight move the dates of some days.
            return index.tz is not None and next_dates(index[:1], step, len(index) - 1).equals(index[1:])
        except (OverflowError, pd.errors.OutOfBoundsDatetime):
            return False


def next_dates(index: pd.DatetimeIndex, step: Offset, periods: int) -> pd.DatetimeIndex:
    """The dates of the next steps after the last one of an index.

    A time of the wall clock that a change of clocks skips is the first one after it; of one that comes twice, the
    first is taken.
    """
    if periods == 0:
        return index[:0]  # some offsets have no zero multiple, which pandas would add
    end = index[-1]
    if index.tz is not None and not _is_absolute(step):
        start = end.tz_localize(None)
        wall = pd.date_range(start, periods=periods + 1, freq=step, name=index.name, unit=index.unit)
        if wall.tz_localize(index.tz, ambiguous="NaT", nonexistent="NaT").hasnans:
            first = np.ones(periods, dtype=bool)
            return wall[1:].tz_localize(index.tz, ambiguous=first, nonexistent="shift_forward")
    return pd.date_range(end, periods=periods + 1, freq=step, name=index.name, unit=index.unit)[1:]


def covering_step(index: pd.DatetimeIndex) -> tuple[Offset, pd.DatetimeIndex] | None:
    """The step whose dates hold all of an index with the fewest further ones, and these dates.

    None where every calendar would add ten labels for each given one, unless most of the steps are its own.

    Examples
    --------
    >>> step, dates = covering_step(pd.DatetimeIndex(["2024-01-01", "2024-02-01", "2024-04-01"]))
    >>> step, len(dates)
    (<MonthBegin>, 4)
    """
    best = None
    for step in _steps_that_meet(index):
        most = len(index) * _MOST_LABELS if best is None else len(best[1]) - 1
        if best is None and _is_usual(index, step):
            most *= 100
        dates = _dates_between(index, step, most)
        if dates is not None and len(dates) <= most and index.isin(dates).all():
            best = step, dates
    return best


def _offset_code(step: Offset) -> str:
    """A step as Python code: its name where pandas reads that, else a call.

    Examples
    --------
    >>> _offset_code(pd.offsets.Hour(2)), _offset_code(pd.DateOffset(months=1))
    ("'2h'", 'pd.DateOffset(months=1)')
    >>> _offset_code(pd.offsets.BusinessHour(start="08:00", end="16:00"))
    "pd.offsets.BusinessHour(start='08:00', end='16:00')"
    """
    try:
        if pd.tseries.frequencies.to_offset(step.freqstr) == step:
            return repr(step.freqstr)
    except ValueError:
        pass
    if isinstance(step, pd.offsets.BusinessHour):
        words = {end: f"{step.kwds[end][0]:%H:%M}" for end in ("start", "end")}
    else:
        words = ({} if step.n == 1 else {"n": step.n}) | step.kwds
    name = "DateOffset" if type(step) is pd.DateOffset else f"offsets.{type(step).__name__}"
    return f"pd.{name}({', '.join(f'{word}={value!r}' for word, value in words.items())})"


def _is_absolute(step: Offset) -> bool:
    """Whether a step is a time, as an hour is; a day follows the wall clock."""
    return isinstance(step, pd.offsets.Tick) and not isinstance(step, pd.offsets.Day)


def _day(index: pd.DatetimeIndex) -> int:
    return 24 * 3600 * _SECOND[index.unit]


def _tick(step: np.int64, unit: str) -> Offset:
    duration = pd.Timedelta(int(step), unit=unit)  # type: ignore[arg-type]  # any unit of an index
    if duration % pd.Timedelta(days=1):
        return pd.tseries.frequencies.to_offset(duration)
    return pd.offsets.Hour(24 * duration.days)  # always 24 hours, which a day is not where clocks are changed


def _steps_that_meet(index: pd.DatetimeIndex) -> Iterator[Offset]:
    """Steps on whose dates all of an index lie, each as large as they allow, from months down to seconds."""
    wall = index.tz_localize(None)
    numbers, times = np.divmod(wall.asi8, _day(wall))
    one_time = bool((times == times[0]).all())
    if one_time:
        yield from _months(wall)
        yield from _half_months(wall)
    else:
        yield from _office_hours(wall)
    days = int(np.gcd.reduce(np.diff(numbers)))
    if days and (one_time or index.tz is not None):
        yield pd.offsets.Week(days // 7, weekday=wall[0].dayofweek) if days % 7 == 0 else pd.offsets.Day(days)
    if one_time and (wall.dayofweek < 5).all():
        yield pd.offsets.BusinessDay()
    if not one_time or index.tz is not None:
        yield _tick(np.gcd.reduce(np.diff(index.asi8)), index.unit)


def _months(wall: pd.DatetimeIndex) -> Iterator[Offset]:
    """Every k-th month: the same day, the first or the last one, of all or of business days, or the same weekday."""
    counts = np.diff(wall.year * 12 + wall.month)
    months = int(np.gcd.reduce(counts))
    if counts.min() == 0:
        return
    first, last = pd.offsets.MonthBegin(months), pd.offsets.MonthEnd(months)
    for step in (first, last, pd.offsets.BusinessMonthBegin(months), pd.offsets.BusinessMonthEnd(months)):
        if all(map(step.is_on_offset, wall)):
            yield step
    if wall[0].day not in (1, *range(_LAST_SAFE_DAY + 1, 32)) and (wall.day == wall[0].day).all():
        yield pd.DateOffset(years=months // 12) if months % 12 == 0 else pd.DateOffset(months=months)
    weekday, weeks = wall[0].dayofweek, (wall.day - 1) // 7
    if (wall.dayofweek == weekday).all():
        if (weeks == weeks[0]).all() and weeks[0] < 4:
            yield pd.offsets.WeekOfMonth(months, week=int(weeks[0]), weekday=weekday)
        if (wall.day + 7 > wall.days_in_month).all():
            yield pd.offsets.LastWeekOfMonth(months, weekday=weekday)  # type: ignore[arg-type]


def _half_months(wall: pd.DatetimeIndex) -> Iterator[Offset]:
    """The first or the last of every month and one day between."""
    for kind, is_edge in ((pd.offsets.SemiMonthBegin, wall.day == 1), (pd.offsets.SemiMonthEnd, wall.is_month_end)):
        between = set(wall.day[~is_edge].tolist())
        if is_edge.any() and len(between) == 1 and 1 < (day := between.pop()) < _LAST_SAFE_DAY:
            yield kind(day_of_month=day)


def _office_hours(wall: pd.DatetimeIndex) -> Iterator[Offset]:
    """The hours of business days, where a weekend shows that they are some."""
    days, times = np.divmod(wall.asi8, _day(wall))
    weeks = (days + 3) // 7  # the first day of 1970 was a Thursday
    minutes, rest = np.divmod(times, 60 * _SECOND[wall.unit])
    hours, past = np.divmod(minutes, 60)
    if rest.any() or (past != past[0]).any() or (wall.dayofweek >= 5).any() or weeks[-1] == weeks[0]:
        return
    opens, closes = hours.min(), hours.max() + 1
    if closes < 24:
        yield pd.offsets.BusinessHour(start=f"{opens:02}:{past[0]:02}", end=f"{closes:02}:{past[0]:02}")


def _is_usual(index: pd.DatetimeIndex, step: Offset) -> bool:
    """Whether at least half of the dates follow each other by a step."""
    wall = index if _is_absolute(step) else index.tz_localize(None)
    with warnings_ignored(category=pd.errors.PerformanceWarning):
        follows: NDArray[np.bool_] = np.asarray(wall[:-1] + step == wall[1:])
    return bool(2 * follows.sum() >= len(follows))


def _dates_between(index: pd.DatetimeIndex, step: Offset, most: int) -> pd.DatetimeIndex | None:
    """The dates from the first to the last one of an index; None where they are too many to be made or do not exist."""
    duration = index[-1] - index[0]
    shortest = pd.Timedelta(step) if isinstance(step, pd.offsets.Tick) else pd.Timedelta(days=1)
    if isinstance(step, pd.offsets.BusinessHour):
        shortest = pd.Timedelta(hours=1)
    few = duration // shortest <= max(most, 200_000)
    if not few or (_is_absolute(step) and duration // shortest >= most):
        return None
    if index.tz is not None and not _is_absolute(step):
        wall = pd.date_range(index[0].tz_localize(None), index[-1].tz_localize(None), freq=step)
        if wall.tz_localize(index.tz, ambiguous="NaT", nonexistent="NaT").hasnans:
            return None
    return pd.date_range(index[0], index[-1], freq=step, unit=index.unit)


def check_order(index: pd.Index, name: str) -> None:
    """Refuse an index with missing, doubled or unsorted labels.

    Raises
    ------
    ValueError
        With the labels at fault.
    """
    if index.hasnans:
        raise ValueError(
            f"{name} has a missing label in its index at row {int(np.argmax(index.isna()))}; give it its time, or "
            "leave the row out: df[df.index.notna()]"
        )
    if index.has_duplicates:
        raise _doubled_labels(index, name)
    if not index.is_monotonic_increasing:
        row = int(np.argmax(np.asarray(index[1:] < index[:-1]))) + 1
        raise ValueError(f"{name} is not sorted by time: {index[row]} comes after {index[row - 1]}; df.sort_index()")


def irregular_dates(index: pd.DatetimeIndex, name: str) -> ValueError:
    """The error of dates that no step generates."""
    covering = covering_step(index)
    if covering is not None:
        step, dates = covering
        missing = dates.difference(index)
        return _gap_error(index, missing, name, f"a step of {step}", f"df.asfreq({_offset_code(step)})")
    zone = _zone_of_days(index)
    if zone is not None:
        localized = ".tz_localize('UTC')" if index.tz is None else ""
        return ValueError(
            f"{name} has an irregular index, {_place(index)} and so on; its dates are regular in the time zone {zone}: "
            f"df{localized}.tz_convert({zone!r})"
        )
    code = _other_dates(index)
    keeps = "every row and gives up the dates" if code == _RENUMBERED else "every row, each with a label of its own"
    steps = index[1:] - index[:-1]
    return ValueError(
        f"{name} has an irregular index: its steps are between {steps.min()} and {steps.max()}, {_place(index)}, "
        f"and no regular calendar has few more labels; this keeps {keeps}: {code}"
    )


def irregular_periods(index: pd.PeriodIndex, name: str) -> ValueError:
    """The error of periods that do not follow one another."""
    times = index.to_timestamp()
    steps, length = np.diff(index.asi8), getattr(index.freq, "n", 1)
    if len(index) > 2 and infer_step(times) is not None:
        place = _place(index, int(np.argmax(steps != length)))
        return ValueError(
            f"{name} has periods of {index.freqstr!r} that are regular but do not touch, {place}; their first moments "
            "are a time axis: df.set_axis(df.index.to_timestamp(), axis=0)"
        )
    whole = "df.reindex(pd.period_range(df.index[0], df.index[-1], freq={!r}))"
    if (steps % length == 0).all():
        full = pd.period_range(index[0], index[-1], freq=index.freq)
        kind, code = f"periods of {index.freqstr!r}", whole.format(index.freqstr)
    else:  # periods of two hours, some of which begin at odd hours
        short = index.freqstr.removeprefix(str(length))
        index = index.asfreq(short, how="S")
        full = pd.period_range(index[0], index[-1], freq=short)
        starts = f"df.set_axis(df.index.asfreq({short!r}, how='S'), axis=0)"
        kind, code = f"periods of {short!r}", f"{starts}.pipe(lambda df: {whole.format(short)})"
    return _gap_error(index, full.difference(index), name, kind, code)


def irregular_integers(index: pd.Index, name: str) -> ValueError:
    """The error of integers whose steps differ."""
    numbers = index.to_numpy(dtype=np.int64)
    steps = np.diff(numbers)
    step = int(np.gcd.reduce(steps))
    full = range(int(numbers[0]), int(numbers[-1]) + 1, step)
    if len(full) <= _MOST_LABELS * len(index) or (
        2 * (steps == step).sum() >= len(steps) and len(full) <= 1000 * len(index)
    ):
        missing = pd.Index(full).difference(index)
        code = f"df.reindex(range(df.index[0], df.index[-1] + 1, {step}))"
        return _gap_error(index, missing, name, f"a step of {step}", code)
    return ValueError(
        f"{name} has an irregular index: its steps are between {steps.min()} and {steps.max()}, {_place(index)}; this "
        f"keeps every row and numbers them anew: {_RENUMBERED}"
    )


def _gap_error(index: pd.Index, missing: pd.Index, name: str, kind: str, code: str) -> ValueError:
    row = int(index.searchsorted(missing[0])) - 1
    named = ", ".join(map(str, missing[:3])) + ", ..." * (len(missing) > 3)
    count = "1 label" if len(missing) == 1 else f"{len(missing)} labels"
    return ValueError(
        f"{name} has an irregular index: {_place(index, row)} it lacks {named} ({count} in all, "
        f"with {kind}); insert them as missing values, e.g. {code}"
    )


def _place(index: pd.Index, row: int = 0) -> str:
    return f"from {index[row]} to {index[row + 1]}"


def _doubled_labels(index: pd.Index, name: str) -> ValueError:
    doubled = index[index.duplicated()].unique()
    named = f"{name} has the index label {doubled[0]} more than once"
    if len(doubled) > 1:
        named += (
            f" (and {', '.join(map(str, doubled[1:4]))}{', ...' * (len(doubled) > 4)}: {len(doubled)} labels in all)"
        )
    zone = wall_clock_of(index) if isinstance(index, pd.DatetimeIndex) else None
    if zone is not None:
        return ValueError(
            f"{named}; where clocks were set back, say so with your time zone, e.g. "
            f"df.tz_localize({zone!r}, ambiguous='infer')"
        )
    return ValueError(
        f"{named}; drop or average such rows, as groupby(level=0).mean() does, or keep them all, a column for each: "
        "pd.DataFrame(df).set_index(df.groupby(level=0).cumcount(), append=True).unstack()"
    )


def wall_clock_of(index: pd.DatetimeIndex) -> str | None:
    """A zone whose clock, set back in autumn, shows all doubled labels; None for dates with a zone."""
    if index.tz is not None:
        return None
    return next((zone for zone in _ZONES if _is_wall_clock(index, zone)), None)


def _is_wall_clock(index: pd.DatetimeIndex, zone: str) -> bool:
    """Whether doubled labels are the hour that comes twice where clocks are set back."""
    try:
        return index.tz_localize(zone, ambiguous="infer").is_unique
    except (ValueError, _ClockError):
        return False


def _zone_of_days(index: pd.DatetimeIndex) -> str | None:
    """The time zone in whose wall-clock time dates follow a calendar, as days of Berlin do that are given in UTC."""
    moments = index.tz_localize("UTC") if index.tz is None else index
    return next((zone for zone in _ZONES if infer_step(moments.tz_convert(zone)) is not None), None)


def _other_dates(index: pd.DatetimeIndex) -> str:
    """Code that gives dates labels of a coarser axis, where each keeps one of its own; else numbers."""
    wall = index.tz_localize(None)
    for freq in _PERIODS:
        periods = wall.to_period(freq)
        if periods.is_unique and np.ptp(periods.asi8) < _MOST_LABELS * len(index):
            zone = "" if index.tz is None else ".tz_localize(None)"
            code = f"df.set_axis(df.index{zone}.to_period({freq!r}), axis=0)"
            if np.ptp(periods.asi8) + 1 == len(index):
                return code
            return f"{code}.pipe(lambda df: df.reindex(pd.period_range(df.index[0], df.index[-1], freq={freq!r})))"
    moments, to, back = (index, "", "") if index.tz is None else (index.tz_convert("UTC"), *_BETWEEN_ZONES)
    for freq in _ROUNDED:
        rounded = moments.round(freq)
        if rounded.is_unique and (rounded[-1] - rounded[0]) // pd.Timedelta(freq) < _MOST_LABELS * len(index):
            return f"df.set_axis(df.index{to}.round({freq!r}){back}, axis=0).asfreq({freq!r})".format(zone=index.tz)
    return _RENUMBERED
