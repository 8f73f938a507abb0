"""What a darts model trains on: the loss of the core, the optimizer of the core unless the user has another."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import torchmetrics
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood, PoissonLikelihood, QuantileRegression
from darts.utils.torch import MonteCarloDropout

from samovar_darts.models import ALL_MODELS, SAMoVARModel
from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasters import ALL_FORECASTERS
from samovar_forecast.networks.segment_network import SegmentNetwork
from samovar_forecast.training.batches import Part
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.module import ForecastingModule
from tests.conftest import suited

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
TINY = {"d_model": 8, "n_heads": 2, "n_layers": 1, "dropout": 0.0, "calendar": None}
FROZEN = {"optimizer_kwargs": {"lr": 0.0}, "batch_size": 1000, "n_epochs": 1}  # one batch, weights that stay


@pytest.fixture(params=ALL_MODELS, ids=lambda model: model.__name__)
def model_class(request):
    return request.param


@pytest.fixture(
    params=[model for model in ALL_MODELS if issubclass(model.network_class, SegmentNetwork)],
    ids=lambda model: model.__name__,
)
def segment_model_class(request):
    """Models with an objective of their own beside the forecast."""
    return request.param


def make(model_class, **given):
    trainer = QUIET | given.pop("pl_trainer_kwargs", {})
    return model_class(24, 6, random_state=0, pl_trainer_kwargs=trainer, **suited(TINY, model_class) | given)


def waves(n_rows=50, n_components=2, seed=0, loc=0.0):
    noise = np.random.default_rng(seed).normal(loc, size=(n_rows, n_components))
    values = np.sin(np.arange(n_rows) / 2)[:, None] + noise
    index = pd.date_range("2024-01-01", periods=n_rows, freq="h")
    return TimeSeries.from_times_and_values(index, values.astype(np.float32))


def windows_of(series):
    """Every window of a series: the past (n_windows, 24, n_components) and the future (n_windows, 6, n_components)."""
    windows = torch.from_numpy(series.values()).unfold(0, 30, 1).transpose(1, 2)
    return windows[:, :24], windows[:, 24:]


def logged(model):
    return {name: float(value) for name, value in model.trainer.callback_metrics.items()}


def test_the_loss_is_that_of_forecast_and_next_segments(segment_model_class):
    series, validation = waves(), waves(seed=1)
    model = make(segment_model_class, **FROZEN, torch_metrics=torchmetrics.MeanSquaredError()).fit(
        series, val_series=validation
    )
    network = model.model.network.eval()
    past, future = windows_of(series)
    forecast, own_forecast, own_target = network.training_forecast(past)
    main, own = F.mse_loss(forecast.squeeze(-1), future), F.mse_loss(own_forecast.squeeze(-1), own_target)
    assert own > 0.1
    past, future = windows_of(validation)
    unseen = F.mse_loss(network(past).squeeze(-1), future)
    expected = {"train_loss": main + own, "val_loss": unseen}
    expected |= {"train_MeanSquaredError": main, "val_MeanSquaredError": unseen}
    assert logged(model) == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-5)


def test_the_loss_is_that_of_the_core(model_class):
    series = waves()
    model = make(model_class, **FROZEN).fit(series)
    windows = Windows(torch.from_numpy(series.values()), torch.arange(21), 24, 6, n_targets=2)
    core = ForecastingModule(model.model.network, TrainingConfig(loss="mse"), windows, None, torch.Generator())
    expected = core.training_step(Part(windows.starts), 0).item()
    assert logged(model)["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_sample_weights_count_for_both_objectives(segment_model_class):
    series = waves()
    weight = np.random.default_rng(2).uniform(size=(50, 2)).astype(np.float32)
    model = make(segment_model_class, **FROZEN)
    model.fit(series, sample_weight=series.with_values(weight))
    past, future = windows_of(series)
    weights = windows_of(series.with_values(weight))[1]
    forecast, own_forecast, own_target = model.model.network.eval().training_forecast(past)
    own_weights = weights.mean(1)[:, None, None]  # of the window's forecast, for each of its segments and steps
    main = (weights * (forecast.squeeze(-1) - future) ** 2).mean()
    own = (own_weights * (own_forecast.squeeze(-1) - own_target) ** 2).mean()
    assert logged(model)["train_loss"] == pytest.approx(float(main + own), rel=1e-5)


@pytest.mark.parametrize("sharpness_rho", [None, 0.5])
@pytest.mark.parametrize("n_rows", [61, 69])  # 32 windows, and 8 more for a last step
def test_the_last_group_of_batches_weighs_as_much_as_any_other(n_rows, sharpness_rho):
    """Lightning alone would divide the loss of the one batch that is left by four."""
    weights = []
    for batch_size, accumulated in ((8, 4), (32, 1)):
        model = make(
            SAMoVARModel, dropout=0.0, n_epochs=1, batch_size=batch_size, sharpness_rho=sharpness_rho,
            optimizer_cls=torch.optim.SGD, optimizer_kwargs={"lr": 0.1}, lr_scheduler_cls=None,
            pl_trainer_kwargs={"accumulate_grad_batches": accumulated, "gradient_clip_val": None},
        )  # fmt: skip
        model.fit(waves(n_rows), dataloader_kwargs={"shuffle": False})
        assert model.trainer.global_step == -(-(n_rows - 29) // 32)
        weights.append(torch.cat([weight.detach().flatten() for weight in model.model.network.parameters()]))
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "likelihood", [QuantileRegression([0.2, 0.5, 0.8]), GaussianLikelihood()], ids=["quantiles", "gaussian"]
)
def test_the_likelihood_judges_both_objectives(segment_model_class, likelihood):
    series = waves()
    model = make(segment_model_class, **FROZEN, likelihood=likelihood).fit(series)
    past, future = windows_of(series)
    forecast, own_forecast, own_target = model.model.network.eval().training_forecast(past)
    main = likelihood.compute_loss(forecast, future, None)
    segments = [likelihood.compute_loss(own_forecast[:, n], own_target[:, n], None) for n in range(own_target.shape[1])]
    assert logged(model)["train_loss"] == pytest.approx(float(main + torch.stack(segments).mean()), rel=1e-5)


@pytest.mark.parametrize(
    "likelihood", [PoissonLikelihood(), GaussianLikelihood(prior_mu=20.0)], ids=["counts", "prior"]
)
def test_the_squared_error_judges_where_the_likelihood_cannot(segment_model_class, likelihood):
    series = waves(loc=20)
    series = series.with_values(np.round(series.values()))
    model = make(segment_model_class, **FROZEN, likelihood=likelihood).fit(series)
    past, future = windows_of(series)
    forecast, own_forecast, own_target = model.model.network.eval().training_forecast(past)
    own = F.mse_loss(own_forecast[..., 0], own_target)
    assert own_target.min() < 0  # no count, and far from a mean of 20
    expected = likelihood.compute_loss(forecast, future, None) + own
    assert logged(model)["train_loss"] == pytest.approx(float(expected.detach()), rel=1e-5)


def test_after_a_shift_only_the_forecast_counts(model_class):
    series = waves()
    model = make(model_class, output_chunk_shift=3, **FROZEN).fit(series)
    windows = torch.from_numpy(series.values()).unfold(0, 33, 1).transpose(1, 2)
    forecast = model.model.network.train()(windows[:, :24])  # Autoformer's delays differ in evaluation
    assert logged(model)["train_loss"] == pytest.approx(
        float(F.mse_loss(forecast.squeeze(-1), windows[:, 27:]).detach()), rel=1e-5
    )


def test_reversible_instance_norm(model_class):
    forecast = make(model_class, n_epochs=1, use_reversible_instance_norm=True).fit(waves(loc=100)).predict(6)
    assert np.abs(forecast.values() - 100).max() < 5


@pytest.mark.parametrize(
    "model_class",
    [model for model in ALL_MODELS if "dropout" in model.__dataclass_fields__],
    ids=lambda model: model.__name__,
)
def test_monte_carlo_dropout(model_class):
    series = waves()
    model = make(model_class, n_epochs=1, dropout=0.3).fit(series)
    kinds = {type(module) for module in model.model.network.modules() if isinstance(module, torch.nn.Dropout)}
    assert kinds == {MonteCarloDropout}
    np.testing.assert_array_equal(model.predict(6).values(), model.predict(6).values())
    samples = model.predict(6, num_samples=30, mc_dropout=True).all_values()
    assert samples.std(axis=2).min() > 1e-4
    np.testing.assert_array_equal(model.predict(6).values(), model.predict(6).values())  # and off again


def test_the_optimizer_of_the_core(model_class):
    """And its learning rates: the windows, and so the steps, are the same in both hosts."""
    recipe = model_class.recipe(batch_size=32, max_epochs=4)
    model = make(model_class, n_epochs=4, batch_size=32).fit(waves(100))
    core = ForecastingModule(model.model.network, recipe, range(71), None, torch.Generator()).configure_optimizers()
    optimizer, used = core["optimizer"], model.trainer.optimizers[0]
    assert type(used) is type(optimizer)
    # Fused or not is the same arithmetic, and Lightning clips no gradients for fused ones in 16-bit mixed precision.
    assert used.defaults == optimizer.defaults | {"fused": None}
    assert model.trainer_params["gradient_clip_val"] == recipe.gradient_clip
    for _ in range(12):  # four epochs of three batches
        optimizer.step()
        core["lr_scheduler"]["scheduler"].step()
    assert used.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_the_choices_of_the_user_win():
    model = make(SAMoVARModel, optimizer_cls=torch.optim.SGD, optimizer_kwargs={"lr": 0.5})
    assert model.pl_module_params["optimizer_cls"] is torch.optim.SGD
    assert model.pl_module_params["optimizer_kwargs"] == {"lr": 0.5}
    model = make(SAMoVARModel, optimizer_kwargs={"lr": 0.5}, pl_trainer_kwargs={"gradient_clip_val": None})
    assert model.pl_module_params["optimizer_cls"] is torch.optim.AdamW
    assert model.pl_module_params["optimizer_kwargs"] == {"lr": 0.5, "betas": (0.9, 0.95), "weight_decay": 0.1}
    assert model.trainer_params["gradient_clip_val"] is None


def test_every_core_forecaster_has_a_darts_model():
    assert {core.network_class for core in ALL_FORECASTERS} == {model.network_class for model in ALL_MODELS}
    named = {core.__name__.removesuffix("Forecaster") for core in ALL_FORECASTERS}
    assert named == {model.__name__.removesuffix("Model") for model in ALL_MODELS}
