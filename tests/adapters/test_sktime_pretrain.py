"""Training on a panel before `fit` sees the series to forecast."""

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.performance_metrics.forecasting import MeanSquaredError
from sktime.split import ExpandingWindowSplitter

from samovar_sktime import SAMoVARForecaster, all_forecasters
from tests.adapters.test_sktime_forecasting import SETTINGS, assert_same_weights
from tests.conftest import narrow_intervals, suited, waves

SHORT = 40


def panel_of(frames):
    return pd.concat(frames, names=["series", "time"])


@pytest.fixture(scope="module")
def panel():
    return panel_of({f"p{seed}": waves(60, 2, seed=seed) * (seed + 1) for seed in range(3)})


@pytest.fixture(scope="module", name="new")
def new_series():
    return waves(80, 2, seed=9) * 50


@pytest.fixture
def forecaster(panel):
    return SAMoVARForecaster(**SETTINGS).pretrain(panel)


@pytest.fixture(params=[cls for _, cls in all_forecasters()], ids=lambda cls: cls.__name__)
def sktime_class(request):
    return request.param


def differs(one, other):
    weights, others = one.network_.state_dict(), other.network_.state_dict()
    return any(not weights[name].equal(others[name]) for name in weights)


@narrow_intervals
def test_fit_forecasts_with_the_weights_of_the_panel(sktime_class, panel, new):
    settings = suited(SETTINGS, sktime_class)
    core = sktime_class.core_class(**settings).fit(panel)
    forecaster = sktime_class(**settings).pretrain(panel)
    assert forecaster.state == "pretrained"
    assert list(forecaster.get_pretrained_params()) == ["pretrained_forecaster_"]
    forecaster.fit(new)
    assert_same_weights(forecaster.forecaster_, core)
    assert np.array_equal(forecaster.predict(range(1, 8)), core.predict(new, horizon=7))
    assert np.array_equal(forecaster.predict_quantiles([2], alpha=[0.1]), core.predict_quantiles([0.1], new)[1:2])
    forecaster.fit(new.iloc[:6])  # less than a context, as the series of a panel may be
    assert np.array_equal(forecaster.predict([1]), core.predict({"new": new.iloc[:6]}, horizon=1)["new"])
    assert forecaster.get_fitted_params()["forecaster"] is forecaster.forecaster_


def test_all_else_works_after_it(forecaster, new):
    core = forecaster.pretrained_forecaster_
    forecaster.fit(new.iloc[:60])
    in_sample = forecaster.predict(fh=-np.arange(60))
    np.testing.assert_allclose(in_sample.iloc[[40]], core.predict({"n": new.iloc[:40]}, horizon=1)["n"], rtol=0.05)
    cv = ExpandingWindowSplitter(fh=[1, 2], initial_window=2, step_length=3)
    batched = forecaster.update_predict(new.iloc[60:], cv, update_params=False)
    looped = forecaster.clone().fit(new.iloc[:60])
    looped = looped.update_predict(new.iloc[60:], cv, update_params=False, reset_forecaster=False)
    pd.testing.assert_frame_equal(batched, looped, rtol=1e-5)
    forecaster.update(new.iloc[60:62], update_params=False)
    before = forecaster.predict([1, 2])
    assert list(before.index) == list(new.index[62:64])
    assert_same_weights(forecaster.forecaster_, core)
    forecaster.update(new.iloc[62:64], update_params=True)
    assert differs(forecaster.forecaster_, core)
    assert not differs(forecaster.pretrained_forecaster_, core)


def test_known_covariates_of_the_panel(panel, new):
    X = panel[["s0"]].rename(columns={"s0": "x"})
    known = pd.DataFrame({"x": np.random.default_rng(0).normal(size=len(new))}, index=new.index)
    forecaster = SAMoVARForecaster(**SETTINGS | {"learning_rate": 0.1}).pretrain(panel, X)
    core = forecaster.pretrained_forecaster_
    for epochs in (0, 1):
        forecaster.set_params(fine_tune_epochs=epochs)
        with pytest.raises(ValueError, match=r"trained with the covariates \['x'\]"):
            forecaster.fit(new.iloc[:60])
        forecaster.fit(new.iloc[:60], known.iloc[:60])
        forecast = forecaster.predict([1, 2], known.iloc[60:62])
        assert not np.allclose(forecast, forecaster.predict([1, 2], known.iloc[60:62] + 1))
        if not epochs:
            assert np.array_equal(forecast, core.predict(new.iloc[:60], known, horizon=2))


def test_fit_on_a_panel_keeps_the_scaling_of_series_that_were_trained_on(forecaster, panel):
    later = panel_of({"p1": waves(30, 2, seed=5) * 2, "q": waves(30, 2, seed=6)})
    forecast = forecaster.fit(later).predict([1, 2])
    expected = forecaster.pretrained_forecaster_.predict(later, horizon=2)
    assert np.array_equal(forecast, expected)
    assert list(forecast.index.names) == ["series", "time"]


