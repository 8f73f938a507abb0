import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

import samovar_forecast.forecasting.reading as reading_module
from samovar_forecast import FixedVARForecaster, SAMformerForecaster, SAMoVARForecaster
from tests.conftest import suited, waves

VAR_FORECASTERS = [SAMoVARForecaster, FixedVARForecaster]


@pytest.mark.parametrize("forecaster_class", VAR_FORECASTERS)
@pytest.mark.parametrize("targets", [None, ["s2", "s0"]])
@pytest.mark.parametrize("covariates", [False, True])
def test_contributions_add_up_to_the_forecast(forecaster_class, tiny, y, targets, covariates):
    X = pd.DataFrame({"x": np.sin(np.arange(200.0))}, index=pd.date_range("2024-01-01", periods=200, freq="h"))
    known = {"X": X} if covariates else {}
    forecaster = forecaster_class(**tiny, targets=targets).fit(y, **{k: v.iloc[:160] for k, v in known.items()})
    for history in (None, y.iloc[:120]):
        reading = forecaster.explain(history, **known)
        forecast = forecaster.predict(history, **known)
        np.testing.assert_allclose(reading.forecast.T, forecast, rtol=1e-5)
        total = reading.baseline + reading.own + reading.contribution.sum(["segment", "token"])
        np.testing.assert_allclose(total, reading.forecast, rtol=1e-12)
        newest = reading.tokens.sel(segment=1, token="main") + reading.token_contribution.sum(["segment", "token"])
        error = np.linalg.norm(newest - reading.forecast_token) / np.linalg.norm(reading.forecast_token)
        assert error <= 1e-5


@pytest.mark.parametrize("forecaster_class", VAR_FORECASTERS)
def test_weights_times_tokens_are_the_contributions(forecaster_class, tiny, y):
    reading = forecaster_class(**tiny).fit(y).explain(influence=False)
    tokens = reading.tokens.values.reshape(3, 3, 2, 2, 4)  # series, segment, token, head, feature
    rebuilt = np.einsum("clhgkio,cgkhi->cgkho", reading.weights, tokens).reshape(3, 3, 2, 8)
    np.testing.assert_allclose(rebuilt, reading.token_contribution, rtol=1e-4, atol=1e-7)
    assert "influence" not in reading


def test_univariate_forecasts_feel_only_their_own_past(tiny, y):
    influence = SAMoVARForecaster(**tiny, univariate=True).fit(y).explain().influence
    own = np.array([influence.sel(series=name, source=name).sum() for name in y.columns])
    assert (own > 0).all()
    np.testing.assert_allclose(influence.sum(["source", "lag"]), own, rtol=1e-6)


@pytest.mark.parametrize(("segment_length", "output_length"), [(3, 8), (11, 8), (3, 5), (6, 12)])
def test_segments_and_outputs_shorter_and_longer_than_the_horizon(tiny, y, segment_length, output_length):
    forecaster = SAMoVARForecaster(**tiny, segment_length=segment_length, output_length=output_length).fit(y)
    reading = forecaster.explain()
    n_steps = min(8, output_length)
    total = reading.baseline + reading.own + reading.contribution.sum(["segment", "token"])
    np.testing.assert_allclose(total.T, forecaster.predict()[:n_steps], rtol=1e-5)
    assert reading.lag_matrix.sizes["step"] == n_steps
    assert (abs(reading.lag_matrix).max(("lag", "source")) > 0).all()
    assert forecaster.explain_backtest(y, stride=40).sizes["step"] == n_steps
    assert forecaster.influence_paths().sizes["step"] == n_steps
    assert forecaster.impulse_response().sizes["step"] == 9


def test_the_middle_quantile_is_read_where_quantiles_cross(tiny, y):
    forecaster = FixedVARForecaster(**tiny, quantiles=[0.1, 0.5, 0.9]).fit(y)
    with torch.no_grad():  # the outputs of every other step in another order
        bias = forecaster.network_.to_segment.bias.unflatten(0, (8, 3))
        bias[::2] += torch.tensor([3.0, 0.0, -1.0])
    reading = forecaster.explain(lag_matrices=False, influence=False)
    np.testing.assert_allclose(reading.forecast.T, forecaster.predict(), rtol=1e-5)


def test_columns_of_two_levels(forecaster_class, tiny, y):
    y.columns = pd.MultiIndex.from_tuples([("sea", 1), ("sea", 2), ("land", 1)])
    reading = forecaster_class(**tiny).fit(y).explain(series=[("sea", 2)], steps=[2, 8])
    assert list(reading.series.values) == [("sea", 2)]
    assert list(reading.source.values) == list(y.columns)
    assert reading.lag_matrix.shape == (1, 3, 24, 2)


