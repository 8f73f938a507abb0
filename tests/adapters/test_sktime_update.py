"""Taking in new rows: update, update_predict, evaluate and what else of sktime moves a cutoff."""

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.base import BaseForecaster
from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.performance_metrics.forecasting import MeanSquaredError
from sktime.split import CutoffSplitter, ExpandingWindowSplitter, SlidingWindowSplitter
from sktime.transformations.detrend import Detrender
from sktime.transformations.difference import Differencer

from samovar_sktime import SAMoVARForecaster
from tests.adapters.test_sktime_forecasting import N_TRAIN, SETTINGS, assert_same_weights
from tests.conftest import waves


@pytest.fixture
def forecaster(y):
    return SAMoVARForecaster(**SETTINGS).fit(y.iloc[:N_TRAIN])


@pytest.fixture(name="X")
def known_covariates(y):
    return pd.DataFrame({"x": np.random.default_rng(1).normal(size=len(y))}, index=y.index)


def test_update_moves_the_cutoff_and_keeps_the_weights(forecaster, y):
    core = SAMoVARForecaster.core_class(**SETTINGS).fit(y.iloc[:N_TRAIN])
    for row in range(N_TRAIN, N_TRAIN + 15):
        forecaster.update(y.iloc[[row]], update_params=False)
    assert forecaster.cutoff[0] == y.index[N_TRAIN + 14]
    assert_same_weights(forecaster.forecaster_, core)
    expected = core.predict(y.iloc[: N_TRAIN + 15], horizon=6)
    assert np.array_equal(forecaster.predict(range(1, 7)), expected)
    in_sample = forecaster.predict(fh=-np.arange(N_TRAIN + 15))  # the rows of fit and of all the updates
    assert list(in_sample.index) == list(y.index[: N_TRAIN + 15])
    np.testing.assert_allclose(
        in_sample.iloc[[N_TRAIN + 3]], core.predict(y.iloc[: N_TRAIN + 3], horizon=1), rtol=1e-5
    )  # fmt: skip


def test_update_with_training_is_that_of_the_core(forecaster, y):
    core = SAMoVARForecaster.core_class(**SETTINGS).fit(y.iloc[:N_TRAIN])
    core.update(y.iloc[N_TRAIN : N_TRAIN + 5], retrain=False).update(y.iloc[N_TRAIN + 5 : N_TRAIN + 9])
    forecaster.update(y.iloc[N_TRAIN : N_TRAIN + 5], update_params=False)
    before = forecaster.predict([1])
    forecaster.update(y.iloc[N_TRAIN + 5 : N_TRAIN + 9])
    assert_same_weights(forecaster.forecaster_, core)
    assert np.array_equal(forecaster.predict(range(1, 7)), core.predict(horizon=6))
    assert not np.array_equal(forecaster.predict([1]), before)


@pytest.mark.parametrize("start", [0, 30, N_TRAIN - 3])
def test_rows_seen_before_are_replaced_and_the_cutoff_goes_back(forecaster, y, start):
    revised = y.iloc[start : start + 25] * 1.1
    forecaster.update(revised, update_params=False)
    history = pd.concat([y.iloc[:start], revised])
    assert forecaster.cutoff[0] == history.index[-1]
    assert np.array_equal(forecaster.predict([1, 5]), forecaster.forecaster_.predict(history, horizon=5).iloc[[0, 4]])
    np.testing.assert_allclose(
        forecaster.predict([-2]), forecaster.forecaster_.predict(history.iloc[:-3], horizon=1), rtol=1e-5
    )


def test_update_errors(forecaster, y):
    with pytest.raises(ValueError, match="leaves a gap"):
        forecaster.update(y.iloc[N_TRAIN + 2 :], update_params=False)
    with pytest.raises(ValueError, match="leaves 6 rows of history; the network needs 10"):
        forecaster.update(y.iloc[2:6], update_params=False)


SPLITTERS = {
    "expanding": ExpandingWindowSplitter(fh=[1, 2, 6], initial_window=12, step_length=1),
    "sliding": SlidingWindowSplitter(fh=[2, 5], window_length=11, step_length=3),
    "one step": ExpandingWindowSplitter(fh=[1], initial_window=10, step_length=4),
    "cutoffs": CutoffSplitter(np.array([11, 15, 22]), fh=[1, 2, 3], window_length=12),
}


@pytest.mark.parametrize("start", [0, 100, N_TRAIN], ids=["from the first row", "overlapping", "following"])
@pytest.mark.parametrize("with_X", [False, True], ids=["without X", "with X"])
@pytest.mark.parametrize("cv", SPLITTERS.values(), ids=SPLITTERS.keys())
def test_update_predict_is_that_of_the_loop(y, X, cv, with_X, start):
    forecaster = SAMoVARForecaster(**SETTINGS).fit(y.iloc[:N_TRAIN], X.iloc[:N_TRAIN] if with_X else None)
    new, known = y.iloc[start : start + 40] * 1.01, X if with_X else None
    batched = forecaster.update_predict(new, cv, known, update_params=False)
    looped = BaseForecaster._predict_moving_cutoff(forecaster, new, cv, known, update_params=False)
    pd.testing.assert_frame_equal(batched, looped, rtol=1e-5)
    assert forecaster.cutoff[0] == y.index[N_TRAIN - 1]


