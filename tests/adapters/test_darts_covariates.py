"""What static and future covariates tell is learned, from one series or from many of unequal lengths."""

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.metrics import mse

from samovar_darts.models import AutoformerModel, SAMoVARModel
from samovar_darts.recipe import Schedule
from tests.conftest import suited

TINY = {"d_model": 8, "n_heads": 2, "n_layers": 1, "dropout": 0.0, "calendar": None}
LEARNING = {
    "batch_size": 32, "n_epochs": 1000, "random_state": 0, "optimizer_kwargs": {"lr": 2e-2, "weight_decay": 0.0},
    "lr_scheduler_cls": Schedule, "lr_scheduler_kwargs": {"kind": "constant", "interval": "step"},
}  # fmt: skip


def make(model_class, max_steps, **given):
    trainer = {
        "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "max_steps": max_steps
    }  # fmt: skip
    return model_class(12, 6, pl_trainer_kwargs=trainer, **suited(TINY, model_class) | LEARNING | given)


def series_of(values):
    return TimeSeries.from_values(values.reshape(-1, 1).astype(np.float32))


def jumping_series(n_series, seed):
    """Waves that are all the same for twelve steps; then their static covariate sets amplitude and level."""
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(18) / 6)
    many = []
    for size in rng.uniform(-2, 2, n_series):
        values = np.where(np.arange(18) < 12, wave, (1 + size) * wave + size) + rng.normal(scale=0.05, size=18)
        many.append(series_of(values).with_static_covariates(pd.DataFrame({"size": [size]}, dtype="float32")))
    return many


def test_static_covariates_are_learned():
    training, unseen = jumping_series(256, seed=0), jumping_series(64, seed=1)
    errors = []
    for used in (True, False):
        model = make(SAMoVARModel, 200, batch_size=64, use_static_covariates=used).fit(training)
        forecasts = model.predict(6, series=[series[:12] for series in unseen])
        errors.append(np.mean([mse(series, forecast) for series, forecast in zip(unseen, forecasts, strict=True)]))
    assert errors[0] < 0.05 * errors[1]


def driven_series(seed=0, n_rows=400):
    """A series that follows a random covariate, known in the future, and noise; and the covariate shuffled."""
    rng = np.random.default_rng(seed)
    driver = rng.normal(size=n_rows)
    driven = 2 * driver + rng.normal(scale=0.1, size=n_rows)
    return series_of(driven), series_of(driver), series_of(rng.permutation(driver))


@pytest.mark.parametrize(
    # beside the network, as in all models but the second, which embeds what is known
    ("model_class", "given"),
    [(SAMoVARModel, {"max_steps": 60}), (AutoformerModel, {"max_steps": 150, "d_model": 16})],
    ids=["SAMoVARModel", "AutoformerModel"],
)
def test_future_covariates_are_learned(model_class, given):
    series, driver, shuffled = driven_series()
    errors = []
    for covariates in (None, driver, shuffled):
        model = make(model_class, **given).fit(series[:300], future_covariates=covariates)
        errors.append(
            model.backtest(
                series, future_covariates=covariates, start=300, start_format="position", forecast_horizon=6, stride=6,
                retrain=False, metric=mse,
            )
        )  # fmt: skip
    without, with_driver, with_shuffled = errors
    assert with_driver < 0.2 * without
    assert with_shuffled > 0.8 * without


def test_series_of_unequal_lengths_teach_one_model():
    """Each with its own phase; the shortest gives two windows, and one that was in no training is forecast."""
    rng = np.random.default_rng(0)

    def wave(n_rows):
        return series_of(
            np.sin(2 * np.pi * (np.arange(n_rows) + rng.integers(6)) / 6) + rng.normal(scale=0.1, size=n_rows)
        )

    training = [wave(n_rows) for n_rows in (150, 80, 40, 19)]
    model = make(SAMoVARModel, 150).fit(training)
    unseen = [wave(n_rows) for n_rows in (60, 18, 31)]
    forecasts = model.predict(6, series=[series[:-6] for series in unseen])
    errors = [mse(series, forecast) for series, forecast in zip(unseen, forecasts, strict=True)]
    assert max(errors) < 0.1  # the mean would make 0.5, the noise alone 0.01
