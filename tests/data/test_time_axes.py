"""Time axes whose steps have no plain name, and labels of columns: what comes in goes out, also through a file."""

import json

import numpy as np
import pandas as pd
import pytest
from pandas.tseries.holiday import USFederalHolidayCalendar

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.time_axis import continue_index, frequency_of
from samovar_forecast.files.stored_index import describe_index, index_numbers, restore_index
from tests.conftest import TINY, waves

SETTINGS = TINY | {"max_epochs": 1}
NAMELESS = [  # what pandas cannot name from the labels, or names otherwise
    pd.date_range("2010-01-15", periods=130, freq=pd.DateOffset(months=1)),
    pd.date_range("2010-01-15", periods=130, freq="SMS"),
    pd.date_range("2010-01-15", periods=130, freq=pd.DateOffset(days=2, hours=3)),
]
FREQUENT = [
    *NAMELESS,
    pd.date_range("2010-01-15", periods=130, freq="BME"),
    pd.date_range("2010-01-15", periods=130, freq="2W-TUE"),
    pd.period_range("2010-01-15", periods=130, freq="2h"),
    pd.period_range("2010-01-15", periods=130, freq="3M"),
    pd.RangeIndex(5, 5 + 130 * 3, 3),
]


def name_of(index):
    return (
        f"{type(index).__name__} {getattr(index, 'freqstr', None) or index.freq}" if hasattr(index, "freq") else "int"
    )


@pytest.mark.parametrize("index", FREQUENT, ids=name_of)
def test_forecasts_go_on_along_the_axis_and_through_a_file(index, tmp_path):
    y = waves(len(index), index=index)
    fitted = SAMoVARForecaster(**SETTINGS).fit(y[:100])
    fitted.save(tmp_path / "model")
    loaded = SAMoVARForecaster.load(tmp_path / "model")
    forecast = fitted.predict(horizon=20)
    assert forecast.index.equals(index[100:120])
    pd.testing.assert_frame_equal(loaded.predict(horizon=20), forecast)
    assert loaded.frequency_ == fitted.frequency_
    assert loaded.update(y[100:110], retrain=False).predict().index.equals(index[110:118])


@pytest.mark.parametrize("index", NAMELESS, ids=name_of)
def test_history_that_lost_its_step_is_read_by_that_of_training(index):
    y = waves(len(index), index=index)
    fitted = SAMoVARForecaster(**SETTINGS).fit(y[:100])
    plain = y.set_axis(pd.DatetimeIndex(index.to_list()), axis=0)
    assert plain.index.freq is None
    pd.testing.assert_frame_equal(fitted.predict(plain[90:120]), fitted.predict(y[90:120]), check_freq=False)
    assert fitted.update(plain[100:110], retrain=False).predict().index.equals(index[110:118])


@pytest.mark.parametrize(
    "step",
    [
        pd.offsets.CustomBusinessDay(calendar=USFederalHolidayCalendar()),
        pd.offsets.CustomBusinessHour(start="10:00", holidays=["2023-05-03"]),
    ],
)
def test_a_step_with_a_calendar_of_its_own_is_not_saved_without_it(step, tmp_path):
    fitted = SAMoVARForecaster(**SETTINGS).fit(waves(120, index=pd.date_range("2023-05-01", periods=120, freq=step)))
    assert fitted.predict(horizon=40).index.equals(pd.date_range(fitted.history_.index[-1], periods=41, freq=step)[1:])
    with pytest.raises(ValueError, match="has a calendar of its own, which its name"):
        fitted.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "step",
    [
        pd.offsets.BusinessHour(start="10:00"),
        pd.offsets.BusinessHour(start=["08:00", "13:00"], end=["12:00", "17:00"]),
        pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu"),
        pd.offsets.LastWeekOfMonth(weekday=4),
        pd.offsets.FY5253(weekday=5, startingMonth=12, variation="last"),
        pd.offsets.MonthEnd(normalize=True),
        pd.DateOffset(months=1, normalize=True),
        pd.offsets.Week(),
    ],
    ids=repr,
)
def test_a_step_that_its_name_does_not_tell_comes_back_from_a_file(step):
    index = pd.date_range("1990-05-01 10:00", periods=30, freq=step)
    described = json.loads(json.dumps(describe_index(index, step)))
    restored, frequency = restore_index(index_numbers(index), described)
    assert frequency == step
    assert restored.equals(index)
    assert continue_index(restored, frequency, 40).equals(continue_index(index, step, 40))


