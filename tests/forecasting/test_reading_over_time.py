"""Lag matrices over many cutoffs, influence paths and impulse responses of fitted forecasters."""

import numpy as np
import pandas as pd
import pytest
import torch
from statsmodels.tsa.api import VAR

from samovar_forecast import FixedVARForecaster, LinTransForecaster, SAMformerForecaster, SAMoVARForecaster
from samovar_forecast.estimator import Forecaster
from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.networks.network import ForecastNetwork
from tests.conftest import TINY, suited, waves


@pytest.fixture(scope="module")
def fitted_once():
    return SAMoVARForecaster(**TINY).fit(waves())


@pytest.mark.parametrize("steps", [None, [2]])
def test_the_backtest_of_a_reading_is_the_readings_of_all_cutoffs(fitted_once, y, steps, monkeypatch):
    monkeypatch.setattr("samovar_forecast.forecasting.reading._LARGEST_BATCH", 3 * 8 * 3 * 3 * 24 * 8)
    found = fitted_once.explain_backtest(y, start=y.index[100], stride=7, steps=steps)
    cutoffs = [y.index.get_loc(label) + 1 for label in found.cutoff.values]
    assert cutoffs == list(range(100, 160 - 8 + 1, 7))
    matrices = [fitted_once.explain(y.iloc[:end], steps=steps, influence=False).lag_matrix for end in cutoffs]
    np.testing.assert_allclose(found["mean"], np.mean(matrices, axis=0), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found["spread"], np.std(matrices, axis=0), rtol=1e-2, atol=1e-5)
    np.testing.assert_allclose(found["course"], [one.mean("step") for one in matrices], rtol=1e-3, atol=1e-6)
    assert found["spread"].attrs["units"] == "units of the series per unit of the source"


def test_the_backtest_of_a_reading_takes_panels_and_covariates(tiny, y):
    X = pd.DataFrame({"x": np.sin(np.arange(160.0))}, index=y.index)
    forecaster = SAMformerForecaster(**suited(tiny, SAMformerForecaster)).fit({"a": y, "b": 2 * y}, {"a": X, "b": X})
    found = forecaster.explain_backtest({"a": y, "b": 2 * y}, {"a": X, "b": X}, stride=50, series=["s1"], steps=[1])
    assert set(found) == {"a", "b"}
    assert dict(found["a"].sizes) == {"series": 1, "source": 3, "lag": 24, "step": 1, "cutoff": 3}


def test_paths_add_up_to_the_contributions(tiny, y):
    forecaster = FixedVARForecaster(**tiny | {"n_layers": 2}).fit(y)
    reading = forecaster.explain(lag_matrices=False, influence=False)
    paths = forecaster.influence_paths(n_paths=10_000)
    assert paths.sizes["path"] == 2 * (6 + 21)  # heads, one layer, two layers
    for segment in (1, 3):
        for kind in ("context", "main"):
            starts = (paths.segment.isel(node=0) == segment) & (paths.token.isel(node=0) == kind)
            total = paths.contribution.where(starts, 0).sum("path")
            expected = reading.contribution.sel(segment=segment, token=kind)
            np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-4 * float(abs(expected).max()))
    assert (paths.strength.diff("path") <= 1e-12).all()
    assert (paths.segment.where(paths.segment > 0).diff("node").fillna(0) <= 0).all()  # towards the newest


