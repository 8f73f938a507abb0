# ruff: noqa: E501  # a table is read by its rows
"""What can be wrong with data, as cases that every library is put before, and what would be right."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

N_ROWS = 160
HOURS = pd.date_range("2024-01-01", periods=N_ROWS, freq="h", name="time")


@dataclass(frozen=True)
class Case:
    """Data and settings: a fit, then a forecast after the training rows, after a given history, or after new rows."""

    y: Any
    X: Any = None
    X_ahead: Any = None
    history: Any = None
    new_rows: Any = None
    settings: dict[str, Any] = field(default_factory=dict)
    ahead: pd.Index | None = None


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes
    ----------
    name : str
    broken : callable
        Makes the case.
    names : str
        What a clear error names, as a regular expression: the column, the row, the step, the argument.
    right : {"sane", "repaired", "none"}
        When a forecast is right: where it is finite, goes on after the last row and stays near the data; where it
        is that of `repaired` as well; or never, because no forecast can be right.
    repaired : callable or None
        The case as the user would repair it.
    ahead : Index or None
        The rows to forecast, where they do not follow at the first step of the index.
    """

    name: str
    broken: Callable[[], Case]
    names: str
    right: Literal["sane", "repaired", "none"]
    repaired: Callable[[], Case] | None = None
    ahead: pd.Index | None = None


def waves(index: pd.Index = HOURS, n_series: int = 3) -> pd.DataFrame:
    """Noisy daily waves, each series with its own level."""
    time = np.arange(len(index))
    noise = np.random.default_rng(0).normal(scale=0.1, size=(len(index), n_series))
    values = np.sin(2 * np.pi * time[:, None] / 24 + np.arange(n_series)) + noise + 5 + np.arange(n_series)
    return pd.DataFrame(values, index=index, columns=[f"s{number}" for number in range(n_series)])


Y = waves()


def _changed(**columns: Any) -> Case:
    return Case(Y.assign(**columns))


def _at(rows: Any, value: float, frame: pd.DataFrame = Y) -> pd.DataFrame:
    frame = frame.copy()
    frame.iloc[rows, 1] = value
    return frame


def _rows(*order: int) -> pd.DataFrame:
    return Y.iloc[list(order)]


def _berlin(first: str, freq: str = "h", n_rows: int = N_ROWS) -> pd.DatetimeIndex:
    return pd.date_range(first, periods=n_rows, freq=freq, tz="Europe/Berlin", name="time")


def _cast(dtype: Any) -> Callable[[], Case]:
    return lambda: Case(Y.round(2).astype({"s1": dtype}))


def _renamed(names: Any) -> Callable[[], Case]:
    return lambda: Case(Y.set_axis(names, axis=1))


WHOLE = lambda: Case(Y)  # noqa: E731
ROUNDED = lambda: Case(Y.round(2))  # noqa: E731
FLAGS = Y["s1"] > 6
X = pd.DataFrame(
    {"push": np.arange(N_ROWS + 40.0) % 7}, pd.date_range(HOURS[0], periods=N_ROWS + 40, freq="h", name="time")
)
SEEN, AHEAD = X.iloc[:N_ROWS], X.iloc[N_ROWS : N_ROWS + 8]

MONTHS = pd.date_range("2010-01-01", periods=N_ROWS + 8, freq="MS", name="time")
FIFTEENTHS = MONTHS + pd.Timedelta("14D")
WEDNESDAYS = MONTHS[::3].map(lambda day: pd.offsets.WeekOfMonth(week=2, weekday=2).rollforward(day))
OFFICE = pd.date_range(HOURS[0], periods=2 * N_ROWS, freq="h")
OFFICE = pd.DatetimeIndex(OFFICE[(OFFICE.hour >= 8) & (OFFICE.hour <= 16) & (OFFICE.dayofweek < 5)], name="time")

SOUND = [Fault("none: sound data", WHOLE, "nothing", "sane")]

