"""How the benchmark trains models: ours, the naive one and those of libraries, on all training windows alone."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from samovar_forecast.benchmark.library_training import BestEpoch
from samovar_forecast.benchmark.models import train
from samovar_forecast.benchmark.neuralforecast_models import window_batches
from samovar_forecast.benchmark.one_run import measure
from samovar_forecast.benchmark.plan import plan
from samovar_forecast.benchmark.protocol import load_task, score
from samovar_forecast.estimator import Forecaster
from tests.conftest import waves

CONTEXT, HORIZON = 24, 4
TRAIN, VALIDATION, TEST = 140, 20, 40
TINY = {"d_model": 8, "n_layers": 1, "n_heads": 2, "max_epochs": 2, "batch_size": 16}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "load.csv"
    waves(TRAIN + VALIDATION + TEST, 2).to_csv(path)
    return str(path)


@pytest.fixture
def task(file):
    return load_task("load", CONTEXT, HORIZON, file)


def one_run(model, file, **settings):
    (run,) = plan([model], [file], [HORIZON], context_length=CONTEXT, settings=settings, device="cpu")
    return run


def test_a_forecaster_trains_validates_and_forecasts_every_window(file, task, tmp_path, monkeypatch):
    from samovar_forecast.training import engine

    seen = []
    original = engine.train
    monkeypatch.setattr(
        engine, "train", lambda network, windows, validation, *rest: seen.append((windows, validation)) or original(
            network, windows, validation, *rest)
    )  # fmt: skip
    trained = train(one_run("FixedVAR", file, **TINY), task, tmp_path / "work")
    (windows, validation), rows = seen[0], task.rows_to_fit.to_numpy()
    assert windows.starts.tolist() == list(range(TRAIN - CONTEXT - HORIZON + 1))
    assert (validation.starts + CONTEXT).tolist() == list(range(TRAIN, TRAIN + VALIDATION - HORIZON + 1))
    np.testing.assert_allclose(windows.values.numpy(), rows, atol=1e-5)
    forecasts = trained.forecast(task.test)
    assert forecasts.shape == (TEST - HORIZON + 1, HORIZON, 2)
    np.testing.assert_allclose(trained.forecast(task.test[7 : 7 + CONTEXT + HORIZON]), forecasts[7:8], atol=1e-5)
    assert (trained.epochs, trained.resumed_after_epoch) == (2, 0)


def test_a_forecaster_that_was_killed_while_it_was_scored_is_not_trained_again(file, task, tmp_path, monkeypatch):
    run, folder = one_run("FixedVAR", file, **TINY), tmp_path / "work"
    first = train(run, task, folder)
    monkeypatch.setattr(Forecaster, "fit", lambda *_: pytest.fail("trained again"))
    again = train(run, task, folder)
    np.testing.assert_array_equal(again.forecast(task.test), first.forecast(task.test))
    assert (again.epochs, again.best_epoch, again.parameters) == (first.epochs, first.best_epoch, first.parameters)
    assert again.seconds == first.seconds


def test_naive_repeats_the_last_season(file, task, tmp_path):
    trained = train(one_run("naive", file), task, tmp_path)
    rows = task.test.to_numpy()
    expected = [rows[end - 24 : end - 24 + HORIZON] for end in range(CONTEXT, len(rows) - HORIZON + 1)]
    np.testing.assert_array_equal(trained.forecast(task.test), expected)
    short = replace(one_run("naive", file), context_length=12)
    with pytest.raises(ValueError, match="a season has 24 rows and the look-back 12"):
        train(short, task, tmp_path)


@pytest.mark.parametrize("model", ["linear", "darts:TSMixer"])
def test_darts_trains_on_every_window_and_forecasts_every_window(model, file, task, tmp_path, monkeypatch):
    from darts.models.forecasting.pl_forecasting_module import PLForecastingModule

    seen = {"train": Counter(), "val": Counter()}
    original = PLForecastingModule._train_val_step

    def step(self, batch, stage, criterion, metrics):
        seen[stage.value].update(value.item() for value in batch.future_target[:, 0, 0])
        return original(self, batch, stage, criterion, metrics)

    monkeypatch.setattr(PLForecastingModule, "_train_val_step", step)
    run = one_run(model, file, max_epochs=2, learning_rate=1e-4)
    trained = train(run, task, tmp_path)
    first = task.rows_to_fit.iloc[:, 0]
    assert seen["train"] == Counter(dict.fromkeys(first[CONTEXT : TRAIN - HORIZON + 1], 2))
    assert seen["val"] == Counter(dict.fromkeys(first[TRAIN : TRAIN + VALIDATION - HORIZON + 1], 2))
    assert trained.epochs == 2
    assert trained.parameters == {"linear": CONTEXT * HORIZON + HORIZON + 4}.get(model, trained.parameters)
    forecasts = trained.forecast(task.test)
    assert forecasts.shape == (TEST - HORIZON + 1, HORIZON, 2)
    alone = trained.forecast(task.test[11 : 11 + CONTEXT + HORIZON])
    np.testing.assert_allclose(alone, forecasts[11:12], atol=1e-5)


def test_linear_is_a_linear_map_after_instance_normalisation(file, task, tmp_path):
    trained = train(one_run("linear", file, max_epochs=1), task, tmp_path)
    rows = task.test[: CONTEXT + HORIZON]
    np.testing.assert_allclose(trained.forecast(rows * 3 + 5), trained.forecast(rows) * 3 + 5, rtol=1e-4, atol=1e-3)

    def forecast(angle):  # of a wave whose mean is 0 and whose standard deviation 1, whatever its phase
        phase = 2 * np.pi * np.arange(CONTEXT + HORIZON) / CONTEXT + angle
        wave = np.sqrt(2) * np.column_stack([np.sin(phase), np.cos(phase)])
        return trained.forecast(pd.DataFrame(wave, rows.index, rows.columns, dtype=np.float32))

    constant = (forecast(0) + forecast(np.pi)) / 2
    between = (forecast(0) - constant + forecast(np.pi / 2) - constant) * np.sqrt(0.5) + constant
    np.testing.assert_allclose(forecast(np.pi / 4), between, atol=1e-4)
    assert np.abs(forecast(np.pi / 4) - forecast(0)).max() > 0.1


def test_batches_for_neuralforecast_hold_every_window_once(task):
    length, spare = CONTEXT + HORIZON, 50
    loader = window_batches(task.train, length, 32, shuffled_by=0, spare=spare)
    epochs = []
    for _ in range(2):
        starts, batches = [], list(loader)
        for batch in batches:
            values, counts = batch["temporal"].unbind(1)
            assert values.shape[1] % length == spare % length
            assert bool((counts == 1).all())
            windows = values[:, : values.shape[1] - spare].unfold(1, length, length)  # as the library steps
            starts += windows[0, :, 0].tolist()
            assert windows.shape[0] == 2
        epochs.append(starts)
        assert Counter(starts) == Counter(task.train.iloc[: TRAIN - length + 1, 0].tolist())
    assert epochs[0] != epochs[1]
    every = torch.cat([batch["temporal"][:, 0] for batch in window_batches(task.validation_windows, length, 7)], dim=1)
    expected = np.lib.stride_tricks.sliding_window_view(task.validation_windows.to_numpy(), length, axis=0)
    np.testing.assert_array_equal(every.unfold(1, length, length).transpose(0, 1), expected)


@pytest.mark.parametrize(
    ("n_windows", "sizes"), [(1, [1]), (8, [8]), (9, [9]), (10, [8, 2]), (16, [8, 8]), (17, [8, 9])]
)
def test_no_batch_for_training_holds_a_single_window(n_windows, sizes, task):
    length = CONTEXT + HORIZON
    loader = window_batches(task.train[: length + n_windows - 1], length, 8, shuffled_by=0)
    assert len(loader) == len(sizes)
    assert [batch["temporal"].shape[-1] // length for batch in loader] == sizes


@pytest.mark.parametrize(
    ("name", "settings"),
    [("DLinear", {}), ("DLinear", {"scaler_type": "standard"}), ("iTransformer", {"scaler_type": "robust"}),
     ("NHITS", {})],
)  # fmt: skip
def test_neuralforecast_scores_what_it_validates(name, settings, file, task, tmp_path, monkeypatch):
    pytest.importorskip("neuralforecast")
    kept = []
    give_to = BestEpoch.give_to
    monkeypatch.setattr(BestEpoch, "give_to", lambda best, model: kept.append(best) or give_to(best, model))
    run = one_run(f"neuralforecast:{name}", file, max_epochs=2, **settings)
    trained = train(run, task, tmp_path)
    scored = score(trained.forecast, task.validation_windows, CONTEXT, HORIZON)
    assert scored.mse == pytest.approx(kept[0].error, rel=1e-4)


class Told:
    """What a trainer tells its callbacks."""

    should_stop = False
    current_epoch = 0

    def __init__(self):
        self.callback_metrics = {}


def test_best_epoch_keeps_the_lowest_error_and_stops_after_its_patience():
    best, trainer, module = BestEpoch("error", patience=2), Told(), torch.nn.Linear(1, 1, bias=False)
    for epoch, error in enumerate([3.0, 1.0, 2.0, 1.5]):
        torch.nn.init.constant_(module.weight, error)
        trainer.current_epoch, trainer.callback_metrics = epoch, {"error": torch.tensor(error)}
        assert not trainer.should_stop
        best.on_validation_end(trainer, module)
    assert trainer.should_stop
    best.give_to(module)
    assert (best.epoch, module.weight.item()) == (2, 1.0)
    never = BestEpoch("error", None)
    trainer.callback_metrics = {"error": torch.tensor(float("nan"))}
    never.on_validation_end(trainer, module)
    with pytest.raises(ValueError, match="diverged"):
        never.give_to(module)


def test_a_record_says_what_was_done(file, task, tmp_path):
    run = one_run("SAMformer", file, max_epochs=2, batch_size=64)
    record = measure(run, tmp_path / "work", began=0.0)
    trained = train(run, task, tmp_path / "again")  # bitwise the same training
    errors = trained.forecast(task.test) - np.stack(
        [task.test.to_numpy()[row : row + HORIZON] for row in range(CONTEXT, CONTEXT + TEST - HORIZON + 1)]
    )
    assert record["mse"] == pytest.approx((errors**2).mean(), rel=1e-9)
    assert record["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-9)
    assert (record["windows"], record["epochs"], record["parameters"]) == (TEST - HORIZON + 1, 2, trained.parameters)
    assert record["threads"] == torch.get_num_threads()
    assert record["versions"]["torch"] == torch.__version__
    assert 100 < record["peak_memory_mb"] < 10_000
    assert record["validation_mse"] > 0