def test_update_predict_of_a_series_is_that_of_the_loop(y):
    forecaster = SAMoVARForecaster(**SETTINGS).fit(y["s1"].iloc[:N_TRAIN])
    cv = ExpandingWindowSplitter(fh=[1], initial_window=10)
    batched = forecaster.update_predict(y["s1"].iloc[N_TRAIN:], cv, update_params=False)
    looped = BaseForecaster._predict_moving_cutoff(forecaster, y[["s1"]].iloc[N_TRAIN:], cv, None, update_params=False)
    assert batched.name == "s1"
    pd.testing.assert_series_equal(batched, looped, rtol=1e-5)


def test_update_predict_forecasts_all_cutoffs_in_large_batches():
    y = waves(400)
    forecaster = SAMoVARForecaster(**SETTINGS).fit(y.iloc[:N_TRAIN])
    passes = []
    forecaster.forecaster_.network_.register_forward_hook(lambda *_: passes.append(1))
    cv = ExpandingWindowSplitter(fh=range(1, 5), initial_window=77)
    forecasts = forecaster.update_predict(y.iloc[N_TRAIN:], cv, update_params=False)
    assert forecasts.shape[1] == 200 * 3  # a column for each cutoff and series
    assert len(passes) <= 4


def test_update_predict_with_training_or_a_lasting_state(forecaster, y):
    cv = ExpandingWindowSplitter(fh=[1, 2], initial_window=12, step_length=10)
    core = forecaster.clone().fit(y.iloc[:N_TRAIN]).forecaster_
    trained = forecaster.update_predict(y.iloc[N_TRAIN:], cv, update_params=True)
    assert_same_weights(forecaster.forecaster_, core)  # of a copy
    assert not np.allclose(
        trained, forecaster.update_predict(y.iloc[N_TRAIN:], cv, update_params=False), equal_nan=True
    )
    forecaster.update_predict(y.iloc[N_TRAIN:], cv, update_params=False, reset_forecaster=False)
    assert forecaster.cutoff[0] == y.index[N_TRAIN + 31]


@pytest.mark.parametrize("strategy", ["refit", "no-update_params", "update"])
def test_evaluate(y, strategy):
    cv = ExpandingWindowSplitter(fh=[1, 2, 5], initial_window=N_TRAIN, step_length=10)
    forecaster = SAMoVARForecaster(**SETTINGS)
    results = evaluate(forecaster, cv, y, strategy=strategy, return_data=True, error_score="raise")
    assert len(results) == 4
    core = SAMoVARForecaster.core_class(**SETTINGS).fit(y.iloc[:N_TRAIN])
    for n_rows, forecast in zip(range(N_TRAIN, 160, 10), results["y_pred"], strict=True):
        if strategy == "refit":
            core.fit(y.iloc[:n_rows])
        elif strategy == "update" and n_rows > N_TRAIN:
            core.update(y.iloc[:n_rows])  # sktime hands over the whole window
        assert np.array_equal(forecast, core.predict(y.iloc[:n_rows], horizon=5).iloc[[0, 1, 4]])


def test_evaluate_with_known_covariates(y, X):
    cv = SlidingWindowSplitter(fh=[1, 2], window_length=80, step_length=30)
    results = evaluate(SAMoVARForecaster(**SETTINGS), cv, y, X, strategy="no-update_params", error_score="raise")
    assert np.isfinite(results["test_MeanAbsolutePercentageError"]).all()


def test_grid_search_finds_the_better_setting(y):
    cv = ExpandingWindowSplitter(fh=range(1, 5), initial_window=N_TRAIN, step_length=30)
    search = ForecastingGridSearchCV(
        SAMoVARForecaster(**SETTINGS | {"max_steps": 30, "max_epochs": 10}),
        cv=cv,
        param_grid={"learning_rate": [1e-8, 1e-2]},
        scoring=MeanSquaredError(),
        error_score="raise",
        backend="None",  # no worker processes for so little
    ).fit(y)
    assert search.best_params_ == {"learning_rate": 1e-2}
    assert search.predict([1, 2]).shape == (2, 3)


def test_pipeline(y):
    pipeline = TransformedTargetForecaster([Detrender(), Differencer(), SAMoVARForecaster(**SETTINGS)])
    pipeline.fit(y["s1"].iloc[:N_TRAIN]).update(y["s1"].iloc[N_TRAIN : N_TRAIN + 3], update_params=False)
    forecast = pipeline.predict(range(1, 8))
    assert list(forecast.index) == list(y.index[N_TRAIN + 3 : N_TRAIN + 10])
    assert np.isfinite(forecast).all()