INDEX = [
    Fault("two rows swapped", lambda: Case(_rows(0, 2, 1, *range(3, N_ROWS))), "sorted.*01:00", "repaired", WHOLE),
    Fault("rows from new to old", lambda: Case(Y.iloc[::-1]), "sorted.*15:00", "repaired", WHOLE),
    Fault("a time twice", lambda: Case(_rows(*range(100), 99, *range(100, N_ROWS))), "2024-01-05 03:00", "none"),
    Fault("a row missing", lambda: Case(Y.drop(HOURS[150])), "2024-01-07 0[57]:00", "none"),
    Fault("a day missing", lambda: Case(Y.drop(HOURS[120:144])), "2024-01-0[567]", "none"),
    Fault("hours that lack 16, in steps that business hours have too", lambda: Case(Y.drop(HOURS[137:153])), "2024-01-0[67]", "none"),
    Fault("the 15th of each month", lambda: Case(waves(FIFTEENTHS[:N_ROWS])), "index|freq|step|labels", "sane", ahead=FIFTEENTHS[N_ROWS:]),
    Fault("the third Wednesdays of quarters", lambda: Case(waves(WEDNESDAYS[:-8])), "index|freq|step|labels", "sane", ahead=WEDNESDAYS[-8:]),
    Fault("office hours from 8 to 16", lambda: Case(waves(OFFICE[:-8])), "index|freq|step|labels|hour", "sane", ahead=OFFICE[-8:]),
    Fault("a missing time (NaT)", lambda: Case(Y.set_axis(HOURS.insert(5, pd.NaT)[:N_ROWS])), "row 5|NaT", "none"),
    Fault("hours over the change to winter time", lambda: Case(waves(_berlin("2024-10-24"))), "time zone", "sane"),
    Fault("hours over the change to summer time", lambda: Case(waves(_berlin("2024-03-28"))), "time zone", "sane"),
    Fault("days, the forecast crosses a change of clocks", lambda: Case(waves(_berlin("2023-10-23", "D"))), "time zone", "sane"),
    Fault("wall-clock hours without a zone, winter time", lambda: Case(waves(_berlin("2024-10-24").tz_localize(None))), "2024-10-27 02:00", "none"),
    Fault("numbers with a fraction as time", lambda: Case(Y.set_axis(np.arange(N_ROWS) / 2)), "index|time|ds", "none"),
    Fault("texts as time", lambda: Case(Y.set_axis(HOURS.astype(str))), "index|time_col|\\bds\\b", "repaired", WHOLE),
    Fault("dates of pyarrow as time", lambda: Case(Y.set_axis(pd.Index(HOURS, dtype="timestamp[us][pyarrow]"))), "index|time", "repaired", WHOLE),
    Fault("small integers as time, near their end", lambda: Case(Y.set_axis(np.arange(90, 250, dtype="uint8"))), "index|time", "repaired", lambda: Case(Y.set_axis(np.arange(90, 250)))),
]  # fmt: skip

# neuralforecast calls the values of all series "y", and sktime names the argument.
ITS_TYPE = "s1|'y'|endogeneous y|complex"
ITS_GAPS = "s[012]|NaN|missing|'y'"

TYPES = [
    Fault("truth values", lambda: _changed(s1=FLAGS), ITS_TYPE, "repaired", lambda: _changed(s1=FLAGS.astype(float))),
    Fault("truth values of pyarrow", lambda: _changed(s1=FLAGS.astype("bool[pyarrow]")), ITS_TYPE, "repaired", lambda: _changed(s1=FLAGS.astype(float))),
    Fault("nullable integers with a gap", lambda: _changed(s1=(10 * Y["s1"]).round().astype("Int64").mask(HOURS[50] == HOURS)), ITS_GAPS, "sane"),
    Fault("nullable numbers", _cast("Float64"), ITS_TYPE, "repaired", ROUNDED),
    Fault("numbers of pyarrow", _cast("double[pyarrow]"), ITS_TYPE, "repaired", ROUNDED),
    Fault("half precision", lambda: Case(Y.astype("float16")), "s0", "sane"),
    Fault("decimals", lambda: _changed(s1=[decimal.Decimal(str(one)) for one in Y["s1"].round(2)]), ITS_TYPE, "repaired", lambda: _changed(s1=Y["s1"].round(2))),
    Fault("numbers as objects", _cast(object), ITS_TYPE, "repaired", ROUNDED),
    Fault("categories", _cast("category"), ITS_TYPE, "repaired", ROUNDED),
    Fault("texts", lambda: _changed(s1="a"), ITS_TYPE, "none"),
    Fault("complex numbers", lambda: _changed(s1=Y["s1"] + 1j), ITS_TYPE, "none"),
    Fault("dates as values", lambda: _changed(s1=HOURS), ITS_TYPE, "none"),
    Fault("an array in place of a frame", lambda: Case(Y.to_numpy()), "DataFrame|dataframe|ndarray", "sane"),
    Fault("a list in place of a frame", lambda: Case(Y.to_numpy().tolist()), "DataFrame|dataframe|list|pandas", "none"),
]  # fmt: skip

