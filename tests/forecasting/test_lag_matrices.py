"""Lag matrices are the derivatives of the forecast, of every network, and influence is the effect of a real change."""

import sys
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from samovar_forecast import (
    FixedVARForecaster,
    LinearAttentionForecaster,
    LinTransForecaster,
    PSFAttentionForecaster,
    SAMformerForecaster,
    SAMoVARForecaster,
)
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.forecasting.lag_matrices import (
    change_of_forecast,
    forecast_jacobian,
    of_windows,
    per_deviation,
    point_forecast,
    slopes,
    trace_of_segments,
)
from samovar_forecast.networks.covariate_network import build_network
from samovar_forecast.networks.ensemble import Ensemble
from samovar_forecast.networks.network import Covariates
from tests.conftest import waves
from tests.peak_memory import numbers_printed_by

SHAPE = {"n_series": 3, "n_targets": 2, "context_length": 20, "horizon": 4}


def build(forecaster_class, n_known=0, n_static=0, n_outputs=1, **chosen):
    """A network in double precision whose weights are all of a size."""
    sizes = {"d_model": 8, "n_heads": 2, "n_layers": 2, "segment_length": 3} | chosen
    known = {field.name for field in fields(forecaster_class)}
    config = forecaster_class(**{name: size for name, size in sizes.items() if name in known})
    torch.manual_seed(0)
    network = build_network(
        forecaster_class.network_class, **SHAPE, config=config, n_outputs=n_outputs, n_known=n_known, n_static=n_static
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.double().eval()


def windows(n_known=0, n_static=0, batch=2):
    torch.manual_seed(1)
    past = 2 + torch.randn(batch, SHAPE["context_length"], SHAPE["n_series"], dtype=torch.float64)
    past[0, 3:7, 0], past[1, :, 2] = torch.nan, torch.nan
    known = torch.randn(batch, SHAPE["context_length"] + SHAPE["horizon"], n_known, dtype=torch.float64)
    split = SHAPE["context_length"]
    return past, Covariates(
        known[:, :split] if n_known else None,
        known[:, split:] if n_known else None,
        torch.randn(batch, n_static, dtype=torch.float64) if n_static else None,
    )


def finite_differences(network, past, covariates, size=1e-6):
    """The same derivatives, a window with one past value changed for each of them."""
    length, n_series = past.shape[1:]
    each = torch.eye(length * n_series, dtype=past.dtype).reshape(-1, length, n_series).flip(1)  # the newest row first
    found = []
    with torch.no_grad():
        for number in range(len(past)):
            copies = torch.full((len(each),), number)
            beside = of_windows(covariates, copies)
            up, down = (point_forecast(network, past[copies] + sign * size * each, beside) for sign in (1, -1))
            found.append((up - down).unflatten(0, (length, n_series)) / (2 * size))
    return torch.stack(found).permute(0, 4, 2, 1, 3)  # (window, target, source, lag, step)


@pytest.mark.parametrize(("n_known", "n_static", "n_outputs"), [(0, 0, 1), (2, 1, 1), (0, 0, 3)])
def test_the_jacobian_equals_finite_differences(forecaster_class, n_known, n_static, n_outputs):
    network = build(forecaster_class, n_known, n_static, n_outputs)
    past, covariates = windows(n_known, n_static)
    jacobian = forecast_jacobian(network, past, covariates)
    expected = finite_differences(network, past, covariates)
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(jacobian, expected, rtol=1e-5, atol=1e-6)
    assert (jacobian[1, :, 2] == 0).all()  # a series without a value
    assert (jacobian[0, :, 0, -7:-3] == 0).all()


OPTIONS = [
    {"reversible": True},
    {"attention": "image"},
    {"n_decoder_layers": 1},
    {"causal": True, "patch_length": 2, "patch_stride": 2},
]


@pytest.mark.parametrize("chosen", OPTIONS, ids=str)
def test_the_jacobian_of_every_form_of_linear_attention(chosen):
    network = build(LinearAttentionForecaster, **chosen)
    past, covariates = windows()
    expected = finite_differences(network, past, covariates)
    torch.testing.assert_close(forecast_jacobian(network, past, covariates), expected, rtol=1e-5, atol=1e-6)


def test_a_part_of_the_jacobian_is_that_part(forecaster_class):
    network = build(forecaster_class)
    past, covariates = windows()
    whole = forecast_jacobian(network, past, covariates)
    part = forecast_jacobian(network, past, covariates, targets=[1], sources=[2, 0], steps=[3, 0])
    torch.testing.assert_close(part, whole[:, [1]][:, :, [2, 0]][..., [3, 0]])


def moved(y, column, lag, size):
    y = y.copy()
    y.iloc[-lag, y.columns.get_loc(column)] += size
    return y


@pytest.mark.parametrize("log1p", [False, True])
def test_lag_matrices_are_in_the_units_of_the_data(tiny, y, log1p):
    forecaster = FixedVARForecaster(**tiny, log1p=log1p).fit(y)
    reading = forecaster.explain()
    for source, lag in [("s0", 2), ("s2", 5)]:
        size = 0.05 * float(y[source].std())
        change = forecaster.predict(moved(y, source, lag, size)) - forecaster.predict(moved(y, source, lag, -size))
        slope = reading.lag_matrix.sel(source=source, lag=lag)
        error = abs(slope.T.to_numpy() - change.to_numpy() / (2 * size)) * size
        assert (error < 0.03 * abs(change).max().to_numpy() + 1e-4 * y.std().to_numpy()).all()


def effect(forecaster, y, column, lag, size):
    """Change of the forecast, root mean square over the steps."""
    changed = forecaster.predict(moved(y, column, lag, size)) - forecaster.predict(y)
    return np.sqrt((changed**2).mean()).to_numpy()


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-4 * float(expected.max()))


