"""The history of losses: every epoch that was run to its end, and only those."""

import dataclasses
import json
import math

import pandas as pd
import pytest
import torch

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.engine import train
from samovar_forecast.training.summary import EpochLosses, TrainingSummary
from tests.training.test_engine import CPU, fresh_network, series, windows_of


def trained(validate=True, **options):
    settings = CPU | {"max_epochs": 4, "patience": None, "learning_rate": 0.1, "average_weights": None} | options
    validation = windows_of(series(seed=1)) if validate else None
    return train(fresh_network(), windows_of(series()), validation, TrainingConfig(**settings), seed=0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"validate": False},
        {"accumulate_batches": 2, "batch_size": 8},
        {"sharpness_rho": 0.1},
        {"max_steps": 5},  # inside the third epoch
        {"max_steps": 4},  # at the end of the second
        {"patience": 1, "max_epochs": 50, "learning_rate": 0.5},
    ],
    ids=str,
)
def test_every_epoch_leaves_its_losses(options):
    summary = trained(**options)
    history = summary.history
    assert [losses.epoch for losses in history] == list(range(1, len(history) + 1))
    assert len(history) == math.ceil(summary.steps / {8: 4}.get(options.get("batch_size"), 7))
    assert history[-1].training_loss == summary.training_loss
    assert all(math.isfinite(losses.training_loss) for losses in history)
    if options.get("validate", True):
        kept = history[summary.best_epoch - 1]
        assert kept.validation_loss == summary.validation_loss == min(losses.validation_loss for losses in history)
    else:
        assert {losses.validation_loss for losses in history} == {None}


def test_the_first_epochs_are_those_of_a_shorter_training():
    assert trained(max_epochs=2).history == trained(max_epochs=4).history[:2]


def test_the_losses_are_means_over_all_windows():
    """With weights that stand still both are errors of one network."""
    options = {"learning_rate": 1e-12, "max_epochs": 1}
    ((epoch, training_loss, validation_loss),) = trained(**options).history
    assert epoch == 1
    for loss, seed in ((training_loss, 0), (validation_loss, 1)):
        windows = windows_of(series(seed=seed))
        past, future, _ = windows.gather(windows.starts)
        expected = (fresh_network()(past).squeeze(-1) - future).square().mean()
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_training_that_diverged_says_where():
    class Explodes(type(fresh_network())):
        steps = 0

        def forward(self, past, covariates=None):
            self.steps += self.training
            return super().forward(past) * (math.nan if self.steps > 4 else 1.0)

    config = TrainingConfig(**CPU | {"max_epochs": 8, "patience": None, "batch_size": 32})
    with pytest.warns(UserWarning, match="training diverged"):
        summary = train(Explodes(), windows_of(series()), windows_of(series(seed=1)), config, seed=0)
    assert [math.isfinite(losses.training_loss) for losses in summary.history] == [True, True, False]


def test_json_and_model_files_keep_it(tiny, y, tmp_path):
    fitted = SAMoVARForecaster(**tiny).fit(y)
    summary = fitted.training_summary_
    assert all(isinstance(losses, EpochLosses) for losses in summary.history)
    written = json.loads(json.dumps(dataclasses.asdict(summary)))
    assert TrainingSummary(**written) == summary
    del written["history"]  # as older files have it
    assert TrainingSummary(**written) == dataclasses.replace(summary, history=())
    fitted.save(tmp_path / "model")
    assert SAMoVARForecaster.load(tmp_path / "model").training_summary_ == summary
    table = pd.DataFrame(summary.history)
    assert list(table.columns) == ["epoch", "training_loss", "validation_loss"]
    assert len(table) == summary.epochs == 2


def test_updates_have_a_history_of_their_own(tiny, y):
    fitted = SAMoVARForecaster(**tiny).fit(y.iloc[:150])
    history = fitted.update(y.iloc[150:], epochs=3).training_summary_.history
    assert [losses.epoch for losses in history] == [1, 2, 3]
    assert {losses.validation_loss for losses in history} == {None}
    assert torch.isfinite(torch.tensor([losses.training_loss for losses in history])).all()
