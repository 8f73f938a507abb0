"""Data that are wrong in one way: refused by name, or forecast rightly, by the core and by its twins in the two hosts.

`studies/faults` holds the long list; here are the cases that need a closer look than its rules.
"""

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries

from samovar_darts import SAMoVARModel, series_from_frame
from samovar_forecast import SAMoVARForecaster
from samovar_sktime import SAMoVARForecaster as SktimeForecaster
from tests.conftest import TINY, series_of_panel, waves

QUICK = TINY | {"max_steps": 2, "segment_length": 8}


def fit(y, X=None, **settings):
    return SAMoVARForecaster(**(QUICK | settings)).fit(y, X)


def darts_model(**settings):
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "max_steps": 1}
    sizes = {"d_model": 8, "n_heads": 2, "n_layers": 1}
    return SAMoVARModel(24, 8, **(sizes | settings), n_epochs=1, random_state=0, pl_trainer_kwargs=quiet)


CLOCKS = {
    "into winter": pd.date_range("2024-10-20 12:00", periods=168, freq="h", tz="Europe/Berlin"),
    "into summer": pd.date_range("2024-03-24 12:00", periods=168, freq="h", tz="Europe/Berlin"),
    "days into summer": pd.date_range("2023-10-20", periods=168, freq="D", tz="Europe/Berlin"),
}


@pytest.mark.parametrize("change", CLOCKS)
@pytest.mark.parametrize("n_seen", [150, 160])
def test_clocks_that_change_are_followed(change, n_seen):
    index = pd.DatetimeIndex(list(CLOCKS[change]))  # without its freq, as read from a file
    y = waves(168, index=index)
    forecaster = fit(y.iloc[:n_seen])
    assert list(forecaster.predict().index) == list(index[n_seen : n_seen + 8])
    forecaster.update(y.iloc[n_seen : n_seen + 4], retrain=False)
    assert list(forecaster.predict(horizon=3).index) == list(index[n_seen + 4 : n_seen + 7])
    plain = fit(waves(168, index=pd.RangeIndex(168)).iloc[:n_seen])
    np.testing.assert_array_equal(fit(y.iloc[:n_seen]).predict(), plain.predict())


def test_wall_clock_time_without_a_zone_gets_a_hint():
    index = CLOCKS["into winter"].tz_localize(None)
    with pytest.raises(ValueError, match=r"2024-10-27 02:00:00 more than once.*tz_localize\('Europe/Berlin'"):
        fit(waves(168, index=index))
    repaired = waves(168, index=index.tz_localize("Europe/Berlin", ambiguous="infer"))
    assert fit(repaired).predict().index[0] == CLOCKS["into winter"][-1] + pd.Timedelta("1h")


def test_new_rows_take_the_time_zone_of_the_old_ones(y):
    y = y.tz_localize("UTC")
    forecaster, elsewhere = fit(y.iloc[:150]), y.iloc[150:].tz_convert("Asia/Tokyo")
    expected = fit(y.iloc[:150]).update(y.iloc[150:], retrain=False).predict()
    assert forecaster.score(elsewhere) == forecaster.score(y.iloc[150:])
    pd.testing.assert_frame_equal(forecaster.update(elsewhere, retrain=False).predict(), expected)


def test_covariates_take_the_time_zone_of_their_series(y):
    y = y.tz_localize("UTC")
    X = pd.DataFrame({"push": np.arange(168) % 5}, index=pd.date_range(y.index[0], periods=168, freq="h"))
    expected = fit(y, X, calendar="auto").predict(X=X.iloc[160:])
    forecast = fit(y, X.tz_convert("Asia/Tokyo"), calendar="auto").predict(X=X.iloc[160:].tz_convert("Asia/Tokyo"))
    pd.testing.assert_frame_equal(forecast, expected)  # the hours of the calendar are those of y


AXES = {
    "with a zone": (lambda index: index.tz_localize("UTC"), "dates with a time zone"),
    "periods": (lambda index: index.to_period("h"), "periods"),
    "integers": (lambda index: pd.RangeIndex(len(index)), "integers"),
}


