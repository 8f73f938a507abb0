"""No forecast of sktime or darts leaves the bounds of its target."""

import numpy as np
import pandas as pd
import pytest

from samovar_darts.frames import series_from_frame
from tests.forecasting.test_bounded_forecasts import both, counts, inside  # noqa: F401  # a fixture, for each kind


def test_sktime_and_darts_keep_the_bounds(both):  # noqa: F811
    _, bounded = both
    y = counts()
    forecaster = bounded.to_sktime().fit(y)
    forecast = forecaster.predict(fh=[1, 2, 20])
    np.testing.assert_array_equal(forecast, bounded.predict(horizon=20).iloc[[0, 1, 19]])
    assert inside(forecaster.predict(fh=[-5, -1, 0]))
    assert inside(forecaster.predict_interval(fh=[1, 2], coverage=0.8).to_numpy().reshape(2, 2, 2), last=1)
    model, noise = bounded.to_darts(), y[["noise"]]
    noise = pd.concat([noise, noise.iloc[[-1] * 12].set_axis(pd.date_range(y.index[-1], periods=13, freq="h")[1:])])
    series, past = (series_from_frame(one.astype(np.float32)) for one in (y[["open", "sold"]], noise))
    given = {"series": series, "past_covariates": past, "show_warnings": False}
    if bounded.quantiles is None:
        found = model.predict(20, **given).values()
        np.testing.assert_allclose(found, bounded.predict(horizon=20), rtol=1e-3, atol=1e-3)
    else:
        assert inside(model.predict(20, **given, num_samples=9).all_values(), last=1)
        found = model.predict(8, **given, predict_likelihood_parameters=True).values().reshape(8, 2, 3)
        np.testing.assert_allclose(found.reshape(8, 6), bounded.predict_quantiles(), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match=r"series\[0\]: component 'open' at 2024-01-06 .* lies outside the bounds"):
        model.predict(
            3, **given | {"series": series.map(lambda values: values + (np.arange(160) > 130)[:, None, None])}
        )


def test_pretrained_weights_take_the_bounds_of_their_new_forecaster(both):  # noqa: F811
    _, bounded = both
    forecaster = bounded.to_sktime().set_params(lower=1, upper=None).fit(counts().assign(open=9.0, sold=2.0))
    assert (forecaster.predict(fh=range(1, 9)) >= 1).all(axis=None)
    with pytest.raises(ValueError, match=r"column .open. is 0.0 at .* and lower=1"):
        forecaster.update(counts()[:1].set_axis(counts(161).index[-1:]).assign(open=0.0, sold=3.0))
