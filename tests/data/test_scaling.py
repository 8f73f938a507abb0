"""Scaling against numpy, column by column."""

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.scaling import Scaler, warn_of_raised_scales
from tests.conftest import waves


def gappy(seed=0):
    values = np.random.default_rng(seed).normal([3, -20, 1e6], [1, 50, 1e4], size=(80, 3))
    values[5:20, 1] = np.nan
    values[::3, 2] = np.nan
    return values


def test_standard_is_mean_and_deviation_of_what_was_observed():
    values = gappy()
    scaler = Scaler.fit(values, "standard")
    for column in range(3):
        shown = values[~np.isnan(values[:, column]), column]
        assert scaler.center[column] == pytest.approx(shown.mean())
        assert scaler.scale[column] == pytest.approx(shown.std())


def test_robust_is_median_and_interquartile_range():
    values = gappy()
    scaler = Scaler.fit(values, "robust")
    for column in range(3):
        shown = values[~np.isnan(values[:, column]), column]
        low, middle, high = np.percentile(shown, [25, 50, 75])
        assert scaler.center[column] == pytest.approx(middle)
        assert scaler.scale[column] == pytest.approx((high - low) / 1.3489795)
    normal = np.random.default_rng(1).normal(5, 3, size=(200_000, 1))
    assert Scaler.fit(normal, "robust").scale[0] == pytest.approx(3, rel=0.02)


def test_robust_ignores_outliers():
    values = gappy()
    values[7, 0] = 1e12
    clean, robust = Scaler.fit(gappy(), "robust"), Scaler.fit(values, "robust")
    assert robust.scale[0] == pytest.approx(clean.scale[0], rel=0.1)
    assert Scaler.fit(values, "standard").scale[0] > 1e10


def test_robust_of_mostly_one_value_is_the_deviation():
    values = np.zeros((40, 1))
    values[:5] = 8
    scaler = Scaler.fit(values, "robust")
    assert scaler.center[0] == 0
    assert scaler.scale[0] == pytest.approx(values.std())


@pytest.mark.parametrize("kind", ["standard", "robust"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -123456.789, 1e9 + 0.1, 1e-30, 3e139])
def test_constants_are_scaled_by_their_size(kind, value):
    """The deviation of 0.1, 0.1, ... is 1e-17 in floating point."""
    scaler = Scaler.fit(np.full((161, 1), value), kind)
    assert scaler.scale[0] == (abs(value) or 1)
    assert scaler.center[0] == pytest.approx(value)


@pytest.mark.parametrize("kind", ["standard", "robust"])
def test_a_column_without_a_value_is_left_as_it_is(kind):
    values = gappy()
    values[:, 1] = np.nan
    scaler = Scaler.fit(values, kind)
    assert (scaler.center[1], scaler.scale[1]) == (0, 1)
    assert np.isfinite(scaler.center).all()
    assert np.isfinite(scaler.scale).all()


@pytest.mark.parametrize("kind", ["standard", "robust", "none"])
@pytest.mark.parametrize("logarithmic", [[False] * 3, [True] * 3, [False, True, True]])
def test_inverse_undoes_transform(kind, logarithmic):
    values = np.abs(gappy())
    scaler = Scaler.fit(values, kind, np.array(logarithmic))
    scaled = scaler.transform(values)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaler.inverse(scaled, 3), values, rtol=1e-4)
    np.testing.assert_array_equal(scaler.transform(values[:, -2:]), scaled[:, -2:])
    np.testing.assert_array_equal(scaler.inverse(scaled[:, -1:], 1), scaler.inverse(scaled, 3)[:, -1:])


