"""Gaps in the series of darts models: what is not observed is neither judged nor learned from, forecasts are finite."""

import numpy as np
import pandas as pd
import pytest
import torch
import torchmetrics
from darts import TimeSeries
from darts.metrics import mae
from darts.utils.data.torch_datasets.utils import TorchTrainingBatch
from darts.utils.likelihood_models import torch as likelihoods
from darts.utils.likelihood_models.torch import DirichletLikelihood, GaussianLikelihood, QuantileRegression
from darts.utils.losses import MAELoss, MapeLoss, SmapeLoss

from samovar_darts.models import ALL_MODELS, AutoformerModel, SAMoVARModel
from samovar_darts.observed_targets import ObservedTargets, counts, hide_missing, judge
from samovar_forecast.data.windows import Windows
from samovar_forecast.training.batches import Part
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.losses import LOSSES, mean_over_observed
from samovar_forecast.training.module import ForecastingModule
from tests.adapters.test_darts_training import FROZEN, logged, make, windows_of

UNIVARIATE = [
    likelihood
    for likelihood in vars(likelihoods).values()
    if isinstance(likelihood, type)
    and issubclass(likelihood, likelihoods.TorchLikelihood)
    and likelihood not in (likelihoods.TorchLikelihood, DirichletLikelihood)
]


@pytest.fixture(params=ALL_MODELS, ids=lambda model: model.__name__)
def model_class(request):
    return request.param


def waves(n_rows=50, n_components=2, seed=0, missing=0.2, level=0.0):
    """Noisy waves with single gaps, and without the second component for the last eight rows."""
    rng = np.random.default_rng(seed)
    values = np.sin(np.arange(n_rows) / 2)[:, None] + rng.normal(level, size=(n_rows, n_components))
    if missing:
        values[rng.uniform(size=values.shape) < missing] = np.nan
        values[-8:, 1:] = np.nan
    index = pd.date_range("2024-01-01", periods=n_rows, freq="h")
    return TimeSeries.from_times_and_values(index, values.astype(np.float32))


def in_support(likelihood, *shape):
    """Targets that a likelihood can judge: counts below 2 are good for all but those inside the unit interval."""
    rng = np.random.default_rng(0)
    if isinstance(likelihood, (likelihoods.BetaLikelihood, likelihoods.ContinuousBernoulliLikelihood)):
        return torch.from_numpy(rng.uniform(0.1, 0.9, size=shape))
    low = 0 if isinstance(likelihood, likelihoods.BernoulliLikelihood) else 1
    return torch.from_numpy(rng.integers(low, low + 2, size=shape)).double()


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("likelihood_class", UNIVARIATE, ids=lambda likelihood: likelihood.__name__)
def test_every_likelihood_judges_the_observed_targets_alone(likelihood_class, weighted):
    generator = torch.Generator().manual_seed(0)
    likelihood = likelihood_class()
    prediction = torch.randn(4, 5, 3, likelihood.num_parameters, dtype=torch.float64, generator=generator)
    target = in_support(likelihood, 4, 5, 3)
    weight = torch.rand(4, 5, 3, dtype=torch.float64, generator=generator) if weighted else None
    target[torch.rand(4, 5, 3, generator=generator) < 0.3] = torch.nan
    target[2] = torch.nan
    seen = ~target.isnan()
    prediction[~seen] = torch.nan  # what is forecast there must not matter
    prediction.requires_grad_()
    pair = hide_missing(prediction, target, weight, likelihood)
    loss = likelihood.compute_loss(pair.prediction, pair.target, pair.weight)
    (gradient,) = torch.autograd.grad(loss, prediction)

    chosen = prediction.detach()[seen][:, None, None].requires_grad_()  # every observed target a batch of its own
    weights = None if weight is None else weight[seen][:, None, None]
    expected = likelihood_class().compute_loss(chosen, target[seen][:, None, None], weights)
    (slopes,) = torch.autograd.grad(expected, chosen)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    torch.testing.assert_close(gradient[seen], slopes[:, 0, 0], rtol=1e-6, atol=1e-9)
    assert torch.equal(gradient[~seen], torch.zeros_like(gradient[~seen]))


