"""Quantiles of darts models: in order whatever the weights, and the same as in the core."""

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression

from samovar_darts.models import ALL_MODELS, SAMoVARModel
from samovar_darts.network_module import SeriesScaler
from samovar_forecast.data.scaling import Scaler
from tests.adapters.test_darts_training import FROZEN, logged, make, waves, windows_of

QUANTILES = [0.1, 0.25, 0.5, 0.75, 0.9]


@pytest.fixture(params=ALL_MODELS, ids=lambda model: model.__name__)
def model_class(request):
    return request.param


def in_order(parameters, n_components):
    values = parameters.values().reshape(len(parameters), n_components, -1)
    return (np.diff(values, axis=-1) >= 0).all()


@pytest.mark.parametrize("window_norm", [False, True], ids=["plain", "reversible instance norm"])
def test_quantiles_never_cross(model_class, window_norm):
    series = waves()
    likelihood = QuantileRegression(QUANTILES)
    model = make(model_class, **FROZEN, likelihood=likelihood, use_reversible_instance_norm=window_norm).fit(series)
    module = model.model.eval()
    past, _ = windows_of(series)
    assert (module.network(past).diff(dim=-1) < 0).any()  # as drawn, the weights let them cross
    if window_norm:
        with torch.no_grad():
            module.rin.affine_weight.neg_()
    assert in_order(model.predict(6, predict_likelihood_parameters=True), 2)
    backtest = model.historical_forecasts(
        series, forecast_horizon=6, retrain=False, last_points_only=False, predict_likelihood_parameters=True
    )
    assert all(in_order(forecast, 2) for forecast in backtest)


def test_the_loss_is_that_of_the_ordered_quantiles():
    series, validation = waves(), waves(seed=1)
    model = make(SAMoVARModel, **FROZEN, likelihood=QuantileRegression(QUANTILES)).fit(series, val_series=validation)
    past, future = windows_of(validation)
    forecast = model.model.network.eval()(past)
    losses = [QuantileRegression(QUANTILES).compute_loss(one, future, None) for one in (forecast, forecast.sort(-1)[0])]
    assert logged(model)["val_loss"] == pytest.approx(float(losses[1].detach()), rel=1e-5)
    assert float(losses[0].detach()) > 1.01 * float(losses[1].detach())


def test_quantiles_are_learned():
    """Of noise with a known distribution."""
    noise = np.random.default_rng(0).exponential(size=(400, 1)).astype(np.float32)
    series = TimeSeries.from_values(noise)
    model = make(
        SAMoVARModel, likelihood=QuantileRegression([0.1, 0.5, 0.9]), n_epochs=50, batch_size=64,
        optimizer_kwargs={"lr": 1e-2}, pl_trainer_kwargs={"max_steps": 100},
    ).fit(series)  # fmt: skip
    forecasts = model.historical_forecasts(
        series, forecast_horizon=6, stride=6, retrain=False, last_points_only=False, predict_likelihood_parameters=True
    )
    below = [series.slice_intersect(one).values() <= one.values() for one in forecasts]
    np.testing.assert_allclose(np.mean(below, axis=(0, 1)), [0.1, 0.5, 0.9], atol=0.08)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_the_scaler_is_that_of_the_core(logarithmic):
    values = np.random.default_rng(0).exponential(50, size=(30, 3))
    values[4, 1] = np.nan
    core = Scaler.fit(values, "standard", np.array([False, logarithmic, True]))
    scaler = SeriesScaler(3).double()
    for name in ("center", "scale", "logarithmic"):
        getattr(scaler, name).copy_(torch.from_numpy(getattr(core, name)))
    scaled = scaler(torch.from_numpy(values))
    np.testing.assert_allclose(scaled, core.transform(values), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scaler(torch.from_numpy(values[:, 1:])), scaled[:, 1:])
    np.testing.assert_allclose(scaler.inverse(scaled.unsqueeze(-1)).squeeze(-1), values)
    np.testing.assert_allclose(scaler.inverse(scaled[:, 1:].unsqueeze(-1)).squeeze(-1), values[:, 1:])


def test_an_exponential_of_another_column_spoils_no_gradient():
    scaler = SeriesScaler(2)
    scaler.logarithmic[0] = True
    forecast = torch.tensor([[[1.0], [1000.0]]], requires_grad=True)
    scaler.inverse(forecast).sum().backward()
    np.testing.assert_allclose(forecast.grad.flatten(), [np.e, 1], rtol=1e-6)


def test_a_value_without_a_logarithm_is_named():
    index = pd.date_range("2024-01-01", periods=40, freq="h")
    series = TimeSeries.from_times_and_values(index, np.ones((40, 2), dtype=np.float32), columns=["free", "counts"])
    model = make(SAMoVARModel, n_epochs=1).fit(series)
    model.model.scaler.logarithmic[1] = True
    values = series.values()
    values[30] = -1
    with pytest.raises(ValueError, match=r"component 'counts' at 2024-01-02 06:00:00 is not above -1"):
        model.predict(6, series=series.with_values(values))
