"""A training that was killed goes on from its checkpoint and ends as if nothing had happened."""

import dataclasses
import hashlib
import io
import os
import stat

import numpy as np
import pytest
import torch

from samovar_forecast import FixedVARForecaster, SAMoVARForecaster
from samovar_forecast.training.callbacks import StopWhenAsked
from samovar_forecast.training.checkpoints import CheckpointError, read_checkpoint
from samovar_forecast.training.engine import TrainingDivergedError
from tests.conftest import TINY, series_of_panel, waves

SETTINGS = TINY | {"max_epochs": 5, "dropout": 0.2}


class Killed(BaseException):
    """Nothing in the package catches it."""


@pytest.fixture
def die_at(monkeypatch):
    """Let a training die when it has run that many batches."""
    run = StopWhenAsked.on_train_batch_start

    def choose(n_batches):
        seen = []

        def counting(self, *arguments):
            seen.append(arguments)
            if len(seen) > n_batches:
                raise Killed
            run(self, *arguments)

        monkeypatch.setattr(StopWhenAsked, "on_train_batch_start", counting)

    return choose


def kill(forecaster, y, die_at, n_batches, monkeypatch, **arguments):
    die_at(n_batches)
    with pytest.raises(Killed):
        forecaster.fit(y, **arguments)
    monkeypatch.undo()


def same(one, other):
    weights, others = one.network_.state_dict(), other.network_.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    summaries = [dataclasses.replace(each.training_summary_, seconds=0.0) for each in (one, other)]
    assert summaries[0] == summaries[1]
    if one.calibration_ is not None:
        assert np.array_equal(one.calibration_.scores, other.calibration_.scores)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sharpness_rho": 0.5, "accumulate_batches": 2, "batch_size": 8, "max_steps": 25},
        {"schedule": "onecycle"},
        {"schedule": "cosine"},
        {"schedule": "cosine_restarts"},
        {"schedule": "halving", "average_weights": None},
        {"accumulate_batches": 3, "batch_size": 16},
        {"quantiles": (0.1, 0.5, 0.9)},
        {"panel": True, "sampling": "series"},
        {"patience": 1, "learning_rate": 0.3, "max_epochs": 8},
        {"max_steps": 10},
        {
            "learning_rate": np.float64(1e-2),
            "weight_decay": np.float64(0.1),
            "patience": np.int64(4),
            "adam_betas": (np.float64(0.9), np.float64(0.95)),
        },
        {"validation_fraction": 0.0},
        {"validation_fraction": 0.0, "max_steps": 10, "loss": "mse"},
    ],
    ids=str,
)
def test_a_resumed_training_equals_an_uninterrupted_one(changes, die_at, monkeypatch, tmp_path):
    changes = dict(changes)
    y = series_of_panel() if changes.pop("panel", False) else waves()
    settings = SETTINGS | changes
    whole = SAMoVARForecaster(**settings).fit(y)
    settings["checkpoint_dir"] = str(tmp_path / "new" / "folder")
    batches = (whole.training_summary_.steps * settings.get("accumulate_batches", 1)) // 2
    for more in (batches, 3):  # it dies twice, within epochs
        kill(SAMoVARForecaster(**settings), y, die_at, more, monkeypatch)
        assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["training.ckpt"]
    resumed = SAMoVARForecaster(**settings).fit(y)
    same(whole, resumed)
    history = resumed.training_summary_.history
    assert [losses.epoch for losses in history] == list(range(1, len(history) + 1))
    assert not list((tmp_path / "new" / "folder").iterdir())  # so a second fit trains anew
    same(whole, SAMoVARForecaster(**settings).fit(y))


def test_every_network_resumes(forecaster_class, tiny, y, die_at, monkeypatch, tmp_path):
    whole = forecaster_class(**tiny).fit(y)
    cautious = forecaster_class(**tiny, checkpoint_dir=str(tmp_path))
    batches = whole.training_summary_.steps // 2 + 1
    kill(cautious, y, die_at, batches, monkeypatch)
    same(whole, cautious.fit(y))


def test_fine_tuning_resumes(y, die_at, monkeypatch, tmp_path):
    settings = SETTINGS | {"checkpoint_dir": str(tmp_path)}
    source = SAMoVARForecaster(**TINY).fit(waves(seed=3))
    tuning = {"init_from": source, "freeze": ("tokens",)}
    whole = SAMoVARForecaster(**SETTINGS).fit(y, **tuning)
    kill(SAMoVARForecaster(**settings), y, die_at, 10, monkeypatch, **tuning)
    for other in ({"init_from": source}, {"freeze": ("tokens",)}, {}):
        with pytest.raises(CheckpointError, match=r"another training: .*(init_from|freeze) is"):
            SAMoVARForecaster(**settings).fit(y, **other)
    same(whole, SAMoVARForecaster(**settings).fit(y, **tuning))


def test_without_a_seed_the_numbers_of_the_checkpoint_go_on(y, die_at, monkeypatch, tmp_path):
    settings = SETTINGS | {"checkpoint_dir": str(tmp_path), "random_state": None}
    np.random.seed(7)
    whole = SAMoVARForecaster(**settings).fit(y)
    np.random.seed(7)
    kill(SAMoVARForecaster(**settings), y, die_at, 10, monkeypatch)
    np.random.seed(8)
    same(whole, SAMoVARForecaster(**settings).fit(y))