def test_influence_is_the_effect_of_a_change_of_one_deviation(forecaster_class, tiny, y):
    forecaster = forecaster_class(**tiny).fit(y)
    reading = forecaster.explain(lag_matrices=False)
    scale = float(reading.scale.sel(source="s1"))
    assert scale == pytest.approx(y["s1"].iloc[: -tiny["horizon"]].std(), rel=0.1)
    assert reading.influence.attrs["units"] == "units of the series per standard deviation of the source in training"
    for lag in (1, 3):
        assert_close(reading.influence.sel(source="s1", lag=lag), effect(forecaster, y, "s1", lag, scale))


@pytest.mark.parametrize(
    ("chosen", "unit"),
    [({"scaler": "robust"}, "robust standard deviation"), ({"scaler": "none"}, "unit"),
     ({"log1p": True}, "standard deviation of log(1 + source)")],
)  # fmt: skip
def test_influence_says_what_change_it_looks_at(tiny, y, chosen, unit):
    y = y / y.std()
    forecaster = FixedVARForecaster(**tiny, **chosen).fit(y)
    reading = forecaster.explain(lag_matrices=False)
    scale = float(reading.scale.sel(source="s1"))
    size = (1 + y["s1"].iloc[-3]) * np.expm1(scale) if "log1p" in chosen else scale
    assert_close(reading.influence.sel(source="s1", lag=3), effect(forecaster, y, "s1", 3, size))
    assert f"per {unit} of the source in training" in reading.influence.attrs["units"] or "log1p" in chosen
    assert unit in reading.influence.attrs["units"]


def test_a_driver_that_stands_still_has_the_influence_of_what_it_can_do(forecaster_class, tiny):
    y = waves(n_series=2).assign(rain=np.random.default_rng(0).exponential(size=160))
    forecaster = forecaster_class(**tiny, targets=["s0", "s1"]).fit(y)
    for still in (0.0, 1e-9, 1e-3):
        dry = y.copy()
        dry.iloc[-24:, 2] = still * np.arange(24) / 24
        reading = forecaster.explain(dry)
        assert np.isfinite(reading.lag_matrix).all()
        scale = float(reading.scale.sel(source="rain"))
        for lag in (1, 24):
            expected = effect(forecaster, dry, "rain", lag, scale)
            np.testing.assert_allclose(reading.influence.sel(source="rain", lag=lag), expected, rtol=1e-2, atol=1e-4)
        assert float(reading.influence.max()) < 10 * float(y[["s0", "s1"]].to_numpy().std())


def test_per_deviation(tiny, y):
    reading = SAMoVARForecaster(**tiny).fit(y).explain(influence=False)
    np.testing.assert_allclose(
        per_deviation(reading).sel(source="s2"), reading.lag_matrix.sel(source="s2") * reading.scale.sel(source="s2")
    )


def test_the_trace_of_segments_averages_coefficients_of_one_distance():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 2, 7, 4))
    matrix = xr.DataArray(
        values, dims=("series", "source", "lag", "step"), coords={"lag": range(1, 8), "step": range(1, 5)}
    )
    found = trace_of_segments(matrix, 3)
    assert found.dims == ("series", "source", "segment")
    assert found.sizes["segment"] == 2
    for segment in (1, 2):
        diagonal = [values[:, :, 3 * segment - step, step - 1] for step in (1, 2, 3)]
        np.testing.assert_allclose(found.sel(segment=segment), np.mean(diagonal, axis=0))
    np.testing.assert_allclose(trace_of_segments(matrix, 1), values[..., 0])
    for wrong in (0, 5, 8):
        with pytest.raises(ValueError, match="length must be from 1"):
            trace_of_segments(matrix, wrong)


