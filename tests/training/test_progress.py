"""What is shown of a training, where and when; and loggers and callbacks of the caller."""

import re

import pytest
from pytorch_lightning import Callback
from pytorch_lightning.loggers import CSVLogger

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.training.progress import counted, progress_shown
from tests.conftest import TINY, waves

LINE = re.compile(
    r"epoch 1 of at most 2, training loss [\d.]+, validation loss [\d.]+ \(best [\d.]+ in epoch 1\), "
    r"[\d.]+ steps/s, at most \d+ s left"
)


def test_plain_lines_where_no_terminal_is(capsys):
    SAMoVARForecaster(**TINY, verbose=1).fit(waves())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1  # the next one would come ten seconds later
    assert LINE.fullmatch(lines[0]), lines[0]


def test_the_caller_decides_for_every_training_inside(capsys):
    with progress_shown(0):
        SAMoVARForecaster(**TINY, verbose=1).fit(waves())
    assert capsys.readouterr().err == ""
    with progress_shown(1):
        assert list(counted(["a", "b", "c"], "refit", 3, verbose=0)) == ["a", "b", "c"]
    assert re.fullmatch(r"refit 1 of 3, about \d+ s left\n", capsys.readouterr().err)


def test_loggers_and_callbacks_of_the_caller(tmp_path):
    class Seen(Callback):
        epochs = 0

        def on_train_epoch_end(self, trainer, pl_module):
            self.epochs += 1

    seen, logger = Seen(), CSVLogger(tmp_path)
    forecaster = SAMoVARForecaster(**TINY, logger=logger, callbacks=(seen,)).fit(waves())
    assert seen.epochs == forecaster.training_summary_.epochs == 2
    assert list(tmp_path.rglob("metrics.csv"))
    forecaster.save(tmp_path / "model")
    loaded = SAMoVARForecaster.load(tmp_path / "model")
    assert (loaded.logger, loaded.callbacks) == (None, None)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of MLflow to itself
def test_losses_go_to_the_files_of_mlflow(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")  # its core suffices: mlflow-skinny
    from mlflow.tracking import MlflowClient
    from pytorch_lightning.loggers import MLFlowLogger

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow 3 asks for
    monkeypatch.chdir(tmp_path)
    uri = f"file:{tmp_path / 'runs'}"
    logger = MLFlowLogger(experiment_name="load", run_name="first", tracking_uri=uri)
    forecaster = SAMoVARForecaster(**TINY, logger=logger).fit(waves())
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("load").experiment_id])
    assert run.info.status == "FINISHED"
    history = forecaster.training_summary_.history
    for name in ("validation_loss", "training_loss"):
        written = [one.value for one in client.get_metric_history(run.info.run_id, name)]
        assert written == pytest.approx([getattr(epoch, name) for epoch in history]), name
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    forecaster.save(tmp_path / "model")
    assert SAMoVARForecaster.load(tmp_path / "model").logger is None


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"callbacks": ("csv",)}, TypeError, "callbacks must be a tuple of Lightning callbacks"),
        ({"logger": "wandb"}, ValueError, "logger must be one of"),
        ({"logger": 5}, TypeError, "logger must be"),
        ({"verbose": 7}, ValueError, "verbose must be one of"),
    ],
)
def test_what_is_none_is_named(given, error, message):
    with pytest.raises(error, match=message):
        SAMoVARForecaster(**TINY, **given).fit(waves())
