"""What a model's recipe brings to darts: sharpness-aware training and the calendar."""

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries

from samovar_darts import AutoformerModel, SAMformerModel, SAMoVARModel
from samovar_darts.recipe import CalendarEncoder
from samovar_forecast import AutoformerForecaster
from samovar_forecast.data.calendar_features import calendar_features
from tests.adapters.test_darts_training import QUIET, logged, waves, windows_of
from tests.conftest import waves as frame_of_waves
from tests.training.test_sharpness import by_hand

AUTOFORMER = {"d_model": 8, "n_heads": 2, "n_epochs": 1}


def make(model_class, **given):
    trainer = QUIET | given.pop("pl_trainer_kwargs", {})
    return model_class(24, 6, random_state=0, pl_trainer_kwargs=trainer, **given)


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_step_is_the_one_of_the_paper(adaptive):
    series = waves()
    one_batch = {"batch_size": 1000, "n_epochs": 1, "d_model": 4, "optimizer_cls": torch.optim.SGD}
    frozen = make(SAMformerModel, optimizer_kwargs={"lr": 0.0}, sharpness_rho=None, **one_batch).fit(series)
    trained = make(
        SAMformerModel, optimizer_kwargs={"lr": 0.1}, sharpness_rho=0.5, sharpness_adaptive=adaptive, **one_batch
    )
    expected = frozen.model.network.train()
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1)
    loss = by_hand(expected, [windows_of(series)], 0.5, optimizer, adaptive)
    assert logged(trained.fit(series))["train_loss"] == pytest.approx(loss, rel=1e-5)
    for ours, theirs in zip(trained.model.network.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_it_works_with_accumulated_gradients_and_survives_saving(tmp_path):
    model = make(
        SAMoVARModel, d_model=8, n_heads=2, n_layers=1, batch_size=4, n_epochs=1, sharpness_rho=0.1,
        pl_trainer_kwargs={"accumulate_grad_batches": 3},
    ).fit(waves())  # fmt: skip
    model.save(str(tmp_path / "model"))
    loaded = SAMoVARModel.load(str(tmp_path / "model"))
    assert loaded.model.sharpness_rho == 0.1
    np.testing.assert_array_equal(loaded.predict(6).values(), model.predict(6).values())


def test_autoformer_reads_the_calendar_of_its_index(tmp_path):
    y = frame_of_waves().astype(np.float32)
    series = TimeSeries.from_dataframe(y)
    model = make(AutoformerModel, **AUTOFORMER).fit(series[:-12])
    assert model.calendar_ == ["hour", "dayofweek", "day", "dayofyear"]
    assert model.model.network.n_known == 4
    forecast = model.predict(6, series=series[:-12]).values()
    later = series.shift(5)[:-12]
    assert not np.allclose(model.predict(6, series=later).values(), forecast, rtol=1e-6)
    backtest = model.historical_forecasts(series, start=-12, forecast_horizon=6, retrain=False, last_points_only=False)
    np.testing.assert_allclose(backtest[0].values(), forecast, rtol=1e-5)
    model.save(str(tmp_path / "model"))
    loaded = AutoformerModel.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict(6, series=later).values(), model.predict(6, series=later).values())


def test_an_integer_index_has_no_calendar():
    series = TimeSeries.from_values(frame_of_waves().to_numpy(dtype=np.float32))
    model = make(AutoformerModel, **AUTOFORMER).fit(series)
    assert model.calendar_ == []
    assert not model.uses_future_covariates
    assert np.isfinite(model.predict(9).values()).all()


def test_the_calendar_stands_beside_other_encoders_and_covariates():
    y = frame_of_waves(80).astype(np.float32)
    extra = TimeSeries.from_dataframe(frame_of_waves(90, 1, seed=5).astype(np.float32))
    encoders = {"cyclic": {"future": ["month"]}, "custom": {"future": [CalendarEncoder(["hour"])]}}
    model = make(
        SAMoVARModel, d_model=8, n_heads=2, n_layers=1, n_epochs=1, add_encoders=encoders, calendar=["dayofweek"]
    )
    model.fit(TimeSeries.from_dataframe(y), future_covariates=extra)
    assert model.train_sample.future_covariates.shape == (6, 1 + 2 + 1 + 1)
    features = calendar_features(pd.date_range("2024-01-01", periods=90, freq="h"), ["hour", "dayofweek"])
    last = model.encoders.encode_inference(6, TimeSeries.from_dataframe(y))[1]
    np.testing.assert_array_equal(last.values()[-6:, -2:], features[80:86])
    assert np.isfinite(model.predict(6, future_covariates=extra).values()).all()


def test_a_fitted_estimator_brings_its_calendar_along():
    y = frame_of_waves()
    core = AutoformerForecaster(horizon=6, context_length=24, d_model=8, n_heads=2, max_epochs=1, random_state=0).fit(y)
    model = core.to_darts()
    series = TimeSeries.from_dataframe(y)
    np.testing.assert_allclose(model.predict(12, series=series).values(), core.predict(horizon=12), rtol=1e-4)
