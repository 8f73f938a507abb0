"""Time axes that lie: what is no calendar is refused by its missing labels, and the advised code loses no value."""

import re

import numpy as np
import pandas as pd
import pytest

from samovar_forecast.data.frames import read_frame
from samovar_forecast.data.panel import read_panel
from samovar_forecast.data.time_axis import continue_index, frequency_of

HOURS = pd.date_range("2024-01-01", periods=240, freq="h")
JITTER = pd.to_timedelta(np.random.default_rng(0).integers(-90, 90, 240), unit="s")
# One of the last business days of the months is a holiday.
LATE_MONTH_ENDS = pd.date_range("2020-01-01", periods=30, freq="BME") - pd.to_timedelta([0] * 29 + [1], unit="D")
OFFICE = pd.offsets.BusinessHour(start="08:00", end="16:00")


def dates(start, periods, freq, **options):
    """Dates without the step that made them, as read from a file."""
    return pd.DatetimeIndex(pd.date_range(start, periods=periods, freq=freq, **options), freq=None)


def framed(index):
    rows = np.arange(len(index))
    return pd.DataFrame({"a": rows + 1.0, "b": rows * 1000.0 + 0.5}, index=index)


def advised_code(message):
    return re.search(r"(?:df|pd)[.\[(].*$", message)[0]


def applied(data, message):
    return eval(advised_code(message), {"pd": pd, "np": np}, {"df": data})


CERTAIN = {  # without a name that pandas would infer, and the two dates after
    "every 15th": (dates("2020-01-15", 20, pd.DateOffset(months=1)), ["2021-09-15", "2021-10-15"]),
    "three 15ths, 31 days apart": (pd.DatetimeIndex(["2024-07-15", "2024-08-15", "2024-09-15"]), ["2024-10-15"]),
    "every 28th, at noon": (dates("2020-01-28 12:00", 14, pd.DateOffset(months=1)), ["2021-03-28 12:00"]),
    "every third 15th": (dates("2020-02-15", 20, pd.DateOffset(months=3)), ["2025-02-15", "2025-05-15"]),
    "every May 20": (dates("2000-05-20", 10, pd.DateOffset(years=1)), ["2010-05-20"]),
    "third Wednesdays": (dates("2020-01-01", 20, "WOM-3WED"), ["2021-09-15", "2021-10-20"]),
    "third Wednesdays of quarters": (dates("2020-01-01", 12, "3WOM-3WED"), ["2023-01-18", "2023-04-19"]),
    "last Fridays": (dates("2020-01-01", 20, pd.offsets.LastWeekOfMonth(weekday=4)), ["2021-09-24", "2021-10-29"]),
    "1st and 15th": (dates("2020-01-01", 20, "SMS"), ["2020-11-01", "2020-11-15"]),
    "15th and last": (dates("2020-01-15", 20, "SME"), ["2020-11-15", "2020-11-30"]),
    "1st and 10th": (dates("2020-01-01", 20, pd.offsets.SemiMonthBegin(day_of_month=10)), ["2020-11-01", "2020-11-10"]),
    "office hours": (dates("2024-01-01", 104, OFFICE), ["2024-01-18 08:00", "2024-01-18 09:00"]),
    "half past": (dates("2024-01-01", 104, OFFICE) + pd.Timedelta("30min"), ["2024-01-18 08:30"]),
    "nine to five": (dates("2024-01-01", 104, "bh"), ["2024-01-18 09:00", "2024-01-18 10:00"]),
    "year starts": (dates("1990-01-01", 20, "YS"), ["2010-01-01"]),
    "leap days": (pd.DatetimeIndex(["2000-02-29", "2004-02-29", "2008-02-29"]), ["2012-02-29"]),
    "far away": (pd.date_range("2500-01-15", periods=20, freq=pd.DateOffset(months=1), unit="s"), ["2501-09-15"]),
}


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("name", CERTAIN)
def test_calendars_without_a_name_go_on(name, zone):
    index, ahead = CERTAIN[name]
    index = pd.DatetimeIndex(index, freq=None).tz_localize(zone)
    ahead = pd.DatetimeIndex(np.array(ahead, dtype="datetime64[s]")).tz_localize(zone)
    frame = read_frame(framed(index))
    assert continue_index(frame.index, frequency_of(frame.index), len(ahead)).tolist() == ahead.tolist()