def test_a_likelihood_of_all_components_leaves_out_incomplete_steps():
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randn(4, 5, 3, 1, dtype=torch.float64, generator=generator).requires_grad_()
    target = torch.rand(4, 5, 3, dtype=torch.float64, generator=generator).softmax(-1)
    target[torch.rand(4, 5, 3, generator=generator) < 0.2] = torch.nan
    likelihood = DirichletLikelihood()
    complete = ~target.isnan().any(-1)
    assert 0 < complete.sum() < complete.numel()
    assert torch.equal(counts(target, likelihood), complete.unsqueeze(-1).expand(4, 5, 3))
    pair = hide_missing(prediction, target, None, likelihood)
    loss = likelihood.compute_loss(pair.prediction, pair.target, pair.weight.mean(-1))
    expected = likelihood.compute_loss(prediction[complete].unsqueeze(0), target[complete].unsqueeze(0), None)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    loss.backward()
    assert torch.isfinite(prediction.grad).all()


def without_reduction(criterion_class):
    return pytest.param(criterion_class(), id=criterion_class.__name__)


@pytest.mark.parametrize(
    "criterion",
    [
        torch.nn.MSELoss(),
        torch.nn.L1Loss(),
        torch.nn.HuberLoss(),
        torch.nn.MSELoss(reduction="sum"),
        torch.nn.PoissonNLLLoss(log_input=False),  # not zero where forecast and target are equal
        *map(without_reduction, (MAELoss, SmapeLoss, MapeLoss)),
    ],
)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_every_loss_judges_the_observed_targets_alone(criterion, missing):
    generator = torch.Generator().manual_seed(0)
    prediction = torch.rand(4, 5, 3, 1, generator=generator) + 0.5
    target = torch.rand(4, 5, 3, generator=generator) + 0.5
    target[torch.rand(4, 5, 3, generator=generator) < missing] = torch.nan
    seen = ~target.isnan()
    prediction[~seen] = torch.nan
    prediction.requires_grad_()
    loss = judge(criterion, hide_missing(prediction, target, None, None), weighted=False)
    (gradient,) = torch.autograd.grad(loss, prediction)
    chosen = prediction.detach()[seen].squeeze(-1).requires_grad_()
    expected = criterion(chosen, target[seen])
    (slopes,) = torch.autograd.grad(expected, chosen)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(gradient[seen].squeeze(-1), slopes, rtol=1e-5, atol=1e-7)
    assert torch.equal(gradient[~seen], torch.zeros_like(gradient[~seen]))
    assert getattr(criterion, "reduction", "mean") in ("mean", "sum")  # as it was


@pytest.mark.parametrize("criterion", [torch.nn.MSELoss(), SmapeLoss()])
def test_without_an_observed_target_the_loss_and_its_gradient_are_zero(criterion):
    prediction = torch.randn(2, 3, 2, 1, requires_grad=True)
    loss = judge(criterion, hide_missing(prediction, torch.full((2, 3, 2), torch.nan), None, None), weighted=False)
    loss.backward()
    assert loss == 0
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


@pytest.mark.parametrize("criterion", [torch.nn.MSELoss(), MAELoss()])
def test_the_device_is_never_waited_for(criterion):
    """Tensors without values: reading one is an error."""
    prediction = torch.empty(2, 3, 2, 1, device="meta", requires_grad=True)
    pair = hide_missing(prediction, torch.empty(2, 3, 2, device="meta"), None, None)
    judge(criterion, pair, weighted=False).backward()
    assert prediction.grad.shape == prediction.shape


def test_sample_weights_are_averaged_over_the_observed_targets():
    prediction, target, weight = torch.rand(2, 3, 2, 1), torch.rand(2, 3, 2), torch.rand(2, 3, 2)
    target[0, 0, 0] = torch.nan
    weight[0, 0, 0] = torch.nan  # of no interest there
    pair = hide_missing(prediction, target, weight, None)
    assert isinstance(pair, ObservedTargets)
    seen = ~target.isnan()
    expected = (weight * (prediction[..., 0] - target) ** 2)[seen].mean()
    torch.testing.assert_close(judge(torch.nn.MSELoss(reduction="none"), pair, weighted=True), expected)