def test_logarithms_are_scaled_as_such():
    values = np.abs(gappy())
    scaler = Scaler.fit(values, "standard", np.array([True, False, True]))
    plain = Scaler.fit(np.log1p(values), "standard")
    np.testing.assert_allclose(scaler.center[[0, 2]], plain.center[[0, 2]])
    np.testing.assert_allclose(scaler.scale[[0, 2]], plain.scale[[0, 2]])
    np.testing.assert_array_equal(scaler.transform(values)[:, [0, 2]], plain.transform(np.log1p(values))[:, [0, 2]])
    assert (scaler.inverse(np.full((1, 3), -1e6), 3)[0, [0, 2]] >= -1).all()


def weight(scaler, values):
    return (scaler.transform(values).astype(np.float64) ** 2).mean(axis=0)


def test_a_column_that_hardly_moved_does_not_decide_the_validation_loss():
    """Rain after a dry spell: a deviation of .004 in the training rows, 20 times as much after."""
    generator = np.random.default_rng(0)
    drops = np.where(generator.random(8000) < 0.002, 0.1, 0.0) + np.where(np.arange(8000) >= 6400, 1.0, 0.0) * np.where(
        generator.random(8000) < 0.04, 0.4, 0.0
    )
    values = np.stack([drops, generator.normal(size=8000), np.linspace(0, 1, 8000)], axis=1)
    training, held_out = values[:6400], values[6400:]
    scaler = Scaler.fit(training, "standard")
    assert weight(scaler, held_out)[0] > 100
    bounded = scaler.bounded_by(np.array_split(held_out, 3))
    assert weight(bounded, held_out)[0] == pytest.approx(1)
    np.testing.assert_array_equal(bounded.scale[1:], scaler.scale[1:])  # noise and a trend are scaled as before
    np.testing.assert_array_equal(bounded.center, scaler.center)
    with pytest.warns(UserWarning, match=r"y column 'RAIN' moves 1\d.* times as far in the validation rows") as told:
        warn_of_raised_scales({"y": (scaler, bounded)}, ["RAIN", "TEMP", "TREND"])
    assert "TEMP" not in str(told[0].message)


def test_what_drifts_is_scaled_as_before_and_what_begins_to_move_is_not():
    generator = np.random.default_rng(0)
    rows = np.arange(1000)
    drifting = np.stack([rows, rows**1.5, generator.normal(size=1000) + 4 * (rows >= 800), np.sin(rows / 400)], axis=1)
    walks = generator.normal(size=(1000, 200)).cumsum(0)
    moving = np.where(rows < 800, 1.0, 4.0) * generator.normal(size=1000)  # four times as far, at the same level
    values = np.column_stack([drifting, walks, moving])
    scaler = Scaler.fit(values[:800], "standard")
    raised = scaler.bounded_by([values[800:900], values[900:]]).scale > scaler.scale
    assert raised[-1]
    assert raised[:4].tolist() == [False] * 4
    assert raised[4:-1].sum() <= 2  # of 200 random walks


def test_a_warning_names_the_series_that_is_raised_most_first():
    still = Scaler.fit(np.array([[0.0, 1.0], [0.01, 2.0]]), "standard")
    pairs = {
        f"y of series {name!r}": (still, still.bounded_by([np.array([[size, 1.5]] * 2)]))
        for name, size in (("a", 1.0), ("b", 9.0), ("c", 0.0))
    }
    with pytest.warns(UserWarning, match=r"y of series 'b' column 'x' .*\(raised too: y of series 'a' column 'x'\)$"):
        warn_of_raised_scales(pairs, ["x", "z"])


@pytest.mark.parametrize(
    ("held_out", "expected"),
    [
        ([[8.0], [8.0]], 8.0),  # zeros before: their scale of 1 is raised
        ([[2.0], [2.0]], 1.0),
        ([[np.nan], [np.nan]], 1.0),
        ([[1e30], [2.0]], 1.0),  # refused by its name, not taken for a size
    ],
)
def test_what_raises_the_scale_of_a_column_of_zeros(held_out, expected):
    assert Scaler.fit(np.zeros((5, 1)), "standard").bounded_by([np.array(held_out)]).scale == expected


