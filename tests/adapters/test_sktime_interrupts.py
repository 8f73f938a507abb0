"""Ctrl-C, checkpoints, and files of sktime's own kind."""

import signal

import numpy as np
import pandas as pd
import pytest
from sktime.base import load

from samovar_forecast.training.callbacks import StopWhenAsked
from samovar_sktime import SAMoVARForecaster
from tests.conftest import TINY, series_of_panel, waves

SETTINGS = TINY | {"max_epochs": 5}


@pytest.fixture
def press_at_batch(monkeypatch):
    run = StopWhenAsked.on_train_batch_start

    def choose(number):
        seen = []

        def pressing(self, *arguments):
            seen.append(arguments)
            if len(seen) == number:
                signal.raise_signal(signal.SIGINT)
            run(self, *arguments)

        monkeypatch.setattr(StopWhenAsked, "on_train_batch_start", pressing)

    return choose


def test_an_interrupted_fit_is_complete(press_at_batch, y):
    press_at_batch(8)
    forecaster = SAMoVARForecaster(**SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        forecaster.fit(y, fh=[1, 2, 3])
    assert forecaster.is_fitted
    assert forecaster.forecaster_.training_summary_.interrupted
    assert np.isfinite(forecaster.predict()).all(axis=None)
    assert np.isfinite(forecaster.update(waves(165).iloc[160:]).predict()).all(axis=None)


def test_an_interrupted_pretraining_is_complete(press_at_batch):
    panel = series_of_panel()
    press_at_batch(5)
    forecaster = SAMoVARForecaster(**SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        forecaster.pretrain(pd.concat(panel, names=["name"]))
    assert forecaster.pretrained_forecaster_.training_summary_.interrupted
    assert np.isfinite(forecaster.fit(panel["long"], fh=[1, 2]).predict()).all(axis=None)


def test_a_killed_fit_resumes(monkeypatch, y, tmp_path):
    class Killed(BaseException):
        pass

    whole = SAMoVARForecaster(**SETTINGS).fit(y, fh=[1, 2, 3]).predict()
    seen = []
    run = StopWhenAsked.on_train_batch_start

    def dying(self, *arguments):
        seen.append(arguments)
        if len(seen) > 9:
            raise Killed
        run(self, *arguments)

    monkeypatch.setattr(StopWhenAsked, "on_train_batch_start", dying)
    with pytest.raises(Killed):
        SAMoVARForecaster(**SETTINGS, checkpoint_dir=str(tmp_path)).fit(y, fh=[1, 2, 3])
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["training.ckpt"]
    resumed = SAMoVARForecaster(**SETTINGS, checkpoint_dir=str(tmp_path)).fit(y, fh=[1, 2, 3])
    assert resumed.predict().equals(whole)
    assert not list(tmp_path.iterdir())


def test_files_of_sktime(y, tmp_path):
    fitted = SAMoVARForecaster(**TINY).fit(y, fh=[1, 2, 3])
    fitted.save(tmp_path / "model")
    loaded = load(tmp_path / "model.zip")
    assert loaded.predict().equals(fitted.predict())
    assert loaded.update(waves(165).iloc[160:]).predict().equals(fitted.update(waves(165).iloc[160:]).predict())