def with_gaps():
    series = waves()
    return series, {"past_covariates": waves(74, seed=1)}


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")  # darts scores windows without a value
def test_it_trains_and_forecasts_with_gaps(model_class):
    series, arguments = with_gaps()
    validation = {"val_series": waves(seed=2), "val_past_covariates": waves(seed=3)}
    model = make(model_class, n_epochs=1).fit(series, **validation, **arguments)
    assert all(np.isfinite(value) for value in logged(model).values())
    assert all(torch.isfinite(value).all() for value in model.model.state_dict().values())
    assert np.isfinite(model.predict(15, **arguments).values()).all()
    settings = {"forecast_horizon": 6, "stride": 4, "retrain": False, "last_points_only": False}
    fast = model.historical_forecasts(series, **settings, **arguments)
    slow = model.historical_forecasts(series, **settings, **arguments, enable_optimization=False)
    for one, other in zip(fast, slow, strict=True):
        assert np.isfinite(one.values()).all()
        np.testing.assert_allclose(one.values(), other.values(), rtol=1e-4, atol=1e-5)
    assert np.isfinite(model.backtest(series, **settings, **arguments, metric=mae))


def test_nothing_observed_still_gives_a_forecast(model_class):
    model = make(model_class, n_epochs=1).fit(waves())
    nothing = waves(24).map(lambda values: np.full_like(values, np.nan))
    assert np.isfinite(model.predict(9, series=nothing).values()).all()


@pytest.mark.parametrize("likelihood", [QuantileRegression([0.1, 0.5, 0.9]), GaussianLikelihood()])
def test_likelihoods_with_gaps(model_class, likelihood):
    model = make(model_class, n_epochs=1, likelihood=likelihood).fit(waves(), val_series=waves(seed=2))
    assert all(np.isfinite(value) for value in logged(model).values())
    assert np.isfinite(model.predict(9, num_samples=5).all_values()).all()


def test_the_loss_with_gaps_is_that_of_the_core(model_class):
    series = waves(missing=0.3)
    model = make(model_class, **FROZEN).fit(series)
    windows = Windows(torch.from_numpy(series.values()), torch.arange(21), 24, 6, n_targets=2)
    core = ForecastingModule(model.model.network, TrainingConfig(loss="mse"), windows, None, torch.Generator())
    expected = float(core.training_step(Part(windows.starts), 0).detach())
    assert logged(model)["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_the_logged_validation_loss_is_the_mean_over_all_observed_targets(model_class):
    """The batches hold 8, 8 and 5 windows with different numbers of gaps."""
    series, validation = waves(), waves(seed=1, missing=0.4)
    metric = torchmetrics.MeanAbsoluteError()
    model = make(model_class, **(FROZEN | {"batch_size": 8}), torch_metrics=metric)
    model.fit(series, val_series=validation)
    past, future = windows_of(validation)
    forecast = model.model.network.eval()(past).squeeze(-1).detach()
    expected = mean_over_observed(LOSSES["mse"], forecast, future)
    assert logged(model)["val_loss"] == pytest.approx(float(expected), rel=1e-5)
    complete = ~future.isnan().any(-1)
    errors = (forecast - future)[complete].abs().mean()
    assert logged(model)["val_MeanAbsoluteError"] == pytest.approx(float(errors), rel=1e-5)


@pytest.mark.parametrize("likelihood", [None, QuantileRegression([0.1, 0.5, 0.9]), GaussianLikelihood()])
@pytest.mark.parametrize(
    # Autoformer chooses its delays, while it trains, for all windows of a batch at once
    "model_class",
    [model for model in ALL_MODELS if model is not AutoformerModel],
    ids=lambda model: model.__name__,
)
def test_a_window_without_a_target_contributes_nothing(model_class, likelihood):
    past, future = (torch.randn(3, rows, 2, generator=torch.Generator().manual_seed(rows)) for rows in (24, 6))
    future[1] = torch.nan
    module = make(model_class, **FROZEN, likelihood=likelihood).fit(waves()).model.train()
    gradients = []
    for chosen in ([0, 1, 2], [0, 2], [1]):
        batch = TorchTrainingBatch(past_target=past[chosen], future_target=future[chosen])
        loss = module.loss_of(batch)
        parts = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True, materialize_grads=True)
        gradients.append(torch.cat([part.flatten() for part in parts]))
    assert gradients[1].abs().max() > 1e-3
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    assert torch.equal(gradients[2], torch.zeros_like(gradients[2]))