def test_days_follow_the_wall_clock_and_hours_do_not():
    days = dates("2024-03-20", 20, "D", tz="Europe/Berlin")
    assert frequency_of(days) == pd.offsets.Day()
    assert continue_index(days, frequency_of(days), 1)[0] == pd.Timestamp("2024-04-09", tz="Europe/Berlin")
    moments = dates("2024-03-20", 20, "D", tz="UTC").tz_convert("Europe/Berlin")
    assert frequency_of(moments) == pd.offsets.Hour(24)
    assert continue_index(moments, frequency_of(moments), 1)[0] == pd.Timestamp("2024-04-09", tz="UTC")


def test_days_go_on_where_clocks_are_changed_at_midnight():
    whole = dates("2018-10-20", 30, "D").tz_localize("America/Sao_Paulo", nonexistent="shift_forward")
    assert frequency_of(whole) == pd.offsets.Day()
    assert continue_index(whole[:10], pd.offsets.Day(), 20).equals(whole[10:])


@pytest.mark.parametrize(
    "step",
    [
        pd.offsets.LastWeekOfMonth(weekday=4),
        pd.offsets.FY5253(weekday=5, startingMonth=12, variation="last"),
        pd.offsets.FY5253(weekday=5, startingMonth=1, variation="nearest"),
        pd.offsets.FY5253Quarter(weekday=5, startingMonth=12, qtr_with_extra_week=1, variation="last"),
        pd.offsets.Easter(),
        pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu"),
        pd.offsets.CustomBusinessDay(holidays=["2020-02-03"]),
        pd.offsets.CustomBusinessMonthEnd(holidays=["2020-01-31"]),
        pd.DateOffset(months=1),
        pd.DateOffset(days=2, hours=3),
        OFFICE,
    ],
    ids=repr,
)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_step_that_is_given_is_kept(step, zone):
    """Those of the last week of a month and of fiscal years have no zero multiple, which pandas would add."""
    index = pd.date_range("2020-01-31 08:00", periods=30, freq=step, tz=zone)
    frame = read_frame(framed(index[:20]))
    assert frequency_of(frame.index) == step
    for periods in (0, 1, 10):
        assert list(continue_index(frame.index, step, periods)) == list(index[20 : 20 + periods])
    assert frequency_of(index[:1], default=step) == step


def test_a_step_that_a_change_of_zone_made_false_is_not_believed():
    days = pd.date_range("2024-01-01 23:00", periods=30, freq="B", tz="UTC").tz_convert("Europe/Berlin")
    with pytest.raises(ValueError, match="has an irregular index"):
        frequency_of(days)  # pandas 2 says business days, and they are Tuesdays to Saturdays
    months = pd.date_range("2024-03-01", periods=9, freq="MS", tz="UTC").tz_convert("America/New_York")
    with pytest.raises(ValueError, match="has an irregular index"):
        frequency_of(months)


