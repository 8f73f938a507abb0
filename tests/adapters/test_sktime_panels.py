"""Panels and hierarchies: one network for all series, each with its own length, start, end and scaling."""

import numpy as np
import pandas as pd
import pytest
from sktime.datatypes import convert_to
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.reconcile import ReconcilerForecaster
from sktime.split import ExpandingWindowSplitter
from sktime.transformations.hierarchical.aggregate import Aggregator

from samovar_sktime import SAMoVARForecaster, all_forecasters
from tests.adapters.test_sktime_forecasting import SETTINGS, assert_same_weights
from tests.conftest import narrow_intervals, suited, waves

SETTINGS = SETTINGS | {"horizon": 3}
ROWS = {"a": (0, 60), "b": (5, 45), "c": (20, 33)}  # first row and end; the last one has 13 rows


def stacked(frames, names=("series",)):
    return pd.concat(frames, names=[*names, "time"])


@pytest.fixture(scope="module", name="whole")
def every_row():
    return {name: waves(100, 2, seed=seed) * (seed + 1) for seed, name in enumerate(ROWS)}


@pytest.fixture(scope="module")
def seen(whole):
    return {name: frame.iloc[slice(*ROWS[name])] for name, frame in whole.items()}


@pytest.fixture(scope="module", name="X")
def known_covariates(whole):
    rng = np.random.default_rng(1)
    return {name: pd.DataFrame({"x": rng.normal(size=100)}, index=frame.index) for name, frame in whole.items()}


@pytest.fixture
def forecaster(seen):
    return SAMoVARForecaster(**SETTINGS).fit(stacked(seen))


@pytest.fixture
def with_X(seen, X):  # noqa: N802
    covariates = {name: X[name].loc[frame.index] for name, frame in seen.items()}
    return SAMoVARForecaster(**SETTINGS | {"learning_rate": 0.1}).fit(stacked(seen), stacked(covariates))


@narrow_intervals
@pytest.mark.parametrize("sktime_class", [cls for _, cls in all_forecasters()], ids=lambda cls: cls.__name__)
def test_one_network_forecasts_every_series_as_the_core_does(sktime_class, seen):
    settings = suited(SETTINGS, sktime_class)
    core = sktime_class.core_class(**settings).fit(seen)
    forecaster = sktime_class(**settings).fit(stacked(seen))
    assert_same_weights(forecaster.forecaster_, core)
    assert not hasattr(forecaster, "forecasters_")  # where sktime keeps clones, one per series
    forecast, expected = forecaster.predict(fh=[1, 2, 7]), core.predict(horizon=7)
    assert forecast.index.names == ["series", "time"]
    for name, frame in expected.items():
        pd.testing.assert_frame_equal(forecast.loc[name], frame.iloc[[0, 1, 6]], check_freq=False)
    quantiles = forecaster.predict_quantiles(fh=[1, 7], alpha=[0.2, 0.9])
    for name, frame in core.predict_quantiles([0.2, 0.9], horizon=7).items():
        assert np.array_equal(quantiles.loc[name], frame.iloc[[0, 6]])


def test_relative_steps_count_from_the_end_of_each_series(forecaster, whole):
    forecast = forecaster.predict(fh=[-4, 0, 2])
    for name, (_, end) in ROWS.items():
        assert list(forecast.loc[name].index) == list(whole[name].index[[end - 5, end - 1, end + 1]])


def test_absolute_labels_are_the_same_for_all_series(forecaster, whole):
    """After the end of some series and before that of others."""
    labels = whole["a"].index[[28, 40, 62]]
    forecast = forecaster.predict(ForecastingHorizon(labels, is_relative=False))
    core = forecaster.forecaster_
    for name, (first, end) in ROWS.items():
        frame = whole[name].iloc[first:end]
        assert list(forecast.loc[name].index) == list(labels)
        for row, label in zip((28, 40, 62), labels, strict=True):
            cutoff = min(row, end) - first
            expected = core.predict({name: frame.iloc[:cutoff]}, horizon=row - first - cutoff + 1)[name]
            np.testing.assert_allclose(forecast.loc[(name, label)], expected.iloc[-1], rtol=1e-4)


def test_absolute_labels_before_a_series_name_it(forecaster, whole):
    with pytest.raises(ValueError, match="y of series 'c' begins at 2024-01-01 20:00"):
        forecaster.predict(ForecastingHorizon(whole["a"].index[[8, 30]], is_relative=False))


