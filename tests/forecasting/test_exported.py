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


def test_quantiles_and_gaps_at_any_number_of_histories(tmp_path):
    # The command line's test exports a SAMoVAR, and darts' tests every network.
    y = waves(160, 2)
    settings = suited(SETTINGS, SAMformerForecaster) | {"quantiles": (0.1, 0.5, 0.9)}
    forecaster = SAMformerForecaster(**settings).fit(y)
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


def test_covariates_and_the_scale_of_each_series(tmp_path):
    panel = {"a": waves(100, 1), "b": 50 * waves(120, 1, seed=1)}
    static = pd.DataFrame({"area": [1.0, 3.0]}, index=["a", "b"])
    known = {key: waves(124, 1, seed=3).set_axis(["heat"], axis=1) for key in panel}
    known["a"].iloc[90] = np.nan
    forecaster = LinTransForecaster(**SETTINGS | {"calendar": ["hour"]}).fit(panel, known, static=static)
    session = session_of(forecaster, tmp_path)
    ends, keys = {"a": 100, "b": 120}, ("b", "a")
    rows = [slice(ends[key] - 24, ends[key] + 4) for key in keys]
    inputs = {
        "history": np.concatenate([histories(panel[key], ends[key]) for key in keys]),
        "series": np.array([1, 0]),
        "known": np.stack([known[key].iloc[some].to_numpy() for key, some in zip(keys, rows, strict=True)]),
        "calendar": np.stack([calendar_features(known["a"].index[some], ["hour"]) for some in rows]),
        "static": static.loc[["b", "a"]].to_numpy(),
    }
    (forecast,) = session.run(None, inputs)
    expected = forecaster.predict(X=known)
    np.testing.assert_allclose(forecast[:, :, 0], [expected[key]["s0"] for key in keys], rtol=1e-5)