NAMES = {"series": "a", "past_covariates": "b", "future_covariates": "c"}


def named(n_rows, name, seed=0):
    return waves(n_rows, 2, seed, missing=0).with_columns_renamed(["0", "1"], ["other", name])


def spoilt(series, row, value):
    values = series.values()
    values[row, 1] = value
    return series.with_values(values)


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("series", np.inf, r"series\[1\]: component 'a' at 2024-01-02 21:00:00 is infinite"),
        ("past_covariates", -np.inf, r"past_covariates\[1\]: component 'b' at 2024-01-02 21:00:00 is infinite"),
        ("future_covariates", np.inf, r"future_covariates\[1\]: component 'c' at .* is missing or infinite"),
        ("future_covariates", np.nan, r"future_covariates\[1\]: component 'c' at .* is missing or infinite"),
    ],
)
def test_values_that_no_model_can_take_are_named(kind, value, reason):
    good = {
        name: [named(50 if name == "series" else 90, component, seed) for seed in (0, 1)]
        for name, component in NAMES.items()
    }
    bad = good | {kind: [good[kind][0], spoilt(good[kind][1], 45, value)]}
    with pytest.raises(ValueError, match=reason):
        make(SAMoVARModel, n_epochs=1).fit(**bad)
    with pytest.raises(ValueError, match=reason):
        make(SAMoVARModel, n_epochs=1).fit(**good, **{f"val_{name}": values for name, values in bad.items()})
    model = make(SAMoVARModel, n_epochs=1).fit(**good)
    with pytest.raises(ValueError, match=reason):
        model.predict(6, **bad)
    with pytest.raises(ValueError, match=reason):
        model.historical_forecasts(**bad, forecast_horizon=6, retrain=False)
    if kind == "future_covariates":  # they are read neither after the forecast nor long before it
        for row in (60, 80, 10):
            fine = good | {kind: [good[kind][0], spoilt(good[kind][1], row, value)]}
            assert np.isfinite(model.predict(6, **fine)[1].values()).all()
    else:
        fine = good | {kind: [good[kind][0], spoilt(good[kind][1], 10, value)]}
        assert np.isfinite(model.predict(6, **fine)[1].values()).all()


def test_a_missing_static_covariate_is_named():
    series = waves().with_static_covariates(pd.DataFrame({"size": [1.0, 2.0], "age": [0.5, np.nan]}, dtype="float32"))
    with pytest.raises(ValueError, match=r"static covariate 'age' of series\[0\] is missing or infinite"):
        make(SAMoVARModel, n_epochs=1).fit(series)
    make(SAMoVARModel, n_epochs=1, use_static_covariates=False).fit(series)


def test_the_window_norm_of_darts_refuses_gaps():
    reason = r"series\[0\]: component '1' at .* is missing, and use_reversible_instance_norm spreads that"
    series = waves(missing=0)
    gap = spoilt(series, 40, np.nan)
    with pytest.raises(ValueError, match=reason):
        make(SAMoVARModel, n_epochs=1, use_reversible_instance_norm=True).fit(gap)
    model = make(SAMoVARModel, n_epochs=1, use_reversible_instance_norm=True).fit(series)
    with pytest.raises(ValueError, match=reason):
        model.predict(6, series=gap)


class SquaredErrorPlusOne(torch.nn.Module):
    def forward(self, prediction, target):
        return ((prediction - target) ** 2).mean() + 1


def test_a_loss_that_cannot_leave_out_gaps_is_refused():
    with pytest.raises(ValueError, match="SquaredErrorPlusOne cannot leave out the missing values"):
        make(SAMoVARModel, n_epochs=1, loss_fn=SquaredErrorPlusOne()).fit(waves())
    make(SAMoVARModel, n_epochs=1, loss_fn=SquaredErrorPlusOne()).fit(waves(missing=0))
    make(SAMoVARModel, n_epochs=1, loss_fn=MAELoss()).fit(waves())
