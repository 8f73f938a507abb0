"""The files of a sktime forecaster: damage is refused before anything inside is opened, a failure loses nothing."""

import contextlib
import os
import pickle
import zipfile

import pytest
from sktime.base import load

from samovar_forecast.files.model_file import ModelFileError
from samovar_sktime import LinTransForecaster, SAMoVARForecaster
from tests.adapters.test_sktime_interrupts import TINY, waves


@pytest.fixture(scope="module")
def fitted():
    return SAMoVARForecaster(**TINY).fit(waves(), fh=[1, 2, 3])


@pytest.fixture
def path(fitted, tmp_path):
    fitted.save(tmp_path / "model").close()
    return tmp_path / "model.zip"


@pytest.mark.parametrize("format", ["pickle", "cloudpickle"])
@pytest.mark.parametrize("name", ["model", "model.v1"])
def test_both_ways_of_loading_give_the_forecaster(fitted, tmp_path, format, name):
    fitted.save(str(tmp_path / name), format).close()
    path = tmp_path / f"{name}.zip"
    assert list(tmp_path.iterdir()) == [path]
    for loaded in (SAMoVARForecaster.load_from_path(path), load(path)):
        assert loaded.predict().equals(fitted.predict())


def test_the_ending_may_be_left_out(fitted, path):
    assert SAMoVARForecaster.load_from_path(str(path.with_suffix(""))).predict().equals(fitted.predict())


def test_in_memory_as_sktime_does(fitted):
    assert load(fitted.save()).predict().equals(fitted.predict())


def test_every_bit_is_looked_at(path):
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 200)):
        damaged = bytearray(content)
        damaged[place] ^= 16
        path.write_bytes(damaged)
        # A time or a flag of the zip format says nothing of the model: such a file may be read.
        with contextlib.suppress(ModelFileError):
            assert SAMoVARForecaster.load_from_path(path).is_fitted


@pytest.mark.parametrize("length", [0, 1, 100, 0.5, -1])
def test_a_file_that_ends_early_is_refused(path, length):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * length) if isinstance(length, float) else length])
    with pytest.raises(ModelFileError, match=r"model.zip is damaged"):
        SAMoVARForecaster.load_from_path(path)


class Payload:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


@pytest.mark.parametrize("part", ["_metadata", "_obj", "_sha256", "another"])
def test_an_exchanged_part_is_not_opened(path, tmp_path, part):
    marker = tmp_path / "marker"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**parts, part: pickle.dumps(Payload(marker))}.items():
            archive.writestr(name, content)
    with pytest.raises(ModelFileError, match=r"model.zip is damaged"):
        SAMoVARForecaster.load_from_path(path)
    assert not marker.exists()


def test_files_of_others_are_refused_by_name(fitted, path, tmp_path):
    with pytest.raises(ModelFileError, match="holds a SAMoVARForecaster"):
        LinTransForecaster.load_from_path(path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("_obj", pickle.dumps(3))
    with pytest.raises(ModelFileError, match=r"other.zip has no checksums"):
        SAMoVARForecaster.load_from_path(tmp_path / "other.zip")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none.zip"):
        SAMoVARForecaster.load_from_path(tmp_path / "none")


def test_a_failure_leaves_the_older_file(fitted, path, monkeypatch):
    before = path.read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        fitted.save(path.with_suffix(""))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