def test_checkpoints_of_other_trainings_are_refused(y, die_at, monkeypatch, tmp_path):
    settings = SETTINGS | {"checkpoint_dir": str(tmp_path)}
    whole = SAMoVARForecaster(**SETTINGS).fit(y)
    kill(SAMoVARForecaster(**settings), y, die_at, 12, monkeypatch)
    content = (tmp_path / "training.ckpt").read_bytes()
    told = r"training.ckpt is a checkpoint of another training: {}; call fit as that training did"
    for change, difference in (
        ({"learning_rate": 0.02}, "learning_rate is 0.01 there and 0.02 here"),
        ({"d_model": 16}, "d_model is 8 there and 16 here"),
        ({"random_state": 1}, "random_state is 0 there and 1 here"),
        ({"max_epochs": 6}, "max_epochs is 5 there and 6 here"),
    ):
        with pytest.raises(CheckpointError, match=told.format(difference)):
            SAMoVARForecaster(**settings | change).fit(y)
    with pytest.raises(CheckpointError, match=told.format("y, X or static is another one there")):
        SAMoVARForecaster(**settings).fit(y + 0.5 * (y > y.mean()))
    with pytest.raises(CheckpointError, match="forecaster is SAMoVARForecaster there and FixedVAR"):
        FixedVARForecaster(**settings).fit(y)
    assert (tmp_path / "training.ckpt").read_bytes() == content
    # What does not touch the weights may change: the kind of a sequence, and what is shown.
    same(whole, SAMoVARForecaster(**settings | {"adam_betas": [0.9, 0.95], "verbose": 1}).fit(y))


def test_damaged_checkpoints_are_refused(y, die_at, monkeypatch, tmp_path):
    settings = SETTINGS | {"checkpoint_dir": str(tmp_path)}
    kill(SAMoVARForecaster(**settings), y, die_at, 12, monkeypatch)
    path = tmp_path / "training.ckpt"
    content = path.read_bytes()
    middle = bytearray(content)
    middle[len(content) // 2] ^= 1
    for damaged in (content[:-1], content + b"0", b"", b"x" * 1000, bytes(middle), content[20:]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="remove it to train from the beginning"):
            SAMoVARForecaster(**settings).fit(y)


def test_no_pickled_code_of_a_checkpoint_runs(tmp_path):
    """Also where the digest was made to fit."""

    class Payload:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "broken_in"),))

    file = io.BytesIO()
    torch.save({"state_dict": Payload()}, file)
    mark = b"samovar_forecast checkpoint 3\n"
    (tmp_path / "c").write_bytes(mark + hashlib.sha256(file.getvalue()).digest() + file.getvalue())
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "c")
    assert not (tmp_path / "broken_in").exists()


def test_a_folder_that_cannot_be_made_is_refused_before_training(y, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        SAMoVARForecaster(**SETTINGS, checkpoint_dir=str(tmp_path / "file" / "folder")).fit(y)


def test_a_checkpoint_that_cannot_be_written_is_a_warning(y, tmp_path):
    whole = SAMoVARForecaster(**SETTINGS).fit(y)
    (tmp_path / "training.ckpt").symlink_to(tmp_path / "missing" / "folder")  # writing through it fails
    with pytest.warns(UserWarning, match=r"the checkpoint of epoch \d could not be written"):
        fitted = SAMoVARForecaster(**SETTINGS, checkpoint_dir=str(tmp_path)).fit(y)
    same(whole, fitted)


def test_what_killed_writers_left_is_removed(y, tmp_path):
    left = tmp_path / f".training.ckpt.{'0a' * 16}.tmp"
    left.write_text("half")
    other = tmp_path / ".training.ckpt.tmp"
    other.write_text("another program's")
    SAMoVARForecaster(**SETTINGS, checkpoint_dir=str(tmp_path)).fit(y)
    assert list(tmp_path.iterdir()) == [other]


def test_a_checkpoint_keeps_its_permissions(y, die_at, monkeypatch, tmp_path):
    settings = SETTINGS | {"checkpoint_dir": str(tmp_path)}
    kill(SAMoVARForecaster(**settings), y, die_at, 5, monkeypatch)
    (tmp_path / "training.ckpt").chmod(0o600)
    kill(SAMoVARForecaster(**settings), y, die_at, 5, monkeypatch)
    assert stat.S_IMODE((tmp_path / "training.ckpt").stat().st_mode) == 0o600


def test_a_training_that_diverged_leaves_no_checkpoint(y, tmp_path):
    with pytest.raises(TrainingDivergedError):
        SAMoVARForecaster(**SETTINGS | {"learning_rate": 1e30}, checkpoint_dir=str(tmp_path)).fit(y)
    assert not list(tmp_path.iterdir())


def test_updates_write_none(y, tmp_path):
    fitted = SAMoVARForecaster(**SETTINGS, checkpoint_dir=str(tmp_path)).fit(y.iloc[:150])
    (tmp_path / "training.ckpt").write_text("of another training that is under way")
    fitted.update(y.iloc[150:], epochs=3)
    assert (tmp_path / "training.ckpt").read_text() == "of another training that is under way"
