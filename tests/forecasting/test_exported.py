"""ONNX files of fitted forecasters: what onnxruntime computes is what `predict` says, at any number of histories."""

import json

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest

from samovar_forecast.data.calendar_features import calendar_features
from samovar_forecast.forecasters import LinTransForecaster, SAMformerForecaster
from tests.conftest import TINY, suited, waves

SETTINGS = TINY | {"context_length": 24, "horizon": 4, "max_steps": 2}
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")


def session_of(forecaster, folder):
    forecaster.to_onnx(folder / "model.onnx")
    onnx.checker.check_model(str(folder / "model.onnx"))
    return onnxruntime.InferenceSession(folder / "model.onnx")


def histories(y, *ends):
    return np.stack([y.iloc[end - 24 : end].to_numpy() for end in ends])


def test_every_model_forecasts_the_same_without_this_package(forecaster_class, tmp_path):
    y = waves(160, 2)
    forecaster = forecaster_class(**suited(SETTINGS, forecaster_class) | {"quantiles": (0.1, 0.5, 0.9)}).fit(y)
    session = session_of(forecaster, tmp_path)
    y.iloc[70:75, 0] = np.nan  # a gap, and the newest values missing
    ends = (80, 75, 160)
    for some in (ends, ends[:1]):
        forecast, quantiles = session.run(None, {"history": histories(y, *some)})
        assert forecast.shape == (len(some), 4, 2)
        for number, end in enumerate(some):
            np.testing.assert_allclose(forecast[number], forecaster.predict(y.iloc[:end]), rtol=1e-5)
            levels = forecaster.predict_quantiles([0.1, 0.5, 0.9], y.iloc[:end]).to_numpy().reshape(4, 2, 3)
            np.testing.assert_allclose(quantiles[number], levels, rtol=1e-5)
    described = {one.key: json.loads(one.value) for one in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert (described["targets"], described["horizon"], described["quantiles"]) == (["s0", "s1"], 4, [0.1, 0.5, 0.9])


@pytest.mark.filterwarnings("ignore:.*its last known level")
def test_logarithms_past_covariates_and_a_silent_target(tmp_path):
    y = waves(160, 3)
    forecaster = LinTransForecaster(**SETTINGS | {"log1p": True, "targets": ["s0", "s2"]}).fit(y)
    session = session_of(forecaster, tmp_path)
    y = y[forecaster.columns_]
    y.iloc[:, -1] = np.nan
    (forecast,) = session.run(None, {"history": histories(y, 100)})
    np.testing.assert_allclose(forecast[0], forecaster.predict(y.iloc[76:100]), rtol=1e-5)


def test_covariates_that_are_known(tmp_path):
    y, known = waves(160, 2), waves(180, 1, index=waves(180).index, seed=3).set_axis(["heat"], axis=1)
    known.iloc[100] = np.nan
    forecaster = SAMformerForecaster(**suited(SETTINGS, SAMformerForecaster) | {"calendar": ["hour"]}).fit(y, known)
    session = session_of(forecaster, tmp_path)
    rows = known.index[96:124]
    calendar = calendar_features(rows, ["hour"])
    inputs = {"history": histories(y, 120), "known": known.loc[rows].to_numpy()[None], "calendar": calendar[None]}
    (forecast,) = session.run(None, inputs)
    np.testing.assert_allclose(forecast[0], forecaster.predict(y.iloc[:120], known), rtol=1e-5)


def test_each_series_of_a_panel_has_its_scale(tmp_path):
    panel = {"a": waves(100, 1), "b": 50 * waves(120, 1, seed=1)}
    static = pd.DataFrame({"area": [1.0, 3.0]}, index=["a", "b"])
    forecaster = LinTransForecaster(**SETTINGS).fit(panel, static=static)
    session = session_of(forecaster, tmp_path)
    history = np.concatenate([histories(panel[key], len(panel[key])) for key in ("b", "a")])
    inputs = {"history": history, "series": np.array([1, 0]), "static": static.loc[["b", "a"]].to_numpy()}
    (forecast,) = session.run(None, inputs)
    expected = forecaster.predict()
    np.testing.assert_allclose(forecast[:, :, 0], [expected[key]["s0"] for key in ("b", "a")], rtol=1e-5)
