"""Intervals and quantiles: how wide, how often right, and never crossing."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.forecasting.activity import Activity
from samovar_forecast.forecasting.intervals import Calibration, interpolate_levels, widen_beyond_horizon
from samovar_forecast.training.losses import ascending
from tests.conftest import TINY, waves
from tests.forecasting.test_calibration import reference_activity

HORIZON, CONTEXT = TINY["horizon"], TINY["context_length"]
LEVELS = (0.025, 0.1, 0.3, 0.5, 0.7, 0.9, 0.975)


@pytest.fixture(scope="module")
def conformal():
    return SAMoVARForecaster(**TINY).fit(waves(300))


@pytest.fixture(scope="module")
def trained():
    return SAMoVARForecaster(**TINY, quantiles=(0.1, 0.25, 0.5, 0.75, 0.9)).fit(waves(300))


def test_spread_follows_level_step_and_deviation():
    scores = np.linspace(0, 1, 201)[:, None, None] * np.array([1.0, 2.0, 4.0])[:, None]  # coverage times 1, 2 or 4
    calibration = Calibration.from_arrays({"scores": scores, "floor": np.array([0.5])}, 3, 1, 1, 1000, True)
    active = Activity(np.array([[3.0], [0.1]]), np.zeros((2, 1)))
    spread = calibration.spread([0.1, 0.4, 0.5, 0.6, 0.95], active, 5)
    signed = np.array([-0.8, -0.2, 0, 0.2, 0.9])
    for step, growth in enumerate([1, 2, 4, 4 * np.sqrt(4 / 3), 4 * np.sqrt(5 / 3)]):
        np.testing.assert_allclose(spread[0, step, 0], 3 * growth * signed, atol=2e-4)
        np.testing.assert_allclose(spread[1, step, 0], 0.5 * growth * signed, atol=2e-4)  # not below the floor


@pytest.mark.parametrize("horizon", [3, 8, 20])
def test_conformal_quantiles_lie_around_the_point_forecast(conformal, horizon):
    quantiles = conformal.predict_quantiles(LEVELS, horizon=horizon)
    point = conformal.predict(horizon=horizon)
    assert quantiles.index.equals(point.index)
    context = conformal.scaler_.transform(conformal.history_.iloc[-CONTEXT:].to_numpy()).astype(np.float64)
    calibration = conformal.calibration_
    active = [reference_activity(column, 8) for column in context.T]
    kind = Activity(np.array([active]), np.zeros((1, 3))).kind(calibration.deviation)[0]
    rounding = 1e-5 * calibration.deviation * conformal.scaler_.scale
    for number, name in enumerate(point):
        one = quantiles[name]
        assert list(one.columns) == list(LEVELS)
        assert (one.diff(axis=1).iloc[:, 1:] > 0).all(axis=None)
        np.testing.assert_allclose(one[0.5], point[name], rtol=1e-6)
        for low, high in ((0.1, 0.9), (0.3, 0.7), (0.025, 0.975)):
            np.testing.assert_allclose(one[high] - one[0.5], one[0.5] - one[low], rtol=1e-6)
        step = np.arange(1, horizon + 1)
        curve = calibration.curve[0, kind[number], number]
        of_step = calibration.scores[curve, 160, np.minimum(step, 8) - 1]  # the coverage 0.8
        expected = of_step * active[number] * conformal.scaler_.scale[number] + rounding[number]
        expected *= np.sqrt(np.maximum(step, 8) / 8)
        np.testing.assert_allclose(one[0.9] - one[0.5], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["conformal", "trained"])
def test_an_interval_is_its_two_quantiles(name, request):
    forecaster = request.getfixturevalue(name)
    for coverage in (0.5, 0.8, 1 / 3):
        interval = forecaster.predict_interval(coverage, horizon=12)
        quantiles = forecaster.predict_quantiles((0.5 - coverage / 2, 0.5 + coverage / 2), horizon=12)
        np.testing.assert_allclose(interval, quantiles, rtol=1e-9)
        assert interval.columns.tolist() == [(one, bound) for one in ("s0", "s1", "s2") for bound in ("lower", "upper")]
        assert interval.columns.names == ["series", "bound"]
    for wrong in (0, 1, 80, -0.5):
        with pytest.raises(ValueError, match=r"coverage must be a number inside \(0, 1\)"):
            forecaster.predict_interval(wrong)
    for wrong in ((0, 0.5), (1.5,), ()):
        with pytest.raises(ValueError, match=r"quantiles must be numbers inside \(0, 1\)"):
            forecaster.predict_quantiles(wrong)


@pytest.mark.parametrize("name", ["conformal", "trained"])
@pytest.mark.parametrize("levels", [(0.5,), (0.8, 0.2)])
def test_quantiles_of_a_series_are_columns_too(name, levels):
    settings = {} if name == "conformal" else {"quantiles": (0.1, 0.5, 0.9)}
    forecaster = SAMoVARForecaster(**TINY, **settings).fit(waves(300)["s1"])
    frame = forecaster.predict_quantiles(levels)
    assert frame.columns.tolist() == [("s1", level) for level in levels]
    assert forecaster.predict_interval(0.5).shape == (8, 2)


def test_trained_quantiles_are_the_networks(trained):
    point, levels = trained.predict(), (0.1, 0.25, 0.5, 0.75, 0.9)
    quantiles = trained.predict_quantiles(levels)
    past = torch.from_numpy(trained.scaler_.transform(trained.history_.iloc[-CONTEXT:].to_numpy()))
    with torch.no_grad():
        outputs = ascending(trained.network_(past.unsqueeze(0)))[0].double().numpy()
    for number, name in enumerate(point):
        expected = outputs[:, number] * trained.scaler_.scale[number] + trained.scaler_.center[number]
        np.testing.assert_allclose(quantiles[name], expected, rtol=1e-5)
        np.testing.assert_allclose(quantiles[name][0.5], point[name], rtol=1e-6)
    between = trained.predict_quantiles((0.1, 0.15, 0.2, 0.8, 0.9))["s0"]
    np.testing.assert_allclose(between[0.15], 2 / 3 * between[0.1] + 1 / 3 * quantiles["s0"][0.25], rtol=1e-6)
    for outside in (0.05, 0.95):
        with pytest.raises(ValueError, match=rf"quantiles \[{outside}\] lie outside those that were trained, \(0.1,"):
            trained.predict_quantiles((0.5, outside))
    with pytest.raises(ValueError, match="lie outside those that were trained"):
        trained.predict_interval(0.9)


def test_interpolation_is_that_of_numpy():
    outputs = np.sort(np.random.default_rng(0).normal(size=(5, 4, 2, 3)).astype(np.float32))
    wanted = (0.1, 0.2, 0.5, 0.77, 0.9)
    found = interpolate_levels(outputs, (0.1, 0.5, 0.9), wanted)
    expected = np.apply_along_axis(lambda row: np.interp(wanted, (0.1, 0.5, 0.9), row), -1, outputs.astype(float))
    np.testing.assert_allclose(found, expected)
    assert (np.diff(found) >= 0).all()


def reference_widening(outputs, horizon, middle):
    """Step by step: deviations from the median of the step and of the end of the block before, squared and added."""
    widened = outputs.astype(float).copy()
    for cutoff, step, target, output in np.ndindex(*outputs.shape):
        if step < horizon:
            continue
        own = outputs[cutoff, step, target, output] - outputs[cutoff, step, target, middle]
        last = (step // horizon) * horizon - 1
        before = widened[cutoff, last, target, output] - outputs[cutoff, last, target, middle]
        side = -1 if output < middle else 1
        widened[cutoff, step, target, output] = outputs[cutoff, step, target, middle] + side * np.hypot(own, before)
    return widened


@pytest.mark.parametrize("n_outputs", [3, 5])
def test_quantiles_widen_beyond_the_horizon(n_outputs):
    outputs = np.sort(np.random.default_rng(0).normal(size=(4, 19, 2, n_outputs)).astype(np.float32))
    outputs[0, :, :, :2] = outputs[0, :, :, [0]].transpose(1, 2, 0)  # quantiles that coincide
    outputs[1, 5] = outputs[1, 5, :, 1:2]
    outputs = np.sort(outputs)
    before, middle = outputs.copy(), n_outputs // 2
    widened = widen_beyond_horizon(outputs, 6, middle)
    np.testing.assert_array_equal(outputs, before)
    np.testing.assert_allclose(widened, reference_widening(outputs, 6, middle), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(widened[:, :6], outputs[:, :6], atol=1e-6)
    np.testing.assert_allclose(widened[..., middle], outputs[..., middle], atol=1e-6)
    assert (np.diff(widened) >= 0).all()
    assert (np.abs(widened - widened[..., [middle]]) >= np.abs(outputs - outputs[..., [middle]]) - 1e-5).all()


def test_trained_quantiles_widen_and_never_cross(trained):
    levels = (0.1, 0.2, 0.5, 0.8, 0.9)
    quantiles = trained.predict_quantiles(levels, horizon=30)
    for name in ("s0", "s1", "s2"):
        one = quantiles[name]
        assert (one.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
        assert (one[0.9] - one[0.1]).iloc[-1] > (one[0.9] - one[0.1]).iloc[7]
    np.testing.assert_allclose(quantiles.iloc[:8], trained.predict_quantiles(levels), rtol=1e-6)
    np.testing.assert_allclose(quantiles.xs(0.5, axis=1, level=1), trained.predict(horizon=30), rtol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"quantiles": (0.1, 0.5, 0.9)}])
@pytest.mark.parametrize("scaling", [{"log1p": True}, {"scaler": "robust"}, {"log1p": True, "scaler": "none"}])
def test_quantiles_are_undone_in_order(settings, scaling):
    y = np.exp(waves(200, 2, seed=3) / [3, 30]) - 1
    forecaster = SAMoVARForecaster(**TINY, **settings, **scaling).fit(y)
    quantiles = forecaster.predict_quantiles((0.1, 0.4, 0.5, 0.6, 0.9), horizon=20)
    point = forecaster.predict(horizon=20)
    for name in point:
        assert (quantiles[name].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
        np.testing.assert_allclose(quantiles[name][0.5], point[name], rtol=1e-5)
        if "log1p" in scaling:
            assert (quantiles[name] > -1).all(axis=None)
            if not settings:  # symmetric before the logarithm is undone, not after
                low, middle, high = (np.log1p(quantiles[name][level]) for level in (0.1, 0.5, 0.9))
                np.testing.assert_allclose(high - middle, middle - low, rtol=1e-5)


@pytest.mark.parametrize("name", ["conformal", "trained"])
def test_quantiles_of_a_backtest_are_those_of_predict(name, request):
    forecaster, y = request.getfixturevalue(name), waves(80, seed=5)
    y.iloc[30:40, 1] = np.nan
    result = forecaster.backtest(y, stride=11, quantiles=(0.2, 0.5, 0.8))
    assert result["quantiles"].dims == ("cutoff", "step", "series", "quantile")
    for position, cutoff in enumerate(result.cutoff.values):
        by_hand = forecaster.predict_quantiles((0.2, 0.5, 0.8), y[:cutoff]).to_numpy().reshape(8, 3, 3)
        np.testing.assert_allclose(result["quantiles"][position], by_hand, rtol=1e-4)
    np.testing.assert_allclose(result["quantiles"].sel(quantile=0.5), result.forecast, rtol=1e-6)
    assert "quantiles" not in forecaster.backtest(y)


@pytest.mark.parametrize("name", ["conformal", "trained"])
def test_a_backtest_in_many_batches_is_that_in_one(name, request, monkeypatch):
    forecaster, y = request.getfixturevalue(name), waves(80, seed=5)
    whole = forecaster.backtest(y, quantiles=(0.2, 0.5, 0.8))
    monkeypatch.setattr("samovar_forecast.forecasting.rolling.forecast_batch_size", lambda *_: 6)
    parts = forecaster.backtest(y, quantiles=np.array([0.2, 0.5, 0.8]))
    assert whole.sizes["cutoff"] % 6  # the last batch is smaller
    for one, other in ((whole, parts), (whole[["forecast"]], forecaster.backtest(y)[["forecast"]])):
        xr.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"quantiles": (0.1, 0.5, 0.9)}])
def test_intervals_hold_what_they_say(tiny, settings):
    rng = np.random.default_rng(0)

    def noise(n_rows):
        return pd.DataFrame(rng.standard_t(5, size=(n_rows, 2)) * [1, 50] + [0, 300], columns=["a", "b"])

    forecaster = SAMoVARForecaster(**(tiny | {"max_epochs": 4}), **settings).fit(noise(900))
    result = forecaster.backtest(noise(900), quantiles=(0.1, 0.5, 0.9))
    inside = (result.actual > result["quantiles"].sel(quantile=0.1)) & (
        result.actual < result["quantiles"].sel(quantile=0.9)
    )
    assert (abs(inside.mean(("cutoff", "step")) - 0.8) < 0.06).all()


def test_warnings_where_intervals_know_too_little(tiny, y):
    forecaster = SAMoVARForecaster(**tiny).fit(y)  # 25 validation windows
    assert forecaster.calibration_.n_windows == 25
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecaster.predict_interval(0.96)
    with pytest.warns(UserWarning, match=r"25 validation windows tell nothing beyond a coverage of 0\.962") as said:
        widest = forecaster.predict_interval(0.97)
    assert said[0].filename.endswith(("estimator.py", "test_intervals.py"))
    with pytest.warns(UserWarning, match="25 validation windows"):
        np.testing.assert_allclose(forecaster.predict_interval(0.999), widest)
    blind = SAMoVARForecaster(**tiny, validation_fraction=0).fit(y)
    with pytest.warns(UserWarning, match="errors on the training windows, because validation_fraction held out no"):
        blind.predict_quantiles()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SAMoVARForecaster(**tiny, validation_fraction=0, quantiles=(0.1, 0.5, 0.9)).fit(y).predict_quantiles()


def test_update_keeps_the_calibration(conformal):
    updated = copy.deepcopy(conformal).update(waves(310)[300:])
    assert np.array_equal(updated.calibration_.scores, conformal.calibration_.scores)
    assert np.isfinite(updated.predict_interval()).all(axis=None)


@pytest.mark.parametrize(
    "quantiles", [(0.1, 0.9), (0.1, 0.5), (0.9, 0.5, 0.1), (0.1, 0.4, 0.9), (0, 0.5, 1), (0.5, 0.5, 0.5)]
)
def test_wrong_quantiles_are_refused(tiny, y, quantiles):
    with pytest.raises((ValueError, TypeError), match="quantiles must"):
        SAMoVARForecaster(**tiny, quantiles=quantiles).fit(y)


def test_every_model_trains_quantiles(forecaster_class, tiny, y):
    settings = {name: value for name, value in tiny.items() if name != "loss"}
    forecaster = forecaster_class(**settings, quantiles=(0.1, 0.5, 0.9)).fit(y)
    assert forecaster.network_.n_outputs == 3
    assert forecaster.calibration_ is None
    quantiles = forecaster.predict_quantiles((0.1, 0.5, 0.9))
    for name in y:
        assert (quantiles[name].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    np.testing.assert_allclose(quantiles.xs(0.5, axis=1, level=1), forecaster.predict(), rtol=1e-6)
    assert forecaster.backtest(y).forecast.shape[1:] == (8, 3)
    trained = forecaster.update(waves(170)[160:])
    assert np.isfinite(trained.predict_interval()).all(axis=None)
