"""Forecasters of several members: their mean, their file, their seeds, and how they are trained."""

import joblib
import numpy as np
import pandas as pd
import pytest

from samovar_forecast import SAMformerForecaster, SAMoVARForecaster
from samovar_forecast.networks.ensemble import Ensemble

TINY = {"horizon": 6, "context_length": 24, "max_epochs": 1, "batch_size": 64, "random_state": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def y():
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.standard_normal((200, 2)).cumsum(0), columns=["a", "b"])


@pytest.fixture(scope="module")
def fitted(y):
    return SAMformerForecaster(**TINY, n_members=3).fit(y)


def alone(forecaster, member):
    """The forecast of one member, in the units of the data."""
    network = forecaster.network_.members[member]
    whole, forecaster.fitted_ = (
        forecaster.fitted_,
        type(forecaster.fitted_)(**(vars(forecaster.fitted_) | {"network": network})),
    )
    try:
        return forecaster.predict()
    finally:
        forecaster.fitted_ = whole


def test_the_forecast_is_the_mean_of_members_that_differ(fitted):
    members = [alone(fitted, member) for member in range(3)]
    assert not np.allclose(members[0], members[1])
    pd.testing.assert_frame_equal(fitted.predict(), sum(members) / 3, rtol=1e-5)


def test_the_first_member_is_the_forecaster_without_others(fitted, y):
    single = SAMformerForecaster(**TINY).fit(y)
    assert not isinstance(single.network_, Ensemble)
    pd.testing.assert_frame_equal(single.predict(), alone(fitted, 0))


def test_members_are_the_same_where_joblib_trains_them_elsewhere(fitted, y):
    with joblib.parallel_config("threading", n_jobs=2):  # as processes do, which take seconds to start
        spread = SAMformerForecaster(**TINY, n_members=3).fit(y)
    pd.testing.assert_frame_equal(spread.predict(), fitted.predict(), rtol=1e-5)


def test_one_file_holds_all_members(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = SAMformerForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict())
    pd.testing.assert_frame_equal(loaded.predict_interval(0.5), fitted.predict_interval(0.5))
    summary = loaded.training_summary_
    assert summary.n_parameters == 3 * sum(p.numel() for p in fitted.network_.members[0].parameters())


def test_quantiles_are_averaged_level_by_level_and_ascend(y):
    levels = (0.1, 0.5, 0.9)
    forecaster = SAMformerForecaster(**TINY, n_members=2, quantiles=levels).fit(y)
    quantiles = forecaster.predict_quantiles(levels).to_numpy().reshape(6, 2, 3)
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    pd.testing.assert_frame_equal(
        forecaster.predict(), (alone(forecaster, 0) + alone(forecaster, 1)) / 2, rtol=1e-5, atol=1e-4
    )


def test_members_are_trained_further(fitted, y):
    new = pd.DataFrame({"a": np.arange(12.0), "b": 0.0}, index=range(200, 212))
    updated = SAMformerForecaster(**TINY, n_members=3).fit(y).update(new, epochs=1)
    for before, after in zip(fitted.network_.members, updated.network_.members, strict=True):
        assert any((a != b).any() for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_members_begin_with_the_weights_of_members(fitted, y):
    further = SAMformerForecaster(**TINY, n_members=3, learning_rate=1e-12).fit(y, init_from=fitted)
    pd.testing.assert_frame_equal(further.predict(), fitted.predict(), rtol=1e-4)


def test_checkpoints_of_members_lie_apart_and_go(y, tmp_path):
    SAMformerForecaster(**TINY | {"max_epochs": 2}, n_members=2, checkpoint_dir=str(tmp_path)).fit(y)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["member_0", "member_1"]


def test_known_covariates_reach_every_member(y):
    X = pd.DataFrame({"promotion": np.arange(206) % 7 == 0}, dtype=float)
    forecaster = SAMoVARForecaster(**TINY, d_model=8, n_heads=2, n_members=2).fit(y, X.iloc[:200])
    assert np.isfinite(forecaster.predict(X=X.iloc[200:])).all(axis=None)


def test_contributions_of_members_add_up_to_their_forecast(y):
    X = pd.DataFrame({"promotion": np.arange(206) % 7 == 0}, dtype=float)
    forecaster = SAMoVARForecaster(**TINY, d_model=8, n_heads=2, n_members=2).fit(y, X.iloc[:200])
    reading = forecaster.explain(X=X.iloc[200:])
    total = reading["baseline"] + reading["own"] + reading["contribution"].sum(("segment", "token"))
    np.testing.assert_allclose(total.T, forecaster.predict(X=X.iloc[200:]), rtol=1e-4, atol=1e-4)
    assert reading["weights"].sizes["member"] == 2


def test_hosts_take_or_refuse_members(fitted, y):
    pytest.importorskip("sktime")
    twin = fitted.to_sktime().fit(y)
    pd.testing.assert_frame_equal(twin.predict(fh=range(1, 7)), fitted.predict(), check_names=False)
    pytest.importorskip("darts")
    with pytest.raises(ValueError, match="n_members=3"):
        fitted.to_darts()
