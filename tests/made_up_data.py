"""Strategies of hypothesis for time axes, values and frames as people have them, right ones and wrong ones."""

import numpy as np
import pandas as pd
from hypothesis import assume
from hypothesis import strategies as st

FREQUENCIES = ("15min", "h", "6h", "D", "B", "W-TUE", "MS", "ME", "QS")
ZONES = (None, None, "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
SHAPES = (
    "noise",
    "wave",
    "constant",
    "walk",
    "steps",
    "counts",
    "spikes",
    "nearly constant",
    "sparse",
    "dead",
    "awakes",
)
NAMES = (["a", "b", "c", "d"], [0, 1, 2, 3], ["a", 1, ("x", "y"), 2.5], [("u", 1), ("u", 2), ("v", 1), ("v", 2)])


_FISCAL = {"weekday": 5, "startingMonth": 12, "variation": "last"}
_HOLIDAYS = {"holidays": ["2020-01-01", "2020-12-25"]}
OFFSETS = [  # every kind that pandas has
    pd.offsets.Nano(500), pd.offsets.Micro(100), pd.offsets.Milli(250), pd.offsets.Second(30), pd.offsets.Minute(15),
    pd.offsets.Hour(), pd.offsets.Hour(6), pd.offsets.Hour(36), pd.offsets.Day(), pd.offsets.Day(10),
    pd.offsets.Week(), pd.offsets.Week(weekday=1), pd.offsets.Week(2, weekday=6), pd.offsets.BusinessDay(),
    pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu"), pd.offsets.CustomBusinessDay(**_HOLIDAYS),
    pd.offsets.BusinessHour(), pd.offsets.BusinessHour(start="08:30", end="16:30"),
    pd.offsets.BusinessHour(start=["08:00", "14:00"], end=["12:00", "18:00"]),
    pd.offsets.CustomBusinessHour(**_HOLIDAYS),
    pd.offsets.MonthBegin(), pd.offsets.MonthBegin(2), pd.offsets.MonthEnd(), pd.offsets.BusinessMonthBegin(),
    pd.offsets.BusinessMonthEnd(), pd.offsets.CustomBusinessMonthBegin(**_HOLIDAYS),
    pd.offsets.CustomBusinessMonthEnd(**_HOLIDAYS), pd.offsets.SemiMonthBegin(), pd.offsets.SemiMonthEnd(),
    pd.offsets.SemiMonthBegin(day_of_month=10), pd.offsets.WeekOfMonth(week=2, weekday=2),
    pd.offsets.WeekOfMonth(3, week=0, weekday=4), pd.offsets.LastWeekOfMonth(weekday=4), pd.offsets.LastWeekOfMonth(2),
    pd.offsets.QuarterBegin(), pd.offsets.QuarterBegin(startingMonth=1), pd.offsets.QuarterEnd(startingMonth=2),
    pd.offsets.BQuarterBegin(), pd.offsets.BQuarterEnd(), pd.offsets.YearBegin(), pd.offsets.YearBegin(month=4),
    pd.offsets.YearEnd(month=2), pd.offsets.BYearBegin(), pd.offsets.BYearEnd(), pd.offsets.FY5253(**_FISCAL),
    pd.offsets.FY5253Quarter(qtr_with_extra_week=1, **_FISCAL), pd.offsets.Easter(), pd.DateOffset(months=1),
    pd.DateOffset(months=3), pd.DateOffset(years=1), pd.DateOffset(days=2, hours=3),
    *(getattr(pd.offsets, name)() for name in dir(pd.offsets) if "HalfYear" in name),  # from pandas 3 on
]  # fmt: skip


@st.composite
def calendar_dates(draw, n_rows):
    """Dates of any calendar that pandas has, with the step that made them or without it."""
    step, zone = draw(st.sampled_from(OFFSETS)), draw(st.sampled_from(ZONES))
    start = pd.Timestamp("2000-01-01") + pd.Timedelta(
        days=draw(st.integers(0, 9000)), hours=draw(st.sampled_from([0, 12]))
    )
    fine = isinstance(step, (pd.offsets.Nano, pd.offsets.Micro))
    unit = "ns" if fine else draw(st.sampled_from(["ns", "us", "ms"]))
    try:
        dates = pd.date_range(start, periods=n_rows, freq=step, tz=zone, unit=unit)
    except Exception as error:  # of clocks that are changed then; pandas 2 raises what pytz does
        reject_unless(type(error).__name__ in ("NonExistentTimeError", "AmbiguousTimeError", "ValueError"))
    return dates if draw(st.booleans()) else pd.DatetimeIndex(dates, freq=None)


def reject_unless(condition):
    assert condition
    assume(False)


@st.composite
def thinned(draw, labels):
    """Labels of a time axis without some of them, drawn at random."""
    index = draw(labels)
    inner = st.integers(1, len(index) - 1)
    some = index.delete(list(draw(st.sets(inner, max_size=2) | st.sets(inner, max_size=len(index) - 2))))
    return pd.DatetimeIndex(some, freq=None) if isinstance(some, pd.DatetimeIndex) else some


@st.composite
def regular_indices(draw, n_rows):
    """A regular time axis of any kind."""
    kind = draw(st.sampled_from(["dates", "dates", "periods", "range", "integers"]))
    if kind == "dates":
        freq, zone = draw(st.sampled_from(FREQUENCIES)), draw(st.sampled_from(ZONES))
        start = pd.Timestamp("1970-01-01") + pd.Timedelta(hours=draw(st.integers(0, 24 * 365 * 80)))
        start = start.normalize() if freq not in ("15min", "h", "6h") else start
        index = pd.date_range(start, periods=n_rows, freq=freq, name=draw(st.sampled_from([None, "time"])))
        if zone is not None:
            # Counted in the zone from a label that exists there: labels made one by one could fall into a gap.
            begin = index[0].tz_localize("UTC").tz_convert(zone)
            begin = begin.normalize() if freq not in ("15min", "h", "6h") else begin
            index = pd.date_range(begin, periods=n_rows, freq=freq, name=index.name)
        return index if draw(st.booleans()) else pd.DatetimeIndex(index, freq=None)
    if kind == "periods":
        return pd.period_range("1990-01", periods=n_rows, freq=draw(st.sampled_from(["h", "D", "M", "Q", "Y"])))
    step, start = draw(st.integers(1, 9)), draw(st.integers(-(10**6), 10**6))
    index = pd.RangeIndex(start, start + step * n_rows, step)
    return index if kind == "range" else pd.Index(index.to_numpy().astype(draw(st.sampled_from(["int64", "int32"]))))


def _column(shape, n_rows, generator):
    time, noise = np.arange(n_rows), generator.normal(size=n_rows)
    return {
        "noise": noise,
        "wave": np.sin(time / 3) + 0.1 * noise,
        "constant": np.full(n_rows, 0.3),
        "walk": noise.cumsum(),
        "steps": np.where(time < n_rows // 2, 0.0, 1.0),
        "counts": generator.poisson(0.3, size=n_rows).astype(float),
        "spikes": np.where(generator.random(n_rows) < 0.05, 1e4, noise),
        "nearly constant": 1e6 + 1e-7 * noise,
        "sparse": np.where(generator.random(n_rows) < 0.02, 5.0, 0.0),
        "dead": np.where(time < n_rows // 2, noise, 0.0),
        "awakes": np.where(time < 3 * n_rows // 4, 1e-3, 1.0) * noise,
    }[shape]


@st.composite
def values(draw, n_rows, n_columns, *, largest_exponent=30, gaps=True):
    """Columns of many shapes, levels and sizes, with gaps of many shapes."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = []
    for _ in range(n_columns):
        shape = draw(st.sampled_from(SHAPES))
        exponent = draw(st.sampled_from([0, 0, 0, 1, 3, -3, largest_exponent, -largest_exponent]))
        level = draw(st.sampled_from([0.0, 0.0, 1.0, -100.0]))
        columns.append((_column(shape, n_rows, generator) + level) * 10.0**exponent)
    made = np.stack(columns, axis=1)
    pattern = draw(
        st.sampled_from(
            ["none", "none", "scattered", "block", "late start", "early end", "one left"] if gaps else ["none"]
        )
    )
    if pattern == "scattered":
        made[generator.random(made.shape) < 0.3] = np.nan
    elif pattern == "block":
        first = generator.integers(n_rows)
        made[first : first + n_rows // 4] = np.nan
    elif pattern == "late start":
        made[: n_rows // 3, 0] = np.nan
    elif pattern == "early end":
        made[-n_rows // 3 :, 0] = np.nan
    elif pattern == "one left":
        made[np.arange(n_rows) != generator.integers(n_rows), -1] = np.nan
    return made


@st.composite
def frames(draw, *, n_rows=None, n_columns=None, **kwargs):
    """Regular frames of numbers."""
    n_rows = draw(st.integers(1, 60) if n_rows is None else n_rows)
    n_columns = draw(st.integers(1, 4)) if n_columns is None else n_columns
    names = draw(st.sampled_from(NAMES))[:n_columns]
    made = draw(values(n_rows, n_columns, **kwargs))
    return pd.DataFrame(made, index=draw(regular_indices(n_rows)), columns=pd.Index(names, tupleize_cols=False))


DTYPES = (
    "float32", "float16", "int64", "uint8", "bool", "Int64", "Float64", "boolean", "double[pyarrow]", "int64[pyarrow]",
    "bool[pyarrow]", "object", "str", "string", "category", "complex128", "datetime64[ns]", "Sparse[float64]",
)  # fmt: skip


def _recast(frame, column, dtype):
    numbers = frame.iloc[:, column].clip(-100, 100).fillna(0).round()
    if dtype in ("bool", "boolean", "bool[pyarrow]"):
        numbers = numbers > 0
    if dtype in ("uint8", "datetime64[ns]"):
        numbers = numbers.abs()
    made = numbers.astype("int64").astype(dtype) if dtype == "datetime64[ns]" else numbers.astype(dtype)
    return pd.concat(
        [made if number == column else frame.iloc[:, number] for number in range(frame.shape[1])], axis=1
    ).set_axis(frame.columns, axis=1)


def _with_labels(frame, labels):
    frame = frame.copy()
    frame.index = labels
    return frame


@st.composite
def any_frames(draw, sound=None):
    """Frames, sound at first, with none, one or several of the faults and oddities that data come with."""
    frame = draw(frames(largest_exponent=draw(st.sampled_from([30, 200, 300]))) if sound is None else sound)
    for _ in range(draw(st.integers(0, 2))):
        n_rows, n_columns = frame.shape
        if not n_rows or not n_columns:
            break
        row, column = draw(st.integers(0, n_rows - 1)), draw(st.integers(0, n_columns - 1))
        order = np.arange(n_rows)
        change = draw(
            st.sampled_from(
                ["dtype", "dtype", "infinite", "swap", "duplicate", "gap", "backwards", "no rows", "no columns",
                 "same name", "float index", "text index", "NaT", "nullable index", "arrow dates", "Series", "columns"]
            )
        )  # fmt: skip
        if change == "dtype":
            if frame.dtypes.iloc[column] != np.float64:
                continue  # changed before, perhaps into what has no numbers
            frame = _recast(frame, column, draw(st.sampled_from(DTYPES)))
        elif change == "infinite":
            frame = frame.astype({name: float for name in frame.columns if frame.columns.is_unique}, errors="ignore")
            if frame.dtypes.iloc[column] == np.float64:
                frame.isetitem(
                    column, np.where(order == row, draw(st.sampled_from([np.inf, -np.inf])), frame.iloc[:, column])
                )
        elif change == "swap":
            order[[row, -1]] = order[[-1, row]]
            frame = frame.iloc[order]
        elif change == "duplicate":
            frame = frame.iloc[np.sort(np.append(order, row))]
        elif change == "gap":
            frame = frame.iloc[order != row]
        elif change == "backwards":
            frame = frame.iloc[::-1]
        elif change == "no rows":
            frame = frame.iloc[:0]
        elif change == "no columns":
            frame = frame.iloc[:, :0]
        elif change == "same name":
            frame = pd.concat([frame, frame.iloc[:, :1]], axis=1)
        elif change == "float index":
            frame = _with_labels(frame, order / 2)
        elif change == "text index":
            frame = _with_labels(frame, frame.index.astype(str))
        elif change == "NaT":
            frame = _with_labels(frame, pd.DatetimeIndex([pd.NaT, *pd.date_range("2024", periods=n_rows - 1)]))
        elif change == "nullable index":
            frame = _with_labels(
                frame, pd.Index(order, dtype=draw(st.sampled_from(["Int64", "uint8", "int32[pyarrow]"])))
            )
        elif change == "arrow dates":
            dates = pd.date_range("2024", periods=n_rows, freq="h", unit="us")
            frame = _with_labels(frame, pd.Index(dates, dtype="timestamp[us][pyarrow]"))
        elif change == "columns":
            frame = frame.set_axis(pd.MultiIndex.from_product([["m"], range(n_columns)]), axis=1)
        elif change == "Series":
            return frame.iloc[:, column]
    return frame
