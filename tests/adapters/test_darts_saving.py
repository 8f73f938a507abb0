"""The files of a darts model: damage is named, a kill on the way loses nothing."""

import os
import pickle

import numpy as np
import pytest

from samovar_darts import SAMoVARModel, base
from samovar_forecast.files.model_file import ModelFileError
from tests.adapters.test_darts_models import make, waves


def saved(tmp_path, seed=0):
    model = make(SAMoVARModel, random_state=seed).fit(waves())
    model.save(str(tmp_path / "model"))
    return model


@pytest.mark.parametrize("name", ["model", "model.ckpt"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "gone", "other"])
def test_a_damaged_file_is_refused_by_name(tmp_path, name, damage):
    saved(tmp_path)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "other":
        content = bytearray(pickle.dumps({"a": 1}))
    else:
        content = content[: len(content) // 2 if damage == "cut" else 0]
    path.write_bytes(content)
    if damage == "gone":
        path.unlink()
    with pytest.raises(ModelFileError, match=f"{name} is (damaged|missing)"):
        SAMoVARModel.load(str(tmp_path / "model"))


def test_a_model_killed_between_two_of_its_files_is_still_read(tmp_path, monkeypatch):
    saved(tmp_path)

    def killed(source, target):
        replace(source, target)
        if str(target).endswith(".ckpt"):
            raise KeyboardInterrupt

    replace = os.replace
    monkeypatch.setattr(base.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        make(SAMoVARModel, random_state=1).fit(waves()).save(str(tmp_path / "model"))
    monkeypatch.undo()
    assert np.isfinite(SAMoVARModel.load(str(tmp_path / "model")).predict(6, series=waves()).values()).all()


def test_a_model_without_checksums_is_read_as_darts_reads_it(tmp_path):
    model = saved(tmp_path)
    (tmp_path / "model.sha256").unlink()
    again = SAMoVARModel.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict(6, series=waves()).values(), model.predict(6, series=waves()).values())
    again.save(str(tmp_path / "model"))
    assert (tmp_path / "model.sha256").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"model": 3}'])
def test_damaged_checksums_are_refused(tmp_path, content):
    saved(tmp_path)
    (tmp_path / "model.sha256").write_text(content)
    with pytest.raises(ModelFileError, match=r"model.sha256 is damaged"):
        SAMoVARModel.load(str(tmp_path / "model"))
