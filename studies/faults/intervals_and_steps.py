"""Faults of intervals, and of forecasts of fewer steps than the horizon."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from studies.faults.faults import AHEAD, SEEN, Y
from studies.faults.hosts import HORIZON, Host
from studies.faults.judging import ABSENT, RIGHT, WRONG, on_error

N_DAYS = 300


def _counts(rates: dict[str, float]) -> pd.DataFrame:
    """Poisson counts; a series is dead where its rate is 0."""
    draw = np.random.default_rng(0)
    index = pd.date_range("2023-01-01", periods=N_DAYS, name="time")
    return pd.DataFrame({name: draw.poisson(rate, N_DAYS).astype(float) for name, rate in rates.items()}, index=index)


def _shift() -> pd.DataFrame:
    """Noise, and two series that are constant from the middle on."""
    draw = np.random.default_rng(0)
    y = _counts({"live": 0, "dead": 0, "still": 0}) + draw.normal(5, 1, size=(N_DAYS, 3))
    y.iloc[N_DAYS // 2 :, 1:] = 3.0
    return y


def _interval(make: Callable[[], pd.DataFrame], lower: float | None = None) -> Callable[[Host], str]:
    """Intervals of 80 % that are finite, hold the point forecast, and are no wider than ten times the range."""

    def judge(host: Host) -> str:
        if "intervals" in host.lacks:
            return ABSENT
        y = make()
        try:
            low, high = host.interval(y, 0.8, lower)
        except Exception as error:
            return on_error(error, "interval|coverage|quantile")
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
            return f"{WRONG}: bounds that are not finite, or cross"
        times = float(((high - low) / np.ptp(y.to_numpy(), axis=0).clip(1)).max())
        if times > 10:
            return f"{WRONG}: {times:.0e} times as wide as the range"
        if lower is not None and low.min() < lower:
            return f"{WRONG}: down to {low.min():.2g} for counts"
        return RIGHT

    return judge


def first_step(host: Host) -> str:
    """One step, with the covariates of that step, is the first of all steps with the covariates of all."""
    if "covariates" in host.lacks or "steps" in host.lacks:
        return ABSENT
    model = host.fit(Y, SEEN)
    whole = np.asarray(host.forecast(model, X=AHEAD))
    try:
        first = np.asarray(host.first_steps(model, 1, AHEAD[:1]))
    except Exception as error:
        return on_error(error, "X|covariates|push|steps|horizon")
    return RIGHT if np.allclose(first, whole[:1], rtol=1e-4) else f"{WRONG}: another forecast of the step"


def some_more_steps(host: Host) -> str:
    """Eleven steps are the first of sixteen, where eight are forecast at once."""
    if "steps" in host.lacks:
        return ABSENT
    model = host.fit(Y)
    try:
        more, whole = (np.asarray(host.first_steps(model, n, None)) for n in (HORIZON + 3, 2 * HORIZON))
    except Exception as error:
        return on_error(error, "horizon|pred_len|fh|steps")
    return RIGHT if np.allclose(more, whole[: HORIZON + 3], rtol=1e-4) else f"{WRONG}: another forecast of the step"


INTERVALS = {
    "counts of rate 5 beside counts that are nearly always 0": _interval(
        lambda: _counts({"fast0": 5, "fast1": 5, **{f"slow{i}": 0.005 for i in range(6)}})
    ),
    "series that have died, beside a live one": _interval(_shift),
    "counts, which are never below 0": _interval(lambda: _counts({"a": 0.4, "b": 2}), lower=0.0),
}
STEPS = {
    "one step, and the covariates of that step": first_step,
    "more steps than the horizon, but no multiple of it": some_more_steps,
}
