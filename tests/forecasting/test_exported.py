"""ONNX files of fitted forecasters: what onnxruntime computes is what `predict` says, at any number of histories.

An export takes seconds, so there is one with everything in it; that of the command line's test is of a single series,
and darts' tests export every network.
"""

import json

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest

from samovar_forecast.data.calendar_features import calendar_features
from samovar_forecast.forecasters import LinTransForecaster
from tests.conftest import TINY, waves

ENDS = {"a": 100, "b": 120}  # rows of each series
HIGHEST = 330.0  # of s0
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")


@pytest.fixture(scope="module")
def forecaster():
    panel = {"a": waves(100, 3), "b": 50 * waves(120, 3, seed=1)}
    settings = TINY | {"context_length": 24, "horizon": 4, "max_steps": 2, "log1p": True, "calendar": ["hour"]}
    model = LinTransForecaster(**settings, targets=["s0", "s2"], quantiles=(0.1, 0.5, 0.9), upper=(HIGHEST, None))
    static = pd.DataFrame({"area": [1.0, 3.0]}, index=["a", "b"])
    return model.fit(panel, heat(), static=static)


@pytest.fixture(scope="module")
def session(forecaster, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    forecaster.to_onnx(path)
    onnx.checker.check_model(str(path))
    return onnxruntime.InferenceSession(path)


def heat():
    """A covariate known for a horizon beyond each series, with a missing value."""
    known = {key: waves(124, 1, seed=3).set_axis(["heat"], axis=1) for key in ENDS}
    known["a"].iloc[90] = np.nan
    return known


def inputs_of(forecaster, histories):
    known, keys = heat(), list(histories)
    rows = {key: slice(ENDS[key] - 24, ENDS[key] + 4) for key in keys}
    return {
        "history": np.stack([histories[key][forecaster.columns_].iloc[-24:].to_numpy() for key in keys]),
        "series": np.array([list(forecaster.series_).index(key) for key in keys]),
        "known": np.stack([known[key].iloc[rows[key]].to_numpy() for key in keys]),
        "calendar": np.stack([calendar_features(known[key].index[rows[key]], ["hour"]) for key in keys]),
        "static": np.array([[{"a": 1.0, "b": 3.0}[key]] for key in keys]),
    }


@pytest.mark.filterwarnings("ignore:.*its last known level")
@pytest.mark.parametrize("keys", [("b", "a"), ("a",)])
def test_onnxruntime_computes_what_predict_says(forecaster, session, keys):
    histories = {key: forecaster.series_[key].history.iloc[-24:].copy() for key in keys}
    histories["a"].iloc[5:9, 0] = np.nan
    histories["a"].iloc[-2:, 1] = np.nan  # the newest values of s0
    histories["a"]["s2"] = np.nan  # a target that is silent
    if "b" in keys:
        histories["b"]["s0"] = HIGHEST  # one that stands still, at its bound
    known = {key: frame for key, frame in heat().items() if key in keys}
    forecast, quantiles = session.run(None, inputs_of(forecaster, histories))
    points = forecaster.predict(histories, known)
    levels = forecaster.predict_quantiles([0.1, 0.5, 0.9], histories, known)
    for number, key in enumerate(keys):
        np.testing.assert_allclose(forecast[number], points[key], rtol=1e-5)
        assert quantiles[number, :, 0].max() <= HIGHEST
        np.testing.assert_allclose(quantiles[number], levels[key].to_numpy().reshape(4, 2, 3), rtol=1e-5)


def test_the_names_are_in_the_file(session):
    described = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert described == {
        "model": "LinTransForecaster", "columns": ["s1", "s0", "s2"], "targets": ["s0", "s2"], "known": ["heat"],
        "static": ["area"], "calendar": ["hour"], "context_length": 24, "output_length": 4,
        "quantiles": [0.1, 0.5, 0.9], "series": ["a", "b"], "step": "<Hour>",
    }  # fmt: skip
