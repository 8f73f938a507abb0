"""Every darts model keeps the promises of darts' torch models; a new one is added to `ALL_MODELS` alone."""

import inspect
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.metrics import mse
from darts.utils.likelihood_models.torch import (
    GaussianLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)
from darts.utils.onnx import run_onnx_prediction

import samovar_darts
from samovar_darts.models import ALL_MODELS, AutoformerModel
from samovar_forecast.networks.segment_network import SegmentNetwork
from tests.conftest import suited

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
TINY = {
    "d_model": 8,
    "n_heads": 2,
    "n_layers": 1,
    "dropout": 0.0,
    "calendar": None,
    "n_epochs": 1,
    "batch_size": 16,
    "random_state": 0,
}
KINDS = ["past_covariates", "future_covariates", "static_covariates"]


@pytest.fixture(params=ALL_MODELS, ids=lambda model: model.__name__)
def model_class(request):
    return request.param


def make(model_class, input_chunk_length=24, output_chunk_length=6, max_steps=3, **given):
    trainer = QUIET | {"max_steps": max_steps} | given.pop("pl_trainer_kwargs", {})
    settings = suited(TINY, model_class) | given
    return model_class(input_chunk_length, output_chunk_length, pl_trainer_kwargs=trainer, **settings)


def waves(n_rows=80, n_components=2, seed=0, dtype=np.float32):
    time = np.arange(n_rows)[:, None]
    noise = np.random.default_rng(seed).normal(scale=0.1, size=(n_rows, n_components))
    values = np.sin(2 * np.pi * time / 12 + np.arange(n_components)) + noise + 5
    index = pd.date_range("2024-01-01", periods=n_rows, freq="h")
    return TimeSeries.from_times_and_values(index, values.astype(dtype))


def covariates_of(series, kinds, seed=1, n_more=24):
    """The series, with static covariates if requested, and the arguments that hold the other kinds."""
    arguments = {
        kind: waves(len(series) + n_more, n_components=3, seed=seed) for kind in kinds if kind != "static_covariates"
    }
    if "static_covariates" in kinds:
        level = np.random.default_rng(seed).normal(size=(series.n_components, 2)).astype(series.dtype)
        series = series.with_static_covariates(pd.DataFrame(level, columns=["size", "age"]))
    return series, arguments


def test_is_deterministic_and_rolls_forward(model_class):
    series = waves()
    forecast = make(model_class).fit(series).predict(15)
    assert forecast.values().shape == (15, 2)
    assert forecast.start_time() == series.end_time() + series.freq
    assert np.isfinite(forecast.values()).all()
    again = make(model_class).fit(series)
    np.testing.assert_array_equal(again.predict(15).values(), forecast.values())
    np.testing.assert_allclose(again.predict(6).values(), forecast.values()[:6], rtol=1e-6)
    other = make(model_class, random_state=1).fit(series).predict(15)
    assert np.abs(other.values() - forecast.values()).max() > 1e-3


def test_learns(model_class):
    series = waves(n_rows=150)
    train, test = series[:-12], series[-12:]
    model = make(model_class, 24, 12, max_steps=150, n_epochs=50, optimizer_kwargs={"lr": 1e-2})
    assert mse(test, model.fit(train).predict(12)) < 0.1  # the mean would make 0.5, the noise alone 0.01


@pytest.mark.parametrize(("context", "horizon"), [(10, 1), (8, 7), (5, 12)])
def test_short_chunks(model_class, context, horizon):
    series = waves(n_rows=40)
    model = make(model_class, context, horizon).fit(series)
    assert np.isfinite(model.predict(2 * horizon).values()).all()


