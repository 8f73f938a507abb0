"""Fitted values are forecasts like any others: from the rows before them."""

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import SAMoVARForecaster
from tests.conftest import TINY, waves

HORIZON, CONTEXT = TINY["horizon"], TINY["context_length"]


@pytest.fixture(scope="module")
def forecaster():
    return SAMoVARForecaster(**TINY, targets=["s2", "s0"]).fit(waves())


@pytest.mark.parametrize("n_rows", [160, 157, 32, 33])
def test_each_horizon_is_forecast_from_the_rows_before_it(forecaster, n_rows):
    y = waves().iloc[:n_rows]
    fitted = forecaster.predict_in_sample(y)
    assert list(fitted.columns) == ["s2", "s0"]
    assert len(fitted) == (n_rows - CONTEXT) // HORIZON * HORIZON
    assert fitted.index.equals(y.index[-len(fitted) :])
    for first in range(0, len(fitted), HORIZON):
        rows = fitted.iloc[first : first + HORIZON]
        by_hand = forecaster.predict(y[y.index < rows.index[0]])
        pd.testing.assert_frame_equal(rows, by_hand, rtol=1e-5, check_freq=False)


def test_every_model_and_covariates(forecaster_class, tiny):
    y, X = waves(100, 2), pd.DataFrame({"x": np.random.default_rng(0).normal(size=100)}, index=waves(100).index)
    forecaster = forecaster_class(**(tiny | {"max_steps": 2, "calendar": ["hour"]})).fit(y, X)
    fitted = forecaster.predict_in_sample(y, X)
    pd.testing.assert_frame_equal(fitted.iloc[-8:], forecaster.predict(y.iloc[:-8], X), rtol=1e-5, check_freq=False)


@pytest.mark.parametrize("row", [40, 100, 159])
def test_a_row_never_sees_itself(forecaster, row):
    y = waves()
    changed = y.copy()
    changed.iloc[row] = [1e5, -1e5, np.nan]
    before, after = forecaster.predict_in_sample(y), forecaster.predict_in_sample(changed)
    first = row - (row - CONTEXT) % HORIZON  # of the horizon that the row belongs to
    last = y.index[first + HORIZON - 1]
    np.testing.assert_allclose(after[:last], before[:last], rtol=1e-6)
    if row + HORIZON < len(y):
        assert not np.allclose(after[last:].iloc[1:], before[last:].iloc[1:])


def test_residuals_are_what_is_left(forecaster):
    y = waves()
    y.iloc[50:60, 2] = np.nan
    fitted, residuals = forecaster.predict_in_sample(y), forecaster.residuals(y)
    expected = y[["s2", "s0"]].iloc[-len(fitted) :] - fitted
    pd.testing.assert_frame_equal(residuals, expected, check_freq=False)
    assert residuals["s2"].isna().sum() == 10
    assert residuals["s0"].notna().all()


@pytest.mark.parametrize("index", [pd.RangeIndex(160), pd.period_range("2000-01", periods=160, freq="M"),
                                   pd.date_range("2024-03-29", periods=160, freq="h", tz="Europe/Berlin")],
                         ids=["range", "periods", "zone"])  # fmt: skip
def test_a_series_gives_series(tiny, index):
    y = waves(index=index)["s1"]
    forecaster = SAMoVARForecaster(**(tiny | {"max_steps": 1})).fit(y)
    fitted, residuals = forecaster.predict_in_sample(y), forecaster.residuals(y)
    assert fitted.name == residuals.name == "s1"
    pd.testing.assert_series_equal(residuals, y[fitted.index] - fitted, check_freq=False)
    assert fitted.index.dtype == y.index.dtype


def test_too_few_rows_are_counted(forecaster):
    with pytest.raises(ValueError, match="too short: 31 rows, 32 are needed"):
        forecaster.predict_in_sample(waves(31))


def test_series_of_a_panel_start_with_a_horizon_of_history(tiny):
    panel = {"long": waves(100, 1), "short": waves(21, 1, seed=1)}
    forecaster = SAMoVARForecaster(**(tiny | {"max_steps": 3})).fit(panel)
    fitted, residuals = forecaster.predict_in_sample(panel), forecaster.residuals(panel)
    assert {key: len(frame) for key, frame in fitted.items()} == {"long": 88, "short": 8}
    for key, frame in panel.items():
        assert fitted[key].index.equals(frame.index[-len(fitted[key]) :])
        by_hand = forecaster.predict({key: frame.iloc[:-HORIZON]})[key]
        pd.testing.assert_frame_equal(fitted[key].iloc[-HORIZON:], by_hand, rtol=1e-5, check_freq=False)
        pd.testing.assert_frame_equal(residuals[key], frame.loc[fitted[key].index] - fitted[key], check_freq=False)
    with pytest.raises(ValueError, match="y of series 'short' is too short: 15 rows, 16 are needed"):
        forecaster.predict_in_sample({"short": panel["short"].iloc[:15]})