GAPPY = Y.mask(np.random.default_rng(1).random(Y.shape) < 0.1)
NEARLY = 1e9 + 1e-6 * np.random.default_rng(2).normal(size=N_ROWS)
VALUES = [
    Fault("a tenth of the values missing", lambda: Case(GAPPY), ITS_GAPS, "sane"),
    Fault("the newest value missing", lambda: Case(_at(-1, np.nan)), ITS_GAPS, "sane"),
    Fault("values missing in the history to forecast from", lambda: Case(Y, history=GAPPY), ITS_GAPS, "sane"),
    Fault("one column out for a whole context before the forecast", lambda: Case(Y, history=_at(slice(-30, None), np.nan)), "s1", "sane"),
    Fault("a column that stood still in training and moves after", lambda: Case(_at(slice(0, 128), 6.0)), "s1", "sane"),
    Fault("a column without a value", lambda: _changed(s1=np.nan), ITS_GAPS, "none"),
    Fault("an infinite value", lambda: Case(_at(130, np.inf)), "s1.*(10:00|130)", "none"),
    Fault("a constant column", lambda: _changed(s1=5.0), "s1", "sane"),
    Fault("a column that moves by a millionth around a billion", lambda: _changed(s1=NEARLY), "s1", "sane"),
    Fault("values around 1e30", lambda: Case(Y * 1e30), "s0|large", "sane"),
    Fault("values around 1e30, in single precision", lambda: Case((Y * 1e30).astype("float32")), "s0|large", "sane"),
    Fault("values around 1e-30", lambda: Case(Y * 1e-30), "s0|small", "sane"),
    Fault("values around 1e200", lambda: Case(Y * 1e200), "s0|large", "sane"),
    Fault("one value of 1e30 among others around 6", lambda: Case(_at(150, 1e30)), "s1", "sane"),
    Fault("a history of 1e30 for a model of values around 6", lambda: Case(Y, history=Y * 1e30), "s0|large", "sane"),
]  # fmt: skip

COLUMNS = [
    Fault("one column", lambda: Case(Y[["s0"]]), "s0", "sane"),
    Fault("1,000 columns", lambda: Case(waves(HOURS, 1000)), "columns", "sane"),
    Fault("no rows", lambda: Case(Y.iloc[:0]), "empty|0 rows|short", "none"),
    Fault("no columns", lambda: Case(Y[[]]), "empty|0 columns|no columns", "none"),
    Fault("a name twice", _renamed(["s0", "s1", "s0"]), "s0", "none"),
    Fault("integers as names", _renamed([0, 1, 2]), "column|name", "sane"),
    Fault("names of several kinds", _renamed([0, "a", None]), "column|name", "sane"),
    Fault("names in two levels", _renamed(pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "x")])), "column|name", "sane"),
    Fault("columns in another order to forecast from", lambda: Case(Y, history=Y[["s2", "s0", "s1"]]), "s[012]|column", "repaired", lambda: Case(Y, history=Y)),
    Fault("a column too many to forecast from", lambda: Case(Y, history=Y.assign(extra=1.0)), "extra|components?|columns?|channels", "repaired", lambda: Case(Y, history=Y)),
    Fault("a column missing to forecast from", lambda: Case(Y, history=Y[["s0", "s2"]]), "s1|components?|columns?|channels", "sane"),
]  # fmt: skip

