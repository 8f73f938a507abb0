"""NaN stands for what was not observed, in y and in the past of X."""

import copy

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.model_evaluation import evaluate
from sktime.performance_metrics.forecasting import MeanSquaredError
from sktime.split import ExpandingWindowSplitter

from samovar_sktime import SAMoVARForecaster, all_forecasters, from_core
from tests.adapters.test_sktime_forecasting import SETTINGS
from tests.conftest import narrow_intervals, suited

SINE = SETTINGS | {
    "context_length": 48, "horizon": 12, "max_steps": 250, "max_epochs": 40, "learning_rate": 1e-2, "batch_size": 32,
}  # fmt: skip
N_TRAIN = 400


def sine(n_rows=460):
    time = np.arange(n_rows)
    values = {"a": 10 + np.sin(2 * np.pi * time / 24), "b": np.cos(2 * np.pi * time / 24)}
    return pd.DataFrame(values, index=pd.date_range("2024-01-01", periods=n_rows, freq="h", name="time"))


def with_gaps(frame, share, seed=0):
    gone = np.random.default_rng(seed).random(frame.shape) < share
    return frame.mask(gone)


def squared_error(forecast, actual):
    return float(((forecast - actual.loc[forecast.index]) ** 2).to_numpy().mean())


@narrow_intervals
@pytest.mark.parametrize("sktime_class", [cls for _, cls in all_forecasters()], ids=lambda cls: cls.__name__)
def test_forecasts_are_finite(sktime_class):
    y = with_gaps(sine(80), 0.3)
    y.iloc[0] = y.iloc[-1] = np.nan  # at both ends
    y.iloc[:20, 1] = np.nan  # a series that starts later
    X = with_gaps(pd.DataFrame({"x": np.arange(90.0)}, index=sine(90).index), 0.3).fillna({"x": 0.0}, limit=1)
    X.iloc[80:] = 1.0
    settings = suited(SETTINGS, sktime_class)
    for known in (None, X):
        forecaster = sktime_class(**settings).fit(y, None if known is None else known.iloc[:80])
        assert np.isfinite(forecaster.predict(fh=[-79, -30, 0, 1, 9], X=known)).all(axis=None)
        assert np.isfinite(forecaster.predict_quantiles(fh=[-79, 0, 1, 9], X=known)).all(axis=None)
        forecaster.update(y.iloc[60:] * 1.1, X=known, update_params=True)
        assert np.isfinite(forecaster.predict(fh=[1], X=known)).all(axis=None)


def test_gaps_cost_little_on_a_clean_sine():
    y = sine()
    errors = {}
    for share, n_seeds in ((0.0, 1), (0.2, 3)):
        history = with_gaps(y.iloc[:N_TRAIN], share)
        forecasters = [SAMoVARForecaster(**SINE | {"random_state": seed}).fit(history) for seed in range(n_seeds)]
        errors[share] = np.mean([squared_error(one.predict(fh=range(1, 13)), y) for one in forecasters])
    assert errors[0.0] < 0.01
    assert errors[0.2] < 0.05  # of a variance of 0.5; with one seed it is anything from .015 to .1


def test_gaps_in_the_history_alone():
    y = sine()
    forecaster = SAMoVARForecaster(**SINE).fit(y.iloc[:360])
    complete = copy.deepcopy(forecaster).update(y.iloc[360:N_TRAIN], update_params=False)
    forecaster.update(with_gaps(y.iloc[360:N_TRAIN], 0.15, seed=1), update_params=False)
    fh = range(1, 13)
    assert squared_error(forecaster.predict(fh), complete.predict(fh)) < 0.05


def test_gaps_are_not_zeros(y):
    """A forecaster that filled them up with a number would forecast otherwise for another number."""
    history = with_gaps(y.iloc[:100], 0.2)
    forecaster = SAMoVARForecaster(**SETTINGS).fit(history)
    for number in (0.0, 1e6):
        filled = SAMoVARForecaster(**SETTINGS).fit(history.fillna(number))
        assert not np.allclose(forecaster.predict([1]), filled.predict([1]), rtol=1e-3)


def test_a_row_without_values_is_that_of_a_series_that_starts_later(y):
    """Rows before the first value say nothing, where a panel fills up short series in the same way."""
    panel = pd.concat({"a": y.iloc[:60], "b": y.iloc[40:60]}, names=["series"])
    core = SAMoVARForecaster(**SETTINGS, scaler="none").fit(panel).forecaster_
    late = y.iloc[:60].copy()
    late.iloc[:55] = np.nan
    same = pd.concat({"a": late, "b": y.iloc[55:60]}, names=["series"])
    forecast = from_core(core).fit(same).predict([1, 2, 5])
    np.testing.assert_allclose(forecast.loc["a"], forecast.loc["b"], rtol=1e-5)


def test_evaluate_of_a_series_with_gaps(y):
    cv = ExpandingWindowSplitter(fh=[1, 2], initial_window=100, step_length=20)
    history = y.copy()
    history.iloc[50:60] = history.iloc[90:95, :2] = np.nan
    results = evaluate(SAMoVARForecaster(**SETTINGS), cv, history, scoring=MeanSquaredError(), error_score="raise")
    assert np.isfinite(results["test_MeanSquaredError"]).all()


def test_a_covariate_must_be_known_in_the_rows_to_forecast(y):
    X = pd.DataFrame({"x": np.arange(160.0)}, index=y.index)
    X.iloc[[3, 50]] = np.nan
    forecaster = SAMoVARForecaster(**SETTINGS).fit(y.iloc[:100], X.iloc[:100])
    X.iloc[102] = np.nan
    with pytest.raises(ValueError, match=f"X column 'x' has no value at {y.index[102]}"):
        forecaster.predict(fh=[1, 4], X=X)


def test_a_series_without_any_value_is_named(y):
    empty = y.iloc[:100].copy()
    empty["s1"] = np.nan
    with pytest.raises(ValueError, match="column 's1' has no value"):
        SAMoVARForecaster(**SETTINGS).fit(empty)
