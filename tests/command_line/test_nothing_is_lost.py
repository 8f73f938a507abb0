"""Ctrl-C, full disks and places that cannot be written: what is left, and that it is told."""

import signal
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from samovar_forecast.command_line.app import app
from samovar_forecast.command_line.outputs import keep_model
from samovar_forecast.estimator import Forecaster
from samovar_forecast.forecasters import LinTransForecaster
from samovar_forecast.training.callbacks import StopWhenAsked
from tests.command_line.calls import SMALL, refused
from tests.conftest import TINY, waves


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    waves(60, 1).to_csv("sales.csv")
    return tmp_path


@pytest.fixture
def press(monkeypatch):
    """Press Ctrl-C at the beginning of a batch, counted from 1."""
    run, seen = StopWhenAsked.on_train_batch_start, []

    def choose(batch):
        def pressing(self, *arguments):
            seen.append(arguments)
            if len(seen) == batch:
                signal.raise_signal(signal.SIGINT)
            run(self, *arguments)

        monkeypatch.setattr(StopWhenAsked, "on_train_batch_start", pressing)

    return choose


def invoke(*arguments):
    return CliRunner().invoke(app, [*arguments, *SMALL])


def test_an_interrupted_training_leaves_the_best_weights(folder, press):
    press(5)
    result = invoke("fit", "sales.csv", "--max-epochs", "50", "--set", "batch_size=8")
    assert result.exit_code == 130
    assert "interrupted after" in result.stderr
    assert "are in model.safetensors" in result.stderr
    loaded = Forecaster.load("model.safetensors")
    assert loaded.training_summary_.interrupted
    assert loaded.predict().notna().all(axis=None)


def test_before_the_first_step_nothing_is_kept(folder, press):
    press(1)
    result = invoke("fit", "sales.csv")
    assert result.exit_code == 130
    assert "nothing is kept" in result.stderr
    assert not Path("model.safetensors").exists()


def test_the_same_command_goes_on_from_its_checkpoint(folder, press):
    again = ["fit", "sales.csv", "--max-epochs", "3", "--set", "batch_size=8", "--checkpoint-dir", "state"]
    press(15)  # in the third epoch of 6 batches each
    interrupted = invoke(*again)
    assert interrupted.exit_code == 130
    assert "goes on from state" in interrupted.stderr
    finished = invoke(*again)
    assert finished.exit_code == 0, finished.stderr
    resumed = Forecaster.load("model.safetensors")
    assert (resumed.training_summary_.epochs, resumed.training_summary_.interrupted) == (3, False)
    assert list(Path("state").glob("*")) == []
    at_once = [argument for argument in again if argument not in ("--checkpoint-dir", "state")]
    assert invoke(*at_once, "-o", "at_once").exit_code == 0
    pd.testing.assert_frame_equal(Forecaster.load("at_once").predict(), resumed.predict())


def test_a_place_that_takes_no_file_is_found_before_training(folder):
    assert "cannot be written" in refused("fit", "sales.csv", "-o", "/proc/model.safetensors", *SMALL)
    Path("gone").symlink_to(folder / "nowhere" / "model")
    assert "folder of gone does not exist" in refused("fit", "sales.csv", "-o", "gone", *SMALL)
    assert sorted(path.name for path in folder.iterdir()) == ["gone", "sales.csv"]


def test_a_model_whose_place_is_gone_is_kept_elsewhere(folder, capsys):
    settings = TINY | {"context_length": 12, "horizon": 4, "max_steps": 1}
    forecaster = LinTransForecaster(**settings).fit(waves(60, 1))
    place = keep_model(forecaster, Path("gone", "model.safetensors"))
    told = capsys.readouterr().err
    assert f"the trained model is in {place}" in told
    pd.testing.assert_frame_equal(Forecaster.load(place).predict(), forecaster.predict())
    place.unlink()
    place.parent.rmdir()


def test_an_interrupted_search_keeps_its_trials(folder, press):
    optuna = pytest.importorskip("optuna")
    space = ["--space", "learning_rate=1e-3:1e-2", "--max-epochs", "1", "--folds", "1", "--batch-size", "32"]
    press(2)  # in the second trial, which has one batch
    again = ["tune", "sales.csv", "--n-trials", "3", "--storage", "trials.log", *space]
    interrupted = invoke(*again)
    assert interrupted.exit_code == 130
    assert "the trials are in trials.log" in interrupted.stderr
    assert not Path("model.safetensors").exists()
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend("trials.log"))
    assert optuna.load_study(study_name="samovar-forecast", storage=storage).trials[0].state.name == "COMPLETE"
    assert invoke(*again[:2], "--n-trials", "1", *again[4:]).exit_code == 0
    assert Path("model.safetensors").exists()


def test_other_interrupted_commands_say_so(folder, press):
    press(1)
    result = invoke("backtest", "sales.csv")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (130, "interrupted: nothing was written")
