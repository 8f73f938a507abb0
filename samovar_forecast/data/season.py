"""The season that the step of an index suggests."""

from __future__ import annotations

import pandas as pd

from samovar_forecast.data.time_axis import Frequency

_DAY = 24 * 3600  # seconds
_UNITS = ("weeks", "days", "hours", "minutes", "seconds")
# Steps in a season (a week of business days, else a year), by the first part of pandas' name of a step: "W" of "W-SUN".
_STEPS_PER_SEASON = {
    "B": 5, "W": 52, "SMS": 24, "SME": 24, "MS": 12, "ME": 12, "BMS": 12, "BME": 12, "CBMS": 12, "CBME": 12, "WOM": 12,
    "LWOM": 12, "QS": 4, "QE": 4, "BQS": 4, "BQE": 4, "REQ": 4, "HYS": 2, "HYE": 2, "BHYS": 2, "BHYE": 2,
}  # fmt: skip


def season_length(frequency: Frequency) -> int:
    """Rows in the season that a frequency suggests.

    A day for steps between a minute and less than a day (hourly 24, 15 minutes 96), a week for days (7; business days
    5), a year for weeks (52), months (12) and quarters (4). 1 where a season is no whole number of steps, and for
    integers.

    Examples
    --------
    >>> [season_length(pd.tseries.frequencies.to_offset(step)) for step in ("h", "15min", "D", "W", "MS", "QE", "YS")]
    [24, 96, 7, 52, 12, 4, 1]
    >>> season_length(1)
    1
    """
    if isinstance(frequency, int):
        return 1
    if type(frequency) is pd.DateOffset:  # "the same day of every month" and the like
        parts = frequency.kwds or {"days": 1}
        if "years" in parts or "months" in parts:
            return _whole(12, (12 * parts.get("years", 0) + parts.get("months", 0)) * frequency.n)
        units = {name: count for name, count in parts.items() if name in _UNITS}
        return _season_of(pd.Timedelta(**units) * frequency.n)
    if isinstance(frequency, pd.offsets.Day):  # a Tick in pandas 2, and none in pandas 3
        return _season_of(pd.Timedelta(days=frequency.n))
    if isinstance(frequency, pd.offsets.Tick):
        return _season_of(pd.Timedelta(frequency))
    if isinstance(frequency, pd.offsets.CustomBusinessDay):
        return _whole(int(frequency.calendar.weekmask.sum()), frequency.n)
    try:
        name = frequency.rule_code.partition("-")[0]
    except NotImplementedError:  # a step without a name, such as Easter
        return 1
    return _whole(_STEPS_PER_SEASON.get(name, 1), frequency.n)


def _season_of(step: pd.Timedelta) -> int:
    """Steps in a day, in a week of days or in a year of weeks, whichever is the next longer one."""
    seconds = step.total_seconds()
    if seconds < 60:
        return 1
    return _whole(_DAY if seconds < _DAY else 7 * _DAY if seconds < 7 * _DAY else 52 * 7 * _DAY, seconds)


def _whole(season: float, step: float) -> int:
    return int(season // step) if season % step == 0 else 1
