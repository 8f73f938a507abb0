"""The sktime forecasters against the forecasters of samovar-forecast that do their work."""

import importlib
import inspect
import sys

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.base import ForecastingHorizon
from sktime.registry import all_estimators

from samovar_forecast.forecasters import ALL_FORECASTERS
from samovar_sktime import SAMoVARForecaster, all_forecasters, from_core
from tests.conftest import suited, waves

CLASSES = [cls for _, cls in all_forecasters()]
SETTINGS = {
    "horizon": 4, "context_length": 10, "d_model": 8, "n_heads": 2, "n_layers": 1, "max_epochs": 1, "max_steps": 3,
    "learning_rate": 1e-2, "validation_fraction": 0.0, "random_state": 0, "device": "cpu",
}  # fmt: skip
N_TRAIN = 120


@pytest.fixture(params=CLASSES, ids=lambda cls: cls.__name__)
def sktime_class(request):
    return request.param


@pytest.fixture(scope="module")
def fitted():
    return SAMoVARForecaster(**SETTINGS).fit(waves().iloc[:N_TRAIN])


@pytest.fixture(scope="module", name="X")
def known_covariates():
    return pd.DataFrame({"x": np.random.default_rng(1).normal(size=160)}, index=waves().index)


def assert_same_weights(one, other):
    weights, others = one.network_.state_dict(), other.network_.state_dict()
    assert all(weights[name].equal(others[name]) for name in weights)


def test_every_forecaster_has_an_sktime_class():
    assert {cls.core_class for cls in CLASSES} == set(ALL_FORECASTERS)
    for cls in CLASSES:
        assert cls.__name__ == cls.core_class.__name__
        own = inspect.signature(cls).parameters
        core = inspect.signature(cls.core_class).parameters
        assert {name: own[name] for name in core} == dict(core)
        assert set(own) - set(core) == {"fine_tune_epochs"}
        assert "fine_tune_epochs : int, default 0\n" in inspect.cleandoc(cls.__doc__)


CAPABILITIES = [
    "multivariate", "exogenous", "pred_int", "pred_int:insample", "insample", "missing_values", "pretrain",
    "random_state", "unequal_length", "update",
]  # fmt: skip


def test_every_class_has_every_capability():
    """The tests that use a capability stand in the modules of this folder."""
    for cls in CLASSES:
        assert all(cls.get_class_tag(f"capability:{name}") for name in CAPABILITIES)
        assert not cls.get_class_tag("requires-fh-in-fit")
        assert {"pd-multiindex", "pd_multiindex_hier"} <= set(cls.get_class_tag("y_inner_mtype"))
        assert cls.get_class_tag("X_inner_mtype") == cls.get_class_tag("y_inner_mtype")


def test_registry_filters_like_that_of_sktime():
    assert [name for name, _ in all_forecasters()] == sorted(cls.__name__ for cls in ALL_FORECASTERS)
    assert all_forecasters({"capability:exogenous": True, "capability:multivariate": True}) == all_forecasters()
    assert all_forecasters({"capability:multivariate": False}) == []
    assert type(all_forecasters()[0]) is type(all_estimators("forecaster")[0])


def test_missing_sktime_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sktime", None)
    monkeypatch.delitem(sys.modules, "samovar_sktime")
    with pytest.raises(ImportError, match=r'pip install "samovar-forecast\[sktime\]"'):
        importlib.import_module("samovar_sktime")


def test_forecasts_are_those_of_the_core(sktime_class, y):
    train = y.iloc[:N_TRAIN]
    core = sktime_class.core_class(**suited(SETTINGS, sktime_class)).fit(train)
    forecaster = sktime_class(**suited(SETTINGS, sktime_class)).fit(train)
    expected = core.predict(horizon=11)  # beyond the horizon of 4
    assert forecaster.predict(fh=range(1, 12)).to_numpy().tobytes() == expected.to_numpy().tobytes()
    assert np.array_equal(forecaster.predict(fh=[2, 3, 11]), expected.iloc[[1, 2, 10]])
    absolute = ForecastingHorizon(expected.index[[0, 5]], is_relative=False)
    pd.testing.assert_frame_equal(forecaster.predict(absolute), expected.iloc[[0, 5]], check_freq=False)


