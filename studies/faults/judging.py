"""One set of rules for all libraries: what a right result is, and what a clear error."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from studies.faults.faults import Case, Fault
from studies.faults.hosts import HORIZON, Host

RIGHT, CLEAR, UNCLEAR, WRONG, ABSENT = "right result", "clear error", "unclear error", "silent wrong", "not offered"


def verdict_on(host: Host, fault: Fault) -> str:
    """Put a library before a fault; see `docs/evidence/faults.md` for the rules in words."""
    case = fault.broken()
    has_covariates = case.X is not None or case.X_ahead is not None
    if (case.new_rows is not None and "update" in host.lacks) or (has_covariates and "covariates" in host.lacks):
        return ABSENT
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            forecast = run(host, case)
        except (Exception, SystemExit) as error:
            return on_error(error, fault.names)
    wrong = "a forecast all the same" if fault.right == "none" else ""
    if fault.ahead is not None:
        case = replace(case, ahead=fault.ahead)
    if fault.right == "repaired":
        assert fault.repaired is not None
        repaired = fault.repaired()
        wrong = _is_wrong(forecast, repaired) or _differs(forecast, run(host, repaired), repaired)
    elif fault.right == "sane" or not _is_finite(forecast):
        wrong = _is_wrong(forecast, case)
    if not wrong:
        return RIGHT
    warned = any(re.search(fault.names, str(one.message)) and one.category is UserWarning for one in said)
    return f"{WRONG}: {wrong}" + (", with a warning" if warned else "")


def on_error(error: BaseException, names: str) -> str:
    """Clear is a ValueError, TypeError or OSError, or a subclass, whose message names what is at fault."""
    kind = type(error).__name__
    if isinstance(error, (ValueError, TypeError, OSError)) and re.search(names, str(error), re.DOTALL | re.IGNORECASE):
        return f"{CLEAR}: {kind}"
    return f"{UNCLEAR}: {kind}"


def run(host: Host, case: Case) -> Any:
    """Fit, and forecast what the case asks for."""
    model = host.fit(case.y, case.X, **case.settings)
    if case.new_rows is not None:
        model = host.update(model, case.new_rows)
    return host.forecast(model, case.history, case.X_ahead)


def _is_finite(forecast: Any) -> bool:
    return bool(np.isfinite(np.asarray(forecast, dtype=float)).all())


def _is_wrong(forecast: Any, case: Case) -> str:
    """What is wrong with a forecast, in a few words; nothing if it is sane."""
    values = np.asarray(forecast, dtype=float)
    if np.isnan(values).all():
        return "all NaN"
    if not np.isfinite(values).all():
        return f"{int((~np.isfinite(values)).sum())} of {values.size} values NaN or infinite"
    before = next(frame for frame in (case.new_rows, case.history, case.y) if frame is not None)
    numbers = (
        np.asarray(before, dtype=float) if not isinstance(before, pd.DataFrame) else before.astype(float).to_numpy()
    )
    if values.shape != (HORIZON, numbers.shape[1]):
        return f"a forecast of {values.shape[0]} steps x {values.shape[-1]} columns"
    if isinstance(before, pd.DataFrame):
        if list(map(str, forecast.columns)) != list(map(str, before.columns)):
            return f"columns {list(forecast.columns)}"
        expected, index = _continued(before.index) if case.ahead is None else case.ahead, forecast.index
        if getattr(index, "tz", None) is None and getattr(expected, "tz", None) is not None:
            return "time zone lost"
        if list(index) != list(expected):
            return f"times go on at {index[0]}"
    low, high = np.nanmin(numbers, axis=0), np.nanmax(numbers, axis=0)
    size = np.maximum(np.abs(low), np.abs(high))
    room = 5 * np.where(high > low, high - low, np.where(size > 0, 0.02 * size, 0.2))
    outside = ((values < low - room) | (values > high + room)).any(axis=0)
    return f"{int(outside.sum())} of {len(outside)} columns far off" if outside.any() else ""


def _continued(index: pd.Index) -> pd.Index:
    if isinstance(index, pd.DatetimeIndex):
        freq = "D" if index[1] - index[0] > pd.Timedelta("22h") else index[1] - index[0]
        return pd.date_range(index[-1], periods=HORIZON + 1, freq=freq)[1:]
    return pd.RangeIndex(index[-1] + 1, index[-1] + 1 + HORIZON)


def _differs(forecast: pd.DataFrame, repaired: pd.DataFrame, case: Case) -> str:
    spread = case.y.astype(float).std().to_numpy()
    columns = [str(name) for name in repaired.columns]
    named = forecast.set_axis([str(name) for name in forecast.columns], axis=1)[columns]
    far = np.abs(named.to_numpy(dtype=float) - repaired.to_numpy(dtype=float)) > 1e-2 * spread
    return "another forecast than of the repaired data" if far.any() else ""
