"""ONNX files of fitted forecasters: what onnxruntime computes is what `predict` says, at any number of histories.

An export takes seconds, so there are two with everything in it, one with trained quantiles and one with conformal
intervals; that of the command line's test is of a single series, and darts' tests export every network.
"""

import copy
import json

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch

from samovar_forecast.data.calendar_features import calendar_features
from samovar_forecast.forecasters import LinTransForecaster
from samovar_forecast.forecasting.exported import ExportedForecaster
from samovar_forecast.forecasting.intervals import interval_levels
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
    forecaster.to_onnx(path, coverage=0.6)
    onnx.checker.check_model(str(path))
    return onnxruntime.InferenceSession(path)


def assert_is_interval(bounds, expected):
    for bound, name in zip(bounds, ("lower", "upper"), strict=True):
        np.testing.assert_allclose(bound, expected.xs(name, axis=1, level="bound"), rtol=1e-5)


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
    forecast, quantiles, *bounds = session.run(None, inputs_of(forecaster, histories))
    points = forecaster.predict(histories, known)
    levels = forecaster.predict_quantiles([0.1, 0.5, 0.9], histories, known)
    intervals = forecaster.predict_interval(0.6, histories, known)
    for number, key in enumerate(keys):
        np.testing.assert_allclose(forecast[number], points[key], rtol=1e-5)
        assert quantiles[number, :, 0].max() <= HIGHEST
        np.testing.assert_allclose(quantiles[number], levels[key].to_numpy().reshape(4, 2, 3), rtol=1e-5)
        assert_is_interval([bound[number] for bound in bounds], intervals[key])


def test_the_names_are_in_the_file(session):
    described = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert described == {
        "model": "LinTransForecaster", "columns": ["s1", "s0", "s2"], "targets": ["s0", "s2"], "known": ["heat"],
        "static": ["area"], "calendar": ["hour"], "context_length": 24, "output_length": 4,
        "quantiles": [0.1, 0.5, 0.9], "coverage": 0.6, "series": ["a", "b"], "step": "<Hour>",
    }  # fmt: skip


@pytest.fixture(scope="module")
def conformal():
    """Of many series, so that kinds of contexts, and series, have curves of their own."""
    panel = {name: size * waves(500, 2, seed=number) for number, (name, size) in enumerate([("a", 1), ("b", 9)])}
    calm, steps = panel["a"].iloc[410:450], np.arange(410, 460) // 7 * 7  # among the rows held out
    panel["a"].iloc[410:450] = calm.mean() + 0.1 * (calm - calm.mean())
    panel["b"].iloc[410:460] = panel["b"].iloc[steps].to_numpy()
    settings = TINY | {"context_length": 24, "horizon": 4, "max_steps": 2, "log1p": True}
    return LinTransForecaster(**settings, lower=2.0, upper=(60.0, None)).fit(panel), panel


def contexts(panel):
    """Contexts of every kind, by name: (rows,) and the series that they are of."""
    a, b = panel["a"].iloc[-24:], panel["b"].iloc[-24:]
    gaps, one_value, silent = b.copy(), a.copy(), a.copy()
    gaps.iloc[[0, 3, 4, 5, 17, 22, 23], 0] = np.nan
    one_value.iloc[:23, 0] = np.nan
    silent["s1"] = np.nan
    return {
        "moving": ("a", a), "another series": ("b", b), "calm": ("a", a.mean() + 0.02 * (a - a.mean())),
        "restless": ("a", 2.0 ** np.sin(np.arange(24))[:, None] * (0 * a + a.mean())),
        "intermittent": ("b", b.iloc[np.arange(24) // 7 * 7].set_axis(b.index)),
        "still": ("b", 0 * b + b.iloc[0]), "gaps": ("b", gaps), "silent": ("a", silent),
        "newest alone observed": ("a", one_value),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*its last known level", "ignore:.*validation windows tell nothing")
def test_every_kind_of_context_has_the_conformal_interval_of_predict(conformal, tmp_path):
    forecaster, panel = conformal
    path = tmp_path / "model.onnx"
    forecaster.to_onnx(path, coverage=0.8)
    session = onnxruntime.InferenceSession(path)
    assert [output.name for output in session.get_outputs()] == ["forecast", "lower", "upper"]
    given = contexts(panel)
    inputs = {
        "history": np.stack([rows.to_numpy() for _, rows in given.values()]),
        "series": np.array([list(forecaster.series_).index(key) for key, _ in given.values()]),
    }
    forecast, *bounds = session.run(None, inputs)
    for number, (key, rows) in enumerate(given.values()):
        np.testing.assert_allclose(forecast[number], forecaster.predict({key: rows})[key], rtol=1e-5)
        assert_is_interval([one[number] for one in bounds], forecaster.predict_interval(0.8, {key: rows})[key])
    assert bounds[0].min() == 2.0


@pytest.mark.filterwarnings("ignore:.*its last known level", "ignore:.*validation windows tell nothing")
@pytest.mark.parametrize("coverage", [0.05, 0.5, 0.803, 0.99])
def test_any_coverage_in_a_graph_that_is_not_yet_exported(conformal, coverage):
    forecaster, panel = conformal
    graph = ExportedForecaster(forecaster.fitted_, interval_levels(coverage))
    for key, rows in contexts(panel).values():
        series = torch.tensor([list(forecaster.series_).index(key)])
        _, *bounds = graph(torch.tensor(rows.to_numpy()[None]), series)
        expected = forecaster.predict_interval(coverage, {key: rows})[key]
        assert_is_interval([bound[0].detach() for bound in bounds], expected)


def test_a_series_that_came_with_an_update_has_the_interval_of_a_new_one(conformal):
    forecaster = copy.copy(conformal[0])
    forecaster.update({"c": 3 * waves(40, 2, seed=7)}, retrain=False)
    rows = forecaster.series_["c"].history.iloc[-24:]
    graph = ExportedForecaster(forecaster.fitted_, interval_levels(0.5))
    _, *bounds = graph(torch.tensor(rows.to_numpy()[None]), torch.tensor([2]))
    assert_is_interval([bound[0].detach() for bound in bounds], forecaster.predict_interval(0.5, {"c": rows})["c"])


def test_a_coverage_that_the_forecaster_does_not_have_is_refused(forecaster, conformal, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match=r"lie outside those that were trained"):
        forecaster.to_onnx(path, coverage=0.9)
    with pytest.raises(ValueError, match=r"coverage must be a number inside \(0, 1\), got 80"):
        conformal[0].to_onnx(path, coverage=80)
    with pytest.raises(TypeError, match="coverage must be one number"):
        conformal[0].to_onnx(path, coverage=[0.8])
    assert not path.exists()
