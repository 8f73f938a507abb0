"""The time axis in a model file: numbers, and what they mean."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from samovar_forecast.data.time_axis import Frequency


def index_numbers(index: pd.Index) -> np.ndarray:
    """The labels of a time axis as integers."""
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        return index.asi8
    return index.to_numpy(dtype=np.int64)


def describe_index(index: pd.Index, frequency: Frequency) -> dict[str, Any]:
    """What `restore_index` needs beside the numbers, for JSON.

    Raises
    ------
    TypeError
        If the time zone has no name.
    ValueError
        If the step cannot be told in a file.
    """
    if isinstance(index, pd.PeriodIndex):
        return {"kind": "period", "frequency": index.freqstr}
    if isinstance(index, pd.DatetimeIndex):
        assert not isinstance(frequency, int)
        zone = None if index.tz is None else _zone(str(index.tz))
        return {"kind": "datetime", "frequency": _describe_offset(frequency), "unit": index.unit, "zone": zone}
    return {"kind": "integer", "frequency": frequency}


def _describe_offset(frequency: pd.tseries.offsets.BaseOffset) -> str | dict[str, Any]:
    """The name of an offset, or the kind and the parts of one whose name does not tell them, such as office hours."""
    with contextlib.suppress(ValueError):
        if pd.tseries.frequencies.to_offset(frequency.freqstr) == frequency:
            return frequency.freqstr
    described = {} if type(frequency) is pd.DateOffset else {"kind": type(frequency).__name__}
    parts = {"n": frequency.n, "normalize": getattr(frequency, "normalize", False), **frequency.kwds}
    with contextlib.suppress(LookupError, TypeError, ValueError):
        described |= {name: _plain(part) for name, part in parts.items() if part and name != "calendar"}
        if _restore_offset(json.loads(json.dumps(described))) == frequency:
            return described
    raise ValueError(
        f"the step {frequency!r} of the index has a calendar of its own, which its name {frequency.freqstr!r} does "
        "not tell and a model file cannot hold; keep the model by pickle, or fit on an index without it"
    )


def _plain(part: Any) -> Any:
    """A part of an offset, with times of the day as text; holidays remain what JSON does not know."""
    return (
        [f"{time:%H:%M}" if isinstance(time, datetime.time) else time for time in part]
        if isinstance(part, tuple)
        else part
    )


def _restore_offset(described: str | dict[str, Any]) -> pd.tseries.offsets.BaseOffset:
    if isinstance(described, str):
        return pd.tseries.frequencies.to_offset(described)
    parts = dict(described)
    kind = getattr(pd.offsets, parts.pop("kind", "DateOffset"), None)
    if not (isinstance(kind, type) and issubclass(kind, pd.tseries.offsets.BaseOffset)):
        raise ValueError(f"it knows no step of the kind {described['kind']!r}")
    return kind(**parts)


def restore_index(numbers: np.ndarray, described: dict[str, Any]) -> tuple[pd.Index, Frequency]:
    """The time axis of the numbers, and its step.

    Raises
    ------
    LookupError, TypeError, ValueError
        If the description is not one of `describe_index`.
    """
    kind = described["kind"]
    if kind == "period":
        freq = described["frequency"]
        periods = pd.PeriodIndex.from_ordinals(numbers, freq=freq)  # type: ignore[attr-defined]  # the stubs lack it
        return periods, periods.freq
    if kind == "datetime":
        dates = pd.DatetimeIndex(numbers.view(f"M8[{described['unit']}]"))
        if described["zone"] is not None:
            dates = dates.tz_localize("UTC").tz_convert(_zone(described["zone"]))
        return dates, _restore_offset(described["frequency"])
    step = described["frequency"]
    if kind != "integer" or isinstance(step, bool) or not isinstance(step, int):
        raise ValueError(f"it knows no index of the kind {kind!r} with a step of {step!r}")
    return pd.Index(numbers), step


def _zone(name: str) -> str:
    """A name that pandas finds in the data base of zones, or a distance from UTC; it would open other files too."""
    if not re.fullmatch(r"UTC([+-]\d\d:\d\d(:\d\d)?)?", name):
        try:
            ZoneInfo(name)
        except (ValueError, LookupError, OSError) as error:
            raise TypeError(f"{name!r} names no time zone; tz_convert the index to one with a name") from error
    return name
