"""What scikit-learn's `check_estimator` asks of any estimator, where it makes sense for a forecaster."""

import copy
import inspect
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from tests.conftest import waves

OTHER_VALUES = {"horizon": 5, "context_length": 17, "learning_rate": 0.5, "loss": "huber", "patience": None}


@pytest.fixture
def quick(tiny):
    return tiny | {"max_epochs": 1, "max_steps": 2}


def frames_equal(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_the_constructor_only_assigns(forecaster_class, quick):
    given = quick | {"targets": ["s1"], "quantiles": [0.1, 0.5, 0.9], "random_state": np.random.RandomState(0)}
    forecaster = forecaster_class(**given)
    assert set(vars(forecaster)) == set(inspect.signature(forecaster_class).parameters)
    for name, value in given.items():
        assert getattr(forecaster, name) is value  # not even a copy


def test_defaults_are_those_of_the_signature(forecaster_class):
    parameters = inspect.signature(forecaster_class).parameters
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    defaults = {name: one.default for name, one in parameters.items() if one.default is not one.empty}
    horizon = {"horizon": 8} if "horizon" not in defaults else {}
    assert forecaster_class(**horizon).get_params() == defaults | horizon
    assert not any(isinstance(value, (list, dict, set)) for value in defaults.values())  # shared between instances


def test_wrong_values_are_refused_by_fit_not_by_the_constructor(forecaster_class, y):
    forecaster = forecaster_class(horizon="soon", learning_rate=-1)
    assert forecaster.get_params()["horizon"] == "soon"
    with pytest.raises(TypeError, match="horizon must be an integer, got 'soon'"):
        forecaster.fit(y)


def test_parameters_are_read_and_set(forecaster_class, quick):
    forecaster = forecaster_class(**quick)
    assert forecaster.set_params(**OTHER_VALUES) is forecaster
    assert forecaster.get_params() == forecaster_class(**quick).get_params() | OTHER_VALUES
    assert forecaster.set_params() is forecaster
    with pytest.raises(ValueError, match="Invalid parameter 'horizont'"):
        forecaster.set_params(horizont=3)
    with pytest.raises(TypeError, match="horizont"):
        forecaster_class(horizont=3)


def test_clones_have_the_parameters_and_nothing_else(forecaster_class, quick, y):
    fitted = forecaster_class(**quick).fit(y)
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert set(vars(copied)) == set(copied.get_params())
    with pytest.raises(NotFittedError):
        copied.predict()
    frames_equal(copied.fit(y).predict(), fitted.predict())


def test_fit_returns_itself_and_changes_no_parameter(forecaster_class, quick, y):
    forecaster = forecaster_class(**quick)
    before, shown = copy.deepcopy(forecaster.get_params()), repr(forecaster)
    data = y.copy()
    assert forecaster.fit(data) is forecaster
    assert forecaster.get_params() == before
    assert repr(forecaster) == shown
    frames_equal(data, y)
    learnt = set(vars(forecaster)) - set(before)
    assert all(name.endswith("_") and not name.startswith("_") for name in learnt)


def test_two_fits_give_the_same_bits(forecaster_class, quick, y):
    forecaster = forecaster_class(**quick).fit(y)
    first = forecaster.predict()
    np.random.seed(7)  # the state of the caller has no say
    frames_equal(forecaster.fit(y).predict(), first)
    frames_equal(forecaster_class(**quick).fit(y).predict(), first)
    given = forecaster_class(**(quick | {"random_state": np.random.RandomState(3)}))
    assert not given.fit(y).predict().equals(given.fit(y).predict())  # a generator moves on


def test_a_second_fit_forgets_the_first(forecaster_class, quick, y):
    other = waves(120, 2, index=pd.RangeIndex(120), seed=5).set_axis(["a", "b"], axis=1)
    X = pd.DataFrame({"push": np.arange(160.0) % 5}, index=y.index)
    seasoned = forecaster_class(**quick).fit(y, X).fit(other)
    fresh = forecaster_class(**quick).fit(other)
    assert set(vars(seasoned)) == set(vars(fresh))
    assert seasoned.columns_ == ["a", "b"]
    frames_equal(seasoned.predict(), fresh.predict())


USES = {
    "predict": lambda forecaster, y: forecaster.predict(),
    "predict a history": lambda forecaster, y: forecaster.predict(y),
    "predict_quantiles": lambda forecaster, y: forecaster.predict_quantiles(),
    "predict_interval": lambda forecaster, y: forecaster.predict_interval(),
    "predict_in_sample": lambda forecaster, y: forecaster.predict_in_sample(y),
    "residuals": lambda forecaster, y: forecaster.residuals(y),
    "backtest": lambda forecaster, y: forecaster.backtest(y),
    "score": lambda forecaster, y: forecaster.score(y),
    "update": lambda forecaster, y: forecaster.update(y),
    "update without training": lambda forecaster, y: forecaster.update(y, retrain=False),
    "save": lambda forecaster, y: forecaster.save("never-written.safetensors"),
    "init_from": lambda forecaster, y: clone(forecaster).fit(y, init_from=forecaster),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("failed", [False, True], ids=["never fitted", "after a fit that failed"])
def test_what_needs_a_fit_says_so(forecaster_class, quick, y, use, failed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forecaster = forecaster_class(**quick)
    if failed:
        with pytest.raises(ValueError, match="too short"):
            forecaster.fit(y.iloc[:20])
    with pytest.raises(NotFittedError, match=re.escape(type(forecaster).__name__)):
        USES[use](forecaster, y)
    assert list(tmp_path.iterdir()) == []


def test_explain_needs_a_fit(forecaster_class, quick, y):
    with pytest.raises(NotFittedError):
        forecaster_class(**quick).explain(y)


FAILURES = {
    "bad hyperparameter": ({"learning_rate": -1.0}, lambda y: y),
    "bad index": ({}, lambda y: y.iloc[::-1]),
    "bad column": ({}, lambda y: y.assign(s1="text")),
    "too short": ({}, lambda y: y.iloc[:20]),
    "diverges": ({"learning_rate": 1e30, "max_steps": 5, "gradient_clip": None}, lambda y: y[["s0"]] * 2),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_fit_that_fails_leaves_the_old_one(forecaster_class, quick, y, failure):
    changed, damage = FAILURES[failure]
    forecaster = forecaster_class(**quick).fit(y)
    expected, kept = forecaster.predict(), dict(vars(forecaster))
    forecaster.set_params(**changed)
    with pytest.raises((ValueError, TypeError)):
        forecaster.fit(damage(y))
    forecaster.set_params(
        **{name: quick.get(name, getattr(clone(forecaster_class(**quick)), name)) for name in changed}
    )
    assert vars(forecaster).keys() == kept.keys()
    frames_equal(forecaster.predict(), expected)


@pytest.mark.parametrize("copies", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["deep", "pickle"])
def test_copies_are_complete_and_apart(forecaster_class, quick, y, copies):
    fitted = forecaster_class(**quick).fit(y.iloc[:150])
    expected, intervals = fitted.predict(), fitted.predict_interval()
    copied = copies(fitted)
    assert copied.get_params() == fitted.get_params()
    frames_equal(copied.predict(), expected)
    frames_equal(copied.predict_interval(), intervals)
    copied.update(y.iloc[150:])  # trains the copy alone
    frames_equal(fitted.predict(), expected)
    unfitted = copies(forecaster_class(**quick))
    frames_equal(unfitted.fit(y.iloc[:150]).predict(), expected)


def test_the_representation_names_what_was_changed(forecaster_class):
    shown = repr(forecaster_class(horizon=8, learning_rate=0.5))
    assert shown.startswith(f"{forecaster_class.__name__}(")
    assert "horizon=8" in shown
    assert "learning_rate=0.5" in shown
    assert "batch_size" not in shown
