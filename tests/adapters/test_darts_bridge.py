"""A core forecaster and the darts model that comes out of it forecast the same."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression

from samovar_darts.bridge import from_core
from samovar_darts.models import ALL_MODELS
from samovar_darts.recipe import Schedule
from samovar_forecast.forecasters import SAMoVARForecaster
from samovar_forecast.networks.samovar import SAMoVAR
from tests.conftest import TINY, suited, waves

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
CASES = {
    "all columns": (None, False, {}),
    "some targets": (["s2", "s0"], False, {}),
    "known covariates": (None, True, {}),
    "gaps": (["s2", "s0"], True, {}),
    "logarithms": (["s2", "s0"], False, {"log1p": True, "scaler": "robust"}),
    "everything": (["s1"], True, {"log1p": True}),
}


@pytest.fixture(params=CASES, ids=lambda case: case.replace(" ", "-"))
def case(request, forecaster_class):
    """A fitted core forecaster, a darts model made of it, and the data in both languages."""
    core, X, series = fitted_once(forecaster_class, request.param)
    return core, core.to_darts(), X, series


@cache
def fitted_once(forecaster_class, name):
    """The core forecaster of a case, which no test changes, and its data."""
    targets, with_known, settings = CASES[name]
    y = with_gaps(waves()) if name == "gaps" else waves()
    X = None
    if with_known:
        index = pd.date_range(y.index[0], periods=len(y) + 16, freq="h")
        X = pd.DataFrame({"hour": index.hour, "week": index.dayofweek + 1e3}, index=index, dtype=float)
    settings = suited(TINY, forecaster_class) | {"targets": targets} | settings
    core = forecaster_class(**settings).fit(y, None if X is None else X.loc[y.index])
    return core, X, series_of(core, y, X)


def with_gaps(y):
    """A tenth of the values missing, and all but four of the newest context of one series."""
    y = y.mask(np.random.default_rng(0).uniform(size=y.shape) < 0.1)
    y.iloc[-20:, 0] = np.nan
    return y


def series_of(core, y, X=None):
    """The frames of a core forecaster as darts takes them."""
    series = {"series": TimeSeries.from_dataframe(y[core.targets_])}
    past = [column for column in y.columns if column not in core.targets_]
    if past:
        series["past_covariates"] = TimeSeries.from_dataframe(y[past])
    if X is not None:
        series["future_covariates"] = TimeSeries.from_dataframe(X)
    return series


def scaled_error(core, ours, theirs):
    """How far two forecasts are apart on the scale of the network."""
    n_targets = len(core.targets_)
    scaled = []
    for forecast in (np.asarray(ours), np.asarray(theirs)):
        whole = np.zeros((*forecast.shape[:-1], len(core.columns_)))
        whole[..., -n_targets:] = forecast
        scaled.append(core.scaler_.transform(whole)[..., -n_targets:])
    return np.abs(scaled[0] - scaled[1]).max()


def test_the_same_forecast(case):
    core, model, X, series = case
    forecast = model.predict(8, **series)
    assert list(forecast.components) == core.targets_
    assert scaled_error(core, forecast.values(), core.predict(X=X)) < 1e-5
    assert np.ptp(forecast.values(), axis=0).min() > 0


def test_the_same_backtest(case):
    core, model, X, series = case
    frame = pd.concat([one.to_dataframe() for name, one in series.items() if name != "future_covariates"], axis=1)
    backtest = core.backtest(frame, X, stride=8)
    forecasts = model.historical_forecasts(
        **series, forecast_horizon=8, stride=8, retrain=False, last_points_only=False
    )  # fmt: skip
    assert scaled_error(core, np.stack([one.values() for one in forecasts]), backtest["forecast"]) < 1e-5


def test_save_load_and_go_on(case, tmp_path):
    _, model, _, series = case
    model.save(str(tmp_path / "model.pt"))  # before any forecast
    loaded = type(model).load(str(tmp_path / "model.pt"))
    np.testing.assert_array_equal(loaded.predict(8, **series).values(), model.predict(8, **series).values())
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    model.fit(**series, epochs=1)
    # on the scaled series: in units of the data the loss of the widest would be a hundred times this
    assert float(model.trainer.callback_metrics["train_loss"]) < 50
    changed = [name for name, value in model.model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed
    assert all(name.startswith("network.") for name in changed)


@pytest.mark.parametrize("log1p", [False, True])
def test_the_same_quantiles(y, tiny, forecaster_class, log1p):
    y = with_gaps(y)
    core = forecaster_class(**tiny, targets=["s2", "s0"], quantiles=QUANTILES, log1p=log1p).fit(y)
    model, series = core.to_darts(), series_of(core, y)
    assert model.likelihood == QuantileRegression(list(QUANTILES))
    forecast = model.predict(8, **series, predict_likelihood_parameters=True)
    assert list(forecast.components[:2]) == ["s2_q0.100", "s2_q0.300"]
    by_target = forecast.values().reshape(8, 2, len(QUANTILES)).swapaxes(1, 2)
    expected = core.predict_quantiles(QUANTILES).to_numpy().reshape(8, 2, len(QUANTILES)).swapaxes(1, 2)
    assert scaled_error(core, by_target, expected) < 1e-5
    assert scaled_error(core, by_target[:, 2], core.predict()) < 1e-5
    assert (np.diff(by_target, axis=1) >= 0).all()
    assert np.ptp(by_target, axis=1).min() > 0
    model.fit(**series, epochs=1)
    # on the scaled series, and the sum over the quantiles
    assert float(model.trainer.callback_metrics["train_loss"]) < 50


def test_a_panel_has_no_single_scaler(y, tiny):
    core = SAMoVARForecaster(**tiny).fit({"first": y, "second": y[40:]})
    with pytest.raises(ValueError, match="holds one scaler, and this SAMoVARForecaster learned from a panel"):
        core.to_darts()


def test_float32_series(y, tiny, forecaster_class):
    core = forecaster_class(**tiny).fit(y)
    forecast = core.to_darts().predict(8, series=TimeSeries.from_dataframe(y.astype("float32")))
    assert forecast.dtype == np.float32
    assert scaled_error(core, forecast.values(), core.predict()) < 1e-4


def test_unfitted(forecaster_class):
    network = suited({"d_model": 8, "n_heads": 2, "n_layers": 2, "dropout": 0.2}, forecaster_class)
    core = forecaster_class(
        horizon=6, context_length=24, batch_size=7, max_epochs=3, max_steps=11, learning_rate=0.02, weight_decay=0.3,
        schedule="cosine", gradient_clip=0.7, accumulate_batches=2, patience=4, loss="mae", device="cpu",
        precision="32-true", random_state=5, sharpness_rho=0.1, calendar=None, **network,
    )  # fmt: skip
    model = from_core(core)
    assert (model.input_chunk_length, model.output_chunk_length) == (24, 6)
    assert (model.batch_size, model.n_epochs) == (7, 3)
    assert {name: getattr(model, name) for name in network} == network
    assert model.sharpness_rho == 0.1
    assert model.model_params["random_state"] == 5
    assert model.pl_module_params["optimizer_kwargs"] == {"lr": 0.02, "betas": core.adam_betas, "weight_decay": 0.3}
    assert isinstance(model.pl_module_params["loss_fn"], torch.nn.L1Loss)
    trainer = {
        "accelerator": "cpu", "devices": 1, "gradient_clip_val": 0.7, "accumulate_grad_batches": 2, "max_steps": 11,
        "precision": "32-true", "enable_progress_bar": False,
    }  # fmt: skip
    assert {name: model.trainer_params[name] for name in trainer} == trainer
    assert [stopping.patience for stopping in model.trainer_params["callbacks"]] == [4]
    series = TimeSeries.from_values(np.sin(np.arange(80.0)))
    model.fit(series)
    scheduler = model.trainer.lr_scheduler_configs[0].scheduler
    assert isinstance(scheduler, Schedule)
    assert model.trainer.global_step == 11
    assert scheduler.get_last_lr() == pytest.approx([0.0], abs=1e-9)  # the cosine has come to its end
    assert model.predict(6).values().shape == (6, 1)


def test_it_stops_early(tiny):
    tiny |= {"max_epochs": 50, "patience": 2, "learning_rate": 1e-12}
    series = TimeSeries.from_values(np.sin(np.arange(60.0, dtype=np.float32)))
    model = SAMoVARForecaster(**tiny).to_darts()
    model.fit(series, val_series=series)
    assert model.epochs_trained == 3  # float32 weights do not move by 1e-12


@pytest.mark.parametrize(("windows_per_epoch", "steps"), [(None, 6), (8192, 6), (16, 4), (3, 2)])
def test_an_epoch_has_no_more_windows_than_it_may(tiny, windows_per_epoch, steps):
    settings = {"max_epochs": 2, "max_steps": None, "patience": None, "batch_size": 8}
    core = SAMoVARForecaster(**tiny | settings | {"windows_per_epoch": windows_per_epoch})
    windows = 20  # three batches
    model = core.to_darts()
    model.fit(TimeSeries.from_values(np.sin(np.arange(float(core.context_length + core.horizon + windows - 1)))))
    assert model.trainer.global_step == steps


def test_no_context_length(forecaster_class):
    with pytest.raises(ValueError, match=r"context_length .* None: set it, e\.g\. .*\(horizon=6, context_length=60\)"):
        from_core(forecaster_class(horizon=6))


def test_a_bad_hyperparameter_is_named(forecaster_class):
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        from_core(forecaster_class(horizon=6, context_length=24, batch_size=0))


class Own(SAMoVAR):
    """A network of a user's own."""


