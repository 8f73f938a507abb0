"""A step has one forecast, however many steps are requested and however far covariates are known."""

import numpy as np
import pandas as pd
import pytest

from samovar_darts.frames import series_from_frame
from samovar_forecast import LinearAttentionForecaster
from samovar_forecast.estimator import Forecaster
from samovar_forecast.forecasters import ALL_FORECASTERS
from tests.files.test_model_content import DATA

HORIZON = 4
DECODER = {"d_model": 8, "n_decoder_layers": 1}
CASES = [pytest.param(cls, {}, id=cls.__name__) for cls in ALL_FORECASTERS]
CASES.append(pytest.param(LinearAttentionForecaster, DECODER, id="LinearAttentionForecaster-decoder"))
CALENDAR = ("hour", "dayofweek")


def driven(n_rows=140):
    """Two series, and what drives the first of them."""
    rng = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=n_rows, freq="h", name="time")
    X = pd.DataFrame({"push": rng.normal(size=n_rows), "sale": rng.random(n_rows) < 0.2}, index=index).astype(float)
    wave = np.sin(np.arange(n_rows) / 4)
    return pd.DataFrame({"load": 5 + wave + 2 * X["push"], "other": wave + rng.normal(size=n_rows)}, index=index), X


def settings_for(cls, chosen):
    known = {"d_model": 8, "n_heads": 2, "n_layers": 1, "moving_average": 5, "dropout": 0.0}
    known = {name: value for name, value in known.items() if name in cls.__dataclass_fields__}
    return known | chosen | {"horizon": HORIZON, "context_length": 16, "max_epochs": 2, "learning_rate": 1e-2,
                             "validation_fraction": 0.0, "random_state": 0, "device": "cpu"}  # fmt: skip


@pytest.mark.parametrize("calendar", [None, CALENDAR], ids=["", "calendar"])
@pytest.mark.parametrize(("cls", "chosen"), CASES)
def test_fewer_steps_are_the_first_of_more(cls, chosen, calendar):
    y, X = driven()
    forecaster = cls(**settings_for(cls, chosen), calendar=calendar).fit(y[:120], X[:120])
    full = forecaster.predict(X=X[:132], horizon=12)
    for steps in (1, 2, 4, 7, 11):
        for known in (X[: 120 + steps], X):  # what is known further on changes nothing
            found = forecaster.predict(X=known, horizon=steps)
            np.testing.assert_allclose(found, full[:steps], rtol=1e-5, atol=1e-5)
    inside = forecaster.to_sktime().fit(y[:120], X[:120])
    for fh in ([1], [1, 2, 3], [1, 2, 3, 4], list(range(1, 8))):
        found = inside.predict(fh=fh, X=X[120 : 120 + max(fh)])
        np.testing.assert_allclose(found, full.iloc[[step - 1 for step in fh]], rtol=1e-5, atol=1e-5)
    model = forecaster.to_darts()
    series, known = series_from_frame(y[:120].astype(np.float32)), series_from_frame(X.astype(np.float32))
    for n in (1, 4, 7, 12):
        found = model.predict(n, series=series, future_covariates=known[: 120 + n], show_warnings=False)
        np.testing.assert_allclose(found.values(), full[:n], rtol=1e-3, atol=1e-3)


def test_backtests_of_darts_have_the_same_steps():
    """Also where chunks do not fill the horizon, the calendar is the only covariate, and a past one ends early."""
    y, _ = driven()
    cls = ALL_FORECASTERS[0]
    forecaster = cls(**settings_for(cls, {}), targets=["load"], calendar=CALENDAR).fit(y[:120])
    model = forecaster.to_darts()
    series, past = (series_from_frame(y[[name]].astype(np.float32)) for name in y)
    arguments = {
        "series": series,
        "past_covariates": past,
        "retrain": False,
        "last_points_only": False,
        "verbose": False,
    }
    short, long = (
        model.historical_forecasts(**arguments, forecast_horizon=n, start=30, show_warnings=False) for n in (5, 8)
    )
    for one, other in zip(short, long, strict=False):
        np.testing.assert_allclose(one.values(), other.values()[:5], rtol=1e-3, atol=1e-3)


def test_too_few_covariates_are_refused_with_the_steps_that_were_asked_for():
    y, X = driven()
    cls = ALL_FORECASTERS[0]
    forecaster = cls(**settings_for(cls, {})).fit(y[:120], X[:120])
    with pytest.raises(ValueError, match=r"X lacks 3 of the \d+ rows that are needed"):
        forecaster.predict(X=X[:124], horizon=7)
    series, known = (series_from_frame(one.astype(np.float32)) for one in (y[:120], X))
    with pytest.raises(ValueError, match="`n=7`, the provided `future_covariates`"):
        forecaster.to_darts().predict(7, series=series, future_covariates=known[:124], show_warnings=False)


def test_files_of_the_fourth_format_are_read(tmp_path):
    """An Autoformer that embeds its known covariates; its writer gave the forecasts and intervals beside it."""
    path = DATA / "model-format-4-known.safetensors"
    table = pd.read_csv(path.with_suffix(".csv"), index_col="time", parse_dates=["time"])
    loaded = Forecaster.load(path)
    assert loaded.lower is None
    for _ in range(2):
        found = loaded.predict_quantiles((0.1, 0.5, 0.9), X=table[["push"]], horizon=8)
        np.testing.assert_allclose(found, table[["lower", "forecast", "upper"]], rtol=1e-4)
        loaded.save(tmp_path / "model")
        loaded = Forecaster.load(tmp_path / "model")
