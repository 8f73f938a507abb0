"""Bounds of targets: their checks, and their form on the scale of a network."""

import numpy as np
import pandas as pd
import pytest

from samovar_forecast.data.bounds import Bounds, check_bounds
from samovar_forecast.data.scaling import Scaler


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        ("0", None, "lower must be a number"),
        (None, True, "upper must be a number"),
        ((0, "a"), None, "lower must be a number"),
        (float("nan"), None, "lower must be finite"),
        (None, (1.0, float("inf")), "upper must be finite, or None"),
        (1, 1, "lower must be below upper"),
        ((0, 5), (1, 3), "lower must be below upper"),
        ((0, 5), (1, 3, 9), "as many targets"),
    ],
)
def test_bounds_that_are_none_are_refused(lower, upper, message):
    with pytest.raises((TypeError, ValueError), match=message):
        check_bounds(lower, upper)


def test_as_many_bounds_as_targets():
    with pytest.raises(ValueError, match=r"upper must be one number or one for each of the 3 targets, got \(1, 2\)"):
        Bounds.of(None, (1, 2), 3)


def test_values_outside_are_named():
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [0.0, -2.0, 9.0]}, pd.date_range("2024-01-01", periods=3))
    Bounds.of((1, -2), (3, 9), 2).check(frame, ["a", "b"], "y")
    Bounds.of(2, None, 1).check(frame[1:], ["a"], "y")
    with pytest.raises(
        ValueError, match=r"y column 'b' is -2.0 at 2024-01-02 00:00:00, and lower=-1: correct it, e.g. "
    ):
        Bounds.of((0, -1), None, 2).check(frame, ["a", "b"], "y")
    with pytest.raises(ValueError, match=r"y column 'b' is 9.0 at 2024-01-03 .*\.clip\(upper=8.5\)"):
        Bounds.of(None, 8.5, 2).check(frame, ["a", "b"], "y")


def test_clipping_is_that_of_each_target():
    values = np.random.default_rng(0).normal(size=(5, 4, 2, 3))
    bounds = Bounds.of((-0.5, None), (None, 0.25), 2)
    quantiles = bounds.clip_quantiles(values.copy())
    np.testing.assert_array_equal(quantiles[:, :, 0], np.maximum(values[:, :, 0], -0.5))
    np.testing.assert_array_equal(quantiles[:, :, 1], np.minimum(values[:, :, 1], 0.25))
    np.testing.assert_array_equal(bounds.clip(values[..., 0].copy()), quantiles[..., 0])
    np.testing.assert_array_equal(Bounds.of(None, None, 2).clip(values[..., 0].copy()), values[..., 0])


@pytest.mark.parametrize("log1p", [False, True])
def test_scaled_bounds_are_those_of_the_scaler(log1p):
    values = np.random.default_rng(0).gamma(2, size=(50, 3))
    scaler = Scaler.fit(values, "standard", np.array([False, log1p, log1p]))
    lower, upper = Bounds.of((0, -5), (10, None), 2).scaled(scaler, 2)
    expected = scaler.transform(np.array([[0.0, -0.99], [10.0, 1.0]]))
    assert (lower[0], upper[0]) == (expected[0, 0], expected[1, 0])
    assert upper[1] == np.inf
    assert lower[1] == (-np.inf if log1p else scaler.transform(np.array([[-5.0]]))[0, 0])
