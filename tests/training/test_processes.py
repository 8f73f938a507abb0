"""Pickles, copies, workers, threads and devices; what a fit leaves, and what it does not touch."""

import copy
import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.forecasters import ALL_FORECASTERS
from samovar_forecast.training.devices import resolve_device
from samovar_forecast.training.engine import TrainingDivergedError
from samovar_forecast.training.random_state import seeded
from tests.conftest import TINY, suited, waves

DROPOUT = TINY | {"dropout": 0.3, "max_epochs": 3}


@pytest.fixture(scope="module")
def model():
    return SAMoVARForecaster(**TINY).fit(waves())


def in_new_process(program, **options):
    """Run a program in a fresh interpreter; what it printed."""
    program = f"import sys; sys.path.insert(0, {sys.path[0]!r})\n" + program
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, **options)
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    return run.stdout


@pytest.mark.parametrize("cls", ALL_FORECASTERS, ids=lambda cls: cls.__name__)
def test_pickles_and_copies_forecast_the_same(cls):
    fitted = cls(**suited(TINY, cls), targets=["s1", "s0"]).fit(waves())
    more = waves(170).iloc[160:]
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert np.array_equal(other.predict(horizon=12), fitted.predict(horizon=12))
        assert other.training_summary_ == fitted.training_summary_
        before = fitted.predict()
        other.update(more, epochs=2)  # what is done to one is not done to the other
        assert np.array_equal(fitted.predict(), before)
        assert not np.array_equal(other.predict(), before)


def predict_and_fit(model):
    """What a worker does: use a fitted forecaster, and fit another."""
    fresh = SAMoVARForecaster(**DROPOUT).fit(waves())
    return model.predict(), fresh.predict()


