"""Where a point in time lies in the day, the week and the year, as numbers a network can read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.time_axis import Frequency, continue_index

_FEATURES: dict[str, tuple[Callable[[pd.DatetimeIndex], Any], int, pd.Timedelta]] = {
    # name: (count from 0, largest count, longest step at which it still moves)
    "minute": (lambda time: time.minute, 59, pd.Timedelta(minutes=59)),
    "hour": (lambda time: time.hour, 23, pd.Timedelta(hours=23)),
    "dayofweek": (lambda time: time.dayofweek, 6, pd.Timedelta(days=6)),
    "day": (lambda time: time.day - 1, 30, pd.Timedelta(days=7)),
    "dayofyear": (lambda time: time.dayofyear - 1, 365, pd.Timedelta(days=7)),
    "week": (lambda time: time.isocalendar().week.to_numpy() - 1, 52, pd.Timedelta(days=7)),
    "month": (lambda time: time.month - 1, 11, pd.Timedelta(days=92)),
}
_AUTO = ("minute", "hour", "dayofweek", "day", "dayofyear")


def choose_calendar(
    calendar: Sequence[str] | Literal["auto"] | None, index: pd.Index, frequency: Frequency
) -> list[str]:
    """The calendar features of an index: those requested, or with "auto" those that tell its steps apart.

    Raises
    ------
    TypeError
        If `calendar` is no sequence.
    ValueError
        If a feature is unknown, or features are named for an index of integers.

    Examples
    --------
    >>> hours = pd.date_range("2024-01-01", periods=48, freq="h")
    >>> choose_calendar("auto", hours, pd.offsets.Hour())
    ['hour', 'dayofweek', 'day', 'dayofyear']
    >>> choose_calendar("auto", pd.RangeIndex(48), 1)
    []
    """
    if not (calendar is None or isinstance(calendar, (str, tuple, list))):
        raise TypeError(f"calendar must be a sequence of features, 'auto' or None, got {calendar!r}")
    dates = isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex))
    if calendar is None or (calendar == "auto" and not dates):
        return []
    if calendar == "auto":
        labels = index if len(index) > 1 else index.append(continue_index(index, frequency, 1))
        # By the wall clock, and the shortest: office hours begin with a weekend, and days of 23 hours are days.
        steps = np.diff(_timestamps(labels).tz_localize(None))
        step = pd.Timedelta(steps[steps > np.timedelta64(0)].min())
        return [name for name in _AUTO if step <= _FEATURES[name][2]] or ["month"]
    names = [calendar] if isinstance(calendar, str) else list(calendar)
    unknown = [name for name in names if name not in _FEATURES]
    if unknown:
        raise ValueError(f"calendar has unknown features {unknown}; there are {list(_FEATURES)}, or 'auto'")
    if not dates:
        raise ValueError(f"calendar={names} needs dates or periods in the index, and it holds integers")
    return names


def calendar_features(index: pd.Index, names: Sequence[str]) -> NDArray[np.float32]:
    """Calendar features of every label, each evenly spread over [-0.5, 0.5].

    Times with a zone count by the wall clock; a period counts from its start.

    Parameters
    ----------
    index : DatetimeIndex or PeriodIndex
    names : sequence of str
        See `choose_calendar`.

    Shape
    -----
    output : (n_rows, n_features)

    Examples
    --------
    >>> calendar_features(pd.date_range("2024-01-01", periods=3, freq="12h"), ["hour", "dayofweek"]).round(2)
    array([[-0.5 , -0.5 ],
           [ 0.02, -0.5 ],
           [-0.5 , -0.33]], dtype=float32)
    """
    times = _timestamps(index)
    features = (_FEATURES[name] for name in names)
    columns = [np.asarray(count(times), dtype=np.float64) / top - 0.5 for count, top, _ in features]
    return np.stack(columns, axis=1).astype(np.float32)


def _timestamps(index: pd.Index) -> pd.DatetimeIndex:
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp()
    assert isinstance(index, pd.DatetimeIndex)
    return index
