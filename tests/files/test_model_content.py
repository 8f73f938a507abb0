import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save_file

from samovar_forecast import LinTransForecaster, SAMoVARForecaster
from samovar_forecast.estimator import Forecaster
from samovar_forecast.files.model_file import FORMAT_VERSION, ModelFileError
from samovar_forecast.training.fingerprints import digest_of
from tests.conftest import TINY, waves
from tests.data.test_frames import REGULAR

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def fitted(tiny, y):
    return SAMoVARForecaster(**tiny).fit(y)


def test_a_loaded_model_forecasts_the_same(forecaster_class, tiny, y, tmp_path):
    fitted = forecaster_class(**tiny, targets=["s1", "s0"]).fit(y)
    fitted.save(tmp_path / "model.safetensors")
    for loaded in (
        forecaster_class.load(tmp_path / "model.safetensors"),
        Forecaster.load(tmp_path / "model.safetensors"),
    ):
        assert type(loaded) is forecaster_class
        assert loaded.get_params() == fitted.get_params()
        pd.testing.assert_frame_equal(loaded.predict(horizon=12), fitted.predict(horizon=12), check_freq=False)
        assert loaded.training_summary_ == fitted.training_summary_
        more = waves(170).iloc[160:]
        pd.testing.assert_frame_equal(loaded.update(more).predict(), fitted.update(more).predict(), check_freq=False)
        fitted = forecaster_class.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", REGULAR)
def test_every_index_survives(tiny, tmp_path, name):
    fitted = SAMoVARForecaster(**(tiny | {"max_steps": 1})).fit(waves(50, index=REGULAR[name]))
    fitted.save(tmp_path / "model")
    expected, actual = fitted.predict(), SAMoVARForecaster.load(tmp_path / "model").predict()
    assert list(actual.index) == list(expected.index)
    assert actual.index.dtype == expected.index.dtype
    assert np.array_equal(actual, expected)


def test_known_covariates_survive(tiny, y, tmp_path):
    X = pd.DataFrame({"x": np.arange(200.0)}, index=pd.date_range("2024-01-01", periods=200, freq="h"))
    fitted = SAMoVARForecaster(**tiny).fit(y, X.iloc[:160])
    fitted.save(tmp_path / "model")
    assert np.array_equal(SAMoVARForecaster.load(tmp_path / "model").predict(X=X), fitted.predict(X=X))


@pytest.mark.parametrize("labels", [["a", "b", "c"], [1, 2, 3], [("a", 1), ("a", 2), ("b", 1)], [None, True, 2.5]])
def test_column_names_survive(tiny, y, tmp_path, labels):
    fitted = SAMoVARForecaster(**tiny).fit(y.set_axis(pd.Index(labels, tupleize_cols=False), axis=1))
    fitted.save(tmp_path / "model")
    assert SAMoVARForecaster.load(tmp_path / "model").columns_ == fitted.columns_