@pytest.mark.parametrize("axis", AXES)
def test_another_kind_of_time_axis_is_named(axis, y):
    change, kind = AXES[axis]
    X = pd.DataFrame({"push": np.arange(160) % 5}, index=y.index)
    message = rf"X has an index of {kind}.* \(.*\), y one of dates without a time zone \(.*2024-01-01"
    with pytest.raises(ValueError, match=message):
        fit(y, X.set_axis(change(X.index)))
    forecaster, later = fit(y.iloc[:150]), y.iloc[150:]
    for use in (forecaster.update, forecaster.score):
        with pytest.raises(ValueError, match=f"y has an index of {kind}|y has a step of"):
            use(later.set_axis(change(later.index)))
    panel = series_of_panel()
    covariates = {key: frame[["s0"]] for key, frame in panel.items()}
    covariates["early"] = covariates["early"].set_axis(change(panel["early"].index))
    with pytest.raises(ValueError, match=f"X of series 'early' has an index of {kind}"):
        fit(panel, covariates)


@pytest.mark.parametrize("dtype", ["timestamp[us][pyarrow]", "timestamp[ns][pyarrow]"])
def test_dates_of_pyarrow_are_dates(dtype, y):
    forecast = fit(y.set_axis(pd.Index(y.index, dtype=dtype))).predict()
    assert isinstance(forecast.index, pd.DatetimeIndex)
    np.testing.assert_array_equal(forecast, fit(y).predict())
    in_sktime = SktimeForecaster(**QUICK).fit(y.set_axis(pd.Index(y.index, dtype=dtype)), fh=[1]).predict()
    assert in_sktime.index[0] == y.index[-1] + pd.Timedelta("1h")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (pd.Index(np.arange(160) + np.int64(2**63 - 162)), "the index cannot go on for 8 steps of 1 after"),
        (pd.Index(np.arange(160, dtype=np.uint64) + np.uint64(2**63)), "no 64-bit integer with a sign"),
        (pd.date_range(end="2262-04-11 22:00", periods=160, freq="h", unit="ns"), "the index cannot go on for 8 steps"),
    ],
    ids=["integers", "unsigned", "dates"],
)
def test_the_end_of_time_is_an_error(index, message):
    with pytest.raises(ValueError, match=message):
        fit(waves(160, index=index)).predict()


def test_an_index_of_small_integers_does_not_overflow():
    y = waves(160, index=pd.Index(np.arange(90, 250, dtype="uint8")))
    assert fit(y).predict().index.tolist() == list(range(250, 258))


def test_truth_values_of_pyarrow_are_numbers(y):
    flags = y["s1"] > 50
    expected = fit(y.assign(s1=flags.astype(float))).predict()
    pd.testing.assert_frame_equal(fit(y.assign(s1=flags.astype("bool[pyarrow]"))).predict(), expected)
    with pytest.raises(TypeError, match="column 's1' has dtype category"):
        fit(y.assign(s1=flags.astype("category")))


@pytest.mark.parametrize("scaler", ["standard", "robust"])
@pytest.mark.parametrize("size", [1e30, 1e-30, 1e200, 1e-300])
def test_values_of_any_size_are_scaled_before_they_are_rounded(y, scaler, size):
    forecaster, sized = fit(y, scaler=scaler), fit(y * size, scaler=scaler)
    np.testing.assert_allclose(sized.predict() / size, forecaster.predict(), rtol=1e-6)
    np.testing.assert_allclose(sized.predict_interval() / size, forecaster.predict_interval(), rtol=1e-5)


def test_a_column_that_hardly_moves_keeps_its_movement(y):
    noise = np.random.default_rng(0).normal(size=160)
    forecaster = fit(y.assign(s1=1e9 + 1e-6 * noise))
    assert forecaster.scaler_.scale[1] == pytest.approx(1e-6, rel=0.3)
    assert np.abs(forecaster.predict()["s1"] - 1e9).max() < 1e-5


def test_values_too_far_away_are_named(y):
    bad = y.copy()
    bad.iloc[150, 1] = 1e30
    message = rf"y column 's1' is 1e\+30 at {bad.index[150]}, more than 1e\+15 scales away"
    with pytest.raises(ValueError, match=message):
        fit(bad)
    forecaster = fit(y.iloc[:140])
    uses = (forecaster.predict, forecaster.backtest, forecaster.predict_in_sample, forecaster.predict_interval)
    for use in uses:
        with pytest.raises(ValueError, match=message):
            use(y=bad)
    for use in (forecaster.update, forecaster.score):
        with pytest.raises(ValueError, match=message):
            use(bad.iloc[140:])
    with pytest.raises(ValueError, match=f"y of series 'one' {message[2:]}"):
        forecaster.predict({"one": bad})
    X = pd.DataFrame({"push": np.where(np.arange(160) == 155, 1e200, np.arange(160) % 5)}, index=y.index)
    with pytest.raises(ValueError, match=rf"X column 'push' is 1e\+200 at {y.index[155]}"):
        fit(y, X)