def test_logarithms_are_bounded_as_such():
    scaler = Scaler.fit(np.array([[1.0], [1.01]]), "standard", np.array([True]))
    bounded = scaler.bounded_by([np.array([[1000.0], [1000.0]])])
    assert bounded.scale[0] == pytest.approx(np.log1p(1000) - scaler.center[0])


def test_robust_does_not_leave_out_a_fifth_of_the_values():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(1000, 1)) * np.where(generator.random((1000, 1)) < 0.2, 5.0, 0.001)
    assert weight(Scaler.fit(values, "robust"), values)[0] < 20  # 2e6 with the interquartile range alone
    normal = generator.normal(size=(1000, 1))
    low, high = np.percentile(normal, [25, 75])
    assert Scaler.fit(normal, "robust").scale[0] == pytest.approx((high - low) / 1.3489795)


@pytest.mark.parametrize("n_pieces", [1, 2, 7, 80])
def test_pieces_are_scaled_as_the_whole(n_pieces):
    """Also where a piece has no value in a column, from which scikit-learn's `partial_fit` does not recover."""
    values = gappy()
    values[:30, 0] = np.nan
    whole = Scaler.fit(values, "standard")
    by_pieces = Scaler.fit_pieces(lambda: np.array_split(values, n_pieces))
    np.testing.assert_allclose(by_pieces.center, np.nanmean(values, axis=0), rtol=1e-13)
    np.testing.assert_allclose(by_pieces.scale, np.nanstd(values, axis=0), rtol=1e-12)
    np.testing.assert_allclose(by_pieces.scale, whole.scale, rtol=1e-12)


def test_values_without_scale_pass_through():
    values = gappy().astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(Scaler.fit(values, "none").transform(values), values)


@pytest.mark.parametrize("log1p", [False, True])
@pytest.mark.parametrize("scaler", ["standard", "robust", "none"])
def test_forecasts_come_in_units_of_the_data(tiny, scaler, log1p):
    y = np.exp(waves(160, 2, seed=3) / [5, 50])
    forecast = SAMoVARForecaster(**tiny, scaler=scaler, log1p=log1p).fit(y).predict()
    assert ((forecast > 0.2 * y.min()) & (forecast < 5 * y.max())).all(axis=None)


def test_past_covariates_have_no_logarithm(tiny, y):
    y = y.assign(s0=-y["s0"])
    forecaster = SAMoVARForecaster(**tiny, targets=["s1"], log1p=True).fit(y)
    assert forecaster.columns_ == ["s0", "s2", "s1"]
    assert forecaster.scaler_.logarithmic.tolist() == [False, False, True]
    assert forecaster.scaler_.center[-1] == pytest.approx(np.log1p(y["s1"].iloc[:128]).mean())


@pytest.mark.parametrize("value", [-1.0, -7.5])
def test_values_without_logarithm_are_refused_everywhere(tiny, y, value):
    bad = y.copy()
    bad.iloc[150, 2] = value  # among the newest 24 rows
    message = rf"column 's2' is {value} at {y.index[150]}; log1p=True needs values above -1"
    settings = tiny | {"max_steps": 1, "log1p": True}
    with pytest.raises(ValueError, match=message):
        SAMoVARForecaster(**settings).fit(bad)
    forecaster = SAMoVARForecaster(**settings).fit(y.iloc[:140])
    for use in ("predict", "predict_in_sample", "residuals", "backtest", "predict_quantiles"):
        with pytest.raises(ValueError, match=message):
            getattr(forecaster, use)(y=bad)
    for use in (forecaster.update, forecaster.score):
        with pytest.raises(ValueError, match=message):
            use(bad.iloc[140:])
    assert np.isfinite(forecaster.predict(bad.iloc[:150])).all(axis=None)
    panel = pd.concat({"good": y, "bad": bad})
    with pytest.raises(ValueError, match=f"y of series 'bad' {message}"):
        SAMoVARForecaster(**settings).fit(panel)
