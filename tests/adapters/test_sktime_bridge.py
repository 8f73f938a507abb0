"""From a forecaster of samovar-forecast to sktime, with and without weights."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.model_evaluation import evaluate
from sktime.split import ExpandingWindowSplitter

from samovar_forecast import SAMoVARForecaster
from samovar_sktime import from_core
from tests.adapters.test_sktime_forecasting import CLASSES, N_TRAIN, SETTINGS, assert_same_weights
from tests.conftest import suited


@pytest.fixture(params=CLASSES, ids=lambda cls: cls.__name__)
def sktime_class(request):
    return request.param


@pytest.fixture(params=[cls.core_class for cls in CLASSES], ids=lambda cls: cls.__name__)
def core(request, y):
    return request.param(**suited(SETTINGS, request.param)).fit(y.iloc[:N_TRAIN])


def test_unfitted(sktime_class):
    core = sktime_class.core_class(**suited(SETTINGS, sktime_class))
    forecaster = core.to_sktime()
    assert type(forecaster) is sktime_class
    assert forecaster.state == "new"
    assert forecaster.get_params(deep=False) == core.get_params(deep=False) | {"fine_tune_epochs": 0}


def test_fit_keeps_the_weights(core, y):
    forecaster = core.to_sktime()
    assert forecaster.state == "pretrained"
    assert list(forecaster.get_pretrained_params()) == ["pretrained_forecaster_"]
    for n_rows in (N_TRAIN, 140, 60):
        forecaster.fit(y.iloc[:n_rows])
        assert forecaster.state == "fitted"
        assert_same_weights(forecaster.forecaster_, core)
        assert np.array_equal(forecaster.predict(range(1, 8)), core.predict(y.iloc[:n_rows], horizon=7))
    assert len(forecaster.predict(fh=-np.arange(60))) == 60


@pytest.mark.parametrize("fit_first", [False, True], ids=["pretrained", "fitted"])
def test_weights_survive_cloning_and_pickling(core, y, fit_first):
    forecaster = from_core(core)
    if fit_first:
        forecaster.fit(y.iloc[:50])
    for copied in (forecaster.clone().clone(), pickle.loads(pickle.dumps(forecaster)).clone()):
        assert copied.state == "pretrained"
        copied.fit(y)
        assert_same_weights(copied.forecaster_, core)


def test_evaluate_with_refit_is_zero_shot(core, y):
    cv = ExpandingWindowSplitter(fh=range(1, 5), initial_window=40, step_length=30)
    results = evaluate(from_core(core), cv, y, strategy="refit", return_data=True, error_score="raise")
    expected = core.backtest(y.iloc[30:], stride=30).forecast.to_numpy()
    assert len(expected) == len(results) == 4
    np.testing.assert_allclose(np.stack(results["y_pred"]), expected, rtol=1e-5)


def test_a_panel_is_forecast_with_the_same_weights(core, y):
    panel = pd.concat([y.iloc[:60], y.iloc[:60] * 1.1], keys=["a", "b"], names=["series", "time"])
    forecaster = from_core(core).fit(panel)
    assert_same_weights(forecaster.forecaster_, core)
    forecast = forecaster.predict([1])
    # Two series in a batch or one: on some processors the products of a batch round by its size.
    np.testing.assert_allclose(forecast.loc["b"], core.predict(y.iloc[:60] * 1.1, horizon=1), rtol=1e-6)


def test_training_and_new_settings_leave_the_carried_weights(core, y):
    forecaster = from_core(core).fit(y.iloc[:N_TRAIN])
    forecaster.update(y.iloc[N_TRAIN : N_TRAIN + 4], update_params=True)
    with pytest.raises(AssertionError):
        assert_same_weights(forecaster.forecaster_, core)
    assert_same_weights(forecaster.pretrained_forecaster_, core)
    forecaster.set_params(max_epochs=2)
    assert forecaster.state == "pretrained"
    assert_same_weights(forecaster.fit(y).forecaster_, core)
    with pytest.raises(ValueError, match="horizon=2 does not fit"):
        forecaster.set_params(horizon=2).fit(y)
    assert forecaster.reset().state == "new"
    assert forecaster.fit(y).forecaster_.network_.horizon == 2


def test_covariates_are_wanted_again(core, y):
    X = pd.DataFrame({"x": np.random.default_rng(1).normal(size=len(y))}, index=y.index)
    core.fit(y.iloc[:N_TRAIN], X)
    forecaster = from_core(core).fit(y.iloc[:50], X.iloc[:50])
    assert np.array_equal(forecaster.predict([1, 2], X.iloc[50:]), core.predict(y.iloc[:50], X, horizon=2))
    with pytest.raises(ValueError, match=r"covariates \['x'\]"):
        from_core(core).fit(y.iloc[:50])


def test_history_shorter_than_the_context(core, y):
    with pytest.raises(ValueError, match="too short: 9 rows, the network needs 10"):
        from_core(core).fit(y.iloc[:9])


def test_a_class_of_ones_own_has_a_twin(core, y):
    class Custom(type(core)):
        pass

    own = Custom(**core.get_params()).fit(y)
    twin = from_core(own)
    assert type(twin) is type(from_core(Custom())) is not type(from_core(core))
    assert twin.core_class is Custom
    assert np.array_equal(twin.fit(y).predict([1, 2]), own.predict(horizon=2))


def test_a_panel_of_the_core_is_pretraining(y):
    panel = {name: y.iloc[:60] * size for name, size in (("a", 1.0), ("b", 3.0))}
    core = SAMoVARForecaster(**SETTINGS).fit(panel)
    forecaster = core.to_sktime().fit(y.iloc[:50] * 2)
    assert np.array_equal(forecaster.predict([1, 2]), core.predict(y.iloc[:50] * 2, horizon=2))
    assert np.array_equal(forecaster.predict([0]).shape, (1, 3))


def test_static_covariates_of_the_core_stay(y):
    panel = {name: y.iloc[:60] * size for name, size in (("a", 1.0), ("b", 3.0))}
    static = pd.DataFrame({"size": [1.0, 3.0]}, index=["a", "b"])
    core = SAMoVARForecaster(**SETTINGS).fit(panel, static=static)
    forecaster = core.to_sktime().fit(pd.concat(panel, names=["series"]))
    assert np.array_equal(forecaster.predict([1]), np.concatenate(list(core.predict(horizon=1).values())))
    assert np.isfinite(forecaster.predict([-1, 0])).all(axis=None)
    with pytest.raises(ValueError, match=r"static lacks the series \['c'\]"):
        core.to_sktime().fit(pd.concat({"c": y.iloc[:60]}, names=["series"]))