TIMES = [
    Fault("fewer rows than a window", lambda: Case(Y.iloc[:20]), "short|32|24|length|windows?", "none"),
    Fault("a history shorter than the context", lambda: Case(Y, history=Y.iloc[:10]), "short|24|length", "none"),
    Fault("a history of days for a model of hours", lambda: Case(Y, history=waves(pd.date_range("2024-01-08", periods=60, name="time"))), "step|freq", "none"),
    Fault("a history with integers as time for a model of dates", lambda: Case(Y, history=Y.set_axis(range(N_ROWS, 2 * N_ROWS))), "step|freq|index", "none"),
    Fault("a history with a row missing", lambda: Case(Y, history=Y.drop(HOURS[150])), "2024-01-07 0[57]:00", "none"),
    Fault("a history in another time zone", lambda: Case(Y.tz_localize("UTC"), history=Y.tz_localize("UTC").tz_convert("Asia/Tokyo")), "zone", "repaired", lambda: Case(Y.tz_localize("UTC"), history=Y.tz_localize("UTC"))),
    Fault("new rows after a gap", lambda: Case(Y, new_rows=waves(HOURS + pd.Timedelta("300h"))), "gap", "none"),
    Fault("new rows between the hours", lambda: Case(Y, new_rows=waves(pd.date_range("2024-01-07 15:30", periods=8, freq="h", name="time"))), "irregular|step|freq", "none"),
    Fault("new rows with a time zone, old ones without", lambda: Case(Y, new_rows=waves(pd.date_range(HOURS[-1], periods=9, freq="h", tz="UTC", name="time")[1:])), "zone|tz-", "none"),
]  # fmt: skip

KNOWN = [
    Fault("covariates end before the forecast does", lambda: Case(Y, SEEN, AHEAD.iloc[:5]), "X|covariate|futr|push|exogenous", "none"),
    Fault("a covariate missing in the future", lambda: Case(Y, SEEN, AHEAD.where((AHEAD.index != AHEAD.index[3])[:, None])), "push|futr_df|X passed", "none"),
    Fault("an infinite covariate", lambda: Case(Y, SEEN.where((SEEN.index != HOURS[9])[:, None], np.inf), AHEAD), "push", "none"),
    Fault("covariates with a time zone, series without", lambda: Case(Y, SEEN.tz_localize("UTC"), AHEAD.tz_localize("UTC")), "zone|tz|time", "none"),
    Fault("covariates by day, series by hour", lambda: Case(Y, X.set_axis(pd.date_range(HOURS[0], periods=len(X), name="time")), AHEAD), "2024-01-01 01:00|freq|step|push", "none"),
    Fault("covariates of the future, of a model that was trained without", lambda: Case(Y, None, AHEAD), "X|covariate|futr|push|exogenous", "repaired", WHOLE),
    Fault("another covariate in the future", lambda: Case(Y, SEEN, AHEAD.rename(columns={"push": "pull"})), "pu(sh|ll)", "none"),
]  # fmt: skip


def _set(**settings: Any) -> Callable[[], Case]:
    return lambda: Case(Y, settings=settings)


SETTINGS = [
    Fault("horizon=0", _set(horizon=0), "horizon|output_chunk|pred_len|\\bh\\b", "none"),
    Fault("horizon=-3", _set(horizon=-3), "horizon|output_chunk|pred_len|\\bh\\b", "none"),
    Fault("horizon='8'", _set(horizon="8"), "horizon|output_chunk|pred_len|\\bh\\b", "none"),
    Fault("context=0", _set(context=0), "context|input_chunk|seq_len|input_size", "none"),
    Fault("context=1_000_000_000", _set(context=10**9), "context|input_chunk|seq_len|input_size|short", "none"),
    Fault("learning_rate=-1.0", _set(learning_rate=-1.0), "learning_rate|learning rate|\\blr\\b", "none"),
    Fault("learning_rate='fast'", _set(learning_rate="fast"), "learning_rate|learning rate|\\blr\\b", "none"),
    Fault("batch_size=0", _set(batch_size=0), "batch_size", "none"),
    Fault("batch_size=1_000_000_000", _set(batch_size=10**9), "batch_size", "sane"),
]  # fmt: skip

GROUPS: dict[str, list[Fault]] = {
    "Nothing wrong": SOUND,
    "Time": INDEX, "Types": TYPES, "Values": VALUES, "Columns": COLUMNS, "Histories and updates": TIMES,
    "Covariates known in the future": KNOWN, "Hyperparameters": SETTINGS,
}  # fmt: skip
