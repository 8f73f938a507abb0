"""The lengths that data decide: by season, horizon and rows, from the smallest tables to the largest."""

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import LinTransForecaster, SAMformerForecaster
from samovar_forecast.data.lengths import (
    Lengths,
    check_enough_rows,
    choose_context,
    choose_output,
    choose_segment,
    season_length,
    training_rows,
)

SMALL = {"d_model": 8, "n_heads": 2, "n_layers": 1, "max_steps": 1, "random_state": 0}


def chosen(freq, horizon, n_rows):
    season = season_length(pd.tseries.frequencies.to_offset(freq)) if isinstance(freq, str) else season_length(freq)
    output = choose_output(horizon, season)
    context = choose_context(output, season, n_rows)
    return Lengths(context, output, choose_segment(context, output, season))


@pytest.mark.parametrize(
    ("freq", "horizon", "n_rows", "expected"),
    [
        ("h", 24, 1_000_000, (240, 24, 24)),
        ("h", 96, 10_000, (512, 96, 24)),
        ("h", 720, 10_000, (512, 96, 24)),
        ("15min", 720, 10_000, (1152, 192, 96)),
        ("5min", 1000, 100_000, (3456, 576, 288)),
        ("D", 28, 10_000, (280, 28, 7)),
        ("D", 28, 1_000, (166, 28, 7)),
        ("D", 28, 100, (36, 28, 7)),
        ("W", 13, 500, (83, 13, 13)),
        ("MS", 12, 150, (36, 12, 12)),
        ("MS", 12, 50, (19, 12, 12)),
        ("QE", 4, 200, (33, 4, 4)),
        ("QE", 1, 200, (10, 1, 1)),
        (1, 96, 10_000, (512, 96, 24)),
        (1, 5, 100, (16, 5, 5)),
    ],
)
def test_lengths_follow_season_horizon_and_rows(freq, horizon, n_rows, expected):
    assert chosen(freq, horizon, n_rows) == expected


@pytest.mark.parametrize("freq", ["s", "min", "h", "D", "B", "W", "MS", "QE", "YS", 1, 7])
@pytest.mark.parametrize("horizon", [1, 2, 13, 96, 97, 5000])
@pytest.mark.parametrize("n_rows", [100, 1_000, 1_000_000])
def test_lengths_fit_the_rows_that_are_there(freq, horizon, n_rows):
    context, output, segment = chosen(freq, horizon, n_rows)
    assert output <= horizon
    assert output + 2 * context <= max(n_rows, output + 2 * context * (n_rows < output))
    if n_rows > output + 1:
        assert 1 <= segment <= min(context, output)


def test_a_long_horizon_is_rolled_forward_from_the_same_network():
    """A horizon of 720 and one of 96 train the same network, and the longer forecast begins with the shorter."""
    index = pd.date_range("2024-01-01", periods=900, freq="h")
    y = pd.DataFrame({"load": np.sin(np.arange(900) / 24 * 2 * np.pi)}, index)
    long, short = (LinTransForecaster(horizon=h, context_length=240, **SMALL).fit(y) for h in (200, 96))
    assert long.output_length_ == short.output_length_ == 96
    assert len(long.predict()) == 200
    pd.testing.assert_frame_equal(long.predict().iloc[:96], short.predict())
    pd.testing.assert_frame_equal(long.predict(), short.predict(horizon=200))
    assert long.backtest(y).sizes["step"] == 200


def test_given_lengths_hold():
    y = pd.DataFrame({"load": np.sin(np.arange(300) / 3)})
    forecaster = LinTransForecaster(horizon=30, context_length=50, output_length=12, segment_length=5, **SMALL).fit(y)
    assert forecaster.fitted_.data.lengths == (50, 12, 5)
    assert (forecaster.network_.horizon, forecaster.network_.segment_length) == (12, 5)
    assert len(forecaster.predict()) == 30
    shorter = LinTransForecaster(horizon=4, context_length=50, output_length=12, **SMALL).fit(y)
    assert len(shorter.predict()) == 4
    assert shorter.network_.horizon == 12


def test_lengths_survive_the_file_and_the_hosts(tmp_path):
    y = pd.DataFrame({"load": np.sin(np.arange(300) / 3)})
    forecaster = LinTransForecaster(horizon=30, context_length=50, output_length=12, segment_length=5, **SMALL).fit(y)
    forecaster.save(tmp_path / "model")
    loaded = LinTransForecaster.load(tmp_path / "model")
    assert loaded.fitted_.data.lengths == (50, 12, 5)
    pd.testing.assert_frame_equal(loaded.predict(), forecaster.predict())
    pd.testing.assert_frame_equal(loaded.predict_interval(0.8), forecaster.predict_interval(0.8))


def test_training_on_keeps_the_lengths_of_the_source():
    y = pd.DataFrame({"load": np.sin(np.arange(300) / 3)})
    source = LinTransForecaster(horizon=30, context_length=50, output_length=12, segment_length=5, **SMALL).fit(y)
    further = LinTransForecaster(horizon=30, **SMALL).fit(y, init_from=source)
    assert further.fitted_.data.lengths == source.fitted_.data.lengths


def test_intervals_of_rolled_forecasts_are_calibrated_as_far_as_the_held_out_rows_reach():
    y = pd.DataFrame({"walk": np.random.default_rng(0).standard_normal(1000).cumsum()})
    forecaster = SAMformerForecaster(horizon=60, context_length=40, output_length=10, max_steps=2, random_state=0).fit(
        y
    )
    assert forecaster.fitted_.calibration.scores.shape[2] == 60
    width = forecaster.predict_interval(0.8).diff(axis=1).iloc[:, 1].to_numpy()
    assert width[59] > width[9]


def test_held_out_rows_hold_an_output_or_none():
    assert training_rows([100, 40, 39, 8, 1], 8, 0.2) == [80, 32, 31, 8, 1]
    assert training_rows([100, 30], 8, 0.0) == [100, 30]
    with pytest.warns(UserWarning, match="of 30 rows is 6, less than the 8 rows forecast at once"):
        assert training_rows([30, 20], 8, 0.2) == [30, 20]


@pytest.mark.parametrize(("n_rows", "context"), [(8, 0), (8, -1), (8, 1), (49, 42)])
def test_too_few_rows_say_how_many_are_needed(n_rows, context):
    with pytest.raises(ValueError, match=f"{n_rows} rows to train on, but .* need at least {max(1, context) + 8}"):
        check_enough_rows(n_rows, Lengths(context, output=8, segment=1), 0.2)


def test_rows_of_one_window_are_enough():
    check_enough_rows(50, Lengths(42, output=8, segment=8), 0.2)