IRREGULAR = {
    "a night of hours": (HOURS[[*range(16), *range(32, 48)]], "lacks 2024-01-01 16:00:00, .*16 labels in all"),
    "steps of 1, 17 and 65 hours": (
        HOURS[0] + pd.to_timedelta(np.cumsum([1, 1, 17, 1, 65, 1, 1, 17, 17, 1]), unit="h"), "a step of <Hour>"
    ),
    "office hours": (dates("2024-01-01", 104, OFFICE).delete([30, 31]), "lacks 2024-01-04 14:00:00, 2024-01-04 15"),
    "two days of office hours": (dates("2024-01-02", 16, OFFICE), "16 labels in all, with a step of <Hour>"),
    "hour": (HOURS.delete(8), r"from 2024-01-01 07:00:00 to 2024-01-01 09:00:00 it lacks 2024-01-01 08:00:00 \("),
    "hours in microseconds": (HOURS.as_unit("us").delete(8), "it lacks 2024-01-01 08:00:00"),
    "hours in seconds": (HOURS.as_unit("s").delete(8), "it lacks 2024-01-01 08:00:00"),
    "hour of the wall clock": (
        dates("2024-03-20", 400, "h", tz="Europe/Berlin").tz_localize(None), "it lacks 2024-03-31 02:00:00"
    ),
    "hours after an outage": (
        HOURS[:20].append(pd.date_range("2025-06-01", periods=20, freq="h")), "a step of <Hour>"
    ),
    "month start": (dates("2000-01-01", 240, "MS").delete(100), r"it lacks 2008-05-01 00:00:00 .*<MonthBegin>"),
    "month end": (dates("2000-01-01", 240, "ME").delete(100), r"it lacks 2008-05-31 00:00:00 .*<MonthEnd>"),
    "business month end": (dates("2000-01-01", 40, "BME").delete(10), "it lacks 2000-11-30 00:00:00"),
    "quarter start": (dates("2000-02-01", 40, "QS-FEB").delete(10), "it lacks 2002-08-01 00:00:00"),
    "year start": (dates("1990-01-01", 20, "YS").delete(3), "it lacks 1993-01-01 00:00:00"),
    "15th": (dates("2020-01-15", 20, pd.DateOffset(months=1)).delete(4), "it lacks 2020-05-15 00:00:00"),
    "third Wednesday": (dates("2020-01-01", 20, "WOM-3WED").delete(4), "it lacks 2020-05-20 00:00:00"),
    "last Friday": (
        dates("2020-01-01", 20, pd.offsets.LastWeekOfMonth(weekday=4)).delete(5), "it lacks 2020-06-26 00:00:00"
    ),
    "half month": (dates("2020-01-01", 20, "SME").delete(4), "it lacks 2020-03-15 00:00:00"),
    "holidays": (
        dates("2024-01-01", 300, "B").delete([50, 51, 100]), r"2024-03-11 00:00:00, 2024-03-12 00:00:00, 2024-05-20"
    ),
    "Sundays": (pd.DatetimeIndex([d for d in dates("2024-01-01", 99, "D") if d.dayofweek < 6]), "lacks 2024-01-07"),
    "Fridays and Saturdays": (
        pd.DatetimeIndex([d for d in dates("2024-01-01", 99, "D") if d.dayofweek not in (4, 5)]), "lacks 2024-01-05"
    ),
    "week": (dates("2020-01-01", 50, "W-TUE").delete(7), "it lacks 2020-02-25 00:00:00"),
    "4-4-5 weeks": (
        pd.Timestamp("2020-01-25") + pd.to_timedelta(7 * np.cumsum([0, *[4, 4, 5] * 8]), unit="D"), "<Week: weekday=5>"
    ),
    "fiscal quarters": (
        dates("2000-01-01", 60, pd.offsets.FY5253Quarter(weekday=5, startingMonth=12, qtr_with_extra_week=1)),
        "between 91 days",
    ),
    "every 30th": (pd.DatetimeIndex([f"2021-{m:02}-{28 if m == 2 else 30}" for m in range(1, 13)]), "to_period"),
    "month ends with a holiday": (
        LATE_MONTH_ENDS, "to_period"
    ),
    "month ends of Tokyo": (
        LATE_MONTH_ENDS.tz_localize("Asia/Tokyo"),
        "to_period",
    ),
    "days of Berlin": (dates("2024-03-20", 30, "D", tz="Europe/Berlin").delete(4), "it lacks 2024-03-24 00:00:00"),
    "days of Berlin in UTC": (dates("2024-03-20", 30, "D", tz="Europe/Berlin").tz_convert("UTC"), "Europe/Berlin"),
    "days of Berlin without UTC": (
        dates("2024-03-20", 30, "D", tz="Europe/Berlin").tz_convert("UTC").tz_localize(None), "zone Europe/Berlin"
    ),
    "moments in Berlin": (
        dates("2024-03-20", 30, "D", tz="UTC").tz_convert("Europe/Berlin").delete(3), r"a step of <24 \* Hours>"
    ),
    "days of Sao Paulo": (
        dates("2018-10-20", 40, "D").tz_localize("America/Sao_Paulo", nonexistent="shift_forward").delete(4),
        "has an irregular index",
    ),
    "jitter": (HOURS + JITTER, "no regular calendar .*round"),
    "jitter and a gap": (HOURS.delete(4) + JITTER[1:], "no regular calendar"),
    "jitter in Berlin": ((HOURS + JITTER).tz_localize("Europe/Berlin"), "no regular calendar .*round"),
    "events": (HOURS[:50] + pd.to_timedelta(np.arange(50) ** 3 * 987654321, unit="us"), "df.reset_index"),
    "decreasing": (HOURS[::-1], "is not sorted by time"),
    "months as periods": (pd.period_range("2024-01", periods=10, freq="M").delete(4), "it lacks 2024-05 "),
    "two hours as periods": (pd.period_range("2024-01-01", periods=9, freq="2h").delete(4), "lacks 2024-01-01 08:00 "),
    "two hours that begin anywhere": (
        pd.PeriodIndex(["2024-01-01 00:00", "2024-01-01 02:00", "2024-01-01 05:00"], freq="2h"), "periods of 'h'"
    ),
    "weeks as periods": (pd.period_range("2024-01", periods=30, freq="W-TUE").delete(3), "2024-01-17/2024-01-23"),
    "quarters as periods": (pd.period_range("2000", periods=9, freq="Q-FEB").delete(3), "it lacks 2001Q3"),
    "every third month": (pd.period_range("2024-01", periods=30, freq="M")[::3], "regular but do not touch"),
    "even numbers": (pd.RangeIndex(0, 40, 2).delete(4), "from 6 to 10 it lacks 8 .1 label in all, with a step of 2"),
    "even and odd numbers": (pd.Index([0, 2, 4, 5, 7]), "it lacks 1, 3, 6"),
    "few numbers": (pd.Index(np.array([0, 2, 6], dtype="uint8")), "it lacks 4"),
    "wild numbers": (pd.Index([0, 1000, 2000, 3001]), "numbers them anew"),
    "numbers after an outage": (pd.Index([*range(20), *range(5000, 5020)]), "4980 labels"),
    "too large numbers": (pd.Index(np.arange(5, dtype=np.uint64) + np.uint64(2**63)), "no 64-bit integer"),
    "doubled": (HOURS[[0, 1, 2, 2, 3, 4, 4]], "2024-01-01 02:00:00 more than once .and 2024-01-01 04:00:00: 2 labels"),
    "of two series": (HOURS[:9].append(HOURS[:9]), "2024-01-01 00:00:00 more than once .*: 9 labels in all"),
    "doubled numbers": (pd.Index([0, 1, 1, 2]), "the index label 1 more than once"),
    "autumn in Berlin": (dates("2024-10-20", 200, "h", tz="Europe/Berlin").tz_localize(None), "'Europe/Berlin', ambig"),
    "autumn in New York": (
        dates("2024-10-30", 900, "15min", tz="America/New_York").tz_localize(None), "'America/New_York', ambiguous"
    ),
    "whole floats": (pd.Index([0.0, 1.0, 2.0]), "index of type Index"),
    "halves": (pd.Index([0.0, 0.5, 1.0]), "index of type Index"),
    "text": (HOURS.astype(str), "index of type Index"),
    "text with zones": (dates("2024-03-30", 48, "h", tz="Europe/Berlin").map(str), "index of type Index"),
    "text of numbers": (pd.Index(["1", "2", "3"]), "index of type Index"),
    "words": (pd.Index(list("abc")), "index of type Index"),
    "dates of Python": (pd.Index([day.date() for day in dates("2024-01-01", 9, "D")]), "index of type Index"),
    "durations": (pd.timedelta_range("0h", periods=9, freq="h"), "index of type TimedeltaIndex"),
    "truth": (pd.Index([False, True]), "index of type Index"),
    "categories": (pd.CategoricalIndex(list("abc")), "index of type CategoricalIndex"),
    "levels": (pd.MultiIndex.from_product([["x"], HOURS[:3]]), "index of type MultiIndex"),
}  # fmt: skip