@narrow_intervals
def test_in_sample_is_one_step_ahead_for_every_series(forecaster, seen):
    forecast = forecaster.predict(fh=-np.arange(13))
    core = forecaster.forecaster_
    for name, frame in seen.items():
        for back in (0, 3, 11):
            history = {name: frame.iloc[: len(frame) - 1 - back]}
            expected = core.predict(history, horizon=1)[name].iloc[0]
            np.testing.assert_allclose(forecast.loc[name].iloc[-1 - back], expected, rtol=1e-4)
    bounds = forecaster.predict_interval(fh=[-2, 0], coverage=0.5)
    middle = forecaster.predict(fh=[-2, 0])
    assert (bounds["s0", 0.5, "lower"] < middle["s0"]).all()
    assert (bounds["s0", 0.5, "upper"] > middle["s0"]).all()


def test_hierarchy(seen):
    frames = {("north", "a"): seen["a"], ("north", "b"): seen["b"], ("south", "c"): seen["c"]}
    hierarchy = stacked(frames, ("region", "series"))
    forecaster = SAMoVARForecaster(**SETTINGS).fit(hierarchy)
    core = SAMoVARForecaster.core_class(**SETTINGS).fit(frames)
    forecast = forecaster.predict(fh=[1, 2])
    assert forecast.index.names == ["region", "series", "time"]
    for key, frame in core.predict(horizon=2).items():
        assert np.array_equal(forecast.loc[key], frame)


def test_sums_of_a_hierarchy_are_reconciled(seen):
    keys = [("north", "a"), ("north", "b"), ("south", "c")]
    frames = {key: frame.iloc[-13:].reset_index(drop=True) for key, frame in zip(keys, seen.values(), strict=True)}
    hierarchy = Aggregator().fit_transform(stacked(frames, ("region", "series")))
    reconciled = ReconcilerForecaster(SAMoVARForecaster(**SETTINGS), method="ols").fit(hierarchy).predict([1, 2])
    total = reconciled.loc[("__total", "__total")]
    np.testing.assert_allclose(sum(reconciled.loc[key] for key in keys), total, rtol=1e-6)


def test_known_covariates_of_every_series(with_X, seen, X):
    core = with_X.forecaster_
    future = {name: X[name].iloc[end : end + 4] for name, (_, end) in ROWS.items()}
    forecast = with_X.predict(fh=[1, 4], X=stacked(future))
    expected = core.predict({**seen}, X=X, horizon=4)
    for name, frame in expected.items():
        np.testing.assert_allclose(forecast.loc[name], frame.iloc[[0, 3]], rtol=1e-6)
    swapped = future | {"a": future["a"] + 1.0}
    changed = with_X.predict(fh=[1, 4], X=stacked(swapped))
    assert not np.allclose(changed.loc["a"], forecast.loc["a"], rtol=1e-3)
    assert np.array_equal(changed.loc["b"], forecast.loc["b"])
    with pytest.raises(ValueError, match="X of series 'b' lacks 1 "):
        with_X.predict(fh=[1, 4], X=stacked(future | {"b": future["b"].iloc[:3]}))


def test_absolute_labels_with_known_covariates(with_X, whole, X):
    """Each series needs X up to the labels alone, not as far after its end as the shortest one."""
    fh = ForecastingHorizon(whole["a"].index[[61]], is_relative=False)
    future = {name: X[name].iloc[end:62] for name, (_, end) in ROWS.items()}
    forecast = with_X.predict(fh, stacked(future))
    core = with_X.forecaster_
    expected = core.predict({"b": whole["b"].iloc[slice(*ROWS["b"])]}, X={"b": X["b"]}, horizon=17)["b"]
    np.testing.assert_allclose(forecast.loc["b"], expected.iloc[[-1]], rtol=1e-6)


def test_update_moves_the_cutoffs(forecaster, seen, whole):
    core = SAMoVARForecaster.core_class(**SETTINGS).fit(seen)
    new = {name: whole[name].iloc[end : end + 4] for name, (_, end) in ROWS.items() if name != "b"}
    forecaster.update(stacked(new), update_params=False)
    core.update(new, retrain=False)
    assert_same_weights(forecaster.forecaster_, core)
    forecast = forecaster.predict(fh=[1, 2])
    for name, frame in core.predict(horizon=2).items():
        assert np.array_equal(forecast.loc[name], frame)
    assert list(forecast.loc["c"].index) == list(whole["c"].index[[37, 38]])
    in_sample = forecaster.predict(fh=-np.arange(17))  # the rows of fit and those of the update
    expected = core.predict({"c": whole["c"].iloc[20:35]}, horizon=1)["c"]
    np.testing.assert_allclose(in_sample.loc["c"].loc[expected.index], expected, rtol=1e-4)


def test_update_with_training_is_that_of_the_core(forecaster, seen, whole):
    core = SAMoVARForecaster.core_class(**SETTINGS).fit(seen)
    new = {name: whole[name].iloc[end : end + 4] for name, (_, end) in ROWS.items()}
    forecaster.update(stacked(new))
    assert_same_weights(forecaster.forecaster_, core.update(new))