class OwnForecaster(SAMoVARForecaster):
    """Its forecaster."""

    network_class = Own


@pytest.mark.filterwarnings("ignore:Attribute 'network_class' removed from hparams")  # a class inside a function
def test_a_network_of_ones_own_has_a_model(tiny, y):
    model = from_core(OwnForecaster(**tiny))
    assert type(model) is type(from_core(OwnForecaster(**tiny)))
    assert type(model) not in ALL_MODELS
    core = OwnForecaster(**tiny).fit(y)
    series = TimeSeries.from_dataframe(y)
    np.testing.assert_allclose(from_core(core).predict(8, series=series).values(), core.predict(), rtol=1e-5)


def test_other_components_or_another_step_are_refused(y, tiny):
    core = SAMoVARForecaster(**tiny, targets=["s1"]).fit(y)
    model, target = core.to_darts(), TimeSeries.from_dataframe(y[["s1"]])
    assert model.predict(8, series=target, past_covariates=TimeSeries.from_dataframe(y[["s0", "s2"]])).n_components == 1
    with pytest.raises(ValueError, match=r"components \['s2', 's0'\], the model was fitted on \['s0', 's2'\]"):
        model.predict(8, series=target, past_covariates=TimeSeries.from_dataframe(y[["s2", "s0"]]))
    daily = y.set_axis(pd.date_range("2024-01-01", periods=len(y), freq="D"), axis=0)
    with pytest.raises(ValueError, match="series\\[0\\] has a step of D, the model was fitted on <Hour>"):
        model.predict(
            8, series=TimeSeries.from_dataframe(daily[["s1"]]),
            past_covariates=TimeSeries.from_dataframe(daily[["s0", "s2"]]),
        )  # fmt: skip


def test_numbers_of_numpy_train_and_load(y, tiny, tmp_path):
    settings = tiny | {
        "batch_size": np.int64(16), "max_epochs": np.int64(1), "learning_rate": np.float64(1e-3),
        "horizon": np.int64(8),
        "patience": np.int64(3), "adam_betas": (np.float64(0.9), np.float64(0.95)), "d_model": np.int64(8),
        "context_length": np.int64(24), "accumulate_batches": np.int64(2), "gradient_clip": np.float64(1.0),
    }  # fmt: skip
    series = TimeSeries.from_dataframe(y.astype("float32"))
    model = SAMoVARForecaster(**settings).to_darts().fit(series[:120], val_series=series[80:])
    model.save(str(tmp_path / "model.pt"))
    loaded = type(model).load(str(tmp_path / "model.pt"))
    np.testing.assert_array_equal(loaded.predict(8, series=series).values(), model.predict(8, series=series).values())