@pytest.mark.parametrize("name", IRREGULAR)
def test_the_advice_keeps_every_value_and_is_accepted(name):
    index, message = IRREGULAR[name]
    given = framed(index)
    for data in (given, given["b"]):
        with pytest.raises((ValueError, TypeError), match=message) as told:
            read_frame(data)
        regular = applied(data, str(told.value))
        frame = read_frame(regular, missing=True)
        kept = frame.to_numpy()
        assert sorted(kept[~np.isnan(kept)]) == sorted(data.to_numpy().ravel())
        frequency_of(frame.index)


def test_labels_without_time_are_the_only_ones_left_out():
    data = framed(HOURS[:5].insert(5, pd.NaT))
    with pytest.raises(ValueError, match="missing label in its index at row 5") as told:
        read_frame(data)
    assert len(read_frame(applied(data, str(told.value)))) == 5


def in_a_column(values, **others):
    return pd.DataFrame({"a": values} | others, index=HOURS[: len(values)])


WRONG_VALUES = {
    "numbers as objects": (in_a_column(pd.array([1, 2, None], dtype=object)), [1, 2]),
    "text of numbers": (in_a_column(["1.5", "2", "3"]), [1.5, 2, 3]),
    "categories of numbers": (in_a_column(pd.Categorical([3, 1, 3])), [3, 1, 3]),
    "words": (in_a_column(["x", "y", "x"]), [1, 0, 1, 0, 1, 0]),
    "categories": (in_a_column(pd.Categorical(["x", "y", "x"])), [1, 0, 1, 0, 1, 0]),
    "infinite": (in_a_column([1.0, np.inf, 3.0]), [1, 3]),
    "huge": (in_a_column([1.0, 1e301, 3.0]), [1, 3]),
    "huge and missing": (in_a_column(pd.array([1.0, 1e301, None], dtype="Float64")), [1]),
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_the_advice_for_values_is_accepted(name):
    data, expected = WRONG_VALUES[name]
    with pytest.raises((ValueError, TypeError), match="column 'a'") as told:
        read_frame(data, missing=True)
    kept = read_frame(applied(data, str(told.value)), missing=True).to_numpy()
    assert sorted(kept[~np.isnan(kept)]) == sorted(expected)


def test_the_time_among_the_columns_becomes_the_index():
    data = framed(HOURS).rename_axis("when").reset_index()
    with pytest.raises(TypeError, match=r"column 'when' has dtype .* df.set_index\('when'\)") as told:
        read_frame(data)
    assert read_frame(applied(data, str(told.value))).index.equals(HOURS)


@pytest.mark.parametrize("values", [[np.nan, 2, np.nan, 4, np.nan], [1, np.inf, 3], [1, 1e301, np.nan, 5]])
def test_the_advice_where_nothing_may_be_missing(values):
    data = in_a_column(values)
    with pytest.raises(ValueError, match="fill or drop them first") as told:
        read_frame(data)
    frame = read_frame(applied(data, str(told.value)))
    sound = [value for value in values if abs(value) < 1e300]
    assert set(sound) <= set(frame["a"])


AXES = {
    "naive": HOURS,
    "UTC": HOURS.tz_localize("UTC"),
    "Berlin": HOURS.tz_localize("UTC").tz_convert("Europe/Berlin"),
    "periods": HOURS.to_period("h"),
    "days": HOURS.to_period("D")[:1],
    "integers": pd.RangeIndex(240),
}


@pytest.mark.parametrize("own", AXES)
@pytest.mark.parametrize("wanted", AXES)
def test_rows_take_the_time_zone_of_their_axis_or_are_refused(own, wanted):
    data, axis = framed(AXES[own]), AXES[wanted]
    if own == wanted or {own, wanted} == {"UTC", "Berlin"}:
        frame = read_frame(data, axis=axis)
        assert (frame.index == data.index).all()
        assert getattr(frame.index, "tz", None) == getattr(axis, "tz", None)
        return
    with pytest.raises(ValueError, match=r"y has an index of .*, the training data one of") as told:
        read_frame(data, axis=axis)
    if "df" in str(told.value):
        applied_once = applied(data, str(told.value))
        read_frame(applied_once, axis=axis if len(axis) > 1 else applied_once.index)


def test_another_zone_is_taken_before_the_step_is_read():
    """Days of Berlin are no days in UTC over a change of clocks."""
    berlin = dates("2024-03-20", 30, "D", tz="Europe/Berlin")
    for axes in ({None: berlin}, {"one": berlin, "two": berlin[:3]}):
        panel = read_panel(framed(berlin.tz_convert("UTC")), axes=axes)
        assert panel.frames[None].index.equals(berlin)
        assert panel.frames[None].index.tz == berlin.tz
    parts = {"one": framed(berlin.tz_convert("UTC")), "new": framed(berlin.tz_convert("Asia/Tokyo"))}
    panel = read_panel(parts, axes={"one": berlin})
    assert panel.frequency() == pd.offsets.Day()
    assert [frame.index.tz for frame in panel.frames.values()] == [berlin.tz, berlin.tz]
    with pytest.raises(ValueError, match="y of series 'new' has an index of dates without a time zone"):
        read_panel({"new": framed(HOURS)}, axes={"one": berlin})


def test_a_new_series_keeps_its_zone_where_the_others_have_several():
    axes = {"Berlin": HOURS.tz_localize("UTC").tz_convert("Europe/Berlin"), "Tokyo": HOURS.tz_localize("Asia/Tokyo")}
    panel = read_panel({"Rome": framed(HOURS.tz_localize("Europe/Rome"))}).on_axes(axes, "the training data")
    assert str(panel.frames["Rome"].index.tz) == "Europe/Rome"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"], ["2024-01-05", "2024-01-08", "2024-01-09"]), "B"),
        ((["2024-01-02", "2024-01-03", "2024-01-04"], ["2024-01-05", "2024-01-08"]), None),
        ((["2024-01-15", "2024-02-15", "2024-03-15"], ["2024-04-15", "2024-05-15"]), pd.DateOffset(months=1)),
        ((["2024-01-01", "2024-02-01", "2024-03-01"], ["2024-04-01", "2024-05-01"], ["2024-06-01"]), "MS"),
        ((["2024-01-01", "2024-01-02", "2024-01-03"], ["2024-01-01", "2024-01-03"]), None),
    ],
)
def test_series_share_a_step_that_leads_along_all_of_them(parts, expected):
    panel = read_panel({number: framed(pd.DatetimeIndex(part)) for number, part in enumerate(parts)})
    if expected is None:
        with pytest.raises(ValueError, match=r"y of series 1 has a step of <. \* Days>, y of series 0 one of <Day>"):
            panel.frequency()
    else:
        assert panel.frequency() == pd.tseries.frequencies.to_offset(expected)
