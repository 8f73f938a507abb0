"""Quantiles, intervals, variances and distributions of the sktime forecasters."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.model_evaluation import evaluate
from sktime.performance_metrics.forecasting.probabilistic import PinballLoss
from sktime.split import ExpandingWindowSplitter

from samovar_sktime import SAMoVARForecaster, all_forecasters
from tests.adapters.test_sktime_forecasting import N_TRAIN, SETTINGS
from tests.conftest import suited, waves

SETTINGS = SETTINGS | {"validation_fraction": 0.3}
TRAINED = {"quantiles": (0.05, 0.25, 0.5, 0.75, 0.95)}
HEADS = {"conformal": {}, "trained": TRAINED}


def autoregression(n_rows, seed=0, coefficient=0.7):
    """A stationary series that depends on its last value; what is left has a deviation of 1."""
    noise = np.random.default_rng(seed).normal(size=n_rows + 50)
    values = np.zeros(n_rows + 50)
    for row in range(1, n_rows + 50):
        values[row] = coefficient * values[row - 1] + noise[row]
    return pd.Series(values[50:], name="load")


@pytest.fixture(params=HEADS, scope="module")
def head(request):
    return HEADS[request.param]


@pytest.fixture(scope="module")
def fitted(head):
    return SAMoVARForecaster(**SETTINGS, **head).fit(waves().iloc[:N_TRAIN])


@pytest.mark.parametrize("sktime_class", [cls for _, cls in all_forecasters()], ids=lambda cls: cls.__name__)
def test_quantiles_are_those_of_the_core(sktime_class, head, y):
    settings = suited(SETTINGS, sktime_class) | head
    core = sktime_class.core_class(**settings).fit(y.iloc[:N_TRAIN])
    forecaster = sktime_class(**settings).fit(y.iloc[:N_TRAIN])
    levels = [0.9, 0.1, 0.5]  # in any order
    forecast = forecaster.predict_quantiles(fh=[1, 3, 9], alpha=levels)
    assert list(forecast.columns) == [(name, level) for name in y.columns for level in levels]
    assert np.array_equal(forecast, core.predict_quantiles(levels, horizon=9).iloc[[0, 2, 8]])
    assert np.array_equal(forecast.xs(0.5, level=1, axis=1), forecaster.predict(fh=[1, 3, 9]))


def test_intervals_lie_between_quantiles(fitted):
    fh = [-7, 0, 1, 2, 6]
    bounds = fitted.predict_interval(fh=fh, coverage=[0.5, 0.9])
    quantiles = fitted.predict_quantiles(fh=fh, alpha=[0.05, 0.25, 0.75, 0.95])
    assert list(bounds["s0"].columns) == [(0.5, "lower"), (0.5, "upper"), (0.9, "lower"), (0.9, "upper")]
    for name in ("s0", "s1", "s2"):
        assert np.array_equal(bounds[name], quantiles[name][[0.25, 0.75, 0.05, 0.95]])
        assert (np.diff(quantiles[name], axis=1) > 0).all()


def test_a_level_outside_the_trained_ones_is_named(y):
    forecaster = SAMoVARForecaster(**SETTINGS, **TRAINED).fit(y.iloc[:N_TRAIN])
    with pytest.raises(ValueError, match=r"0\.01.*lie outside"):
        forecaster.predict_quantiles(fh=[1], alpha=[0.01, 0.5])


def test_absolute_labels(fitted, y):
    labels = ForecastingHorizon(y.index[[N_TRAIN - 3, N_TRAIN + 4]], is_relative=False)
    assert np.array_equal(fitted.predict_quantiles(labels), fitted.predict_quantiles(fh=[-2, 5]))


def test_in_sample_quantiles_are_those_of_the_first_step(fitted, y):
    forecast = fitted.predict_quantiles(fh=[-30, -4], alpha=[0.1, 0.9])
    for row, back in enumerate((30, 4)):
        history = y.iloc[: N_TRAIN - 1 - back]
        expected = fitted.forecaster_.predict_quantiles([0.1, 0.9], history, horizon=1)
        np.testing.assert_allclose(forecast.iloc[[row]], expected, rtol=1e-5)


@pytest.mark.parametrize("quantiles", [None, (0.1, 0.5, 0.9)], ids=["conformal", "trained"])
def test_intervals_cover_what_they_promise(quantiles):
    """Of one step ahead in the rows after the training, and of four steps from many cutoffs."""
    y = autoregression(1600)
    settings = SETTINGS | {"max_steps": 400, "max_epochs": 20, "learning_rate": 3e-3, "loss": "mse"}
    forecaster = SAMoVARForecaster(**settings, quantiles=quantiles).fit(y.iloc[:1000])
    before = copy.deepcopy(forecaster)
    forecaster.update(y.iloc[1000:], update_params=False)
    bounds = forecaster.predict_interval(fh=-np.arange(600), coverage=0.8)["load", 0.8]
    actual = y.loc[bounds.index]
    covered = ((bounds["lower"] <= actual) & (actual <= bounds["upper"])).mean()
    assert 0.7 <= covered <= 0.9
    assert bounds["upper"].sub(bounds["lower"]).mean() < 1.3 * 2 * norm.ppf(0.9)  # the best there is, and a bit
    hits = []
    for end in range(1000, 1500, 10):
        before.update(y.iloc[end - 10 : end], update_params=False)
        bounds = before.predict_interval(fh=range(1, 5), coverage=0.8)["load", 0.8]
        hits.append((bounds["lower"] <= y.loc[bounds.index]) & (y.loc[bounds.index] <= bounds["upper"]))
    assert 0.7 <= np.mean(hits) <= 0.9


def test_variance_and_distribution_are_those_of_the_noise():
    """Both are sktime's, made from the quartiles: a normal distribution around the point forecast."""
    y = autoregression(1600, coefficient=0.0)
    settings = SETTINGS | {"max_steps": 100, "max_epochs": 20, "loss": "mse", "context_length": 48}
    forecaster = SAMoVARForecaster(**settings).fit(y)
    fh = [*range(-400, 1), 1, 4]
    variance = forecaster.predict_var(fh)
    assert list(variance.columns) == ["load"]
    residuals = forecaster.predict_residuals(y.iloc[-401:])
    assert variance.mean().item() == pytest.approx(np.square(residuals).mean(), rel=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without skpro, sktime takes a normal distribution of its own
        distribution = forecaster.predict_proba(fh)
    np.testing.assert_allclose(distribution.mean().to_numpy().ravel(), forecaster.predict(fh))
    np.testing.assert_allclose(distribution.var().to_numpy(), variance)
    lower = distribution.quantile([0.1]).to_numpy()
    assert np.abs(lower - forecaster.predict_quantiles(fh, alpha=[0.1])).mean().item() < 0.2


def test_variance_and_distribution_of_a_panel():
    panel = pd.concat({name: waves(60, 2, seed=seed) for seed, name in enumerate("ab")}, names=["series"])
    forecaster = SAMoVARForecaster(**SETTINGS).fit(panel)
    variance = forecaster.predict_var(fh=[1, 2])
    quartiles = forecaster.predict_interval(fh=[1, 2], coverage=0.5)
    for name in ("s0", "s1"):
        width = quartiles[name, 0.5, "upper"] - quartiles[name, 0.5, "lower"]
        np.testing.assert_allclose(np.sqrt(variance[name]), width / (2 * norm.ppf(0.75)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distribution = forecaster.predict_proba(fh=[1, 2])
    np.testing.assert_allclose(distribution.mean(), forecaster.predict([1, 2]))


def test_evaluate_scores_quantiles(y):
    cv = ExpandingWindowSplitter(fh=[1, 2], initial_window=N_TRAIN, step_length=10)
    results = evaluate(
        SAMoVARForecaster(**SETTINGS), cv, y[["s0"]], strategy="refit", scoring=PinballLoss(), error_score="raise"
    )
    assert (results["test_PinballLoss"] > 0).all()