@pytest.mark.parametrize(
    "model_class", [model for model in ALL_MODELS if issubclass(model.network_class, SegmentNetwork)]
)
def test_segments_shorter_than_the_horizon(model_class):
    model = make(model_class, 24, 6, segment_length=4).fit(waves())
    assert model.model.network.n_segments == 6
    assert np.isfinite(model.predict(9).values()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_covariates_change_the_forecast(model_class, kind):
    series, arguments = covariates_of(waves(), [kind])
    model = make(model_class, max_steps=20, n_epochs=10, optimizer_kwargs={"lr": 1e-2}).fit(series, **arguments)
    other_series, other_arguments = covariates_of(waves(), [kind], seed=2)
    forecast = model.predict(6, series=series, **arguments)
    other = model.predict(6, series=other_series, **other_arguments)
    used = kind != "past_covariates" or model_class.network_class.mixes_series(model_class)
    assert (np.abs(forecast.values() - other.values()).max() > 1e-4) == used
    assert np.isfinite(model.predict(15, series=series, **arguments).values()).all()


def test_static_covariates_of_the_whole_series(model_class):
    series = waves().with_static_covariates(pd.Series([1.0, 2.0], index=["size", "age"], dtype="float32"))
    assert series.static_covariates.shape == (1, 2)
    forecast = make(model_class).fit(series).predict(6)
    assert forecast.static_covariates.equals(series.static_covariates)


def test_static_covariates_can_be_ignored(model_class):
    series, _ = covariates_of(waves(), ["static_covariates"])
    model = make(model_class, use_static_covariates=False).fit(series)
    np.testing.assert_array_equal(model.predict(6).values(), make(model_class).fit(waves()).predict(6).values())


def test_future_covariates_must_reach_the_last_step(model_class):
    series, arguments = covariates_of(waves(), ["future_covariates"], n_more=4)
    model = make(model_class).fit(series, **arguments)
    assert np.isfinite(model.predict(4).values()).all()
    with pytest.raises(ValueError, match="do not extend far enough into the future"):
        model.predict(5)


def test_several_series(model_class):
    several = [waves(seed=0), waves(60, seed=1), waves(50, seed=2)]
    model = make(model_class).fit(several)
    forecasts = model.predict(9, series=several)
    assert [len(forecast) for forecast in forecasts] == [9, 9, 9]
    alone = model.predict(9, series=several[1])
    np.testing.assert_allclose(alone.values(), forecasts[1].values(), rtol=1e-5)


def test_output_chunk_shift(model_class):
    series, arguments = covariates_of(waves(), KINDS)
    model = make(model_class, output_chunk_shift=5).fit(series, **arguments)
    forecast = model.predict(6)
    assert forecast.start_time() == series.end_time() + 6 * series.freq
    assert np.isfinite(forecast.values()).all()


@pytest.mark.parametrize(
    ("likelihood", "names"),
    [(QuantileRegression([0.1, 0.5, 0.9]), ["q0.100", "q0.500", "q0.900"]), (GaussianLikelihood(), ["mu", "sigma"])],
    ids=["quantiles", "gaussian"],
)
def test_likelihoods(model_class, likelihood, names):
    series, arguments = covariates_of(waves(), KINDS)
    model = make(model_class, likelihood=likelihood).fit(series, **arguments)
    samples = model.predict(9, num_samples=20)
    assert samples.all_values().shape == (9, 2, 20)
    assert samples.all_values().std(axis=2).min() > 0
    parameters = model.predict(6, predict_likelihood_parameters=True)
    assert list(parameters.components) == [f"{name}_{suffix}" for name in series.components for suffix in names]
    higher = model.predict(6, series=series + 100, **arguments, predict_likelihood_parameters=True)
    for name in parameters.components:
        moved = (higher[name] - parameters[name]).values()
        near = 0.1 if model_class is AutoformerModel else 1e-2  # it alone does not normalise windows
        np.testing.assert_allclose(moved, 0 if name.endswith("sigma") else 100, atol=near)
        if name.endswith("sigma"):
            assert parameters[name].values().min() > 0


@pytest.mark.parametrize("likelihood", [PoissonLikelihood(), NegativeBinomialLikelihood()], ids=["poisson", "negative"])
def test_counts(model_class, likelihood):
    counts = waves().map(lambda values: np.round(values))
    samples = make(model_class, likelihood=likelihood).fit(counts).predict(6, num_samples=50).all_values()
    assert (samples == np.round(samples)).all()
    assert abs(samples.mean() - 5) < 2


@pytest.mark.parametrize("kinds", [[], KINDS], ids=["alone", "covariates"])
def test_historical_forecasts_are_a_loop_of_predict(model_class, kinds):
    series, arguments = covariates_of(waves(50), kinds)
    model = make(model_class).fit(series, **arguments)
    settings = {"forecast_horizon": 6, "stride": 4, "retrain": False, "last_points_only": False}
    optimised = model.historical_forecasts(series, **settings, **arguments)
    plain = model.historical_forecasts(series, **settings, **arguments, enable_optimization=False)
    looped = [
        model.predict(6, series=series[:end], **arguments) for end in range(24, len(series) - 6 + 1, 4)
    ]  # fmt: skip
    assert len(optimised) == len(plain) == len(looped) == 6
    for fast, slow, single in zip(optimised, plain, looped, strict=True):
        assert fast.time_index.equals(single.time_index)
        np.testing.assert_allclose(fast.values(), slow.values(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(fast.values(), single.values(), rtol=1e-5, atol=1e-6)
    errors = model.backtest(series, **settings, **arguments, metric=mse, reduction=None)
    np.testing.assert_allclose(errors, [mse(series, forecast) for forecast in optimised], rtol=1e-4)


def test_retrains(model_class):
    series = waves(50)
    model = make(model_class)
    forecast = model.historical_forecasts(series, start=44, start_format="position", retrain=True)
    assert len(forecast) == 6
    assert model.untrained_model().model_params.keys() == model.model_params.keys()
    assert len(model.residuals(waves(36))) == 36 - 24 - 6


def test_encoders(model_class):
    encoders = {"cyclic": {"future": ["hour"]}, "position": {"past": ["relative"]}}
    model = make(model_class, add_encoders=encoders).fit(waves())
    assert model.model.train_sample_shape["future_covariates"] == (6, 2)  # sine and cosine
    assert np.isfinite(model.predict(9).values()).all()


def test_fit_from_dataset(model_class):
    series = [waves(40), waves(50)]
    dataset = make(model_class)._build_train_dataset(series, None, None, None, max_samples_per_ts=5)
    model = make(model_class).fit_from_dataset(dataset)
    assert len(dataset) == 10
    assert model.predict(6, series=series[1]).values().shape == (6, 2)


def test_float64(model_class):
    series, arguments = covariates_of(waves(dtype=np.float64), ["static_covariates"])
    model = make(model_class).fit(series, **arguments)
    forecast = model.predict(9)
    assert forecast.dtype == np.float64
    assert {parameter.dtype for parameter in model.model.parameters()} == {torch.float64}
    single = model.predict(9, series=series.astype(np.float32))  # a history of another precision
    np.testing.assert_allclose(single.values(), forecast.values(), rtol=1e-4)


LOAD = """
import sys
import numpy as np
import torch
import samovar_darts
from samovar_darts.models import ALL_MODELS, AutoformerModel, SAMoVARModel
from tests.conftest import suited
folder = sys.argv[1]
for model_class in ALL_MODELS:
    model = model_class.load(f"{folder}/{model_class.__name__}.pt")
    np.save(f"{folder}/{model_class.__name__}.npy", model.predict(9).values())
    clean = model_class.load(f"{folder}/{model_class.__name__}-clean.pt", pl_trainer_kwargs={"accelerator": "cpu"})
    assert clean.training_series is None
    model_class.load(f"{folder}/{model_class.__name__}.pt").save(f"{folder}/again.pt")
    weights = clean.model.state_dict(), model_class.load(f"{folder}/again.pt").model.state_dict()
    assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items())
"""


def test_load_in_a_fresh_process(tmp_path):
    forecasts = {}
    for model_class in ALL_MODELS:
        series, arguments = covariates_of(waves(), KINDS)
        model = make(model_class, loss_fn=torch.nn.HuberLoss()).fit(series, **arguments)
        model.save(str(tmp_path / f"{model_class.__name__}.pt"))
        model.save(str(tmp_path / f"{model_class.__name__}-clean.pt"), clean=True)
        forecasts[model_class.__name__] = model.predict(9).values()
    subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], check=True, timeout=120, cwd=tmp_path)
    for name, forecast in forecasts.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), forecast)