@pytest.mark.parametrize("single", [True, False], ids=["single series", "panel"])
def test_fine_tuning(forecaster, panel, new, single):
    core = forecaster.pretrained_forecaster_
    y = new if single else panel_of({"n": new})
    forecaster.set_params(fine_tune_epochs=2, max_steps=1)
    forecaster.fit(y)
    trained = forecaster.forecaster_
    assert differs(trained, core)
    assert trained.training_summary_.epochs == 2
    assert trained.training_summary_.steps > 2  # passes over the series, whatever max_steps says
    assert (trained.max_epochs, trained.max_steps) == (forecaster.max_epochs, 1)
    before = forecaster.predict([1, 2])
    forecaster.fit(y)  # begins with the weights of the panel again
    assert np.array_equal(forecaster.predict([1, 2]), before)
    # A tiny rate leaves the weights next to those of the panel: it did not begin anew.
    barely = forecaster.clone().set_params(learning_rate=1e-9, average_weights=None, weight_decay=0.0).fit(y)
    for name, weight in barely.forecaster_.network_.state_dict().items():
        np.testing.assert_allclose(weight, core.network_.state_dict()[name], atol=1e-6)


def test_fine_tuning_learns_covariates_that_the_panel_did_not_have(forecaster, new):
    X = pd.DataFrame({"x": np.random.default_rng(0).normal(size=len(new))}, index=new.index)
    with pytest.raises(ValueError, match="trained without covariates"):
        forecaster.fit(new.iloc[:70], X.iloc[:70])
    forecaster.set_params(fine_tune_epochs=1, learning_rate=0.1).fit(new.iloc[:70], X.iloc[:70])
    assert not np.allclose(forecaster.predict([1], X.iloc[70:]), forecaster.predict([1], X.iloc[70:] + 1))


@pytest.mark.parametrize("wrong", [-1, 1.5, True])
def test_epochs_of_fine_tuning_are_checked(new, wrong):
    with pytest.raises((TypeError, ValueError), match="fine_tune_epochs must be"):
        SAMoVARForecaster(**SETTINGS, fine_tune_epochs=wrong).fit(new)


def test_pretraining_twice_goes_on(panel, new):
    settings = SETTINGS | {"learning_rate": 1e-9, "average_weights": None, "weight_decay": 0.0}
    forecaster = SAMoVARForecaster(**SETTINGS).pretrain(panel)
    first = forecaster.pretrained_forecaster_
    forecaster.set_params(**settings).pretrain(panel_of({"n": new}))
    second = forecaster.pretrained_forecaster_
    assert second is not first
    for name, weight in second.network_.state_dict().items():
        np.testing.assert_allclose(weight, first.network_.state_dict()[name], atol=1e-6)
    assert list(second.series_) == ["n"]
    forecaster.set_params(learning_rate=1e-2).pretrain(panel)
    assert differs(forecaster.pretrained_forecaster_, second)
    assert forecaster.state == "pretrained"


def test_pretraining_after_fit(panel, new):
    """What `fit` learnt from a series is no pretraining: the panel is trained on from the beginning."""
    forecaster = SAMoVARForecaster(**SETTINGS).fit(new).pretrain(panel)
    core = SAMoVARForecaster.core_class(**SETTINGS).fit(panel)
    assert_same_weights(forecaster.pretrained_forecaster_, core)


def test_weights_survive(forecaster, new):
    core = forecaster.pretrained_forecaster_
    for copied in (
        forecaster.clone(),
        forecaster.clone().set_params(batch_size=7, learning_rate=0.5, random_state=3, verbose=0),
        forecaster.clone().fit(new).clone(),
        forecaster.clone().fit(new).set_params(patience=2),
        forecaster.clone().set_params(context_length=core.context_length_),
    ):
        assert copied.state == "pretrained"
        assert_same_weights(copied.fit(new).forecaster_, core)
    assert forecaster.clone().set_params(batch_size=7).fit(new).forecaster_.batch_size == 7


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"horizon": 2}, "horizon=2 does not fit the pretrained weights, which have horizon=4"),
        ({"context_length": 12}, "context_length=12 does not fit"),
        ({"d_model": 16, "n_heads": 4}, "d_model=16, n_heads=4 does not fit"),
        ({"quantiles": (0.1, 0.5, 0.9)}, "quantiles="),
        ({"log1p": True}, "log1p=True"),
    ],
)
def test_weights_that_do_not_fit_are_refused(forecaster, new, panel, changed, message):
    forecaster.set_params(**changed)
    with pytest.raises(ValueError, match=message):
        forecaster.fit(new)
    with pytest.raises(ValueError, match=message):
        forecaster.pretrain(panel)
    forecaster.set_params(fine_tune_epochs=1)
    with pytest.raises(ValueError, match=message):
        forecaster.fit(new)
    forecaster.reset()
    assert forecaster.state == "new"
    assert not forecaster.get_pretrained_params()
    trained = forecaster.fit(new.abs()).forecaster_
    assert all(getattr(trained, name) == value for name, value in changed.items())