def test_another_process_reads_it(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    program = (
        "from samovar_forecast import SAMoVARForecaster\n"
        f"print(SAMoVARForecaster.load({str(tmp_path / 'model')!r}).predict().sum().sum())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(run.stdout) == pytest.approx(float(fitted.predict().sum().sum()), rel=1e-6)


def test_wrong_class_is_refused(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="holds a SAMoVARForecaster, not a LinTransForecaster"):
        LinTransForecaster.load(tmp_path / "model")


def test_files_that_are_no_models_are_refused(fitted, tmp_path):
    path = tmp_path / "model"
    with pytest.raises(FileNotFoundError):
        SAMoVARForecaster.load(path)
    for content in (b"", b"hello", b"PK\x03\x04" * 50, os.urandom(500)):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match="is not a model file"):
            SAMoVARForecaster.load(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="no model of samovar-forecast"):
        SAMoVARForecaster.load(path)
    with pytest.raises(OSError, match="folder"):
        SAMoVARForecaster.load(tmp_path)


def test_damage_is_refused(fitted, tmp_path):
    path = tmp_path / "model"
    fitted.save(path)
    content = path.read_bytes()
    for length in (10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            SAMoVARForecaster.load(path)
    for position in (len(content) - 1, len(content) - len(content) // 3):
        flipped = bytearray(content)
        flipped[position] ^= 4
        path.write_bytes(flipped)
        with pytest.raises(ModelFileError, match=r"damaged|not a model file"):
            SAMoVARForecaster.load(path)


def change_header(path, **changes):
    """Another header, and a digest that fits, made to do harm."""
    header = header_of(path) | changes
    write_signed(path, from_bytes(path.read_bytes()), json.dumps(header), signed=header["format"] not in (1, 2))


def write_signed(path, tensors, header, signed=True):
    tensors.pop("sha256", None)
    if signed:
        tensors["sha256"] = torch.tensor(list(bytes.fromhex(digest_of(tensors, header))), dtype=torch.uint8)
    save_file(tensors, path, {"samovar_forecast": header})


@pytest.mark.parametrize("changes", [{"format": 99}, {"format": None}, {"class": "os.system"}, {"hyperparameters": {}},
                                     {"columns": []}, {"series": []}, {"layout": {}},
                                     {"series": [{"name": None, "n_rows": 7, "index": {"kind": "integer",
                                                  "name": None, "frequency": 1}}]},
                                     {"series": [{"name": None, "n_rows": 59, "index": {}}]}])  # fmt: skip
def test_foreign_headers_are_refused(fitted, tmp_path, changes):
    fitted.save(tmp_path / "model")
    change_header(tmp_path / "model", **changes)
    with pytest.raises(ModelFileError):
        Forecaster.load(tmp_path / "model")


def header_of(path):
    content = path.read_bytes()
    outer = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(outer["__metadata__"]["samovar_forecast"])


@pytest.mark.parametrize("wrong", [None, [], {}, "x", ["x"], -1, 10**6, 0.5, [None], {"a": 1}], ids=repr)
def test_no_header_breaks_out(panel_model, tmp_path, wrong):
    """Whatever stands in a field: the file loads, or it is no model file."""
    fitted, path = panel_model, tmp_path / "model"
    fitted.save(path)
    content, header = path.read_bytes(), header_of(path)
    described = header["series"]
    changes = [{field: wrong} for field in header]
    changes += [{"series": [described[0] | {field: wrong}, *described[1:]]} for field in described[0]]
    changes += [{"series": [described[0] | {"index": described[0]["index"] | {field: wrong}}, *described[1:]]}
                for field in described[0]["index"]]  # fmt: skip
    changes += [{"layout": header["layout"] | {field: wrong}} for field in header["layout"]]
    for name in ("horizon", "context_length", "d_model", "n_heads", "n_layers", "targets", "quantiles", "random_state"):
        if not (isinstance(wrong, int) and wrong == 10**6):  # a network that fills the memory
            changes.append({"hyperparameters": header["hyperparameters"] | {name: wrong}})
    refused = 0
    for change in changes:
        path.write_bytes(content)
        change_header(path, **change)
        try:
            Forecaster.load(path)
        except ModelFileError:
            refused += 1
    assert refused > len(changes) / 2


@pytest.mark.parametrize("rows", [[1, 1, 1], [-3, 43, 31], [31, 9, 31, 0], []])
def test_series_must_have_their_rows(panel_model, tmp_path, rows):
    panel_model.save(tmp_path / "model")
    described = [*header_of(tmp_path / "model")["series"]] * 2
    wrong = [one | {"n_rows": n_rows} for one, n_rows in zip(described, rows, strict=False)]
    change_header(tmp_path / "model", series=wrong)
    with pytest.raises(ModelFileError, match="is not a complete model file"):
        Forecaster.load(tmp_path / "model")


def panel_data():
    """Series of a panel with two levels, gaps, covariates known and static; one is short."""
    frames, X = {}, {}
    for number, (key, n_rows) in enumerate({("north", 1): 120, ("north", 2): 9, ("south", 1): 80}.items()):
        index = pd.date_range("2024-03-29", periods=150, freq="h", tz="Europe/Berlin", name="time")
        frames[key] = waves(150, index=index, seed=number)[:n_rows]
        frames[key].iloc[3:5, 1] = np.nan
        X[key] = pd.DataFrame({"push": np.random.default_rng(number).normal(size=150)}, index=index)
        X[key].iloc[2] = np.nan
    static = pd.DataFrame(
        {"size": [3.0, 1.0, 2.0], "sea": [True, False, False]}, index=pd.MultiIndex.from_tuples(frames)
    )
    return pd.concat(frames, names=["land", "shop"]), pd.concat(X, names=["land", "shop"]), static


@pytest.fixture(scope="module", params=[{}, {"quantiles": (0.1, 0.5, 0.9), "log1p": True, "scaler": "robust"}],
                ids=["conformal", "trained"])  # fmt: skip
def panel_model(request):
    y, X, static = panel_data()
    settings = TINY | {"targets": ["s2", "s0"], "calendar": ("hour", "dayofweek"), "sampling": "series"}
    return SAMoVARForecaster(**settings, **request.param).fit(y, X, static=static)


def test_panels_survive_whole(panel_model, tmp_path):
    y, X, static = panel_data()
    panel_model.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert loaded.get_params() == panel_model.get_params()
    assert loaded.layout_ == panel_model.layout_
    assert loaded.static_ == ["size", "sea"]
    assert list(loaded.series_) == list(panel_model.series_)
    for key, series in panel_model.series_.items():
        pd.testing.assert_frame_equal(loaded.series_[key].history, series.history, check_freq=False)
        pd.testing.assert_frame_equal(loaded.series_[key].known, series.known, check_freq=False)
        assert np.array_equal(loaded.series_[key].static, series.static)
    new = static[:1].set_axis(pd.MultiIndex.from_tuples([("east", 1)]))
    unseen = waves(40, index=y.loc["north", 1].index[:40])
    for name, arguments in {
        "predict": {"X": X, "horizon": 12},
        "predict_quantiles": {"quantiles": (0.2, 0.5, 0.9), "X": X, "horizon": 12},
        "predict_interval": {"X": X},
        "predict_in_sample": {"y": y.drop(index=("north", 2)), "X": X.drop(index=("north", 2))},
    }.items():
        expected, actual = (getattr(one, name)(**arguments) for one in (panel_model, loaded))
        pd.testing.assert_frame_equal(actual, expected, rtol=0, atol=0)
    stranger = {"y": {("east", 1): unseen}, "X": {("east", 1): X.loc["north", 1]}, "static": new}
    expected, actual = panel_model.predict(**stranger), loaded.predict(**stranger)
    pd.testing.assert_frame_equal(actual["east", 1], expected["east", 1], rtol=0, atol=0)
    whole = [frame.drop(index=("north", 2)) for frame in (y, X)]
    one, other = (model.backtest(*whole, quantiles=(0.5, 0.8)) for model in (panel_model, loaded))
    assert list(one) == [("north", 1), ("south", 1)]
    assert all(one[key].identical(other[key]) for key in one)
    # What grows after loading can be saved again: new rows, and a new series.
    more = {("north", 2): waves(20, index=y.loc["north", 1].index[9:29]), **stranger["y"]}
    grown = loaded.update(more, dict.fromkeys(more, X.loc["north", 1]), static=new, retrain=False)
    grown.save(tmp_path / "grown")
    again = Forecaster.load(tmp_path / "grown")
    X = pd.concat([X, pd.concat({("east", 1): X.loc["north", 1]}, names=["land", "shop"])])
    pd.testing.assert_frame_equal(again.predict(X=X), grown.predict(X=X), rtol=0, atol=0)
    assert again.predict(X=X).index.names == ["land", "shop", "time"]


@pytest.mark.parametrize("settings", [{}, {"quantiles": (0.25, 0.5, 0.75)}, {"log1p": True}, {"scaler": "robust"}])
def test_quantiles_survive(tiny, y, tmp_path, settings):
    fitted = SAMoVARForecaster(**tiny, **settings).fit(y["s1"])
    fitted.save(tmp_path / "model")
    loaded = SAMoVARForecaster.load(tmp_path / "model")
    for horizon in (8, 20):
        expected, actual = (one.predict_quantiles((0.25, 0.6), horizon=horizon) for one in (fitted, loaded))
        pd.testing.assert_frame_equal(actual, expected, rtol=0, atol=0, check_freq=False)


def test_a_saved_model_trains_on(tiny, y, tmp_path):
    fitted = SAMoVARForecaster(**tiny).fit(y)
    fitted.save(tmp_path / "model")
    one, two = (SAMoVARForecaster(**tiny).fit(waves(seed=1), init_from=begin) for begin in (fitted, tmp_path / "model"))
    assert np.array_equal(one.predict(), two.predict())


@pytest.fixture(params=["frame", "series"])
def first_format(request):
    """A file that the first version of the format wrote, and the forecast that its writer gave."""
    file = DATA / f"model-format-1-{request.param}"
    table = pd.read_csv(file.with_suffix(".csv"), index_col=0, parse_dates=request.param == "frame")
    return file.with_suffix(".safetensors"), table


def test_files_of_the_first_format_are_read(first_format, tmp_path):
    path, table = first_format
    assert header_of(path)["format"] == 1
    loaded = Forecaster.load(path)
    X = table[["push"]] if "push" in table else None
    forecast = loaded.predict(X=X, horizon=8)
    if X is None:
        assert forecast.name == "price"
        np.testing.assert_allclose(forecast, table["price"], rtol=1e-6)
        assert forecast.index.equals(table.index)
    else:
        pd.testing.assert_frame_equal(forecast, table[["load"]], check_freq=False, check_index_type=False, rtol=1e-6)
    assert not loaded.is_panel_
    # There are no errors to make intervals of, and that is said.
    for use in (loaded.predict_quantiles, loaded.predict_interval):
        with pytest.raises(ValueError, match="comes from a model file of the first format, which keeps no errors"):
            use(X=X)
    # It goes on like any other.
    loaded.save(tmp_path / "model")
    assert header_of(tmp_path / "model")["format"] == FORMAT_VERSION
    again = Forecaster.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X=X, horizon=8), forecast)
    history = loaded.history_
    new = pd.DataFrame(1.0, index=table.index[:3], columns=history.columns)
    assert np.isfinite(again.update(new, X, epochs=2).predict(X=X, horizon=4)).all(axis=None)
    if X is None:
        tuned = SAMoVARForecaster(**again.get_params()).fit(waves(80, 1).reset_index(drop=True), init_from=path)
        assert np.isfinite(tuned.predict_interval()).all(axis=None)


def test_files_of_the_third_format_are_read(tmp_path):
    """A panel with one calibration for all kinds of contexts; its writer gave the forecasts and intervals beside it."""
    path = DATA / "model-format-3-panel.safetensors"
    assert header_of(path)["format"] == 3
    table = pd.read_csv(path.with_suffix(".csv"), index_col=["series", "time"], parse_dates=["time"])
    loaded = Forecaster.load(path)
    forecast, interval = loaded.predict(), loaded.predict_interval(0.8)
    for key in "abc":
        np.testing.assert_allclose(forecast[key]["load"], table.loc[key, "load"], rtol=1e-6)
        np.testing.assert_allclose(interval[key]["load"], table.loc[key, ["lower", "upper"]], rtol=1e-4)
    loaded.save(tmp_path / "model")
    again = Forecaster.load(tmp_path / "model")
    for key in "abc":
        pd.testing.assert_frame_equal(again.predict_interval(0.8)[key], interval[key], check_freq=False)


@pytest.mark.parametrize("change", [{"index": {}}, {"columns": []}, {"hyperparameters": {}}, {"format": 2}])
def test_incomplete_files_of_the_first_format_are_refused(first_format, tmp_path, change):
    path = tmp_path / "model"
    path.write_bytes(first_format[0].read_bytes())
    change_header(path, **change)
    with pytest.raises(ModelFileError, match="is not a complete model file"):
        Forecaster.load(path)


def test_unsavable_names_are_refused(tiny, y, tmp_path):
    fitted = SAMoVARForecaster(**tiny).fit(y.set_axis(pd.date_range("2024", periods=3), axis=1))
    with pytest.raises(TypeError, match="rename it to a string"):
        fitted.save(tmp_path / "model")