def test_forecasts_with_covariates_are_those_of_the_core(sktime_class, y, X):
    core = sktime_class.core_class(**suited(SETTINGS, sktime_class)).fit(y.iloc[:N_TRAIN], X)
    forecaster = sktime_class(**suited(SETTINGS, sktime_class)).fit(y.iloc[:N_TRAIN], X.iloc[:N_TRAIN])
    expected = core.predict(X=X, horizon=9)
    assert np.array_equal(forecaster.predict(range(1, 10), X.iloc[N_TRAIN:]), expected)


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2024-01-01", periods=50, freq="B"),
        pd.date_range("2024-01-01", periods=50, freq="2D"),
        pd.date_range("2024-03-30", periods=50, freq="h", tz="Europe/Berlin"),
        pd.DatetimeIndex(list(pd.date_range("2015-01-01", periods=50, freq="MS"))),
        pd.period_range("2024-01", periods=50, freq="M"),
        pd.RangeIndex(50),
        pd.Index(range(7, 57)),
    ],
    ids=["business days", "2 days", "time zone", "no frequency", "periods", "range", "integers"],
)
def test_index_kinds(index):
    y = pd.Series(np.sin(np.arange(50)), index=index, name="load")
    forecaster = SAMoVARForecaster(**SETTINGS).fit(y.iloc[:40])
    forecast = forecaster.predict(fh=[1, 2, 6, 0, -5])
    assert isinstance(forecast, pd.Series)
    assert forecast.name == "load"
    assert list(forecast.index) == list(index[[34, 39, 40, 41, 45]])
    absolute = forecaster.predict(ForecastingHorizon(index[[34, 39, 40, 41, 45]], is_relative=False))
    assert np.array_equal(forecast, absolute)
    for row in range(40, 43):  # one row at a time, from which no frequency can be told
        forecaster.update(y.iloc[[row]], update_params=False)
    assert list(forecaster.predict(fh=[1, 2]).index) == list(index[[43, 44]])


def test_integer_steps_other_than_one():
    y = pd.Series(np.sin(np.arange(50)), index=pd.RangeIndex(0, 100, 2))
    forecaster = SAMoVARForecaster(**SETTINGS).fit(y)
    assert list(forecaster.predict(fh=[2, 4]).index) == [100, 102]
    assert np.array_equal(forecaster.predict(fh=[2, 4]), forecaster.forecaster_.predict(horizon=2).to_numpy()[:, 0])
    with pytest.raises(ValueError, match="step of 2"):
        forecaster.predict(fh=[1])


def test_label_between_rows():
    y = waves(50, index=pd.date_range("2015-01-01", periods=50, freq="MS"))
    forecaster = SAMoVARForecaster(**SETTINGS).fit(y)
    with pytest.raises(ValueError, match="2019-03-15"):
        forecaster.predict(ForecastingHorizon(pd.DatetimeIndex(["2019-03-15"]), is_relative=False))


def test_targets_leave_the_other_columns_as_past_covariates(y):
    train = y.iloc[:N_TRAIN]
    forecast = SAMoVARForecaster(**SETTINGS, targets=["s1"]).fit(train).predict([1, 2])
    core = SAMoVARForecaster.core_class(**SETTINGS, targets=["s1"]).fit(train)
    pd.testing.assert_frame_equal(forecast, core.predict(horizon=2), check_freq=False, check_names=False)


def test_in_sample_is_one_step_ahead_in_one_pass(fitted, y):
    passes = []
    core = fitted.forecaster_
    hook = core.network_.register_forward_hook(lambda *_: passes.append(1))
    forecast = fitted.predict(fh=-np.arange(60))
    hook.remove()
    assert len(passes) == 1
    for row in (N_TRAIN - 60, N_TRAIN - 7, N_TRAIN - 1):
        expected = core.predict(y.iloc[:row], horizon=1)
        np.testing.assert_allclose(forecast.loc[[y.index[row]]], expected, rtol=1e-5)


def test_in_sample_context_before_the_first_row_is_not_observed(fitted, y):
    """The first rows are forecast from what lies before them alone, the very first from nothing."""
    forecast = fitted.predict(fh=-np.arange(N_TRAIN))
    assert list(forecast.index) == list(y.index[:N_TRAIN])
    assert np.isfinite(forecast).all(axis=None)
    core = fitted.forecaster_
    for row in (1, 3):
        context = y.iloc[:row].reindex(pd.date_range(end=y.index[row - 1], periods=10, freq="h"))
        np.testing.assert_allclose(forecast.iloc[[row]], core.predict(context, horizon=1), rtol=1e-5)
    other = y.iloc[:N_TRAIN].copy()
    other.iloc[:2] *= 2
    changed = from_core(core).fit(other).predict(fh=-np.arange(N_TRAIN))  # the same weights and scaling
    np.testing.assert_allclose(changed.iloc[0], forecast.iloc[0], rtol=1e-6)
    assert not np.allclose(changed.iloc[1], forecast.iloc[1], rtol=1e-3)


