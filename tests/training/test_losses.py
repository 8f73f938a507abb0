"""Losses over observed targets against loops in double precision, and what training makes of them."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss

from samovar_forecast.data.windows import Windows
from samovar_forecast.networks.network import ForecastNetwork, TrainingForecast
from samovar_forecast.training.batches import Part
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.engine import train
from samovar_forecast.training.losses import (
    LOSSES,
    ascending,
    mean_over_observed,
    pinball_loss,
    sum_over_observed,
)
from samovar_forecast.training.module import ForecastingModule, MeanOverObserved

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def error_and_slope(loss, forecast, target):
    """The loss of one number and its derivative by the forecast."""
    error = forecast - target
    if loss == "mse":
        return error**2, 2 * error
    if loss == "mae" or (loss == "huber" and abs(error) > 1):
        return (abs(error) if loss == "mae" else abs(error) - 0.5), math.copysign(1, error)
    return error**2 / 2, error


def pinball_and_slope(quantile, forecast, target):
    slope = 1 - quantile if forecast > target else -quantile
    return slope * (forecast - target), slope


def data(*shape, missing=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    forecast, target = (2 * torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2))
    target[torch.rand(shape, generator=generator) < missing] = torch.nan
    return forecast.requires_grad_(), target


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("loss", LOSSES)
def test_point_losses_equal_a_loop(loss, missing):
    forecast, target = data(4, 5, 3, missing=missing)
    total, count, slopes = 0.0, 0, np.zeros(target.shape)
    for place in np.ndindex(*target.shape):
        if not math.isnan(target[place]):
            value, slopes[place] = error_and_slope(loss, forecast[place].item(), target[place].item())
            total, count = total + value, count + 1
    assert (count < target.numel()) == (missing > 0)
    sums = sum_over_observed(LOSSES[loss], forecast, target)
    assert (float(sums[0].detach()), int(sums[1])) == (pytest.approx(total, rel=1e-12), count)
    mean = mean_over_observed(LOSSES[loss], forecast, target)
    assert float(mean) == pytest.approx(total / count, rel=1e-12)
    mean.backward()
    np.testing.assert_allclose(forecast.grad, slopes / count, rtol=1e-12)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_pinball_loss_equals_a_loop(missing):
    _, target = data(4, 5, 3, missing=missing)
    forecast = data(4, 5, 3, len(QUANTILES), missing=0, seed=1)[0]
    total, count, slopes = 0.0, 0, np.zeros(forecast.shape)
    for place in np.ndindex(*target.shape):
        if not math.isnan(target[place]):
            count += 1
            for k, quantile in enumerate(QUANTILES):
                value, slope = pinball_and_slope(quantile, forecast[place][k].item(), target[place].item())
                total += 2 * value / len(QUANTILES)
                slopes[(*place, k)] = 2 * slope / len(QUANTILES)
    loss = partial(pinball_loss, quantiles=torch.tensor(QUANTILES, dtype=torch.float64))
    mean = mean_over_observed(loss, forecast, target)
    assert float(mean) == pytest.approx(total / count, rel=1e-12)
    mean.backward()
    np.testing.assert_allclose(forecast.grad, slopes / count, rtol=1e-12)


def test_the_pinball_loss_is_that_of_scikit_learn():
    _, target = data(200, missing=0)
    forecast = data(200, len(QUANTILES), missing=0, seed=1)[0].detach()
    library = [mean_pinball_loss(target, forecast[:, k], alpha=quantile) for k, quantile in enumerate(QUANTILES)]
    ours = pinball_loss(forecast, target, torch.tensor(QUANTILES, dtype=torch.float64)).mean()
    assert float(ours) == pytest.approx(2 * np.mean(library), rel=1e-12)


def test_the_pinball_loss_of_the_median_is_the_absolute_error():
    forecast, target = data(4, 5, 3)
    median = partial(pinball_loss, quantiles=torch.tensor([0.5]))
    errors = mean_over_observed(LOSSES["mae"], forecast, target)
    assert float(mean_over_observed(median, forecast.unsqueeze(-1), target)) == pytest.approx(float(errors))


def test_the_pinball_loss_is_least_at_the_quantiles():
    sample = torch.from_numpy(np.random.default_rng(0).exponential(size=2001))
    quantiles = torch.tensor(QUANTILES, dtype=torch.float64)
    best = sample.quantile(quantiles)

    def loss(forecast):
        return float(pinball_loss(forecast.expand(len(sample), -1), sample, quantiles).mean())

    for k in range(len(QUANTILES)):
        for step in (-0.02, 0.02):
            assert loss(best + step * torch.eye(len(QUANTILES))[k]) > loss(best)


@pytest.mark.parametrize("loss", [*LOSSES, "pinball"])
def test_without_an_observed_target_the_loss_and_its_gradient_are_zero(loss):
    forecast = data(2, 3, len(QUANTILES), missing=0)[0]
    target = torch.full((2, 3), torch.nan, dtype=torch.float64)
    if loss == "pinball":
        mean = mean_over_observed(partial(pinball_loss, quantiles=torch.tensor(QUANTILES)), forecast, target)
    else:
        mean = mean_over_observed(LOSSES[loss], forecast[..., 0], target)
    mean.backward()
    assert float(mean) == 0
    assert torch.equal(forecast.grad, torch.zeros_like(forecast))


def test_what_is_forecast_for_a_missing_target_does_not_matter():
    forecast, target = torch.tensor([1.0, torch.nan, torch.inf]), torch.tensor([2.0, torch.nan, torch.nan])
    forecast.requires_grad_()
    mean_over_observed(LOSSES["mse"], forecast, target).backward()
    assert forecast.grad.tolist() == [-2, 0, 0]


@pytest.mark.parametrize("loss", [*LOSSES, "pinball"])
def test_the_device_is_never_waited_for(loss):
    """Tensors without values: reading one, to choose by it or to count, is an error."""
    forecast = torch.empty(2, 3, len(QUANTILES), device="meta", requires_grad=True)
    target = torch.empty(2, 3, device="meta")
    if loss == "pinball":
        quantiles = torch.empty(len(QUANTILES), device="meta")
        mean = mean_over_observed(partial(pinball_loss, quantiles=quantiles), ascending(forecast), target)
    else:
        mean = mean_over_observed(LOSSES[loss], forecast[..., 0], target)
    mean.backward()
    assert forecast.grad.shape == forecast.shape
    with pytest.raises(NotImplementedError):
        target[~target.isnan()]


def test_half_precision_is_summed_in_single():
    forecast, target = torch.full((4096,), 1.5, dtype=torch.bfloat16), torch.zeros(4096)
    assert float(sum_over_observed(LOSSES["mae"], forecast, target)[0]) == 1.5 * 4096
    assert float(sum_over_observed(LOSSES["mae"], forecast, target.bfloat16())[0]) == 1.5 * 4096


def test_ascending_sorts_the_last_dimension_and_hands_gradients_to_where_they_came_from():
    forecast = torch.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    ordered = ascending(forecast)
    assert ordered.tolist() == [[1, 2, 3]]
    (ordered * torch.tensor([10.0, 20.0, 30.0])).sum().backward()
    assert forecast.grad.tolist() == [[30, 10, 20]]
    single = torch.randn(2, 3, 1)
    assert ascending(single) is single


def test_the_mean_of_an_epoch_weighs_every_target_the_same():
    forecast, target = data(6, 5)
    mean = MeanOverObserved()
    for rows in (slice(0, 1), slice(1, 3), slice(3, 6)):
        mean.update(*sum_over_observed(LOSSES["mse"], forecast[rows], target[rows]))
    assert float(mean.compute()) == pytest.approx(float(mean_over_observed(LOSSES["mse"], forecast, target)))
    assert not mean.total.requires_grad
    mean.reset()
    mean.update(*sum_over_observed(LOSSES["mse"], forecast[:1], torch.full_like(target[:1], torch.nan)))
    assert math.isnan(mean.compute())


class OwnObjective(ForecastNetwork):
    """Forecasts every quantile by a linear map of the context, and the rest of the context by one of its first rows."""

    def __init__(self, n_outputs):
        super().__init__(2, 2, 4, 2, n_outputs)
        self.maps = torch.nn.ModuleList(torch.nn.Linear(4, 2) for _ in range(n_outputs))
        self.own = torch.nn.Linear(2, 2 * n_outputs)

    def forward(self, past, covariates=None):
        filled = past.nan_to_num().transpose(1, 2)
        return torch.stack([one(filled).transpose(1, 2) for one in self.maps], dim=-1)

    def training_forecast(self, past, covariates=None):
        own = self.own(past[:, :2].nan_to_num().transpose(1, 2)).unflatten(-1, (2, -1)).transpose(1, 2)
        return TrainingForecast(self(past), own, past[:, 2:])


def windows_with_gaps(missing=0.2, n_rows=43, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n_rows, 2, generator=generator)
    values[torch.rand(n_rows, 2, generator=generator) < missing] = torch.nan
    return Windows(values, torch.arange(n_rows - 6 + 1), 4, 2, 2)


def expected_losses(network, windows, loss, quantiles, order):
    """Mean loss over the observed targets of all windows, of the forecast and of the network's own objective."""
    past, future, _ = windows.gather(windows.starts)
    forecast, own_forecast, own_target = network.training_forecast(past)
    means = []
    for outputs, target in ((forecast, future), (own_forecast, own_target)):
        outputs, seen = order(outputs.detach()), ~target.isnan()
        if quantiles:
            losses = [mean_pinball_loss(target[seen], outputs[..., k][seen], alpha=q) for k, q in enumerate(quantiles)]
            means.append(2 * np.mean(losses))
        else:
            means.append(float(LOSSES[loss](outputs[..., 0][seen], target[seen]).mean()))
    return means


