"""Accuracy of a backtest beside the seasonal naive forecast, and that forecast against itself, shifted."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.exceptions import NotFittedError

from samovar_forecast.evaluation import accuracy_table, evaluate, mae, mase, mse, season_length, seasonal_naive_backtest
from samovar_forecast.evaluation.baselines import NAIVE, cutoff_rows
from samovar_forecast.forecasters import SAMoVARForecaster

DIMS = ("cutoff", "step", "series")


@pytest.fixture
def frame():
    values = np.random.default_rng(0).normal(size=(60, 2)).cumsum(axis=0)
    return pd.DataFrame(values, index=pd.date_range("2024-01-01", periods=60, freq="D"), columns=["a", "b"])


def reference_naive(values, row, horizon, season):
    """Forecast by walking step by step; row is the number of the last observed row."""
    history = list(values[: row + 1])
    for _ in range(horizon):
        history.append(history[-season])
    return np.array(history[row + 1 :])


@pytest.mark.parametrize(("horizon", "season"), [(1, 1), (3, 7), (7, 7), (17, 7), (5, 1)])
def test_naive_forecast_walks_back_one_season(frame, horizon, season):
    rows = np.array([10, 11, 30, 59 - horizon])
    naive = seasonal_naive_backtest(frame, horizon, season, frame.index[rows])
    assert naive["forecast"].dims == DIMS
    for position, row in enumerate(rows):
        expected = reference_naive(frame.to_numpy(), row, horizon, season)
        np.testing.assert_array_equal(naive["forecast"].values[position], expected)
        np.testing.assert_array_equal(naive["actual"].values[position], frame.to_numpy()[row + 1 : row + 1 + horizon])
    assert list(naive["cutoff"].values) == list(frame.index[rows].to_numpy())


def test_errors_are_means_over_cutoffs_and_steps(frame):
    rng = np.random.default_rng(1)
    forecast, actual = rng.normal(size=(2, 4, 3, 2))
    backtest = xr.Dataset({"forecast": (DIMS, forecast), "actual": (DIMS, actual)}, coords={"series": ["a", "b"]})
    values, season = frame.to_numpy(), 7
    for number, name in enumerate(["a", "b"]):
        errors = [forecast[i, j, number] - actual[i, j, number] for i in range(4) for j in range(3)]
        seasonal = [abs(values[t, number] - values[t - season, number]) for t in range(season, len(values))]
        absolute = sum(map(abs, errors)) / len(errors)
        assert float(mse(backtest).sel(series=name)) == pytest.approx(sum(e**2 for e in errors) / len(errors))
        assert float(mae(backtest).sel(series=name)) == pytest.approx(absolute)
        scaled = absolute / (sum(seasonal) / len(seasonal))
        assert float(mase(backtest, frame).sel(series=name)) == pytest.approx(scaled)


def test_mase_follows_names_not_order(frame):
    backtest = xr.Dataset(
        {"forecast": (DIMS, np.ones((1, 1, 2))), "actual": (DIMS, np.zeros((1, 1, 2)))}, coords={"series": ["b", "a"]}
    )
    swapped = mase(backtest, frame[["a", "b"]], season=1)
    xr.testing.assert_allclose(swapped, mase(backtest, frame[["b", "a"]], season=1))
    assert float(swapped.sel(series="a")) == pytest.approx(1 / frame["a"].diff().abs().mean())


def test_one_step_naive_has_a_mase_of_one_on_its_own_training_rows(frame):
    naive = seasonal_naive_backtest(frame, 1, 7, frame.index[6:-1])
    np.testing.assert_allclose(mase(naive, frame, season=7), 1)


def test_series_without_seasonal_error_has_no_mase(frame):
    flat = frame.assign(b=3.0)
    naive = seasonal_naive_backtest(flat, 2, 7, flat.index[20:30])
    assert np.isnan(mase(naive, flat)).values.tolist() == [False, True]


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [("h", 24), ("15min", 96), ("10min", 144), ("5min", 288), ("30min", 48), ("2h", 12), ("D", 7), ("B", 5), ("W", 52),
     ("W-TUE", 52), ("MS", 12), ("ME", 12), ("QS", 4), ("QE-NOV", 4), ("YS", 1), ("s", 1), ("7h", 1), ("2D", 1),
     ("24h", 7), ("1440min", 7), ("7D", 52), ("14D", 26), ("2W", 26), ("10D", 1), ("90s", 960), ("2MS", 6), ("5MS", 1),
     ("BMS", 12), ("BQE", 4), ("C", 5), ("SMS", 24), ("WOM-3WED", 12), ("2B", 1), ("bh", 1), ("ms", 1)],
)  # fmt: skip
def test_season_of_a_frequency(frequency, expected):
    assert season_length(pd.tseries.frequencies.to_offset(frequency)) == expected


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [(pd.DateOffset(months=1), 12), (pd.DateOffset(months=1, day=15), 12), (pd.DateOffset(months=3), 4),
     (pd.DateOffset(years=1), 1), (pd.DateOffset(weeks=1), 52), (pd.DateOffset(days=1), 7), (pd.DateOffset(1), 7),
     (pd.DateOffset(hours=1), 24), (pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat"), 6),
     (pd.offsets.LastWeekOfMonth(weekday=2), 12), (pd.offsets.Easter(), 1)],
)  # fmt: skip
def test_season_of_an_offset_without_a_short_name(frequency, expected):
    assert season_length(frequency) == expected


@pytest.mark.parametrize("frequency", ["h", "D", "M", "Q"])
def test_season_of_periods(frequency):
    assert season_length(pd.period_range("2024-01", periods=3, freq=frequency).freq) == {
        "h": 24, "D": 7, "M": 12, "Q": 4,
    }[frequency]  # fmt: skip


def test_cutoffs_may_be_labels_or_a_backtest_coordinate(frame):
    berlin = frame.index.tz_localize("Europe/Berlin")
    assert cutoff_rows(berlin, berlin[[3, 9]]).tolist() == [3, 9]
    assert cutoff_rows(berlin, xr.DataArray(frame.index[[3, 9]].as_unit("ns"))).tolist() == [3, 9]
    periods = frame.index.to_period("D")
    assert cutoff_rows(periods, frame.index[[3, 9]]).tolist() == [3, 9]
    assert cutoff_rows(periods, periods[[3, 9]]).tolist() == [3, 9]
    assert cutoff_rows(pd.RangeIndex(0, 20, 2), np.array([4, 6])).tolist() == [2, 3]


AUTUMN = pd.date_range("2024-10-26", periods=48, freq="h", tz="Europe/Berlin")  # rows 26 and 27 are both at 02:00


@pytest.mark.parametrize(
    "rows",
    [[5], range(20, 40), range(26, 48), range(28), range(2, 48, 6), range(3, 48, 6), [25, 26, 27], [26, 27, 28]],
)
def test_cutoffs_of_a_wall_clock_that_shows_an_hour_twice_are_found(rows):
    assert cutoff_rows(AUTUMN, AUTUMN.tz_localize(None)[list(rows)]).tolist() == list(rows)


@pytest.mark.parametrize("rows", [[26], [27], [25, 27], [3, 26, 30]])
def test_wall_clock_that_may_mean_two_rows_is_refused(rows):
    with pytest.raises(ValueError, match="2024-10-27 02:00:00 twice"):
        cutoff_rows(AUTUMN, AUTUMN.tz_localize(None)[rows])
    assert cutoff_rows(AUTUMN, AUTUMN[rows]).tolist() == rows


@pytest.mark.parametrize(
    ("rows", "season", "message"),
    [([5], 7, "season of 7"), ([58], 7, "horizon of 2"), ([], 7, "none"), ([20], 0, "at least 1")],
)
def test_naive_refuses_cutoffs_without_season_or_horizon(frame, rows, season, message):
    with pytest.raises(ValueError, match=message):
        seasonal_naive_backtest(frame, 2, season, frame.index[rows])


def test_unknown_cutoff_is_named(frame):
    with pytest.raises(ValueError, match="1999-01-01"):
        seasonal_naive_backtest(frame, 2, 7, pd.DatetimeIndex(["1999-01-01"]))


def test_mase_names_a_missing_series_and_a_short_training(frame):
    naive = seasonal_naive_backtest(frame, 2, 7, frame.index[20:30])
    with pytest.raises(ValueError, match=r"lacks the series \['b'\]"):
        mase(naive, frame[["a"]])
    with pytest.raises(ValueError, match="season must be between 1 and"):
        mase(naive, frame.iloc[:7])


def test_table_has_a_row_for_each_series_and_the_mean(frame):
    naive = seasonal_naive_backtest(frame, 2, 7, frame.index[20:30])
    better = naive.assign(forecast=(naive["forecast"] + naive["actual"]) / 2).assign_attrs(model="Half")
    table = accuracy_table(better, naive, frame.iloc[:20])
    assert table.index.tolist() == ["a", "b", "mean"]
    assert table.columns.tolist() == [(name, measure) for name in ("Half", NAIVE) for measure in ("MSE", "MAE", "MASE")]
    np.testing.assert_allclose(table["Half", "MSE"] * 4, table[NAIVE, "MSE"])
    np.testing.assert_allclose(table["Half", "MASE"] * 2, table[NAIVE, "MASE"])
    np.testing.assert_allclose(table.loc["mean"], table.loc[["a", "b"]].mean())


def test_table_refuses_backtests_at_other_cutoffs(frame):
    naive = seasonal_naive_backtest(frame, 2, 7, frame.index[20:30])
    with pytest.raises(ValueError, match="same cutoffs, steps and series"):
        accuracy_table(naive, naive.isel(cutoff=slice(1, None)), frame)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_evaluation_covers_the_same_cutoffs(tiny, y, stride, zone):
    y = y.set_axis(pd.date_range("2024-10-24", periods=len(y), freq="h", tz=zone))  # the clock goes back on the 27th
    forecaster = SAMoVARForecaster(**tiny | {"targets": ["s1", "s0"]}).fit(y.iloc[:120])
    result = evaluate(forecaster, y, 120, stride)
    assert result.season == 24
    assert result.backtest.sizes["cutoff"] == -(-(160 - 120 - tiny["horizon"] + 1) // stride)
    np.testing.assert_allclose(result.backtest["actual"], result.naive["actual"])
    assert result.table.index.tolist() == ["s1", "s0", "mean"]
    written = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert written["series"]["s0"][NAIVE]["MAE"] == pytest.approx(result.table.loc["s0", (NAIVE, "MAE")])
    assert (written["horizon"], written["season"]) == (tiny["horizon"], 24)


def test_evaluation_of_a_series_without_scale_is_valid_json(tiny, y):
    y = y.assign(s1=1.0)
    result = evaluate(SAMoVARForecaster(**tiny).fit(y.iloc[:120]), y, 120)
    written = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert written["series"]["s1"][NAIVE]["MASE"] is None
    assert written["mean"][NAIVE]["MASE"] is None


@pytest.mark.parametrize("start", [0, 160])
def test_evaluation_needs_training_and_test_rows(tiny, y, start):
    with pytest.raises(ValueError, match="test_start"):
        evaluate(SAMoVARForecaster(**tiny).fit(y), y, start)


@pytest.mark.parametrize("kind", ["dates", "zone", "periods", "integers"])
def test_evaluation_may_begin_at_a_label(tiny, y, kind):
    index = {
        "dates": y.index, "zone": y.index.tz_localize("Asia/Tokyo"), "periods": y.index.to_period("h"),
        "integers": pd.RangeIndex(1000, 1000 + len(y)),
    }[kind]  # fmt: skip
    y = y.set_axis(index)
    forecaster = SAMoVARForecaster(**tiny).fit(y.iloc[:120])
    expected = evaluate(forecaster, y, 120)
    if kind == "integers":  # numbers are those of rows
        with pytest.raises(ValueError, match="test_start must be a row between 1 and 159, got 1120"):
            evaluate(forecaster, y, y.index[120])
        return
    labels = [y.index[120], np.int64(120), str(y.index[120])] + (
        [np.datetime64(y.index[120])] if kind == "dates" else []
    )
    for label in labels:
        pd.testing.assert_frame_equal(evaluate(forecaster, y, label).table, expected.table)
    with pytest.raises(TypeError, match="must be a row number, or a label such as"):
        evaluate(forecaster, y, 120.5)
    with pytest.raises(TypeError, match="must be a row number, or a label such as"):
        evaluate(forecaster, y, "Monday")


def test_evaluation_of_an_unfitted_forecaster(tiny, y):
    with pytest.raises(NotFittedError):
        evaluate(SAMoVARForecaster(**tiny), y, 120)
