import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from samovar_forecast import LinTransForecaster, SAMoVARForecaster
from samovar_forecast.forecaster import Forecaster
from samovar_forecast.persistence import ModelFileError
from tests.conftest import waves
from tests.test_frames import REGULAR


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
    with pytest.raises(ModelFileError, match="holds 'SAMoVARForecaster', not LinTransForecaster"):
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
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    outer = json.loads(content[8 : 8 + length])
    inner = json.loads(outer["__metadata__"]["samovar_forecast"]) | changes
    outer["__metadata__"]["samovar_forecast"] = json.dumps(inner)
    text = json.dumps(outer).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize("changes", [{"format": 99}, {"format": None}, {"class": "os.system"}, {"hyperparameters": {}},
                                     {"columns": []}, {"index": {}}])  # fmt: skip
def test_foreign_headers_are_refused(fitted, tmp_path, changes):
    fitted.save(tmp_path / "model")
    change_header(tmp_path / "model", **changes)
    with pytest.raises(ModelFileError):
        Forecaster.load(tmp_path / "model")


def test_a_failed_save_keeps_the_old_file(fitted, tmp_path, monkeypatch):
    path = tmp_path / "model"
    fitted.save(path)
    before = path.read_bytes()

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        fitted.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]  # nor is a half-written file left behind


def test_unsavable_names_are_refused(tiny, y, tmp_path):
    fitted = SAMoVARForecaster(**tiny).fit(y.set_axis(pd.date_range("2024", periods=3), axis=1))
    with pytest.raises(TypeError, match="rename it to a string"):
        fitted.save(tmp_path / "model")