def test_load_weights(model_class, tmp_path):
    series = waves()
    model = make(model_class, likelihood=GaussianLikelihood()).fit(series)
    model.save(str(tmp_path / "model.pt"))
    other = make(model_class, likelihood=GaussianLikelihood(), optimizer_kwargs={"lr": 1e-2})
    other.load_weights(str(tmp_path / "model.pt"))
    parameters = [one.predict(6, series=series, predict_likelihood_parameters=True).values() for one in (model, other)]
    np.testing.assert_array_equal(*parameters)
    if "d_model" in model_class.__dataclass_fields__:
        with pytest.raises(ValueError, match="d_model=16, should be d_model=8"):
            make(model_class, likelihood=GaussianLikelihood(), d_model=16).load_weights(str(tmp_path / "model.pt"))


def test_checkpoints(model_class, tmp_path):
    series = waves()
    model = make(model_class, n_epochs=2, save_checkpoints=True, work_dir=str(tmp_path), model_name="saved")
    model.fit(series, val_series=series)
    last = model_class.load_from_checkpoint("saved", work_dir=str(tmp_path), best=False)
    np.testing.assert_array_equal(last.predict(6, series=series).values(), model.predict(6).values())
    assert last.fit(series, val_series=series, epochs=3).predict(6).values().shape == (6, 2)