def test_workers_give_what_this_process_gives():
    """With one thread of PyTorch: a forked process waits for ever for the others of its parent."""
    program = """
import multiprocessing
from tests.training.test_processes import TINY, SAMoVARForecaster, predict_and_fit, waves
model = SAMoVARForecaster(**TINY).fit(waves())
expected = predict_and_fit(model)
for method in ("spawn", "fork"):
    with multiprocessing.get_context(method).Pool(1) as pool:
        results = pool.apply_async(predict_and_fit, (model,)).get(timeout=120)
    print(all(result.equals(one) for result, one in zip(results, expected, strict=True)))
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": sys.path[0]}
    assert in_new_process(program, env=environment) == "True\nTrue\n"


def test_a_forked_process_does_not_wait_for_a_training_of_its_parent():
    entered, leave = threading.Event(), threading.Event()

    def train():
        with seeded(torch.device("cpu"), 0):
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=train)
    thread.start()
    assert entered.wait(60)
    child = os.fork()
    if not child:
        signal.alarm(20)  # ends a process that waits
        with seeded(torch.device("cpu"), 0):
            os._exit(0)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_joblib_gives_what_this_process_gives(model):
    expected = predict_and_fit(model)
    for results in joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(predict_and_fit)(model) for _ in "ab"):
        for result, one in zip(results, expected, strict=True):
            assert result.equals(one)


def test_trainings_in_threads_give_what_they_give_alone():
    """With dropout, which draws from the generator of the whole process."""
    settings = [DROPOUT | {"random_state": seed} for seed in range(3)]
    alone = [SAMoVARForecaster(**one).fit(waves()).predict() for one in settings]
    torch.manual_seed(5)
    filters, state = list(warnings.filters), torch.get_rng_state()
    together = [None] * 3

    def fit(number):
        together[number] = SAMoVARForecaster(**settings[number]).fit(waves()).predict()

    threads = [threading.Thread(target=fit, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        assert one.equals(other)
    assert warnings.filters == filters
    assert torch.equal(torch.get_rng_state(), state)


def test_predictions_in_threads_are_right_also_while_another_thread_trains(model):
    expected, history = model.predict(horizon=20), waves(seed=4)
    given = model.predict(history)
    wrong = []

    def predict():
        for _ in range(30):
            if not (model.predict(horizon=20).equals(expected) and model.predict(history).equals(given)):
                wrong.append(threading.current_thread())

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    trained = SAMoVARForecaster(**DROPOUT).fit(waves())
    for thread in threads:
        thread.join()
    assert not wrong
    assert np.array_equal(trained.predict(), SAMoVARForecaster(**DROPOUT).fit(waves()).predict())


def global_state():
    """What belongs to the process and not to a forecaster."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),
        "python": random.getstate(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "filters": list(warnings.filters),
        "dtype": torch.get_default_dtype(),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark,
                          torch.backends.cudnn.deterministic, torch.get_float32_matmul_precision()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "numpy errors": np.geterr(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "loggers": {name: logging.getLogger(name).level for name in ("", "pytorch_lightning", "lightning.pytorch")},
        "handlers": {name: list(logging.getLogger(name).handlers) for name in ("", "pytorch_lightning")},
    }  # fmt: skip


@pytest.mark.parametrize("cls", ALL_FORECASTERS, ids=lambda cls: cls.__name__)
def test_nothing_of_the_process_changes(cls, tmp_path):
    torch.manual_seed(1)
    forecaster = cls(**suited(DROPOUT, cls))
    forecaster.fit(waves())  # what is imported late is imported now
    before = global_state()
    forecaster.fit(waves())
    assert global_state() == before
    forecaster.update(waves(170).iloc[160:], epochs=2)
    forecaster.predict_interval(horizon=20)
    forecaster.backtest(waves())
    assert global_state() == before
    forecaster.save(tmp_path / "model")
    cls.load(tmp_path / "model")
    assert global_state() == before
    with pytest.raises(TrainingDivergedError):
        forecaster.set_params(learning_rate=1e100, weight_decay=0.0, gradient_clip=None).fit(waves())
    assert global_state() == before


def test_a_fit_inside_no_grad_trains_and_leaves_it_as_it_was():
    expected = SAMoVARForecaster(**TINY).fit(waves()).predict()
    with torch.no_grad():
        forecaster = SAMoVARForecaster(**TINY).fit(waves())
        assert not torch.is_grad_enabled()
    assert forecaster.predict().equals(expected)


@pytest.fixture
def elsewhere():
    """A folder that another user than this one reaches too, as those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_folder_that_cannot_be_written_to_is_enough(tmp_path, elsewhere):
    """No file appears in the working directory, nothing is printed, and no GPU is seeded or started."""
    folder = tmp_path / "here"
    folder.mkdir(mode=0o555)
    program = f"""
import os
import torch
seeded = []
torch.cuda.manual_seed_all = seeded.append  # as torch.manual_seed does for every GPU, also those used later
from samovar_forecast import SAMoVARForecaster
from tests.conftest import TINY, waves
assert not torch.cuda.is_initialized()

def use():
    model = SAMoVARForecaster(**TINY).fit(waves())
    model.update(waves(170).iloc[160:])
    model.predict_interval()
    model.backtest(waves())
    model.save({str(elsewhere / "model")!r})
    SAMoVARForecaster.load({str(elsewhere / "model")!r}).predict()

os.chdir({str(elsewhere)!r})
use()  # what is imported late is imported now
os.chdir({str(folder)!r})
if os.geteuid() == 0:  # whom permissions do not stop
    os.chown({str(elsewhere)!r}, 65534, 65534)
    os.seteuid(65534)
try:
    open("file", "w")
except PermissionError:
    use()
    print(seeded, torch.cuda.is_initialized())
"""
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    assert in_new_process(program) == "[] False\n"
    assert list(folder.iterdir()) == []
    assert [path.name for path in elsewhere.iterdir()] == ["model"]


def test_no_file_appears_and_nothing_is_printed(model, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    SAMoVARForecaster(**DROPOUT).fit(waves()).update(waves(170).iloc[160:]).predict(horizon=20)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:99", "cpu:x", "CUDA", "cuda:-1", "tpu", "meta", "xpu"])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(ValueError, match=f"device={name!r} is"):
        resolve_device(name)
    forecaster = SAMoVARForecaster(**TINY | {"device": name})
    with pytest.raises(ValueError, match="device="):
        forecaster.fit(waves())


@pytest.mark.parametrize("name", [None, 0, 1.5, ["cpu"]])
def test_devices_are_named(name):
    with pytest.raises((TypeError, ValueError), match="device"):
        SAMoVARForecaster(**TINY | {"device": name}).fit(waves())