def test_in_sample_uses_known_covariates(y, X):
    forecaster = SAMoVARForecaster(**SETTINGS | {"learning_rate": 0.1}).fit(y.iloc[:N_TRAIN], X.iloc[:N_TRAIN])
    forecast = forecaster.predict(fh=[-20, 0])
    expected = forecaster.forecaster_.predict(y.iloc[: N_TRAIN - 21], X, horizon=1)
    np.testing.assert_allclose(forecast.iloc[[0]], expected, rtol=1e-5)
    other = X.iloc[:N_TRAIN] + (X.index[:N_TRAIN] == X.index[N_TRAIN - 21]).reshape(-1, 1)
    assert not np.allclose(forecaster.predict([-20, 0], other).iloc[0], forecast.iloc[0], rtol=1e-3)
    assert np.allclose(forecaster.predict([-20, 0], X).to_numpy(), forecast)


def test_fh_before_the_first_row(fitted, y):
    with pytest.raises(ValueError, match=f"y begins at {y.index[0]}"):
        fitted.predict(fh=[-N_TRAIN])


def test_known_covariates_carry_information():
    """The target follows a covariate that nothing in the past tells; another covariate tells nothing."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=300)})
    shuffled = pd.DataFrame({"x": rng.permutation(X["x"])})
    y = pd.DataFrame({"a": 3 * X["x"] + rng.normal(scale=0.1, size=300)})
    settings = SETTINGS | {"max_steps": 150, "max_epochs": 50, "learning_rate": 2e-2}

    def error(known):
        forecaster = SAMoVARForecaster(**settings).fit(y[:260], None if known is None else known[:260])
        forecast = forecaster.predict(fh=range(1, 41), X=None if known is None else known[260:])
        return float(((forecast - y[260:]) ** 2).to_numpy().mean())

    variance = float(y[260:].to_numpy().var())
    assert error(X) < 0.2 * variance
    assert error(shuffled) > 0.8 * variance
    assert error(None) > 0.8 * variance


def test_missing_known_rows_are_named(y, X):
    forecaster = SAMoVARForecaster(**SETTINGS).fit(y.iloc[:N_TRAIN], X.iloc[:N_TRAIN])
    first, third = X.index[N_TRAIN], X.index[N_TRAIN + 2]
    with pytest.raises(ValueError, match=f"X lacks 5 .* first of them {first}"):
        forecaster.predict(range(1, 6))
    with pytest.raises(ValueError, match=f"X is needed at steps 1 to 3, .* lacks 1 of them, such as {first}"):
        forecaster.predict([2, 3], X.iloc[[N_TRAIN + 1, N_TRAIN + 2]])
    with pytest.raises(ValueError, match=f"X is needed at steps 1 to 5, .* lacks 2 of them, such as {third}"):
        forecaster.predict([5], X.iloc[[N_TRAIN, N_TRAIN + 1, N_TRAIN + 4]])
    with pytest.raises(
        ValueError, match=r"lacks 5 of them, .* use fh=range\(1, 7\)"
    ):  # what a splitter of fh=[6] passes
        forecaster.predict([6], X.iloc[[N_TRAIN + 5]])
    with pytest.raises(ValueError, match=f"X lacks 1 .* first of them {first}"):
        forecaster.update(y.iloc[[N_TRAIN]], update_params=False)


def test_known_covariates_are_ignored_without_a_fit_with_them(fitted, X):
    for fh in ([1], [-1]):
        expected = fitted.predict(fh)
        with pytest.warns(UserWarning, match="X is ignored: .* was fitted without X"):
            forecast = fitted.predict(fh, X)
        pd.testing.assert_frame_equal(forecast, expected)


def test_a_fixed_seed_gives_the_same_forecasts(y):
    forecasts = [SAMoVARForecaster(**SETTINGS).fit(y.iloc[:N_TRAIN]).predict([1, 5]) for _ in range(2)]
    assert np.array_equal(*forecasts)
    other = SAMoVARForecaster(**SETTINGS | {"random_state": 1}).fit(y.iloc[:N_TRAIN])
    assert not np.array_equal(other.predict([1, 5]), forecasts[0])


def test_labels_of_another_kind_than_the_index(fitted):
    with pytest.raises(TypeError, match="the index of y is a DatetimeIndex"):
        fitted.predict(ForecastingHorizon(pd.period_range("2024-01-06", periods=2, freq="h"), is_relative=False))