@pytest.mark.parametrize(("loss", "quantiles"), [("mse", None), ("mae", None), ("huber", None), ("mse", QUANTILES)])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_logged_losses_are_means_over_all_that_was_observed(loss, quantiles, missing):
    """In batches of 8 with different numbers of gaps; the last one has 6 of the 38 windows.

    While training, every output learns its own quantile; the quantiles that are validated are in order.
    """
    torch.manual_seed(0)
    network = OwnObjective(len(quantiles or (0.5,)))
    train_windows, validation = windows_with_gaps(missing), windows_with_gaps(missing, 30, seed=1)
    config = TrainingConfig(
        device="cpu", horizon=2, loss=loss, quantiles=quantiles, learning_rate=1e-12, batch_size=8, max_epochs=2
    )
    main, own = expected_losses(network, train_windows, loss, quantiles, order=lambda outputs: outputs)
    unseen, _ = expected_losses(network, validation, loss, quantiles, order=ascending)
    summary = train(network, train_windows, validation, config, seed=0)
    assert summary.training_loss == pytest.approx(main + own, rel=1e-5)
    assert summary.validation_loss == pytest.approx(unseen, rel=1e-5)


@pytest.mark.parametrize("quantiles", [None, QUANTILES], ids=["point", "quantiles"])
def test_gradients_are_those_of_the_windows_with_targets(quantiles):
    torch.manual_seed(0)
    network = OwnObjective(len(quantiles or (0.5,)))
    windows = windows_with_gaps()
    windows.values[20:30] = torch.nan  # windows without any target or any history
    config = TrainingConfig(device="cpu", horizon=2, loss="mse", quantiles=quantiles, average_weights=None)
    module = ForecastingModule(network, config, windows, None, torch.Generator())
    everything = torch.arange(38)
    observed = torch.stack([~windows.values[start : start + 6].isnan().all() for start in everything])
    assert not observed.all()
    losses, gradients = [], []
    for starts in (everything, everything[observed], everything[~observed]):
        losses.append(module.loss_of(Part(starts)))
        gradients.append(torch.autograd.grad(losses[-1], list(network.parameters())))
    torch.testing.assert_close(losses[0], losses[1])
    for whole, part, nothing in zip(*gradients, strict=True):
        assert torch.isfinite(whole).all()
        torch.testing.assert_close(whole, part)
        assert torch.equal(nothing, torch.zeros_like(nothing))
    assert losses[2] == 0


def test_quantiles_are_learned():
    """Of noise with a known distribution, although the maps that forecast them start in a wrong order."""
    torch.manual_seed(0)
    noise = torch.from_numpy(np.random.default_rng(0).exponential(size=(600, 2)).astype(np.float32))
    windows = Windows(noise, torch.arange(600 - 6 + 1), 4, 2, 2)
    network = OwnObjective(3)
    with torch.no_grad():
        for one, start in zip(network.maps, (3.0, 2.0, 1.0), strict=True):
            one.weight.zero_()
            one.bias.fill_(start)
    config = TrainingConfig(
        device="cpu", horizon=2, quantiles=(0.1, 0.5, 0.9), learning_rate=0.02, weight_decay=0.0, max_steps=300
    )
    train(network, windows, None, config, seed=0)
    past, future, _ = windows.gather(windows.starts)
    forecast = ascending(network(past)).detach()
    shares = (future.unsqueeze(-1) <= forecast).float().mean((0, 1, 2))
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.04)
