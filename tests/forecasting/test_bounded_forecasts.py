"""No forecast leaves the bounds of its target, by any method."""

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import SAMformerForecaster, SAMoVARForecaster
from samovar_forecast.estimator import Forecaster
from tests.conftest import TINY

BOUNDS = {"lower": 0, "upper": (3, None)}
KINDS = [{}, {"log1p": True}, {"quantiles": (0.1, 0.5, 0.9)}, {"quantiles": (0.1, 0.5, 0.9), "log1p": True}]


def counts(n_rows=160):
    """Counts of which most are 0 or 3, and a column that is no target."""
    rng = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=n_rows, freq="h", name="time")
    columns = {"open": 3.0 * (rng.random(n_rows) < 0.5), "sold": rng.poisson(0.3, n_rows), "noise": -rng.random(n_rows)}
    return pd.DataFrame(columns, index=index)


def inside(values, last=-1):
    """Whether forecasts of both targets, in this order on an axis, lie inside their bounds."""
    values = np.moveaxis(np.asarray(values, dtype=float), last, -1)
    return bool((values >= 0).all() and (values[..., 0] <= 3).all())


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "-".join(kind) or "conformal")
def both(request):
    """A network that forecasts far beyond the bounds, with bounds and without them."""
    settings = TINY | request.param | {"targets": ["open", "sold"], "max_epochs": 1}
    fitted = [SAMoVARForecaster(**settings, **bounds).fit(counts()) for bounds in ({}, BOUNDS)]
    for forecaster in fitted:
        forecaster.network_.to_segment.weight.data.mul_(300)
    return fitted


def test_points_and_quantiles_are_those_without_bounds_clipped(both):
    free, bounded = both
    plain = free.predict()
    assert not inside(plain)
    assert inside(bounded.predict())
    upper = np.array([3, np.inf])
    pd.testing.assert_frame_equal(bounded.predict(), plain.clip(0, upper, axis=1))
    for wide, clipped in ((free.predict_interval(0.8), bounded.predict_interval(0.8)),
                          (free.predict_quantiles((0.2, 0.7)), bounded.predict_quantiles((0.2, 0.7)))):  # fmt: skip
        pd.testing.assert_frame_equal(clipped, wide.clip(0, upper.repeat(2), axis=1))


def test_every_method_keeps_the_bounds(both, tmp_path):
    free, bounded = both
    y = counts()
    result = bounded.backtest(y, stride=5, quantiles=(0.1, 0.9))
    assert inside(result["forecast"])
    assert inside(result["quantiles"], last=-2)
    assert not inside(free.backtest(y, stride=5)["forecast"])
    assert inside(bounded.predict_in_sample(y))
    assert inside(bounded.predict(horizon=20))  # what rolls forward lies inside too
    rolled = bounded.predict(pd.concat([y, bounded.predict().assign(noise=y["noise"].iloc[-1])[y.columns]]))
    np.testing.assert_allclose(bounded.predict(horizon=16)[8:], rolled, rtol=1e-4, atol=1e-4)
    new = counts(168)[160:]
    scale, center = bounded.scaler_.scale[-2:], bounded.scaler_.center[-2:]
    points, actual = bounded.predict().to_numpy(), new[["open", "sold"]].to_numpy()
    if bounded.log1p:
        points, actual = np.log1p(points), np.log1p(actual)
    errors = (points - center) / scale - (actual - center) / scale
    assert bounded.score(new) == pytest.approx(-(errors**2).mean(), rel=1e-4)
    bounded.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert (loaded.lower, loaded.upper) == (0, (3, None))
    pd.testing.assert_frame_equal(loaded.predict(horizon=20), bounded.predict(horizon=20), check_freq=False)
    assert inside(loaded.update(new, retrain=False).predict())


def test_data_outside_are_refused_by_name():
    y = counts()
    wrong = y.copy()
    wrong.iloc[150, 1] = -1
    settings = TINY | {"targets": ["open", "sold"], "max_epochs": 1}
    message = r"y column 'sold' is -1.0 at 2024-01-07 06:00:00, and lower=0: correct it"
    with pytest.raises(ValueError, match=message):  # in the held-out rows too
        SAMoVARForecaster(**settings, lower=0).fit(wrong)
    forecaster = SAMoVARForecaster(**settings, lower=0).fit(y)
    for call in (forecaster.predict, forecaster.backtest, forecaster.predict_in_sample):
        with pytest.raises(ValueError, match=message):
            call(wrong)
    with pytest.raises(ValueError, match=r"lower must be one number or one for each of the 2 targets"):
        SAMoVARForecaster(**settings, lower=(0, None, 1)).fit(y)


def test_a_panel_has_the_bounds_of_its_units():
    panel = {key: counts()[["sold"]] * size for key, size in (("a", 1), ("b", 1000))}
    settings = {"horizon": 8, "context_length": 24, "max_epochs": 1, "random_state": 0}
    free, bounded = (SAMformerForecaster(**settings, lower=lower).fit(panel) for lower in (None, 0))
    below = free.predict_interval(0.9)
    for key, interval in bounded.predict_interval(0.9).items():
        assert (below[key] < 0).any(axis=None)
        pd.testing.assert_frame_equal(interval, below[key].clip(lower=0))
    assert all((rolled >= 0).all(axis=None) for rolled in bounded.predict(horizon=20).values())