@pytest.mark.parametrize("likelihood", [None, QuantileRegression([0.1, 0.5, 0.9])], ids=["point", "quantiles"])
def test_onnx(model_class, likelihood, tmp_path):
    import onnxruntime

    series, arguments = covariates_of(waves(), KINDS)
    model = make(model_class, likelihood=likelihood).fit(series, **arguments)
    model.to_onnx(str(tmp_path / "model.onnx"), verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    steps = 6 if likelihood else 12  # whole chunks: darts' loop forecasts some steps twice on the way to others
    exported = run_onnx_prediction(steps, session, series, verbose=False, **arguments)
    expected = model.predict(steps, predict_likelihood_parameters=likelihood is not None)
    np.testing.assert_allclose(exported.values(), expected.values(), rtol=1e-4, atol=1e-5)


def test_a_fit_leaves_no_files(model_class, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = make(model_class).fit(waves(), val_series=waves(seed=1))
    model.predict(6)
    model.historical_forecasts(waves(40), retrain=False)
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_name_is_refused(model_class):
    with pytest.raises(ValueError, match="d_modle"):
        make(model_class, d_modle=8)


def test_a_value_out_of_range_is_named(model_class):
    if "d_model" in model_class.__dataclass_fields__:
        with pytest.raises(ValueError, match="d_model must be at least 1, got -1"):
            make(model_class, d_model=-1).fit(waves())
    if "n_heads" in model_class.__dataclass_fields__:
        with pytest.raises(ValueError, match="n_heads must divide d_model, got n_heads=3"):
            make(model_class, n_heads=3).fit(waves())
    if issubclass(model_class.network_class, SegmentNetwork):
        with pytest.raises(ValueError, match="context_length must be at least 2, got 1"):
            make(model_class, input_chunk_length=1).fit(waves())


def test_the_documentation_has_every_parameter_once(model_class):
    documentation = inspect.cleandoc(model_class.__doc__)
    assert documentation.count("\nParameters\n---") == 1
    *named, _ = inspect.signature(model_class).parameters.values()  # the last is **kwargs
    for parameter in named:
        (line,) = (line for line in documentation.splitlines() if line.startswith(f"{parameter.name} : "))
        if parameter.default is not inspect.Parameter.empty:
            shown = f'"{parameter.default}"' if isinstance(parameter.default, str) else str(parameter.default)
            assert line.endswith(f"default {shown}"), line


def test_the_signature_shows_every_hyperparameter(model_class):
    shown = inspect.signature(model_class).parameters
    network = {field.name for field in fields(model_class)}
    assert {"input_chunk_length", "output_chunk_length", "sharpness_rho", "calendar"} | network <= set(shown)
    assert {name: shown[name].default for name in network} == {name: getattr(model_class, name) for name in network}
    assert shown["sharpness_rho"].default == model_class.recipe.sharpness_rho


def test_the_public_names():
    assert set(samovar_darts.__all__) == {model.__name__ for model in ALL_MODELS} | {"series_from_frame"}


WITHOUT = """
import sys
sys.modules["darts"] = None  # as if it were not installed
import samovar_forecast
forecaster = samovar_forecast.SAMoVARForecaster(horizon=6, context_length=24)
try:
    forecaster.to_darts()
except ImportError as error:
    print(error)
"""


def test_without_darts_the_error_names_the_extra():
    run = subprocess.run([sys.executable, "-c", WITHOUT], check=True, timeout=120, capture_output=True, text=True)
    assert 'pip install "samovar-forecast[darts]"' in run.stdout