def test_columns_too_small_for_an_unscaled_network_are_named(y):
    with pytest.raises(ValueError, match=r"y column 's1' has a standard deviation of .*e-32.*scaler='standard'"):
        fit(y.assign(s1=y["s1"] * 1e-32), scaler="none")
    with pytest.raises(ValueError, match=r"series\[0\] column 's1' has a standard deviation of .*Scaler"):
        darts_model().fit(series_from_frame(y.assign(s1=y["s1"] * 1e-32)))


def test_names_in_two_levels_reach_every_result(y):
    y = y.set_axis(pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "x")]), axis=1)
    forecaster = fit(y)
    assert list(forecaster.predict().columns) == list(y.columns)
    result = forecaster.backtest(y)
    assert result.series.values.tolist() == list(y.columns)
    assert result.forecast.dims == ("cutoff", "step", "series")


def test_the_cutoffs_of_a_backtest_can_be_selected_whatever_the_index_is_called(y):
    assert y.index.name == "time"
    result = fit(y).backtest(y)
    assert result.cutoff.dims == ("cutoff",)
    np.testing.assert_array_equal(result.forecast.sel(cutoff=y.index[100]), result.forecast[100 - 23])


@pytest.mark.parametrize("start", ["garbage", 100, pd.Timestamp("2024-01-03", tz="UTC")])
def test_a_start_that_is_no_label_is_named(y, start):
    with pytest.raises(TypeError, match=r"start=.* cannot be a label of y, whose index begins at"):
        fit(y).backtest(y, start=start)


@pytest.mark.parametrize("number", [np.int64, np.int32])
def test_hyperparameters_may_be_numbers_of_numpy(forecaster_class, tiny, y, number):
    counted = {"horizon", "context_length", "d_model", "n_heads", "n_layers", "max_epochs"}
    plain = tiny | {"max_epochs": 1, "batch_size": 16, "gradient_clip": 0.5}
    odd = {name: number(value) if name in counted | {"batch_size"} else value for name, value in plain.items()}
    odd["gradient_clip"] = np.float32(0.5)
    pd.testing.assert_frame_equal(forecaster_class(**odd).fit(y).predict(), forecaster_class(**plain).fit(y).predict())


WRONG = {
    "text": ({"d_model": "8"}, TypeError, "d_model must be an integer or None, got '8'"),
    "fraction": ({"max_epochs": 1.5}, TypeError, "max_epochs must be an integer, got 1.5"),
    "array": ({"batch_size": np.array([1, 2])}, TypeError, "batch_size must be an integer or None, got array"),
    "infinite": ({"weight_decay": float("inf")}, ValueError, "weight_decay must be a finite number, got inf"),
    "NaN": ({"dropout": float("nan")}, ValueError, "dropout must be a finite number, got nan"),
    "huge": ({"batch_size": 10**400}, ValueError, "batch_size must be at most 2147483647"),
    "huge fraction": ({"learning_rate": 10**400}, ValueError, "learning_rate must be a finite number"),
    "choice": ({"loss": np.array(["mse"])}, ValueError, r"loss must be one of \('mse', 'mae', 'huber'\)"),
    "missing": ({"schedule": pd.NA}, ValueError, "schedule must be one of"),
    "flag": ({"univariate": "yes"}, ValueError, r"univariate must be one of \(False, True\), got 'yes'"),
    "seed": ({"random_state": -1}, ValueError, r"random_state must be in \[0, 2\*\*32\), got -1"),
    "targets": ({"targets": 3}, TypeError, "targets must be a sequence of column names, got 3"),
    "calendar": ({"calendar": 3}, TypeError, "calendar must be a sequence of features, 'auto' or None, got 3"),
    "memory": ({"d_model": 10**6}, ValueError, "no memory for so large a network.*d_model=1000000"),
}


@pytest.mark.parametrize("case", WRONG)
def test_hyperparameters_of_wrong_types_are_named(y, case):
    wrong, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        fit(y, **wrong)