def test_columns_go_by_name_and_by_position_where_no_name_is_the_same(forecaster, new):
    expected = forecaster.fit(new).predict([1, 2])
    assert list(expected.columns) == ["s0", "s1"]
    swapped = forecaster.fit(new[["s1", "s0"]]).predict([1, 2])
    assert list(swapped.columns) == ["s1", "s0"]
    assert np.array_equal(swapped[["s0", "s1"]], expected)
    renamed = forecaster.fit(new.set_axis(["u", "v"], axis=1)).predict([1, 2])
    assert list(renamed.columns) == ["u", "v"]
    assert np.array_equal(renamed, expected)
    with pytest.raises(ValueError, match=r"lacks \['s1'\]"):
        forecaster.fit(new.rename(columns={"s1": "v"}))
    with pytest.raises(ValueError, match=r"unknown \['u'\]"):
        forecaster.fit(new.assign(u=1.0))


def test_the_step_of_the_index_matters_where_the_calendar_does(panel, new):
    daily = new.set_axis(pd.date_range("2020-01-01", periods=len(new), freq="D"))
    forecast = SAMoVARForecaster(**SETTINGS).pretrain(panel).fit(daily).predict([1, 2])
    assert list(forecast.index) == list(pd.date_range("2020-03-21", periods=2, freq="D"))
    with pytest.raises(ValueError, match="pretrain with calendar=None"):
        SAMoVARForecaster(**SETTINGS, calendar="auto").pretrain(panel).fit(daily)


def test_evaluate_and_grid_search_begin_with_the_weights(forecaster, new):
    core = forecaster.pretrained_forecaster_
    cv = ExpandingWindowSplitter(fh=range(1, 5), initial_window=50, step_length=15)
    results = evaluate(forecaster, cv, new, strategy="refit", return_data=True, error_score="raise")
    for n_rows, forecast in zip((50, 65), results["y_pred"], strict=True):
        np.testing.assert_allclose(forecast, core.predict(new.iloc[:n_rows]), rtol=1e-5)
    search = ForecastingGridSearchCV(
        forecaster, cv=cv, param_grid={"fine_tune_epochs": [0, 1]}, scoring=MeanSquaredError(), error_score="raise",
        backend="None",
    ).fit(new)  # fmt: skip
    zero_shot = search.cv_results_.set_index(search.cv_results_["params"].map(lambda p: p["fine_tune_epochs"]))
    expected = np.mean([((new.iloc[n : n + 4] - core.predict(new.iloc[:n])) ** 2).to_numpy().mean() for n in (50, 65)])
    assert zero_shot.loc[0, "mean_test_MeanSquaredError"] == pytest.approx(expected, rel=1e-4)


def test_a_fixed_seed_gives_the_same_weights(panel, new):
    settings = SETTINGS | {"fine_tune_epochs": 1}
    forecasts = [SAMoVARForecaster(**settings).pretrain(panel).fit(new).predict([1, 2]) for _ in range(2)]
    assert np.array_equal(*forecasts)
    other = SAMoVARForecaster(**settings | {"random_state": 1}).pretrain(panel).fit(new).predict([1, 2])
    assert not np.array_equal(forecasts[0], other)


def shapes(n_series, n_rows, seed=0):
    """Series that repeat one shape of 24 rows, each at its own level, size and phase."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_rows) / 24
    for _ in range(n_series):
        level, size, phase = rng.normal(scale=10), np.exp(rng.normal()), rng.random()
        angle = 2 * np.pi * (time + phase)
        wave = np.sin(angle) + 0.7 * np.sin(2 * angle + 1) + 0.5 * np.sin(3 * angle + 2)
        yield level + size * (wave + 0.05 * rng.normal(size=n_rows)), size


def pretraining_errors(fine_tune_epochs=5):
    """Squared error in sizes of the series, by pretraining, with fine-tuning, and of the new series alone."""
    settings = SETTINGS | {"context_length": 24, "horizon": 12, "max_steps": 600, "max_epochs": 100}
    *ten, (values, size) = shapes(11, 200)
    panel = panel_of({f"p{number}": pd.DataFrame({"y": one}) for number, (one, _) in enumerate(ten)})
    y = pd.DataFrame({"y": values})
    pretrained = SAMoVARForecaster(**settings).pretrain(panel)
    candidates = {
        "pretrained": pretrained,
        "fine-tuned": pretrained.clone().set_params(fine_tune_epochs=fine_tune_epochs, learning_rate=1e-3),
        "alone": SAMoVARForecaster(**settings),
    }
    errors = {}
    for name, forecaster in candidates.items():
        forecast = forecaster.fit(y.iloc[:SHORT]).predict(fh=range(1, 25))
        errors[name] = float((((forecast - y.loc[forecast.index]) / size) ** 2).to_numpy().mean())
    return errors


def test_a_short_series_gains_by_a_panel_of_its_kind():
    errors = pretraining_errors()
    assert errors["pretrained"] < 0.5 * errors["alone"], errors
    assert errors["fine-tuned"] < 0.5 * errors["alone"], errors
