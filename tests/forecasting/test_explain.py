import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from samovar_forecast import FixedVARForecaster, SAMoVARForecaster
from tests.conftest import waves

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
        total = reading.baseline + reading.own + reading.contribution.sum(["lag", "token"])
        np.testing.assert_allclose(total, reading.forecast, rtol=1e-12)
        newest = reading.tokens.sel(lag=1, token="main") + reading.token_contribution.sum(["lag", "token"])
        error = np.linalg.norm(newest - reading.forecast_token) / np.linalg.norm(reading.forecast_token)
        assert error <= 1e-5


@pytest.mark.parametrize("forecaster_class", VAR_FORECASTERS)
def test_weights_times_tokens_are_the_contributions(forecaster_class, tiny, y):
    reading = forecaster_class(**tiny).fit(y).explain(influence=False)
    tokens = reading.tokens.values.reshape(3, 3, 2, 2, 4)  # series, lag, token, head, feature
    rebuilt = np.einsum("clhgkio,cgkhi->cgkho", reading.weights, tokens).reshape(3, 3, 2, 8)
    np.testing.assert_allclose(rebuilt, reading.token_contribution, rtol=1e-4, atol=1e-7)
    assert "influence" not in reading


def test_univariate_forecasts_feel_only_their_own_past(tiny, y):
    influence = SAMoVARForecaster(**tiny, univariate=True).fit(y).explain().influence
    own = np.array([influence.sel(series=name, source=name).sum() for name in y.columns])
    assert (own > 0).all()
    np.testing.assert_allclose(influence.sum(["source", "lag"]), own, rtol=1e-6)


def test_unfitted(tiny):
    with pytest.raises(NotFittedError):
        SAMoVARForecaster(**tiny).explain()
    with pytest.raises(ValueError, match="needs 24 of history"):
        SAMoVARForecaster(**tiny).fit(waves()).explain(waves(10))
