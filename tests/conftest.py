"""Data and settings that many tests share; everything is small enough to train in well under a second."""

import copy
import os
import signal
from dataclasses import fields
from functools import cache

import lightning_fabric.utilities.registry
import numpy as np
import pandas as pd
import pytest

from samovar_forecast.forecasters import ALL_FORECASTERS, SAMoVARForecaster

# A shell that runs the tests in the background makes them ignore Ctrl-C, and so would every process they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Compiled in this process: helpers would import PyTorch once more for each worker of the tests.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

# Lightning reads the entry points of every installed package for each training, which is a tenth of a short one.
lightning_fabric.utilities.registry.entry_points = cache(lightning_fabric.utilities.registry.entry_points)

TINY = {
    "horizon": 8, "context_length": 24, "d_model": 8, "n_heads": 2, "n_layers": 1, "max_epochs": 2, "batch_size": 32,
    "learning_rate": 1e-2, "random_state": 0, "device": "cpu",
}  # fmt: skip
# Tests whose subject is not how wide an interval is, on series too short to hold a horizon out.
narrow_intervals = pytest.mark.filterwarnings("ignore:the intervals come from errors on the training windows")


def suited(settings, cls):
    """The settings without the sizes of networks that this class does not have."""
    missing = {"d_model", "n_heads", "n_layers", "dropout"} - {field.name for field in fields(cls)}
    return {name: value for name, value in settings.items() if name not in missing}


@pytest.fixture
def tiny(request):
    """Hyperparameters of a network that trains in a moment, for `forecaster_class` where a test has one."""
    if "forecaster_class" in request.fixturenames:
        return suited(TINY, request.getfixturevalue("forecaster_class"))
    return dict(TINY)


@pytest.fixture(params=ALL_FORECASTERS, ids=lambda forecaster: forecaster.__name__)
def forecaster_class(request):
    return request.param


def waves(n_rows=160, n_series=3, index=None, seed=0):
    """Noisy daily waves on an hourly axis, each series with its own level and size."""
    time = np.arange(n_rows)
    noise = np.random.default_rng(seed).normal(scale=0.1, size=(n_rows, n_series))
    phase, size = np.arange(n_series), 10.0 ** np.arange(n_series)
    values = size * (5 + np.sin(2 * np.pi * time[:, None] / 24 + phase) + noise)
    if index is None:
        index = pd.date_range("2024-01-01", periods=n_rows, freq="h", name="time")
    return pd.DataFrame(values, index=index, columns=[f"s{i}" for i in range(n_series)])


@pytest.fixture
def y():
    return waves()


def series_of_panel(n_series=2):
    """Series that start and end at different times; two have no full window, one not even a horizon."""
    rows = {"long": slice(0, 160), "early": slice(30, 120), "short": slice(100, 130), "tiny": slice(150, 156)}
    return {key: waves(160, n_series, seed=number).iloc[chosen] for number, (key, chosen) in enumerate(rows.items())}


@pytest.fixture(scope="module")
def panel():
    return series_of_panel()


@pytest.fixture(scope="module")
def trained(panel):
    """A forecaster of the panel, trained once for a file; `fitted` is a copy that a test may change."""
    return SAMoVARForecaster(**TINY).fit(panel)


@pytest.fixture
def fitted(trained):
    return copy.deepcopy(trained)
