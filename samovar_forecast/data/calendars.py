"""Regular calendars: the steps that lead from date to date, found from the dates alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.ignored_warnings import warnings_ignored

Offset = pd.tseries.offsets.BaseOffset

_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # in the units of an index
_LAST_SAFE_DAY = 28  # which every month has
_MOST_LABELS = 10  # an axis with more labels than this for each given one is no gap in a calendar, but another calendar


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


def step_between(index: pd.DatetimeIndex) -> Offset:
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


def offset_code(step: Offset) -> str:
    """A step as Python code: its name where pandas reads that, else a call.

    Examples
    --------
    >>> offset_code(pd.offsets.Hour(2)), offset_code(pd.DateOffset(months=1))
    ("'2h'", 'pd.DateOffset(months=1)')
    >>> offset_code(pd.offsets.BusinessHour(start="08:00", end="16:00"))
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