def test_slopes_of_logarithmic_columns():
    scaler = Scaler(np.array([0.5, 0.2]), np.array([2.0, 3.0]), np.array([False, True]))
    values = np.array([[1.0, 4.0], [2.0, 9.0]])
    scaled = scaler.transform(values)
    inner, outer = slopes(scaler, scaled, scaled[:, 1:])
    np.testing.assert_allclose(inner[:, 0], 0.5)
    np.testing.assert_allclose(inner[:, 1], 1 / (3 * (1 + values[:, 1])), rtol=1e-5)
    np.testing.assert_allclose(outer[:, 0], 3 * (1 + values[:, 1]), rtol=1e-5)
    assert pd.isna(slopes(scaler, np.full((1, 2), np.nan, np.float32), scaled[:1, 1:])[0]).sum() == 0


@pytest.mark.parametrize(("n_known", "n_static", "n_outputs"), [(0, 0, 1), (2, 1, 3)])
def test_the_forecast_of_some_targets_is_that_part(forecaster_class, n_known, n_static, n_outputs):
    network = build(forecaster_class, n_known, n_static, n_outputs)
    past, covariates = windows(n_known, n_static)
    for one in (network, Ensemble([network, build(forecaster_class, n_known, n_static, n_outputs)]).eval()):
        whole = one(past, covariates)
        for targets in (slice(None), slice(1, 2), [1], [1, 0], [0, 1]):
            torch.testing.assert_close(one.forecast_of(targets, past, covariates), whole[:, :, targets])


WIDTHS_SEEN = [
    (SAMoVARForecaster, "stack_norm"), (FixedVARForecaster, "stack_norm"), (LinTransForecaster, "output_norm"),
    (SAMformerForecaster, "queries"),
]  # fmt: skip


@pytest.mark.parametrize(("forecaster_class", "layer"), WIDTHS_SEEN, ids=lambda x: getattr(x, "__name__", ""))
def test_what_was_not_chosen_is_not_computed(forecaster_class, layer):
    network, past, seen = build(forecaster_class), windows()[0][:1], set()
    network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.add(inputs[0].shape[1]))
    forecast_jacobian(network, past, targets=[1])
    scaler = Scaler(np.zeros(3), np.ones(3), np.zeros(3, bool))
    change_of_forecast(network, past, None, scaler, targets=[1], sources=[0], steps=[0])
    assert seen == {1}


@pytest.mark.parametrize("forecaster_class", [PSFAttentionForecaster, LinearAttentionForecaster, SAMoVARForecaster])
def test_separate_series_are_changed_at_once(forecaster_class, tiny, y):
    chosen = {"univariate": True} if forecaster_class is SAMoVARForecaster else {}
    forecaster = forecaster_class(**tiny, **chosen).fit(y)
    assert forecaster.network_.separate
    quick = forecaster.explain(y, series=["s2", "s0"], sources=["s1", "s0"])
    forecaster.network_.separate = False
    slow = forecaster.explain(y, series=["s2", "s0"], sources=["s1", "s0"])
    for name in ("lag_matrix", "influence"):
        for series in ("s2", "s0"):
            rounding = 1e-6 * float(abs(y[series]).max())
            np.testing.assert_allclose(quick[name].sel(series=series), slow[name].sel(series=series), atol=rounding)
        assert (quick[name].sel(source="s1") == 0).all()
        assert float(abs(quick[name].sel(series="s0", source="s0")).max()) > 0


def test_an_influence_is_a_forecast_for_each_value(forecaster_class, tiny, y):
    forecaster = forecaster_class(**tiny).fit(y)
    found = forecaster.explain(lag_matrices=False, series=["s2", "s0"], sources=["s0", "s2"])
    assert found.influence.sizes == {"series": 2, "source": 2, "lag": forecaster.context_length_}
    for source in ("s0", "s2"):
        scale = float(found.scale.sel(source=source))
        for lag in (1, 5):
            expected = effect(forecaster, y, source, lag, scale)[[2, 0]]
            assert_close(found.influence.sel(source=source, lag=lag), expected)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_lag_matrices_take_their_own_memory_and_little_more():
    size, peak = numbers_printed_by("""
import numpy as np, pandas as pd, warnings
from pathlib import Path
from samovar_forecast import SAMformerForecaster
warnings.simplefilter("ignore")
y = pd.DataFrame(np.random.default_rng(0).normal(size=(700, 48)))
chosen = dict(horizon=48, context_length=512, max_steps=1, validation_fraction=0.0, quantiles=(0.5,), device="cpu")
forecaster = SAMformerForecaster(**chosen).fit(y)
forecaster.explain(steps=[1], influence=False)
before = _status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
reading = forecaster.explain(influence=False)
print(reading.lag_matrix.nbytes, peak() - before)
""")
    assert size == 8 * 48 * 48 * 512 * 48
    assert peak < 1.5 * size
