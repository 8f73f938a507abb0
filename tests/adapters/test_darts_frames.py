"""Frames as series of darts: they go on as in the core, by the step that generates their dates."""

import numpy as np
import pandas as pd
import pytest

from samovar_darts.frames import series_from_frame
from samovar_forecast.data.time_axis import continue_index, frequency_of

MONTHS = pd.date_range("2010-01-01", periods=60, freq="MS")
HOURS = pd.date_range("2024-01-01", periods=400, freq="h")
CALENDARS = {
    # pandas infers every month, and darts goes on with that
    "third Wednesdays of quarters": MONTHS[::3].map(pd.offsets.WeekOfMonth(week=2, weekday=2).rollforward),
    "the 15th": MONTHS + pd.Timedelta("14D"),
    "office hours": HOURS[(HOURS.hour >= 8) & (HOURS.hour <= 16) & (HOURS.dayofweek < 5)],
    "Easter": pd.date_range("1950", periods=60, freq=pd.offsets.Easter()),
    **{
        freq: pd.date_range("2010", periods=60, freq=freq)
        for freq in ("W-TUE", "QE-FEB", "SMS", "B", "3h", "BQS", "ME")
    },
}


@pytest.mark.parametrize("index", CALENDARS.values(), ids=CALENDARS)
def test_series_go_on_as_in_the_core(index):
    y = pd.DataFrame({"a": np.arange(float(len(index)))}, pd.DatetimeIndex(index))
    series = series_from_frame(y)
    more = series.append_values(np.zeros((4, 1, 1))).time_index[len(y) :]
    assert list(more) == list(continue_index(y.index, frequency_of(y.index), 4))
    assert list(series.time_index) == list(index)


@pytest.mark.parametrize(
    "step", [pd.offsets.LastWeekOfMonth(weekday=2), pd.offsets.FY5253(weekday=4, startingMonth=1, variation="last")]
)
def test_a_step_that_darts_cannot_count_by_is_refused_with_a_cure(step):
    index = pd.date_range("1950", periods=60, freq=step)
    y = pd.DataFrame({"a": np.arange(60.0)}, index)
    with pytest.raises(
        ValueError, match=r"y has dates with a step of .*, which darts cannot count by; number the rows"
    ):
        series_from_frame(y)
    assert len(series_from_frame(y.reset_index(drop=True))) == 60