def test_office_hours_go_through_a_file(tmp_path):
    index = pd.date_range("2024-01-01", periods=138, freq=pd.offsets.BusinessHour(start="08:00", end="16:00"))
    y = waves(138, index=pd.DatetimeIndex(index, freq=None))
    fitted = SAMoVARForecaster(**SETTINGS, calendar="auto").fit(y[:130])
    assert fitted.calendar_ == ["hour", "dayofweek", "day", "dayofyear"]
    fitted.save(tmp_path / "model")
    assert SAMoVARForecaster.load(tmp_path / "model").predict().index.equals(index[130:])


def test_gaps_between_periods_are_named():
    periods = pd.period_range("2024-01-01", periods=10, freq="2h").delete(4)
    with pytest.raises(
        ValueError, match=r"from 2024-01-01 06:00 to 2024-01-01 10:00 it lacks 2024-01-01 08:00 .1 label in all"
    ):
        frequency_of(periods)


def test_columns_keep_their_levels_and_names(tmp_path):
    two_levels = waves(120, 2).set_axis(
        pd.MultiIndex.from_tuples([("p", "a"), ("p", "b")], names=["plant", "unit"]), axis=1
    )
    named = waves(120, 2).rename_axis(columns="meter")
    for y in (two_levels, named):
        fitted = SAMoVARForecaster(**SETTINGS).fit(y)
        fitted.save(tmp_path / "model")
        for forecaster in (fitted, SAMoVARForecaster.load(tmp_path / "model")):
            pd.testing.assert_index_equal(forecaster.predict().columns, y.columns)
            pd.testing.assert_index_equal(forecaster.predict(y).columns, y.columns)
            pd.testing.assert_index_equal(forecaster.predict_in_sample(y).columns, y.columns)
    assert list(SAMoVARForecaster(**SETTINGS).fit(two_levels).predict()["p"].columns) == ["a", "b"]


@pytest.mark.parametrize("name", [None, "sales", 0])
def test_a_series_keeps_its_name_or_has_none(name, tmp_path):
    y = waves(120, 1)["s0"].rename(name)
    fitted = SAMoVARForecaster(**SETTINGS).fit(y)
    fitted.save(tmp_path / "model")
    for forecaster in (fitted, SAMoVARForecaster.load(tmp_path / "model")):
        assert forecaster.predict().name == name
        assert forecaster.predict(y).name == name
        assert forecaster.predict_in_sample(y).name == name


def test_an_update_corrects_the_newest_row():
    y = waves()
    fitted = SAMoVARForecaster(**SETTINGS).fit(y)
    corrected = y.copy()
    corrected.iloc[-1] *= 1.01
    fitted.update(corrected.iloc[-1:])
    assert fitted.training_summary_.n_windows == 1
    np.testing.assert_array_equal(fitted.history_.iloc[-1], corrected.iloc[-1])


@pytest.mark.parametrize(
    "settings", [{"context_length": np.int64(24)}, {"context_length": None, "horizon": np.int64(8)}]
)
def test_numbers_of_numpy_are_saved(settings, tmp_path):
    fitted = SAMoVARForecaster(**SETTINGS | settings).fit(waves())
    fitted.save(tmp_path / "model")
    pd.testing.assert_frame_equal(SAMoVARForecaster.load(tmp_path / "model").predict(), fitted.predict())