def test_paths_of_one_segment_and_of_some_targets(fitted_once):
    paths = fitted_once.influence_paths(series=["s2"], n_paths=4, segment=3)
    assert list(paths.series.values) == ["s2"]
    assert (paths.segment.isel(node=0) == 3).all()
    assert paths.attrs["model"] == "SAMoVARForecaster"
    assert all({"units", "meaning"} <= set(one.attrs) for one in paths.data_vars.values())
    for wrong in ({"segment": 4}, {"n_paths": 0}, {"series": ["s9"]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fitted_once.influence_paths(**wrong)


def test_paths_belong_to_the_autoregressive_models(tiny, y):
    with pytest.raises(TypeError, match="LinTrans has no influence paths"):
        LinTransForecaster(**tiny).fit(y).influence_paths()


def test_a_response_is_the_difference_of_two_forecasts(forecaster_class, tiny, y):
    forecaster = forecaster_class(**tiny, targets=["s0", "s2"]).fit(y)
    found = forecaster.impulse_response(y, steps=12)
    assert list(found.shock.values) == ["s1", "s0", "s2"]
    for name in ("s0", "s2"):
        size = float(found["size"].sel(shock=name, source=name))
        assert size == pytest.approx(float(forecaster.explain(lag_matrices=False).scale.sel(source=name)))
        shocked = y.copy()
        shocked.iloc[-1, y.columns.get_loc(name)] += size
        change = forecaster.predict(shocked, horizon=12) - forecaster.predict(y, horizon=12)
        response = found.response.sel(shock=name).isel(cutoff=0)
        np.testing.assert_allclose(response.isel(step=slice(1, None)).T, change, rtol=1e-3, atol=1e-3 * size)
        np.testing.assert_allclose(response.sel(step=0), [size if one == name else 0 for one in ("s0", "s2")])


def test_a_shock_to_a_past_covariate_is_no_permanent_change(tiny, y):
    forecaster = FixedVARForecaster(**tiny, targets=["s0"]).fit(y)
    found = forecaster.impulse_response(y, steps=40)
    shocked = y.copy()
    shocked.iloc[-1, 1] += float(found["size"].sel(shock="s1", source="s1"))
    within = (forecaster.predict(shocked) - forecaster.predict(y)).to_numpy().T
    np.testing.assert_allclose(found["mean"].sel(shock="s1", step=slice(1, 8)), within, rtol=1e-3, atol=1e-5)
    beyond = abs(forecaster.predict(shocked, horizon=40) - forecaster.predict(y, horizon=40)).iloc[8:].max()
    assert float(abs(found["mean"].sel(shock="s1", step=slice(9, None))).max()) < float(beyond.iloc[0]) * 10


def test_bands_lie_over_the_cutoffs(fitted_once, y):
    found = fitted_once.impulse_response(y, start=y.index[120], stride=5, coverage=0.5, shock="unit")
    assert found.sizes["cutoff"] == 9
    assert found.attrs["coverage"] == 0.5
    np.testing.assert_allclose(found["mean"], found.response.mean("cutoff"))
    np.testing.assert_allclose(found["lower"], np.quantile(found.response, 0.25, axis=0))
    np.testing.assert_allclose(found["upper"], np.quantile(found.response, 0.75, axis=0))


def test_a_missing_value_has_no_response(fitted_once, y):
    y.iloc[-1, 1] = np.nan
    found = fitted_once.impulse_response(y.iloc[:-1])
    assert found.response.notnull().all()
    found = fitted_once.impulse_response(y)
    assert found.response.sel(shock="s1").isnull().all()
    assert found.response.sel(shock="s0").notnull().all()


def test_wrong_shocks_are_named(fitted_once, y):
    for wrong in ("orthogonal", pd.DataFrame({"a": {"s9": 1.0}}), pd.DataFrame({"a": {"s0": np.nan}})):
        with pytest.raises(ValueError, match="shock"):
            fitted_once.impulse_response(y, shock=wrong)
    with pytest.raises(ValueError, match="more than 1 cutoffs"):
        fitted_once.impulse_response(y.iloc[: 24 + 8], shock="cholesky")
    with pytest.raises(ValueError, match="steps"):
        fitted_once.impulse_response(y, steps=0)
    with pytest.raises(ValueError, match="coverage"):
        fitted_once.impulse_response(y, coverage=80)


LAGS = np.array([[[0.2, 0.4], [-0.4, 0.3]], [[0.45, -0.3], [0.25, -0.45]]])  # (lag, target, source)


class LinearVAR(ForecastNetwork):
    """A network that is a known VAR(2)."""

    def __init__(self, n_series, n_targets, context_length, horizon, config, n_outputs=1):
        super().__init__(n_series, n_targets, context_length, horizon, n_outputs)
        self.factor = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("lags", torch.from_numpy(LAGS).float())

    def forward(self, past, covariates=None):
        rows = [past[:, -2], past[:, -1]]
        for _ in range(self.horizon):
            rows.append(self.factor * (rows[-1] @ self.lags[0].T + rows[-2] @ self.lags[1].T))
        return torch.stack(rows[2:], dim=1).unsqueeze(-1)


@hyperparameters
class LinearConfig:
    pass


@hyperparameters
class LinearVARForecaster(LinearConfig, Forecaster):
    network_class = LinearVAR


@pytest.fixture(scope="module")
def linear():
    generator = np.random.default_rng(0)
    values = np.zeros((1000, 2))
    for t in range(2, len(values)):
        values[t] = LAGS[0] @ values[t - 1] + LAGS[1] @ values[t - 2] + generator.normal(size=2)
    y = pd.DataFrame(values, columns=["a", "b"])
    chosen = {"horizon": 3, "context_length": 6, "max_epochs": 1, "learning_rate": 1e-12, "scaler": "none"}
    return LinearVARForecaster(**chosen, device="cpu", random_state=0).fit(y), y


def test_a_vector_autoregression_has_its_lag_matrices_at_all_times(linear):
    forecaster, y = linear
    found = forecaster.explain_backtest(y.iloc[:200], stride=20)
    np.testing.assert_allclose(found["mean"].sel(step=1, lag=[1, 2]), LAGS.transpose(1, 2, 0), atol=1e-6)
    assert float(abs(found["mean"].sel(step=1, lag=slice(3, None))).max()) == 0
    assert float(found["spread"].max()) < 1e-6


@pytest.mark.parametrize("orthogonal", [False, True])
def test_responses_of_a_vector_autoregression_are_those_of_the_textbook(linear, orthogonal):
    forecaster, y = linear
    found = forecaster.impulse_response(y, shock="cholesky" if orthogonal else "unit", steps=10)["mean"]
    companion = np.block([[LAGS[0], LAGS[1]], [np.eye(2), np.zeros((2, 2))]])
    values = y.to_numpy()
    errors = (values[2:] - values[1:-1] @ LAGS[0].T - values[:-2] @ LAGS[1].T)[4:-2]  # where a whole horizon is known
    factor = np.linalg.cholesky(errors.T @ errors / len(errors)) if orthogonal else np.eye(2)
    for step in range(11):
        expected = np.linalg.matrix_power(companion, step)[:2, :2] @ factor  # (series, shock)
        np.testing.assert_allclose(found.sel(step=step).transpose("series", "shock"), expected, atol=1e-5)
    library = VAR(y).fit(2).irf(10)
    theirs = library.orth_irfs if orthogonal else library.irfs  # (step, series, shock), of estimated coefficients
    np.testing.assert_allclose(found.transpose("step", "series", "shock"), theirs, atol=0.15)


@pytest.mark.parametrize(
    "cls",
    [SAMoVARForecaster, FixedVARForecaster, SAMformerForecaster, LinTransForecaster],
    ids=lambda cls: cls.__name__,
)
def test_a_driver_is_found_at_its_delay(cls):
    noise = np.random.default_rng(0).normal(size=(603, 3))
    load = 2 * noise[:-3, 0] + 0.1 * noise[3:, 1]  # it follows the driver after three rows
    y = pd.DataFrame({"driver": noise[3:, 0], "load": load})
    chosen = {"horizon": 4, "context_length": 16, "d_model": 16, "n_heads": 2, "n_layers": 1, "targets": ["load"]}
    training = {"max_epochs": 24, "batch_size": 32, "learning_rate": 1e-2, "device": "cpu", "random_state": 0}
    segments = {} if cls is SAMformerForecaster else {"segment_length": 4}
    forecaster = cls(**suited(chosen, cls), **segments, **training).fit(y)
    found = forecaster.explain(y, steps=[1]).isel(series=0)
    for values in (abs(found.lag_matrix).isel(step=0), found.influence):
        place = values.where(values == values.max(), drop=True)
        assert (place.source.item(), place.lag.item()) == ("driver", 3)
    if cls is FixedVARForecaster:
        return  # its third step has not learnt the driver yet
    response = forecaster.impulse_response(y, steps=4, start=550, stride=5)["mean"].sel(shock="driver").isel(series=0)
    assert abs(response.isel(step=slice(1, None))).idxmax("step") == 3