def test_a_choice_is_that_part_of_the_whole(forecaster_class, tiny, y):
    forecaster = forecaster_class(**tiny, targets=["s2", "s0"]).fit(y)
    whole = forecaster.explain()
    part = forecaster.explain(series=["s0"], sources=["s1", "s2"], steps=[8, 1])
    assert set(part.data_vars) == set(whole.data_vars)
    for name in set(whole.data_vars) - {"influence"}:
        chosen = {"series": ["s0"], "source": ["s1", "s2"], "step": [8, 1]}
        expected = whole[name].sel({dim: some for dim, some in chosen.items() if dim in whole[name].dims})
        np.testing.assert_allclose(part[name], expected, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_chosen_is_named(tiny, y):
    forecaster = SAMformerForecaster(**suited(tiny, SAMformerForecaster)).fit(y)
    for wrong in ({"series": ["s9"]}, {"sources": ["s9"]}, {"steps": [9]}, {"steps": []}, {"series": "s0"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            forecaster.explain(**wrong)


def test_lag_matrices_that_fill_the_memory_are_refused(tiny, y, monkeypatch):
    monkeypatch.setattr(reading_module, "_LARGEST_RESULT", 3 * 3 * 24 * 8 * 8 - 1)
    forecaster = SAMoVARForecaster(**tiny).fit(y)
    with pytest.raises(ValueError, match="choose some of them"):
        forecaster.explain()
    assert "influence" in forecaster.explain(lag_matrices=False)
    assert "lag_matrix" in forecaster.explain(series=["s0"])


def test_every_variable_says_its_unit_and_its_meaning(forecaster_class, tiny, y):
    found = forecaster_class(**tiny).fit(y).explain()
    assert found.attrs == {"model": forecaster_class.__name__, "cutoff": str(y.index[-1])}
    assert {"lag_matrix", "influence", "forecast", "scale"} <= set(found.data_vars)
    assert all({"units", "meaning"} <= set(variable.attrs) for variable in found.data_vars.values())
    own = {"SAMoVARForecaster": "contribution", "FixedVARForecaster": "contribution", "AutoformerForecaster": "delay"}
    assert own.get(forecaster_class.__name__, "attention") in found


@pytest.mark.parametrize("X", [None, "known"])
def test_a_target_in_an_outage_stands_at_its_last_level(forecaster_class, tiny, y, X):
    known = pd.DataFrame({"x": np.sin(np.arange(200.0))}, index=pd.date_range("2024-01-01", periods=200, freq="h"))
    given = {} if X is None else {"X": known}
    forecaster = forecaster_class(**tiny).fit(y, **({} if X is None else {"X": known.iloc[:160]}))
    y.iloc[-30:, 1] = np.nan
    found = forecaster.explain(y, **given)
    np.testing.assert_allclose(found.forecast.T, forecaster.predict(y, **given), rtol=1e-5)
    assert (found.lag_matrix.sel(series="s1") == 0).all()
    assert (found.influence.sel(series="s1") == 0).all()
    if "contribution" in found:
        total = found.baseline + found.own + found.contribution.sum(["segment", "token"])
        np.testing.assert_allclose(total, found.forecast, rtol=1e-5)


def test_a_panel_is_read_series_by_series(fitted, panel):
    with pytest.raises(ValueError, match="explain takes one series"):
        fitted.explain()
    assert fitted.explain(panel["long"]).forecast.shape == (2, 8)


def test_unfitted(tiny):
    with pytest.raises(NotFittedError):
        SAMoVARForecaster(**tiny).explain()
    with pytest.raises(ValueError, match="needs 24 of history"):
        SAMoVARForecaster(**tiny).fit(waves()).explain(waves(10))


@pytest.mark.parametrize("quantiles", [None, [0.1, 0.5, 0.9]])
def test_an_ensemble_is_read_as_the_mean_of_its_members(tiny, y, quantiles):
    known = pd.DataFrame({"x": np.sin(np.arange(200.0))}, index=pd.date_range("2024-01-01", periods=200, freq="h"))
    forecaster = SAMoVARForecaster(**tiny, n_members=2, quantiles=quantiles, calendar="auto").fit(y, known.iloc[:160])
    found = forecaster.explain(X=known)
    total = found.baseline + found.own + found.contribution.sum(["segment", "token"])
    np.testing.assert_allclose(total.T, forecaster.predict(X=known), rtol=1e-5)
    assert found.weights.dims[0] == "member"
    assert found.weights.sizes["member"] == 2
    paths = forecaster.influence_paths(X=known, n_paths=1000)
    starts = (paths.segment.isel(node=0) == 2) & (paths.token.isel(node=0) == "main")
    summed = paths.contribution.where(starts, 0).sum("path")
    expected = found.contribution.sel(segment=2, token="main")
    np.testing.assert_allclose(summed, expected, rtol=1e-3, atol=1e-4 * float(abs(expected).max()))


def test_attention_of_an_ensemble_is_that_of_its_members(forecaster_class, tiny, y):
    forecaster = forecaster_class(**tiny | {"max_epochs": 1}, n_members=2).fit(y)
    found = forecaster.explain()
    assert dict(found.lag_matrix.sizes) == {"series": 3, "source": 3, "lag": 24, "step": 8}
    for name in ("attention", "delay", "weights"):
        assert name not in found or found[name].dims[0] == "member"