@pytest.mark.parametrize("wrong", [{"d_model": "8"}, {"dropout": float("inf")}, {"sharpness_rho": "small"}])
def test_darts_checks_hyperparameters_too(y, wrong):
    with pytest.raises((TypeError, ValueError), match=f"{next(iter(wrong))} must be"):
        darts_model(**wrong).fit(series_from_frame(y))
    with pytest.raises(TypeError, match="output_chunk_length must be an integer, got '8'"):
        SAMoVARModel(24, "8")
    with pytest.raises(ValueError, match="input_chunk_length must be at least 1, got 0"):
        SAMoVARModel(0, 8)


class TestSktime:
    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda y: y.iloc[::-1], "y is not sorted by time: 2024-01-07 14:00:00 comes after 2024-01-07 15:00"),
            (lambda y: y[["s0", "s0"]], r"y has duplicate column names: \['s0'\]"),
            (lambda y: y.set_axis(np.arange(160) / 2), "y has an index of type Index"),
            (lambda y: y.assign(s1="text"), "y column 's1' has dtype"),
        ],
    )
    def test_what_sktime_refuses_is_named(self, y, damage, message):
        with pytest.raises((ValueError, TypeError), match=message):
            SktimeForecaster(**QUICK).fit(damage(y), fh=[1])
        with pytest.raises((ValueError, TypeError), match=message.replace("y ", "X ", 1)):
            SktimeForecaster(**QUICK).fit(y[["s2"]], X=damage(y), fh=[1])

    def test_rows_of_another_time_zone_are_taken_in(self, y):
        y = y.tz_localize("UTC")
        one, other = (SktimeForecaster(**QUICK).fit(y.iloc[:150], fh=[1, 2]) for _ in range(2))
        one.update(y.iloc[150:], update_params=False)
        other.update(y.iloc[150:].tz_convert("Asia/Tokyo"), update_params=False)
        np.testing.assert_array_equal(one.predict(), other.predict())


class TestDarts:
    def test_series_of_frames_are_checked(self, y):
        with pytest.raises(ValueError, match="has the time zone Europe/Berlin in its index, and darts knows none"):
            series_from_frame(waves(168, index=CLOCKS["into winter"]))
        with pytest.raises(ValueError, match="y column 's1' is inf"):
            series_from_frame(y.assign(s1=np.inf))
        with pytest.raises(ValueError, match="column names that are the same as strings: '1'"):
            series_from_frame(y.set_axis([1, "1", 2], axis=1))
        by_month = waves(30, index=pd.period_range("2020-01", periods=30, freq="M"))
        assert series_from_frame(by_month).freq_str == "MS"
        assert series_from_frame(y) == TimeSeries.from_dataframe(y)

    def test_components_in_another_order_are_refused(self, y):
        model = darts_model().fit(series_from_frame(y))
        with pytest.raises(
            ValueError, match=r"series\[0\] has the components \['s2', 's0', 's1'\], the model was fitted"
        ):
            model.predict(8, series_from_frame(y[["s2", "s0", "s1"]]))
        with pytest.raises(ValueError, match=r"series\[0\] has a step of D, the model was fitted on <Hour>"):
            model.predict(8, series_from_frame(y.set_axis(pd.date_range("2024", periods=160))))
        single = darts_model().fit(series_from_frame(y[["s0"]]))
        assert len(single.predict(8, series_from_frame(y[["s1"]]))) == 8  # another series for a model of many

    def test_values_too_large_for_single_precision_are_named(self, y):
        large = series_from_frame(y * 1e30)
        assert np.isfinite(darts_model().fit(large).predict(8).values()).all()
        message = r"series\[0\]: component 's0' at 2024-01-01 00:00:00 is too large for float32 numbers"
        with pytest.raises(ValueError, match=message):
            darts_model().fit(large.astype(np.float32))
        with pytest.raises(ValueError, match="component 's1' has no value at all"):
            darts_model().fit(series_from_frame(y.assign(s1=np.nan)))

    def test_an_overwritten_model_is_whole(self, y, tmp_path):
        model = darts_model().fit(series_from_frame(y))
        for _ in range(2):
            model.save(str(tmp_path / "model"))
        assert sorted(file.name for file in tmp_path.iterdir()) == ["model", "model.ckpt", "model.sha256"]
        loaded = SAMoVARModel.load(str(tmp_path / "model"))
        np.testing.assert_array_equal(loaded.predict(8).values(), model.predict(8).values())
        with pytest.raises(ValueError, match="has the components"):
            loaded.predict(8, series_from_frame(y[["s2", "s0", "s1"]]))
