"""What covariates known in the future tell is used, and what they do not tell is not."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import suited, waves

LEARNING = {"horizon": 6, "context_length": 24, "learning_rate": 2e-2, "random_state": 0,
            "d_model": 16, "n_heads": 2, "n_layers": 1, "dropout": 0.0, "validation_fraction": 0.0,
            "schedule": "cosine", "average_weights": None, "calendar": None, "device": "cpu",
            "batch_size": 32}  # fmt: skip


@pytest.mark.parametrize(
    ("class_name", "max_steps"),
    [("SAMoVARForecaster", 100), ("SAMformerForecaster", 100), ("AutoformerForecaster", 500)],
)
def test_a_driven_target_needs_its_driver(class_name, max_steps):
    import samovar_forecast

    forecaster_class = getattr(samovar_forecast, class_name)
    rng = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=500, freq="h")
    driver = pd.DataFrame({"driver": rng.normal(size=500)}, index=index)
    y = waves(500, 1, index=index) + 2 * driver.to_numpy() + rng.normal(scale=0.1, size=(500, 1))
    shuffled = pd.DataFrame(rng.permutation(driver), index=index, columns=driver.columns)
    errors = []
    for X in (None, driver, shuffled):
        forecaster = forecaster_class(**suited(LEARNING, forecaster_class), max_steps=max_steps)
        fitted = forecaster.fit(y[:400], None if X is None else X[:400])
        result = fitted.backtest(y[376:], X)
        errors.append(float(((result.forecast - result.actual) ** 2).mean()))
    without, with_driver, with_shuffled = errors
    assert with_driver <= 0.2 * without
    assert with_shuffled >= 0.95 * without
