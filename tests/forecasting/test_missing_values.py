"""Gaps in the data of a forecaster: history, targets, covariates, and what is measured against them."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.evaluation import evaluate, mae, mase, mse, seasonal_naive_backtest
from tests.conftest import TINY, waves

# Some windows of these series have an outage of a target as long as their context.
pytestmark = pytest.mark.filterwarnings("ignore:.*its last known level stands in:UserWarning")


def gappy(n_rows=160, seed=0):
    """A fifth of the values gone, a block of a day, and a series that starts a day late."""
    y = waves(n_rows, seed=seed)
    values = y.mask(np.random.default_rng(seed).random(y.shape) < 0.2)
    values.iloc[60:90] = np.nan
    values.iloc[:24, 1] = np.nan
    return values


def pushes(n_rows=200):
    return pd.DataFrame({"push": np.random.default_rng(0).normal(size=n_rows)}, index=waves(n_rows).index)


@pytest.fixture(scope="module")
def trained():
    return SAMoVARForecaster(**TINY).fit(gappy())


@pytest.fixture(scope="module")
def trained_with_x():
    X = pushes()
    X.iloc[10:20] = np.nan
    return SAMoVARForecaster(**TINY).fit(gappy(), X[:160])


@pytest.mark.parametrize("options", [{}, {"quantiles": (0.1, 0.5, 0.9)}, {"log1p": True, "scaler": "robust"}])
def test_every_model_trains_and_forecasts_with_gaps(forecaster_class, tiny, options):
    y, X = gappy(), pushes()
    X.iloc[5:9] = np.nan
    forecaster = forecaster_class(**tiny, **options).fit(y, X[:160])
    summary = forecaster.training_summary_
    assert np.isfinite([summary.training_loss, summary.validation_loss]).all()
    for weight in forecaster.network_.state_dict().values():
        assert torch.isfinite(weight).all()
    assert np.isfinite(forecaster.predict(X=X, horizon=12)).all(axis=None)
    assert np.isfinite(forecaster.predict_interval(X=X)).all(axis=None)
    assert np.isfinite(forecaster.predict_in_sample(y, X)).all(axis=None)
    result = forecaster.backtest(y, X, quantiles=(0.2, 0.5))
    assert np.isfinite(result.forecast).all()
    assert np.isfinite(result["quantiles"]).all()
    assert result.actual.isnull().any()
    forecaster.update(gappy(170)[160:], X[:170])
    assert np.isfinite(forecaster.predict(X=X)).all(axis=None)


@pytest.mark.parametrize("settings", [{}, {"quantiles": (0.1, 0.5, 0.9)}])
def test_what_lies_under_a_gap_does_not_matter(tiny, settings):
    """Nullable columns keep a number under pd.NA."""
    y = gappy()
    forecasts = []
    for hidden in (0, 10**6):
        columns = {
            name: pd.array(np.where(column.isna(), hidden, column), dtype="Float64") for name, column in y.items()
        }
        for array, column in zip(columns.values(), y.to_numpy().T, strict=True):
            array._mask[:] = np.isnan(column)
        forecasts.append(SAMoVARForecaster(**tiny, **settings).fit(pd.DataFrame(columns, index=y.index)).predict())
    expected = SAMoVARForecaster(**tiny, **settings).fit(y).predict()
    for forecast in forecasts:
        pd.testing.assert_frame_equal(forecast, expected)


def test_nullable_integers(tiny):
    y = waves(160).round().astype("Int64")
    y.iloc[3:7, 0] = pd.NA
    plain = y.astype(float)
    assert plain.iloc[3:7, 0].isna().all()
    assert np.array_equal(SAMoVARForecaster(**tiny).fit(y).predict(), SAMoVARForecaster(**tiny).fit(plain).predict())


def test_windows_without_a_context_or_a_future_are_left_out(tiny, y):
    y = y[["s0"]].copy()
    y.iloc[40:80] = np.nan
    n_training, context, horizon = 128, 24, 8
    observed = y["s0"].notna().to_numpy()
    expected = sum(
        observed[start : start + context].any() and observed[start + context : start + context + horizon].any()
        for start in range(n_training - context - horizon + 1)
    )
    assert expected < n_training - context - horizon + 1
    assert SAMoVARForecaster(**tiny).fit(y).training_summary_.n_windows == expected


def test_scaling_is_by_what_was_observed(trained):
    training = gappy()[:128]
    np.testing.assert_allclose(trained.scaler_.center, training.mean())
    np.testing.assert_allclose(trained.scaler_.scale, training.std(ddof=0))


def test_gaps_in_the_context_change_its_forecast_only(trained):
    y = waves()
    with_gap = y.copy()
    with_gap.iloc[120:130] = np.nan
    assert not np.allclose(trained.predict(with_gap[:140]), trained.predict(y[:140]))
    assert np.array_equal(trained.predict(with_gap), trained.predict(y))  # its context begins at row 136
    assert np.array_equal(trained.predict(with_gap[:120]), trained.predict(y[:120]))


def test_forecasts_with_few_values_left(trained):
    y = waves()
    y.iloc[-24:] = np.nan
    with pytest.raises(ValueError, match=r"y column 's0' has no value in rows 2024-01-06 16:00:00 to 2024-01-07 15"):
        trained.predict(y)
    y.iloc[-20] = waves().iloc[-20]
    forecast = trained.predict(y, horizon=30)
    assert np.isfinite(forecast).all(axis=None)
    assert np.isfinite(trained.predict_quantiles(y=y, horizon=30)).all(axis=None)


class TestOutage:
    """One target without a value in the whole context: the others are forecast, and it stays at its last level."""

    @pytest.fixture
    def outage(self):
        y = waves()
        y.iloc[-40:, 1] = np.nan
        return y

    def test_points(self, trained, outage):
        with pytest.warns(UserWarning, match="y column 's1' has no value in the 24 rows before the forecast: its last"):
            forecast = trained.predict(outage, horizon=30)
        np.testing.assert_allclose(forecast["s1"], outage["s1"].iloc[-41], rtol=1e-6)
        assert np.isfinite(forecast).all(axis=None)
        assert (forecast[["s0", "s2"]].std() > 0).all()

    @pytest.mark.parametrize("quantiles", [None, (0.1, 0.5, 0.9)])
    def test_intervals_are_as_wide_as_the_series(self, tiny, outage, quantiles):
        y = waves()
        trained = SAMoVARForecaster(**tiny, quantiles=quantiles).fit(y)
        with pytest.warns(UserWarning, match="column 's1' has no value"):
            wide = trained.predict_interval(0.8, outage)["s1"]
        assert (wide["lower"] < outage["s1"].iloc[-41]).all()
        assert (wide["upper"] > outage["s1"].iloc[-41]).all()
        spread = (wide["upper"] - wide["lower"]).to_numpy()
        # Two rows drawn from waves of this size differ by less in four of five cases.
        distances = np.abs(np.subtract.outer(y["s1"].to_numpy(), y["s1"].to_numpy())).ravel()
        assert (spread > 1.6 * np.quantile(distances, 0.8)).all()
        assert (spread < 10 * np.ptp(y["s1"])).all()

    def test_backtests_and_scores(self, trained, outage):
        with pytest.warns(
            UserWarning, match="column 's1' has no value in the 24 rows before the forecast 9 of 129 times"
        ):
            result = trained.backtest(outage)
        last = result.forecast.sel(series="s1")[-9:]
        np.testing.assert_allclose(last, outage["s1"].iloc[-41], rtol=1e-6)
        moved = copy.deepcopy(trained).update(outage.iloc[-30:], retrain=False)
        with pytest.warns(UserWarning, match="column 's1' has no value"):
            error = moved.score(waves(170)[160:])
        with pytest.warns(UserWarning, match="column 's1' has no value"):
            forecast = moved.predict()
        assert np.isfinite(error)
        assert np.isfinite(forecast).all(axis=None)

    def test_without_a_known_level_it_is_that_of_training(self, trained):
        y = waves().iloc[-24:].copy()
        y["s1"] = np.nan
        with pytest.warns(UserWarning, match="column 's1' has no value"):
            forecast = trained.predict(y)
        np.testing.assert_allclose(forecast["s1"], trained.scaler_.center[1], rtol=1e-6)


@pytest.mark.parametrize("targets", [None, ["s0"]])
def test_a_target_without_a_value_is_an_error_a_covariate_is_not(tiny, y, targets):
    y = y.assign(s1=np.nan)
    forecaster = SAMoVARForecaster(**tiny, targets=targets)
    if targets is None:
        with pytest.raises(ValueError, match="y column 's1' has no value in rows 2024-01-01 00:00:00 to 2024-01-06 07"):
            forecaster.fit(y)
    else:
        assert np.isfinite(forecaster.fit(y).predict()).all(axis=None)


def test_values_in_held_out_rows_alone_are_not_enough(tiny, y):
    y.iloc[:128, 2] = np.nan
    with pytest.raises(ValueError, match="y column 's2' has no value in rows"):
        SAMoVARForecaster(**tiny).fit(y)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused_everywhere(trained, trained_with_x, tiny, value):
    y, X = gappy(), pushes()
    y.iloc[150, 1], X.iloc[150, 0] = value, value
    message = rf"column 's1' is {value} at 2024-01-07 06:00:00 \(1 such values in all\); replace them by NaN"
    for use in (SAMoVARForecaster(**tiny).fit, trained.predict, trained.backtest, trained.predict_in_sample):
        with pytest.raises(ValueError, match=message):
            use(y)
    for use in (trained.update, trained.score):
        with pytest.raises(ValueError, match=message):
            use(y[150:])
    with pytest.raises(ValueError, match=f"X column 'push' is {value} at 2024-01-07 06:00:00"):
        trained_with_x.predict(gappy(), X)


def test_a_missing_covariate_counts_as_its_mean(trained_with_x):
    y, X = waves(), pushes()
    center = float(trained_with_x.known_scaler_.center[0])
    assert center == pytest.approx(float(pushes().iloc[[*range(10), *range(20, 128)]].mean().iloc[0]))
    missing, mean = X.copy(), X.copy()
    missing.iloc[140:150], mean.iloc[140:150] = np.nan, center
    missing.iloc[159], mean.iloc[159] = np.nan, center  # the last one before the forecast
    for horizon in (5, 8, 13):  # whole horizons and parts
        forecast = trained_with_x.predict(y, missing, horizon)
        np.testing.assert_allclose(forecast, trained_with_x.predict(y, mean, horizon), rtol=1e-6)
    assert not np.allclose(forecast, trained_with_x.predict(y, X, 13), rtol=1e-6)
    fitted, filled = (trained_with_x.predict_in_sample(y, one) for one in (missing, mean))
    np.testing.assert_allclose(fitted, filled, rtol=1e-6)


@pytest.mark.parametrize("horizon", [1, 5, 8, 12])
def test_covariates_must_be_known_in_the_rows_to_forecast(trained_with_x, horizon):
    X = pushes()
    X.iloc[160 + horizon - 1] = np.nan
    with pytest.raises(
        ValueError, match=rf"X column 'push' has no value at .* \(1 of the {horizon} rows to forecast\)"
    ):
        trained_with_x.predict(X=X, horizon=horizon)
    if horizon > 1:
        assert np.isfinite(trained_with_x.predict(X=X, horizon=horizon - 1)).all(axis=None)
    else:
        with pytest.raises(ValueError, match="has no value at 2024-01-07 16:00:00"):
            trained_with_x.score(waves(170)[160:], X)


def test_backtests_keep_gaps_in_the_actual_values(trained):
    y = gappy()
    result = trained.backtest(y)
    for position in (0, 50, 128):
        expected = y.iloc[24 + position : 32 + position]
        np.testing.assert_array_equal(result.actual[position], expected)
    complete = trained.backtest(waves())
    assert not complete.actual.isnull().any()


def test_scores_are_over_observed_values(trained):
    rows = waves(170)[160:].copy()
    rows.iloc[2:5, 1] = np.nan
    errors = (trained.predict(horizon=10) - rows) / trained.scaler_.scale
    assert errors.isna().sum().sum() == 3
    assert trained.score(rows) == pytest.approx(-np.nanmean(errors.to_numpy() ** 2), rel=1e-5)
    with pytest.raises(ValueError, match="y holds no value of a target"):
        trained.score(rows * np.nan)


def test_update_with_rows_that_were_not_observed(trained):
    rows = waves(170)[160:] * np.nan
    moved = copy.deepcopy(trained).update(rows, retrain=False)
    assert moved.predict().index[0] == rows.index[-1] + pd.Timedelta("1h")
    assert np.isfinite(moved.predict()).all(axis=None)
    updated = copy.deepcopy(trained).update(rows)  # windows whose targets are old and new ones
    assert updated.training_summary_.n_windows == 7
    long_gap = waves(190)[160:] * np.nan
    with pytest.raises(ValueError, match="column 's0' has no value in rows"):
        moved.update(long_gap, retrain=False).predict()


def measured(result):
    """Errors over what was observed, by hand: squared and absolute, for each series."""
    errors = (result.forecast - result.actual).values
    return [
        [np.mean([error**2 for error in one.ravel() if not np.isnan(error)]) for one in np.moveaxis(errors, 2, 0)],
        [np.mean([abs(error) for error in one.ravel() if not np.isnan(error)]) for one in np.moveaxis(errors, 2, 0)],
    ]


def test_errors_are_means_over_observed_values(trained):
    y = gappy()
    result = trained.backtest(y)
    squared, absolute = measured(result)
    np.testing.assert_allclose(mse(result), squared)
    np.testing.assert_allclose(mae(result), absolute)
    for number, name in enumerate(y):
        column = y[name].to_numpy()
        steps = [abs(a - b) for a, b in zip(column[24:], column[:-24], strict=True) if not np.isnan(a - b)]
        assert float(mase(result, y)[number]) == pytest.approx(absolute[number] / np.mean(steps))


def test_a_missing_forecast_shows_where_there_is_something_to_compare(trained):
    result = trained.backtest(gappy()).copy(deep=True)
    position = tuple(np.argwhere(result.actual.notnull().values)[0])
    result.forecast[position] = np.nan
    for measure in (mse, mae):
        assert measure(result).isnull().sum() == 1
    result.actual[:, :, 2] = np.nan  # nothing to compare
    assert np.isnan(mse(result)[2])


def test_the_seasonal_naive_forecast_goes_back_to_what_was_observed():
    y = pd.DataFrame({"a": [np.nan, 1, np.nan, 3, 4, np.nan, 6, 7, np.nan, 9, 10, 11]})
    result = seasonal_naive_backtest(y, horizon=4, season=3, cutoffs=[2, 5, 6, 7])
    # row % 3:   0    1    2        the season up to row 2 is (nan, 1, nan), the newest value 1
    # cutoff 5:  3    4    newest: 4; cutoff 6: the season (4, 4 for row 5, 6), and so on
    np.testing.assert_array_equal(
        result.forecast.values[..., 0], [[1, 1, 1, 1], [3, 4, 4, 3], [4, 6, 6, 4], [7, 6, 7, 7]]
    )
    np.testing.assert_array_equal(result.actual.values[0, :, 0], [3, 4, np.nan, 6])
    assert np.isfinite(mae(result)).all()
    later = pd.DataFrame({"a": [np.nan] * 6 + [1.0] * 6})
    early = seasonal_naive_backtest(later, horizon=2, season=3, cutoffs=[4, 6])
    assert early.forecast[0].isnull().all()  # nothing has been observed yet
    assert (early.forecast[1] == 1).all()


def test_a_season_never_looks_ahead():
    y = gappy()[["s0"]]
    cutoffs = y.index[[30, 70, 100]]
    before = seasonal_naive_backtest(y, 8, 24, cutoffs).forecast
    changed = y.copy()
    changed.iloc[101:] = 1e9
    np.testing.assert_array_equal(before, seasonal_naive_backtest(changed, 8, 24, cutoffs).forecast)


def test_evaluation_with_gaps(trained):
    evaluation = evaluate(trained, gappy(), 128)
    assert np.isfinite(evaluation.table.to_numpy()).all()
    np.testing.assert_array_equal(evaluation.naive.actual, evaluation.backtest.actual)
    assert set(evaluation.naive.coords) == {"cutoff", "step", "series"}  # and none of the name of the index
