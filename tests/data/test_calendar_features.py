"""Calendar features: where they come from, what they are, and that they reach the network in every host."""

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import AutoformerForecaster, SAMoVARForecaster
from samovar_forecast.data.calendar_features import calendar_features, choose_calendar
from samovar_forecast.estimator import Forecaster
from tests.conftest import TINY, waves

EVERY = ["minute", "hour", "dayofweek", "day", "dayofyear", "week", "month"]


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        ("15min", ["minute", "hour", "dayofweek", "day", "dayofyear"]),
        ("h", ["hour", "dayofweek", "day", "dayofyear"]),
        ("D", ["dayofweek", "day", "dayofyear"]),
        ("B", ["dayofweek", "day", "dayofyear"]),
        ("W", ["day", "dayofyear"]),
        ("MS", ["month"]),
        ("QE", ["month"]),
    ],
)
def test_auto_takes_what_tells_the_steps_apart(frequency, expected):
    index = pd.date_range("2024-01-05", periods=400, freq=frequency)
    assert choose_calendar("auto", index, index.freq) == expected
    features = calendar_features(index, expected)
    assert features.shape == (400, len(expected))
    assert (features.std(axis=0) > 0).all()


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        # Office hours that begin with the step over a weekend, days that begin with one of 23 hours, hours over autumn.
        (
            pd.date_range("2024-01-05 15:00", periods=99, freq=pd.offsets.BusinessHour(start="08:00", end="16:00")),
            "hour",
        ),
        (pd.date_range("2024-03-31", periods=99, freq="D", tz="Europe/Berlin"), "dayofweek"),
        (pd.date_range("2024-10-27", periods=99, freq="h", tz="Europe/Berlin"), "hour"),
        (pd.date_range("2024-01-05", periods=1, freq="D"), "dayofweek"),
    ],
)
def test_auto_goes_by_the_shortest_step_of_the_wall_clock(index, expected):
    assert choose_calendar("auto", index, index.freq)[0] == expected


def test_values_are_even_steps_from_minus_a_half_to_a_half():
    index = pd.date_range("2023-01-01", "2024-12-31 23:45", freq="15min")
    features = dict(zip(EVERY, calendar_features(index, EVERY).T, strict=True))
    for name, values in features.items():
        assert values.min() == -0.5, name
        assert values.max() <= 0.5, name
        steps = np.diff(np.unique(values))
        np.testing.assert_allclose(steps, steps[0], atol=1e-6, err_msg=name)
    assert features["dayofyear"].max() == 0.5  # of the leap year
    noon = index.get_loc("2024-02-29 12:45")  # a Thursday
    assert features["minute"][noon] == pytest.approx(45 / 59 - 0.5)
    assert features["hour"][noon] == pytest.approx(12 / 23 - 0.5)
    assert features["dayofweek"][noon] == pytest.approx(3 / 6 - 0.5)
    assert features["day"][noon] == pytest.approx(28 / 30 - 0.5)
    assert features["dayofyear"][noon] == pytest.approx(59 / 365 - 0.5)
    assert features["week"][noon] == pytest.approx(8 / 52 - 0.5)
    assert features["month"][noon] == pytest.approx(1 / 11 - 0.5)


def test_zones_count_by_the_wall_clock_and_periods_from_their_start():
    berlin = pd.date_range("2024-01-01", periods=3, freq="h", tz="Europe/Berlin")
    np.testing.assert_array_equal(calendar_features(berlin, EVERY), calendar_features(berlin.tz_localize(None), EVERY))
    months = pd.period_range("2024-03", periods=3, freq="M")
    np.testing.assert_allclose(calendar_features(months, ["month"]).ravel(), np.array([2, 3, 4]) / 11 - 0.5, rtol=1e-6)
    assert choose_calendar("auto", months, months.freq) == ["month"]


def test_integers_have_no_calendar():
    assert choose_calendar("auto", pd.RangeIndex(9), 1) == []
    with pytest.raises(ValueError, match=r"calendar=\['hour'\] needs dates or periods"):
        choose_calendar(["hour"], pd.RangeIndex(9), 1)


def fit(forecaster_class, y, X=None, **settings):
    return forecaster_class(**TINY | settings).fit(y, X)


def test_the_calendar_is_a_covariate_like_any_other():
    """The same weights come out as when the features are given as `X`, which is then known by its own scale."""
    y = waves()
    index = pd.date_range(y.index[0], periods=len(y) + 8, freq="h")
    features = pd.DataFrame(calendar_features(index, ["hour"]), index=index, columns=["hour"])
    settings = {"calendar": ["hour"]}
    by_calendar = fit(SAMoVARForecaster, y, **settings)
    by_hand = fit(SAMoVARForecaster, y, features.loc[y.index])
    assert by_calendar.training_summary_.n_parameters == by_hand.training_summary_.n_parameters
    assert not by_calendar.predict().equals(fit(SAMoVARForecaster, y).predict())
    both = fit(SAMoVARForecaster, y, features.loc[y.index] ** 2, **settings)
    assert both.calendar_ == both.known_ == ["hour"]
    assert both.predict(X=features**2).shape == (8, 3)


def test_it_learns_an_effect_of_the_hour():
    index = pd.date_range("2024-01-01", periods=500, freq="h")
    noise = np.random.default_rng(0).normal(scale=0.1, size=500)
    y = pd.Series(index.hour / 8 + noise, index=index)  # a ramp: four rows do not show when it will fall back
    settings = {"context_length": 4, "horizon": 2, "max_epochs": 20, "patience": None, "learning_rate": 3e-2}

    def error(calendar):
        test = fit(SAMoVARForecaster, y[:400], calendar=calendar, **settings).backtest(y[400:])
        return float(((test.forecast - test.actual) ** 2).mean())

    assert error(["hour"]) < 0.3 * error(None)


@pytest.mark.parametrize("cls", [AutoformerForecaster, SAMoVARForecaster])
def test_every_way_to_forecast_reads_the_calendar_of_its_own_rows(cls, tmp_path):
    y = waves(200)
    forecaster = cls(**{k: v for k, v in TINY.items() if k != "n_layers"}, calendar="auto").fit(y[:160])
    assert forecaster.calendar_ == ["hour", "dayofweek", "day", "dayofyear"]
    forecast = forecaster.predict(y[:180])
    backtest = forecaster.backtest(y, start=y.index[180]).isel(cutoff=0)
    np.testing.assert_allclose(forecast, backtest.forecast, rtol=1e-5)
    shifted = y[:180].set_axis(y.index[:180] + pd.Timedelta("6h"))
    assert not np.allclose(forecaster.predict(shifted), forecast, rtol=1e-6)
    forecaster.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert loaded.calendar_ == forecaster.calendar_
    pd.testing.assert_frame_equal(loaded.predict(), forecaster.predict())
    moved = forecaster.update(y[160:180], retrain=False).predict()
    np.testing.assert_allclose(moved, forecast, rtol=1e-5)
    assert np.isfinite(forecaster.update(y[180:]).predict(horizon=20)).all(axis=None)


def test_an_integer_index_trains_without_a_calendar():
    y = waves().reset_index(drop=True)
    forecaster = AutoformerForecaster(**{k: v for k, v in TINY.items() if k != "n_layers"}).fit(y)
    assert forecaster.calendar_ == []
    assert forecaster.predict().index.tolist() == list(range(160, 168))
