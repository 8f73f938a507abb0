"""Models and baselines on one backtest: the errors are those of each by itself, and so are the tests."""

import numpy as np
import pandas as pd
import pytest

from samovar_forecast.evaluation import compare, diebold_mariano, mae, mase, seasonal_naive_backtest
from samovar_forecast.forecasters import LinTransForecaster, SAMformerForecaster
from tests.conftest import TINY, suited, waves

SETTINGS = TINY | {"context_length": 24, "horizon": 4, "max_steps": 3}


def models():
    return {
        "linear": LinTransForecaster(**SETTINGS),
        "former": SAMformerForecaster(**suited(SETTINGS, SAMformerForecaster) | {"context_length": 36}),
    }


def test_a_comparison_is_what_each_backtest_says():
    y = waves(160, 2)
    result = compare(models(), y, test_fraction=0.25)
    assert set(result.table.index) == {"linear", "former", "seasonal naive"}
    assert result.table["MASE"].is_monotonic_increasing
    start, training = y.index[120], y.iloc[:120]
    fitted = LinTransForecaster(**SETTINGS).fit(training)
    linear, naive = fitted.backtest(y, start=start), seasonal_naive_backtest(y, 4, 24, y.index[119:156])
    np.testing.assert_allclose(result.errors["linear"], mae(linear), rtol=1e-5)
    np.testing.assert_allclose(result.scaled_errors["seasonal naive"], mase(naive, training, season=24))
    assert result.table.loc["linear", "MASE"] == pytest.approx(
        float(mase(linear, training, season=24).mean()), rel=1e-5
    )
    ranks = result.scaled_errors.rank(axis=1)
    pd.testing.assert_series_equal(result.table["rank"], ranks.mean()[result.table.index], check_names=False)
    best = result.backtests[result.best][None]
    for name in {*result.table.index} - {result.best}:
        tested = diebold_mariano(result.backtests[name][None], best, loss="absolute")
        np.testing.assert_allclose(result.tests[name], tested["p_value"])
    assert np.isnan(result.table.loc[result.best, "p_value"])
    assert result.table["p_value"].drop(result.best).between(0, 1).all()


def test_the_joint_test_does_not_depend_on_units():
    y = waves(160, 2)
    one, other = (compare([LinTransForecaster(**SETTINGS)], data).table for data in (y, y * [1000.0, 1.0]))
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), other.drop(columns="seconds"), rtol=1e-3)


def test_a_panel_is_ranked_over_its_series():
    panel = {"a": waves(120, 1), "b": waves(100, 1, seed=1)}
    result = compare([LinTransForecaster(**SETTINGS), LinTransForecaster(**SETTINGS | {"random_state": 1})], panel)
    assert list(result.scaled_errors.index) == [("a", "s0"), ("b", "s0")]
    assert set(result.table.index) == {"LinTrans", "LinTrans 2", "seasonal naive"}
    assert result.table["p_value"].isna().all()


def test_statistical_baselines_see_nothing_after_their_cutoffs():
    pytest.importorskip("statsforecast")
    from samovar_forecast.evaluation.statistical_baselines import statistical_backtest

    y = waves(60, 1)
    y.iloc[45:47] = np.nan
    cutoffs = y.index[[44, 46, 50]]
    first = statistical_backtest(y, 4, 12, cutoffs, "AutoETS")
    later = y.copy()
    later.iloc[47:] += 100
    again = statistical_backtest(later, 4, 12, cutoffs, "AutoETS")
    np.testing.assert_array_equal(first["forecast"][:2], again["forecast"][:2])
    assert (first["forecast"][2] != again["forecast"][2]).all()


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({}, {}, "give at least one forecaster|there is only"),
        ({"a": LinTransForecaster(horizon=4)}, {"baselines": ["prophet"]}, "there is no baseline 'prophet'"),
        ({"a": LinTransForecaster(horizon=4), "b": LinTransForecaster(horizon=5)}, {}, "the same horizon"),
        ({"seasonal naive": LinTransForecaster(horizon=4)}, {}, "models and baselines"),
        ({"a": LinTransForecaster(horizon=4)}, {"test_fraction": 0.01}, "1 of 160 rows to test on"),
    ],
)
def test_what_cannot_be_compared_is_named(given, options, message):
    with pytest.raises(ValueError, match=message):
        compare(given, waves(160, 1), **options)
