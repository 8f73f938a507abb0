"""Components of darts' series without a value in their input chunk: the last known level, and the core's forecasts."""

from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from darts.utils.likelihood_models.torch import GaussianLikelihood, PoissonLikelihood, QuantileRegression

from samovar_darts.frames import series_from_frame
from samovar_darts.models import SAMformerModel, SAMoVARModel
from samovar_forecast import SAMoVARForecaster
from tests.conftest import TINY, waves

# `pytest.warns` tells what it does not expect once more, under another module than that of the list.
pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
DEAD = r"series\[0\] component 's1' has no value in the 24 rows before the forecast: its last known level stands in"


def series_of(frame):
    return series_from_frame(frame.astype(np.float32))


def outage(n_rows=160, column="s1"):
    """The second sensor stands still, without a value, for longer than a context."""
    y = waves(n_rows)
    y.loc[y.index[n_rows - 40] :, column] = np.nan
    return y


@pytest.mark.parametrize("kind", [{}, {"log1p": True}, {"quantiles": (0.1, 0.5, 0.9)}], ids=str)
def test_adopted_weights_forecast_as_the_core_does(kind):
    core = SAMoVARForecaster(**TINY, **kind).fit(waves())
    model, y = core.to_darts(), outage()
    parameters = {"predict_likelihood_parameters": True} if kind.get("quantiles") else {}
    with pytest.warns(UserWarning, match=DEAD):
        found = model.predict(8, series_of(y), **parameters).values()
    expected = core.predict_quantiles(core.quantiles, y) if kind.get("quantiles") else core.predict(y)
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    level = y["s1"].dropna().iloc[-1]
    middle = found.reshape(8, 3, -1)[:, 1]
    np.testing.assert_allclose(middle[:, middle.shape[1] // 2], level, rtol=1e-5)
    with pytest.warns(UserWarning, match=DEAD):
        rolled = model.predict(19, series_of(y), show_warnings=False, num_samples=1).values()
    if not kind.get("quantiles"):
        np.testing.assert_allclose(rolled, core.predict(y, horizon=19), rtol=2e-3)


def test_samples_and_quantiles_are_as_wide_as_the_series():
    y = outage()[["s0", "s1"]]
    likelihoods = (QuantileRegression([0.1, 0.5, 0.9]), GaussianLikelihood(), PoissonLikelihood())
    deviation, level = waves()["s1"].std(ddof=0), y["s1"].dropna().iloc[-1]
    models = []
    for likelihood in likelihoods:
        model = SAMformerModel(24, 8, n_epochs=1, random_state=0, likelihood=likelihood, pl_trainer_kwargs=QUIET)
        models.append(model.fit(series_of(waves()[["s0", "s1"]])))
        with pytest.warns(UserWarning, match=DEAD):
            samples = model.predict(8, series_of(y), num_samples=400).all_values()[:, 1]
        assert samples.mean() == pytest.approx(level, abs=deviation / 10)
        assert samples.std() == pytest.approx(deviation * 2**0.5, rel=0.1)
    with pytest.warns(UserWarning, match=DEAD):
        found = models[0].predict(8, series_of(y), predict_likelihood_parameters=True).values()[:, 3:]
    wide = deviation * 2**0.5 * NormalDist().inv_cdf(0.9)
    np.testing.assert_allclose(found, [[level - wide, level, level + wide]] * 8, rtol=1e-4)
    with pytest.warns(UserWarning, match=DEAD):
        found = models[1].predict(8, series_of(y), predict_likelihood_parameters=True).values()[:, 2:]
    np.testing.assert_allclose(found, [[level, deviation * 2**0.5]] * 8, rtol=1e-4)
    with (
        pytest.warns(UserWarning, match=DEAD),
        pytest.raises(ValueError, match="no parameters of PoissonLikelihood: ask for samples"),
    ):
        models[2].predict(8, series_of(y), predict_likelihood_parameters=True)


def test_backtests_and_many_series_keep_their_windows_apart():
    """In batches of three, windows with and without an outage, of two series."""
    y, whole = outage(), waves(seed=1)
    model = SAMoVARModel(24, 8, d_model=8, n_heads=2, n_layers=1, n_epochs=1, batch_size=3, random_state=0,
                         pl_trainer_kwargs=QUIET)  # fmt: skip
    model.fit([series_of(waves()), series_of(whole)])
    with pytest.warns(UserWarning, match=r"series\[1\] component 's1' has no value .* forecast 2 of 5 times"):
        forecasts = model.historical_forecasts(
            [series_of(whole), series_of(y)], forecast_horizon=8, start=130, stride=5, retrain=False,
            last_points_only=False, show_warnings=False,
        )  # fmt: skip
    plain = model.historical_forecasts(
        series_of(whole), forecast_horizon=8, start=130, stride=5, retrain=False, last_points_only=False
    )
    for found, expected in zip(forecasts[0], plain, strict=True):
        np.testing.assert_allclose(found.values(), expected.values(), rtol=1e-5)
    level = y["s1"].dropna().iloc[-1]
    at_level = [bool(np.allclose(one.values()[:, 1], level, rtol=1e-5)) for one in forecasts[1]]
    assert at_level == [False] * 3 + [True] * 2
    with pytest.warns(UserWarning, match=DEAD.replace("[0", "[1")):
        both = model.predict(8, [series_of(whole), series_of(y)])
    np.testing.assert_allclose(both[1].values()[:, 1], level, rtol=1e-5)
    assert not np.allclose(both[1].values()[:, 0], y["s0"].iloc[-1], rtol=1e-5)  # the others are forecast


def test_without_any_value_the_mean_of_training_stands_in():
    y = waves()
    model = SAMformerModel(24, 8, n_epochs=1, random_state=0, pl_trainer_kwargs=QUIET).fit(series_of(y))
    with pytest.warns(UserWarning, match=DEAD):
        found = model.predict(8, series_of(y.assign(s1=np.nan))).values()
    np.testing.assert_allclose(found[:, 1], y["s1"].mean(), rtol=1e-5)
    core = SAMoVARForecaster(**TINY).fit(y)
    with pytest.warns(UserWarning, match=DEAD):
        found = core.to_darts().predict(8, series_of(y.assign(s1=np.nan))).values()
    np.testing.assert_allclose(found, core.predict(y.assign(s1=np.nan)), rtol=2e-3)
    with pytest.raises(ValueError, match="component 's1' has no value at all"):
        model.fit(series_of(y.assign(s1=np.nan)))


def test_a_saved_model_knows_what_stands_in(tmp_path):
    y = waves()
    model = SAMformerModel(24, 8, n_epochs=1, random_state=0, lower=0.0, pl_trainer_kwargs=QUIET).fit(series_of(y))
    model.save(str(tmp_path / "model.pt"))
    loaded = SAMformerModel.load(str(tmp_path / "model.pt"), pl_trainer_kwargs=QUIET)
    with pytest.warns(UserWarning, match=DEAD):
        found = loaded.predict(8, series_of(y.assign(s1=np.nan)))
    np.testing.assert_allclose(found.values()[:, 1], y["s1"].mean(), rtol=1e-5)
    assert loaded.lower == 0
    with pytest.raises(ValueError, match=r"component 's0' .* lies outside the bounds"):
        loaded.predict(8, series_of(-y))


def test_index_of_integers_and_covariates_beside_an_outage():
    y = outage().reset_index(drop=True)
    X = pd.DataFrame({"push": np.arange(200) % 5.0})
    core = SAMoVARForecaster(**TINY).fit(waves().reset_index(drop=True), X)
    with pytest.warns(UserWarning, match=DEAD):
        found = core.to_darts().predict(11, series_of(y), future_covariates=series_of(X[:171]), show_warnings=False)
    np.testing.assert_allclose(found.values(), core.predict(y, X, horizon=11), rtol=2e-3)
