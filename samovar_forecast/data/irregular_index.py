"""What is wrong with an irregular time axis, and the code that makes it regular without losing a value.

Every message ends in that code, for a frame `df` with the axis as its index.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from samovar_forecast.data.calendars import covering_step, infer_step, offset_code

try:  # pandas 2 raises what pytz does of clocks that are changed; pandas 3 needs no pytz
    from pytz import InvalidTimeError as _ClockError  # type: ignore[import-untyped,import-not-found,unused-ignore]
except ImportError:
    _ClockError = ValueError

_MOST_LABELS = 10  # of an axis for each row, beyond which it is no gap
_RENUMBERED = "df.reset_index(drop=True)"
_ZONES = ("Europe/Berlin", "America/New_York", "Europe/London", "Australia/Sydney", "America/Santiago")
_BETWEEN_ZONES = (".tz_convert('UTC')", ".tz_convert('{zone}')")
_PERIODS = ("Y", "Q", "M", "W", "D")  # from the longest
_ROUNDED = ("1h", "30min", "15min", "10min", "5min", "1min", "1s")


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
        return _gap_error(index, missing, name, f"a step of {step}", f"df.asfreq({offset_code(step)})")
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
