"""Ctrl-C, divergence and other ends of a training before its time."""

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.training.callbacks import StopWhenAsked
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.engine import TrainingDivergedError, train
from samovar_forecast.training.interrupts import interrupts_held_back
from tests.conftest import TINY, waves
from tests.training.test_engine import CPU, Linear, fresh_network, series, windows_of

SETTINGS = TINY | {"max_epochs": 5}


@pytest.fixture
def press(monkeypatch):
    """Press Ctrl-C at the beginning of some batches, counted from 1."""
    run = StopWhenAsked.on_train_batch_start

    def choose(*batches):
        seen = []

        def pressing(self, *arguments):
            seen.append(arguments)
            for _ in range(batches.count(len(seen))):
                signal.raise_signal(signal.SIGINT)
            run(self, *arguments)

        monkeypatch.setattr(StopWhenAsked, "on_train_batch_start", pressing)

    yield choose
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_best_weights_so_far_are_kept(y, press, tmp_path):
    two = SAMoVARForecaster(**SETTINGS | {"max_epochs": 2}).fit(y)
    steps = two.training_summary_.steps
    press(steps + 2)
    forecaster = SAMoVARForecaster(**SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        forecaster.fit(y)
    summary = forecaster.training_summary_
    assert summary.interrupted
    assert not two.training_summary_.interrupted
    assert (summary.epochs, summary.steps) == (2, steps + 1)
    assert summary.history == two.training_summary_.history
    assert summary.best_epoch == two.training_summary_.best_epoch
    assert summary.validation_loss == two.training_summary_.validation_loss
    # It can do what any other can.
    assert np.array_equal(forecaster.predict(), two.predict())
    assert np.array_equal(forecaster.predict_interval(), two.predict_interval())
    forecaster.save(tmp_path / "model")
    loaded = SAMoVARForecaster.load(tmp_path / "model")
    assert loaded.training_summary_ == summary
    assert np.isfinite(loaded.update(waves(170).iloc[160:]).predict()).all(axis=None)


@pytest.mark.parametrize("validation_fraction", [0.2, 0.0])
def test_before_an_epoch_was_validated_the_weights_of_the_moment_are_kept(y, press, validation_fraction):
    settings = SETTINGS | {"validation_fraction": validation_fraction, "batch_size": 8}
    reference = SAMoVARForecaster(**settings | {"max_steps": 5}).fit(y)
    press(6)
    forecaster = SAMoVARForecaster(**settings)
    with pytest.raises(KeyboardInterrupt):
        forecaster.fit(y)
    summary = forecaster.training_summary_
    assert summary.interrupted
    assert (summary.epochs, summary.best_epoch, summary.steps, summary.validation_loss) == (0, 1, 5, None)
    assert summary.history == ()
    assert summary.training_loss == pytest.approx(reference.training_summary_.training_loss)
    assert np.array_equal(forecaster.predict(), reference.predict())


def test_before_the_first_step_nothing_is_kept(y, press):
    press(1)
    forecaster = SAMoVARForecaster(**SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        forecaster.fit(y)
    with pytest.raises(NotFittedError):
        forecaster.predict()
    assert set(vars(forecaster)) == set(forecaster.get_params())


def test_the_second_time_everything_ends_at_once(y, press):
    fitted = SAMoVARForecaster(**SETTINGS).fit(y)
    before, forecast = set(vars(fitted)), fitted.predict()
    press(8, 8)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(y.iloc[:, :2])
    assert set(vars(fitted)) == before
    assert fitted.columns_ == ["s0", "s1", "s2"]
    assert np.array_equal(fitted.predict(), forecast)


def test_an_interrupted_update_takes_in_the_rows(y, press):
    fitted = SAMoVARForecaster(**SETTINGS).fit(y.iloc[:150])
    before = fitted.predict()
    press(2)
    with pytest.raises(KeyboardInterrupt):
        fitted.update(y.iloc[150:], epochs=50)
    assert fitted.training_summary_.interrupted
    assert fitted.training_summary_.steps == 1
    assert fitted.predict().index[0] == before.index[0] + 10 * before.index.freq


def test_an_interrupted_training_resumes(y, press, monkeypatch, tmp_path):
    whole = SAMoVARForecaster(**SETTINGS).fit(y)
    press(9)
    with pytest.raises(KeyboardInterrupt):
        SAMoVARForecaster(**SETTINGS, checkpoint_dir=str(tmp_path)).fit(y)
    monkeypatch.undo()
    resumed = SAMoVARForecaster(**SETTINGS, checkpoint_dir=str(tmp_path)).fit(y)
    assert np.array_equal(resumed.predict(), whole.predict())
    assert not resumed.training_summary_.interrupted


def pressed_in_an_inner_block():
    with interrupts_held_back() as outer:
        with interrupts_held_back() as inner:
            signal.raise_signal(signal.SIGINT)
            assert inner.asked
        yield outer.asked


def test_blocks_nest_and_the_outermost_raises():
    block = pressed_in_an_inner_block()
    assert next(block)
    with pytest.raises(KeyboardInterrupt):
        next(block)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def pressed_before_an_error():
    with interrupts_held_back():
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError


def test_an_error_is_not_replaced_by_the_interrupt():
    with pytest.raises(ZeroDivisionError):
        pressed_before_an_error()


def test_handlers_of_others_are_left_alone():
    seen = []
    own = signal.signal(signal.SIGINT, lambda *_: seen.append("theirs"))
    try:
        with interrupts_held_back() as interrupt:
            signal.raise_signal(signal.SIGINT)
        assert not interrupt.asked
    finally:
        signal.signal(signal.SIGINT, own)
    assert seen == ["theirs"]


def test_lightning_leaves_no_signal_ignored(y, press):
    """Another handler raises KeyboardInterrupt: Lightning answers by ignoring the signal and ending the process."""
    press(3)

    def other(*_):
        raise KeyboardInterrupt

    own = signal.signal(signal.SIGINT, other)
    try:
        with pytest.raises(KeyboardInterrupt):
            SAMoVARForecaster(**SETTINGS).fit(y)
        assert signal.getsignal(signal.SIGINT) is other
    finally:
        signal.signal(signal.SIGINT, own)


def test_other_threads_train_without_signals(y):
    fitted = []
    thread = threading.Thread(target=lambda: fitted.append(SAMoVARForecaster(**TINY).fit(y)))
    thread.start()
    thread.join()
    assert np.array_equal(fitted[0].predict(), SAMoVARForecaster(**TINY).fit(y).predict())


def test_a_real_signal_from_outside(tmp_path):
    program = f"""
import signal, sys
sys.path.insert(0, {sys.path[0]!r})
from samovar_forecast import SAMoVARForecaster
from tests.conftest import TINY, waves
forecaster = SAMoVARForecaster(**TINY | {{"max_epochs": 10**6, "patience": None, "logger": "csv",
                                          "log_dir": {str(tmp_path)!r}}})
print("begin", flush=True)
try:
    forecaster.fit(waves())
except KeyboardInterrupt:
    print(forecaster.training_summary_.interrupted, forecaster.predict().isna().sum().sum())
    forecaster.save({str(tmp_path / "model")!r})
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("works as ever")
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as run:  # fmt: skip
        assert run.stdout.readline() == "begin\n"
        for _ in range(600):
            if any("3," in path.read_text() for path in tmp_path.rglob("metrics.csv")) or run.poll() is not None:
                break
            threading.Event().wait(0.05)
        run.send_signal(signal.SIGINT)
        out, errors = run.communicate(timeout=60)
    assert (out, run.returncode) == ("True 0\nworks as ever\n", 0), errors
    assert "interrupted: the training stops and keeps its best weights so far" in errors
    assert SAMoVARForecaster.load(tmp_path / "model").training_summary_.interrupted


class Exploding(Linear):
    """Its forecasts turn infinite after some batches, as those of a training that diverges do."""

    def __init__(self, batches):
        super().__init__()
        self.batches, self.seen = batches, 0

    def training_forecast(self, past, covariates=None):
        self.seen += self.training  # and not where its memory is measured
        if self.seen > self.batches:
            with torch.no_grad():
                self.map.weight.mul_(torch.nan)
        return super().training_forecast(past, covariates)


@pytest.mark.parametrize("validates", [True, False])
@pytest.mark.parametrize("average", [None, 0.999])
def test_divergence_stops_at_the_end_of_its_epoch_and_keeps_a_good_one(validates, average):
    windows = windows_of(series())  # 55 windows, 7 batches
    validation = windows_of(series(seed=1)) if validates else None
    config = TrainingConfig(**CPU, batch_size=8, max_epochs=50, patience=None, average_weights=average)
    reference, network = fresh_network(), Exploding(batches=14)
    network.load_state_dict(reference.state_dict())
    train(reference, windows, validation, TrainingConfig(**vars(config) | {"max_epochs": 2}), seed=0)
    with pytest.warns(ConvergenceWarning, match=r"diverged: loss nan after 21 steps; the weights of epoch 2 are kept"):
        summary = train(network, windows, validation, config, seed=0)
    assert (summary.epochs, summary.best_epoch) == (3, 2)
    for name, value in reference.state_dict().items():
        assert torch.equal(network.state_dict()[name], value)


@pytest.mark.parametrize("validates", [True, False])
def test_weights_that_break_in_the_last_step_are_not_kept(validates):
    """The loss of the epoch is finite; what the last step makes of the weights is not."""
    validation = windows_of(series(seed=1)) if validates else None
    network = fresh_network()
    network.map.weight.register_hook(lambda gradient: gradient * torch.nan)
    config = TrainingConfig(**CPU, batch_size=55, max_epochs=1)
    with pytest.raises(TrainingDivergedError, match=r"loss \d.* after 1 steps; lower learning_rate"):
        train(network, windows_of(series()), validation, config, seed=0)


def test_a_fit_that_fails_leaves_the_forecaster_as_it_was(y):
    fitted = SAMoVARForecaster(**TINY).fit(y)
    forecast = fitted.predict()
    broken = y.iloc[:, :2].copy()
    broken.iloc[20, 0] = np.inf
    with pytest.raises(ValueError, match="s0"):
        fitted.fit(broken)
    with pytest.raises(TrainingDivergedError):
        fitted.set_params(learning_rate=1e30).fit(y.iloc[:, :2])
    assert np.array_equal(fitted.predict(), forecast)
    assert np.array_equal(fitted.predict(y), forecast)


class Hungry(Linear):
    def training_forecast(self, past, covariates=None):
        if not self.training:
            return super().training_forecast(past, covariates)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")


def test_an_error_of_memory_says_what_to_lower():
    config = TrainingConfig(**CPU, batch_size=64)
    with pytest.raises(MemoryError, match=r"lower batch_size \(now 64.*context_length or d_model: CUDA out of memory"):
        train(Hungry(), windows_of(series()), None, config, seed=0)
