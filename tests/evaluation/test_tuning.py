"""The search for hyperparameters: on training rows only, resumable, side by side."""

from dataclasses import fields

import numpy as np
import pytest

from samovar_forecast.evaluation import default_space, mase, tune
from samovar_forecast.forecasters import LinTransForecaster, SAMformerForecaster
from tests.conftest import TINY, suited, waves

optuna = pytest.importorskip("optuna")
SETTINGS = TINY | {"context_length": 12, "horizon": 4, "max_steps": 3, "n_layers": 1}
SPACE = {"learning_rate": (1e-3, 1e-1), "context_length": [12, 24]}


def test_the_first_trial_is_the_forecaster_as_it_is():
    y = waves(160, 2)
    found = tune(LinTransForecaster(**SETTINGS), y, space=SPACE, n_trials=3, n_folds=2, random_state=0)
    assert found.study.trials[0].params == {"learning_rate": 1e-2, "context_length": 12}
    errors = []
    for start, stop in ((128, 144), (144, 160)):
        fitted = LinTransForecaster(**SETTINGS).fit(y.iloc[:start])
        backtest = fitted.backtest(y.iloc[:stop], start=y.index[start])
        errors.append(float(mase(backtest, y.iloc[:start], season=24).mean()))
    assert found.default_error == pytest.approx(np.mean(errors), rel=1e-6)
    assert found.best_error == found.trials["error"].min() <= found.default_error
    assert len(found.trials) == 3
    expected = LinTransForecaster(**SETTINGS).set_params(**found.best_parameters).fit(y)
    np.testing.assert_allclose(found.best.predict(), expected.predict(), rtol=1e-5)


def test_a_search_goes_on_from_its_file_and_runs_side_by_side(tmp_path):
    arguments = {"space": SPACE, "n_folds": 1, "random_state": 0, "refit": False}
    storage = str(tmp_path / "trials.log")
    y = waves(120, 1)
    assert len(tune(LinTransForecaster(**SETTINGS), y, n_trials=1, storage=storage, **arguments).trials) == 1
    found = tune(LinTransForecaster(**SETTINGS), y, n_trials=2, storage=storage, **arguments)
    assert len(found.trials) == 3
    assert not hasattr(found.best, "fitted_")


def test_a_trial_that_fails_ends_no_search():
    y = waves(60, 1)
    space = {"context_length": optuna.distributions.CategoricalDistribution([12, 500])}
    forecaster = LinTransForecaster(**SETTINGS | {"context_length": 500})
    with pytest.raises(ValueError, match="no trial could be trained"):
        tune(forecaster, y, space={"context_length": [500]}, n_trials=1, n_folds=1)
    found = tune(forecaster, y, space=space, n_trials=6, n_folds=1, random_state=0, refit=False)
    assert found.best_parameters == {"context_length": 12}
    assert np.isnan(found.default_error)


def test_the_default_spaces_are_hyperparameters_of_the_models(forecaster_class):
    forecaster = forecaster_class(**suited({"horizon": 4}, forecaster_class))
    space = default_space(forecaster)
    assert {"context_length", "learning_rate"} <= set(space) <= {field.name for field in fields(forecaster_class)}
    for name, values in space.items():
        if isinstance(values, list):
            assert getattr(forecaster, name) in values
    assert "loss" not in default_space(SAMformerForecaster(quantiles=(0.1, 0.5, 0.9)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": {"depth": [1]}}, "'depth', which is no hyperparameter of LinTrans"),
        ({"space": {"dropout": 0.1}}, r"space\['dropout'\] must be a list"),
        ({"space": {}}, "nothing to search"),
        ({"n_trials": None}, "the search has no end"),
        ({"n_folds": 9}, "9 folds need 36"),
        ({"validation_fraction": 2}, "between 0 and 1"),
    ],
)
def test_a_wrong_search_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tune(LinTransForecaster(**SETTINGS), waves(60, 1), **options)