def test_update_brings_a_series_that_is_new_and_replaces_rows(forecaster, seen, whole):
    revised = seen["a"].iloc[30:40] * 1.1
    new = {"a": revised, "d": waves(30, 2, seed=7)}
    forecaster.update(stacked(new), update_params=False)
    core = forecaster.forecaster_
    forecast = forecaster.predict(fh=[-1, 1])
    history = {"a": pd.concat([seen["a"].iloc[:30], revised]), "d": new["d"]}
    for name, frame in history.items():
        np.testing.assert_allclose(forecast.loc[name].iloc[[1]], core.predict({name: frame}, horizon=1)[name])
        earlier = core.predict({name: frame.iloc[:-2]}, horizon=1)[name]
        # The series that is new keeps the scaling of the rows that the update brought.
        np.testing.assert_allclose(forecast.loc[name].iloc[[0]], earlier, rtol=1e-4 if name == "a" else 0.05)


@pytest.mark.parametrize("fh", [[1], [1, 3]], ids=["one step", "steps"])
@pytest.mark.parametrize("use_X", [False, True], ids=["without X", "with X"])
def test_update_predict_in_batches_is_that_of_the_loop(seen, whole, X, fh, use_X):
    covariates = {name: X[name].loc[frame.index] for name, frame in seen.items()}
    forecaster = SAMoVARForecaster(**SETTINGS).fit(stacked(seen), stacked(covariates) if use_X else None)
    new = stacked({name: whole[name].iloc[end : end + 20] for name, (_, end) in ROWS.items()})
    known = stacked(X) if use_X else None
    passes = []
    hook = forecaster.forecaster_.network_.register_forward_hook(lambda *_: passes.append(1))
    cv = ExpandingWindowSplitter(fh=fh, initial_window=2, step_length=3)
    batched = forecaster.update_predict(new, cv, known, update_params=False)
    hook.remove()
    assert len(passes) == 3  # one for each series
    looped = forecaster.clone().fit(stacked(seen), stacked(covariates) if use_X else None)
    looped = looped.update_predict(new, cv, known, update_params=False, reset_forecaster=False)
    pd.testing.assert_frame_equal(batched, looped, rtol=1e-5)
    assert forecaster.cutoff[0] == whole["a"].index[59]


def test_update_predict_with_training(forecaster, whole):
    new = stacked({name: whole[name].iloc[end : end + 12] for name, (_, end) in ROWS.items()})
    cv = ExpandingWindowSplitter(fh=[1, 2], initial_window=4, step_length=4)
    trained = forecaster.update_predict(new, cv, update_params=True)
    fixed = forecaster.update_predict(new, cv, update_params=False)
    assert trained.shape == fixed.shape
    assert not np.allclose(trained, fixed, equal_nan=True)


def test_evaluate(whole):
    panel = stacked(whole)
    cv = ExpandingWindowSplitter(fh=[1, 2], initial_window=80, step_length=10)
    results = evaluate(
        SAMoVARForecaster(**SETTINGS), cv, panel, strategy="no-update_params", return_data=True, error_score="raise"
    )
    core = SAMoVARForecaster.core_class(**SETTINGS).fit({name: frame.iloc[:80] for name, frame in whole.items()})
    assert len(results) == 2
    for n_rows, forecast in zip((80, 90), results["y_pred"], strict=True):
        expected = core.predict({name: frame.iloc[:n_rows] for name, frame in whole.items()}, horizon=2)
        np.testing.assert_allclose(forecast, np.concatenate(list(expected.values())), rtol=1e-5)


def test_other_containers_come_back_as_they_came(whole):
    panel = stacked({name: frame.reset_index(drop=True) for name, frame in whole.items()})
    expected = SAMoVARForecaster(**SETTINGS).fit(panel).predict([1, 2])
    array = convert_to(panel, "numpy3D")
    forecast = SAMoVARForecaster(**SETTINGS).fit(array).predict([1, 2])
    assert forecast.shape == (3, 2, 2)
    np.testing.assert_array_equal(forecast, convert_to(expected, "numpy3D"))
    as_list = SAMoVARForecaster(**SETTINGS).fit(convert_to(panel, "df-list")).predict([1, 2])
    np.testing.assert_array_equal(as_list[1], expected.loc["b"])


def test_a_series_shorter_than_one_window_learns_from_the_others(whole):
    """Five rows alone cannot train a network with a context of ten; beside the others they are forecast."""
    short = {"a": whole["a"], "b": whole["b"].iloc[:5]}
    forecast = SAMoVARForecaster(**SETTINGS).fit(stacked(short)).predict([1, 2])
    assert np.isfinite(forecast).all(axis=None)
    with pytest.raises(ValueError, match="too short"):
        SAMoVARForecaster(**SETTINGS).fit(short["b"])
