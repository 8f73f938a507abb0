"""A network from a user's own module: its forecaster is at home in every host, and in model files."""

import importlib
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from darts import TimeSeries
from joblib import Parallel, delayed
from sklearn.base import clone

from samovar_forecast import Forecaster, ModelFileError
from tests.conftest import waves

MODULE = textwrap.dedent('''
    """A user's own forecaster."""

    import torch

    from samovar_forecast import Forecaster, ForecastNetwork
    from samovar_forecast.hyperparameters import hyperparameters
    from samovar_forecast.training.config import TrainingConfig


    @hyperparameters
    class RecentMeanConfig:
        """Hyperparameters of the mean of recent rows.

        Parameters
        ----------
        n_recent : int or None, default 4
            Rows to average.
        """

        n_recent: int | None = 4


    @hyperparameters
    class RecentMeanRecipe(TrainingConfig):
        """A larger rate."""

        learning_rate = 0.02


    class RecentMean(ForecastNetwork):
        """The mean of recent rows, shifted by what is learnt for each step."""

        def __init__(self, n_series, n_targets, context_length, horizon, config, n_outputs=1):
            super().__init__(n_series, n_targets, context_length, horizon, n_outputs)
            self.n_recent = config.n_recent
            self.shift = torch.nn.Parameter(torch.zeros(horizon, n_targets, n_outputs))

        def forward(self, past, covariates=None):
            recent = past[:, -self.n_recent :, -self.n_targets :]
            return recent.nan_to_num().mean(1)[:, None, :, None] + self.shift


    @hyperparameters
    class RecentMeanForecaster(RecentMeanConfig, RecentMeanRecipe, Forecaster):
        """Mean of recent rows."""

        network_class = RecentMean
''')


@pytest.fixture(params=["", "from __future__ import annotations\n"], ids=["types", "types as text"])
def own_module(request, tmp_path, monkeypatch):
    name = f"own_networks_{bool(request.param)}"
    documentation, rest = MODULE.split("\n\n", 1)
    (tmp_path / f"{name}.py").write_text(f"{documentation}\n{request.param}\n{rest}")
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(name)


@pytest.fixture
def fitted(own_module):
    settings = {"horizon": 6, "context_length": 24, "max_epochs": 1, "random_state": 0, "device": "cpu"}
    return own_module.RecentMeanForecaster(**settings).fit(waves())


def test_hyperparameters_are_checked_and_documented(own_module):
    cls = own_module.RecentMeanForecaster
    assert cls().get_params()["n_recent"] == 4
    assert cls().learning_rate == 0.02
    assert "learning_rate : float, default 0.02" in cls.__doc__
    with pytest.raises(TypeError, match="n_recent must be an integer or None, got '4'"):
        cls(n_recent="4", horizon=6, context_length=24).fit(waves())


def test_a_saved_model_comes_back(fitted, own_module, tmp_path):
    fitted.save(tmp_path / "own.safetensors")
    for cls in (Forecaster, own_module.RecentMeanForecaster):
        loaded = cls.load(tmp_path / "own.safetensors")
        assert type(loaded) is own_module.RecentMeanForecaster
        assert loaded.predict().equals(fitted.predict())


def test_a_model_of_an_unknown_class_names_what_to_import(fitted, own_module, tmp_path):
    path = tmp_path / "own.safetensors"
    fitted.save(path)
    program = (
        "from samovar_forecast import Forecaster, ModelFileError\n"
        f"try: Forecaster.load({str(path)!r})\n"
        "except ModelFileError as error: print(error)\n"
        f"import {own_module.__name__}\n"
        f"print(type(Forecaster.load({str(path)!r})).__name__)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path[:2]!r}\n{program}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    refusal, loaded = run.stdout.splitlines()
    assert f"import {own_module.__name__} first" in refusal
    assert loaded == "RecentMeanForecaster"


def test_a_model_of_another_class_is_refused(fitted, tmp_path):
    from samovar_forecast import SAMoVARForecaster

    fitted.save(tmp_path / "own.safetensors")
    with pytest.raises(ModelFileError, match="holds a RecentMeanForecaster, not a SAMoVARForecaster"):
        SAMoVARForecaster.load(tmp_path / "own.safetensors")


def test_it_is_a_native_sktime_forecaster(fitted):
    twin = fitted.to_sktime()
    y = waves()
    np.testing.assert_array_equal(twin.fit(y).predict(fh=range(1, 7)), fitted.predict())
    other = clone(fitted).to_sktime().set_params(n_recent=3)
    assert other.fit(y).predict(fh=[1, 2]).shape == (2, 3)
    assert other.clone().get_params()["n_recent"] == 3
    again = pickle.loads(pickle.dumps(other))
    assert again.predict(fh=[1]).equals(other.predict(fh=[1]))
    (elsewhere,) = Parallel(n_jobs=1)(delayed(type(other).predict)(one, [1]) for one in [again])
    assert elsewhere.equals(other.predict(fh=[1]))


def test_it_is_a_native_darts_model(fitted, tmp_path):
    series = TimeSeries.from_dataframe(waves().rename_axis(columns=None))
    model = fitted.to_darts()
    np.testing.assert_allclose(model.predict(6, series=series).values(), fitted.predict(), rtol=1e-5)
    model.save(str(tmp_path / "model.pt"))
    np.testing.assert_allclose(
        type(model).load(str(tmp_path / "model.pt")).predict(6, series=series).values(), fitted.predict(), rtol=1e-5
    )
    fresh = clone(fitted).to_darts()
    assert fresh.model_params["optimizer_kwargs"]["lr"] == 0.02
    fresh.fit(series.astype("float32"))
    assert fresh.predict(8).values().shape == (8, 3)
