"""Every public forecaster, from a DataFrame to a forecast."""

import copy
import dataclasses
import pickle
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, TimeSeriesSplit, cross_val_score

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.training.config import TrainingConfig
from tests.conftest import TINY, suited, waves
from tests.peak_memory import numbers_printed_by


@cache
def trained(cls):
    return cls(**suited(TINY, cls)).fit(waves())


@pytest.fixture
def forecaster(forecaster_class):
    """A forecaster fitted to `y`: a copy, which a test may change, of one that is trained once."""
    return copy.deepcopy(trained(forecaster_class))


def test_fit_and_predict(forecaster, y):
    forecast = forecaster.predict()
    assert list(forecast.columns) == list(y.columns)
    assert list(forecast.index) == list(pd.date_range(y.index[-1], periods=9, freq="h")[1:])
    assert forecast.index.name == "time"
    assert np.isfinite(forecast.to_numpy()).all()


def test_it_learns(forecaster_class, tiny, y):
    untrained = forecaster_class(**(tiny | {"max_steps": 1, "learning_rate": 1e-9})).fit(y)
    trained = forecaster_class(**(tiny | {"max_epochs": 15})).fit(y)
    fresh = waves(400, seed=1)

    def error(forecaster):
        result = forecaster.backtest(fresh)
        return float((((result.forecast - result.actual) / y.std().to_numpy()) ** 2).mean())

    assert error(trained) < 0.5 * error(untrained)


def test_series_in_series_out(forecaster_class, tiny, y):
    forecast = forecaster_class(**tiny).fit(y["s1"]).predict()
    assert isinstance(forecast, pd.Series)
    assert forecast.name == "s1"


def test_columns_in_any_order_give_the_same_forecast(forecaster, y):
    pd.testing.assert_frame_equal(forecaster.predict(y), forecaster.predict(y[["s2", "s0", "s1"]]))
    pd.testing.assert_frame_equal(forecaster.predict(), forecaster.predict(y))


def test_targets_are_forecast_from_all_columns(forecaster_class, tiny, y):
    mixes = forecaster_class.network_class.mixes_series(forecaster_class())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        forecaster = forecaster_class(**tiny, targets=["s2", "s0"]).fit(y)
    assert any("1 columns beside the targets are not used" in str(warning.message) for warning in said) != mixes
    assert list(forecaster.predict().columns) == ["s2", "s0"]
    other = y.assign(s1=np.random.default_rng(3).normal(size=len(y)))
    assert np.array_equal(forecaster.predict(y), forecaster.predict(other)) != mixes
    alone = forecaster_class(**tiny, targets=["s2"]).fit(y)
    assert list(alone.backtest(y).series.values) == ["s2"]


def test_longer_horizons_roll_forward(forecaster, y):
    rolled = forecaster.predict(horizon=20)
    history = pd.concat([y, rolled.iloc[:8]])
    np.testing.assert_allclose(rolled.iloc[8:16], forecaster.predict(history), rtol=1e-5)
    pd.testing.assert_frame_equal(rolled.iloc[:5], forecaster.predict(horizon=5))


@pytest.mark.parametrize("stride", [1, 3])
def test_backtest_equals_a_loop_of_predict(forecaster, y, stride):
    result = forecaster.backtest(y, start=y.index[130], stride=stride)
    assert result.forecast.dims == ("cutoff", "step", "series")
    assert result.sizes["cutoff"] == len(range(130, len(y) - 8 + 1, stride))
    for position, cutoff in enumerate(result.cutoff.values):
        end = y.index.get_loc(cutoff) + 1
        np.testing.assert_allclose(result.forecast[position], forecaster.predict(y.iloc[:end]), rtol=1e-5)
        np.testing.assert_array_equal(result.actual[position], y.iloc[end : end + 8])


def test_backtest_covers_every_full_window(tiny, y):
    forecaster = SAMoVARForecaster(**tiny).fit(y)
    assert forecaster.backtest(y).sizes["cutoff"] == len(y) - 24 - 8 + 1
    assert forecaster.backtest(y.iloc[:32]).sizes["cutoff"] == 1
    with pytest.raises(ValueError, match="y is too short"):
        forecaster.backtest(y.iloc[:31])
    with pytest.raises(ValueError, match="10 rows before it, the network needs 24"):
        forecaster.backtest(y, start=y.index[10])
    with pytest.raises(ValueError, match="stride"):
        forecaster.backtest(y, stride=0)


def test_a_backtest_takes_the_memory_of_its_result():
    numbers = numbers_printed_by(
        """
import numpy as np, pandas as pd
from samovar_forecast import SAMoVARForecaster
forecaster = SAMoVARForecaster(horizon=24, context_length=16, d_model=8, n_heads=1, n_layers=1, max_steps=1,
                               device="cpu").fit(pd.DataFrame(np.random.rand(300, 7)))
for n_rows in (3_000, 40_000):
    result = forecaster.backtest(pd.DataFrame(np.random.rand(n_rows, 7)))
    print(peak(), result.nbytes)
    del result
""",
        MALLOC_MMAP_THRESHOLD_="65536",  # a heap that gives back what is freed
    )
    small, small_size, large, large_size = numbers
    assert large_size - small_size > 90e6
    assert large - small < 1.1 * (large_size - small_size)


def test_known_covariates(forecaster_class, tiny):
    index = pd.date_range("2024-01-01", periods=400, freq="h")
    X = pd.DataFrame({"push": np.random.default_rng(0).normal(size=400)}, index=index)
    y = waves(400, 2, index=index) + 20 * X[["push"]].to_numpy()
    settings = tiny | {"max_epochs": 30, "learning_rate": 3e-2}
    forecaster = forecaster_class(**settings).fit(y.iloc[:300], X.iloc[:300])
    plain = forecaster_class(**settings).fit(y.iloc[:300])
    with_x, without = forecaster.backtest(y.iloc[270:], X), plain.backtest(y.iloc[270:])

    def error(result):
        return float(((result.forecast - result.actual)[..., 0] ** 2).mean())

    assert error(with_x) < 0.3 * error(without)
    with pytest.raises(ValueError, match="X lacks 8 of the 32 rows that are needed, the first of them 2024-01-13 12"):
        forecaster.predict()
    with pytest.raises(ValueError, match="X lacks 1 of"):
        forecaster.predict(X=X.iloc[300:307])
    with pytest.raises(ValueError, match="fitted without X"):
        plain.predict(X=X)
    ahead = forecaster.predict(X=X.iloc[300:330], horizon=20)
    assert ahead.shape == (20, 2)
    np.testing.assert_allclose(ahead.iloc[:8], forecaster.predict(y.iloc[:300], X), rtol=1e-5)


def test_same_seed_same_forecast(forecaster_class, tiny, y):
    one, two = (forecaster_class(**tiny).fit(y).predict() for _ in range(2))
    assert np.array_equal(one, two)
    other = forecaster_class(**(tiny | {"random_state": 1})).fit(y).predict()
    assert not np.array_equal(one, other)


def test_the_callers_random_state_survives(tiny, y):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    SAMoVARForecaster(**tiny).fit(y)
    assert torch.equal(torch.rand(3), expected)


def test_update_moves_the_cutoff_and_trains(forecaster_class, tiny, y):
    forecaster = forecaster_class(**tiny).fit(y.iloc[:150])
    moved = copy.deepcopy(forecaster).update(y.iloc[150:], retrain=False)
    pd.testing.assert_frame_equal(moved.predict(), forecaster.predict(y))
    trained = copy.deepcopy(forecaster).update(y.iloc[150:])
    assert trained.predict().index.equals(moved.predict().index)
    assert not np.allclose(trained.predict(), moved.predict())
    assert trained.training_summary_.n_windows == 10  # every window with a target among the ten new rows
    with pytest.raises(ValueError, match="leaves a gap"):
        forecaster.update(y.iloc[152:])


def test_update_refuses_to_forget_its_context(tiny, y):
    forecaster = SAMoVARForecaster(**tiny).fit(y)
    expected = forecaster.predict(y.iloc[:158])
    moved_back = copy.deepcopy(forecaster).update(y.iloc[155:158], retrain=False)  # rows before are remembered
    np.testing.assert_allclose(moved_back.predict(), expected, rtol=1e-5)
    for retrain in (True, False):
        with pytest.raises(ValueError, match="so far back that 5 rows are left"):
            forecaster.update(y.iloc[100:105], retrain=retrain)


def test_update_row_by_row_equals_update_at_once(tiny, y):
    forecaster = SAMoVARForecaster(**tiny).fit(y.iloc[:150])
    at_once = copy.deepcopy(forecaster).update(y.iloc[150:], retrain=False)
    for row in range(150, len(y)):
        forecaster.update(y.iloc[[row]], retrain=False)
    pd.testing.assert_frame_equal(forecaster.predict(), at_once.predict())


def test_score_is_the_negative_error_of_the_following_block(forecaster_class, tiny, y):
    forecaster = forecaster_class(**tiny).fit(y.iloc[:140])
    errors = (forecaster.predict(horizon=20) - y.iloc[140:]) / forecaster.scaler_.scale
    assert forecaster.score(y.iloc[140:]) == pytest.approx(-(errors.to_numpy() ** 2).mean())
    with pytest.raises(ValueError, match="must follow the training data"):
        forecaster.score(y.iloc[141:])


@pytest.mark.parametrize("index", ["dates", "range"])
def test_cross_validation(forecaster_class, tiny, y, index):
    if index == "range":
        y = y.reset_index(drop=True)
    scores = cross_val_score(forecaster_class(**tiny), y, cv=TimeSeriesSplit(2, test_size=12), error_score="raise")
    assert scores.shape == (2,)
    assert (scores < 0).all()


def test_grid_search(forecaster_class, tiny, y):
    of_network = next(name for name in vars(forecaster_class(**tiny)) if not hasattr(TrainingConfig, name))
    search = GridSearchCV(
        forecaster_class(**tiny),
        {"learning_rate": [1e-9, 1e-2], of_network: [getattr(forecaster_class(**tiny), of_network)]},
        cv=TimeSeriesSplit(2, test_size=8),
        error_score="raise",
    ).fit(y)
    assert search.best_params_["learning_rate"] == 1e-2
    assert search.best_estimator_.predict().shape == (8, 3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.parametrize(
    ("asked", "cure"),
    [
        ({"scoring": "neg_mean_absolute_error", "cv": TimeSeriesSplit(2)}, "leave scoring out for `score`"),
        (
            {"scoring": ["r2", "neg_max_error"], "refit": "r2", "cv": TimeSeriesSplit(2)},
            "leave scoring out for `score`",
        ),
        ({}, r"forecasters need cv=TimeSeriesSplit\(...\)"),
        ({"cv": KFold(3, shuffle=True, random_state=0)}, "forecasters need cv=TimeSeriesSplit"),
        ({"cv": ShuffleSplit(2, random_state=0)}, "forecasters need cv=TimeSeriesSplit"),
    ],
    ids=["text", "texts", "default", "shuffled", "drawn"],
)
def test_a_search_that_cannot_judge_names_no_best_but_what_to_do(tiny, y, asked, cure):
    """scikit-learn would turn the failures into NaN, and name the first candidate the best."""
    search = GridSearchCV(SAMoVARForecaster(**tiny), {"learning_rate": [1e-3, 1e-2]}, **asked)
    with pytest.raises(ValueError, match=rf"(?s)All the \d+ fits failed.*{cure}"):
        search.fit(y)
    if "refit" not in asked:
        with pytest.raises(ValueError, match=cure):
            cross_val_score(SAMoVARForecaster(**tiny), y, **asked, error_score="raise")


def test_a_search_may_score_by_a_function(tiny, y):
    """The one that the error names."""
    search = GridSearchCV(
        SAMoVARForecaster(**tiny),
        {"learning_rate": [1e-9, 1e-2]},
        scoring=lambda forecaster, y, _=None: -(forecaster.predict(horizon=len(y)) - y).abs().mean(axis=None),
        cv=TimeSeriesSplit(2, test_size=8),
    ).fit(y)
    assert search.best_params_["learning_rate"] == 1e-2
    error = (search.best_estimator_.fit(y[:-8]).predict() - y[-8:]).abs().to_numpy().mean()
    last = search.cv_results_["split1_test_score"][search.best_index_]
    assert last == pytest.approx(-error)


ROLLING = [TimeSeriesSplit(3), TimeSeriesSplit(2, max_train_size=60), TimeSeriesSplit(4, test_size=10)]


@pytest.mark.parametrize("cv", [*ROLLING, [(range(100), range(100, 120))]], ids=str)
def test_folds_that_follow_one_another_are_scored(tiny, y, cv):
    assert np.isfinite(cross_val_score(SAMoVARForecaster(**(tiny | {"max_steps": 1})), y, cv=cv)).all()


def test_the_settings_of_data_and_losses_can_be_searched(tiny, y):
    y.iloc[20:30, 1] = np.nan
    search = GridSearchCV(
        SAMoVARForecaster(**(tiny | {"max_steps": 2})),
        {"scaler": ["standard", "robust"], "log1p": [False, True], "quantiles": [None, (0.1, 0.5, 0.9)],
         "sampling": ["series"]},
        cv=TimeSeriesSplit(2, test_size=8),
        error_score="raise",
    ).fit(y)  # fmt: skip
    assert len(set(search.cv_results_["mean_test_score"])) == 8  # every one of them changes something
    assert search.best_estimator_.predict_interval().shape == (8, 6)
    copied = clone(SAMoVARForecaster(quantiles=[0.1, 0.5, 0.9], log1p=True, scaler="robust", sampling="series"))
    assert copied.get_params()["quantiles"] == [0.1, 0.5, 0.9]
    assert copied.set_params(quantiles=None).get_params()["quantiles"] is None


def test_a_forecaster_of_a_single_series_takes_many_histories(tiny, y):
    forecaster = SAMoVARForecaster(**tiny).fit(y)
    histories = {"newest": y, "older": y[:100], "other": waves(50, seed=3)}
    forecasts = forecaster.predict(histories)
    stacked = forecaster.predict(pd.concat(histories, names=["which"]))
    assert list(stacked.index.names) == ["which", "time"]
    for key, history in histories.items():
        pd.testing.assert_frame_equal(forecasts[key], forecaster.predict(history), rtol=1e-5)
        pd.testing.assert_frame_equal(stacked.loc[key], forecasts[key], rtol=0, check_freq=False)
    with pytest.raises(ValueError, match="y of series 'short' is too short: 23 rows, the network needs 24"):
        forecaster.predict(histories | {"short": y[:23]})
    with pytest.raises(ValueError, match=r"y of series 'newest' is no series of the .* which was a single one"):
        forecaster.update(histories)


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2024-01-01", periods=160, freq="B"),
        pd.date_range("1960-01-01", periods=160, freq="QS"),
        pd.period_range("1960-01", periods=160, freq="M"),
        pd.RangeIndex(0, 480, 3),
    ],
    ids=["business days", "quarters", "periods", "range"],
)
@pytest.mark.parametrize("n_new", [1, 2, 3, 4])
def test_a_few_new_rows_need_not_show_their_step(tiny, index, n_new):
    """As they are read from a file: Tuesday to Friday may be days or business days."""
    y = waves(160, index=index).set_axis(pd.Index(list(index)) if isinstance(index, pd.RangeIndex) else [*index])
    forecaster = SAMoVARForecaster(**(tiny | {"max_steps": 1})).fit(y[:152])
    assert list(forecaster.predict().index) == list(index[152:])
    assert np.isfinite(forecaster.score(y[152 : 152 + n_new]))
    forecaster.update(y[152 : 152 + n_new], retrain=False)
    assert list(forecaster.predict(horizon=2).index[:1]) == [index[152 + n_new]]
    wrong = y[152:158:2]
    with pytest.raises(ValueError, match=r"has a step of|has an irregular index|do not touch"):
        SAMoVARForecaster(**(tiny | {"max_steps": 1})).fit(y[:152]).update(wrong)


def test_sklearn_conventions(forecaster_class, tiny, y):
    forecaster = forecaster_class(**tiny)
    assert set(vars(forecaster)) == set(forecaster.get_params())  # __init__ only assigns
    copied = clone(forecaster.set_params(patience=7))
    assert copied.get_params() == forecaster.get_params()
    assert copied is not forecaster
    assert f"{forecaster_class.__name__}(" in repr(forecaster)
    assert "<div" in forecaster._repr_html_()
    with pytest.raises(NotFittedError):
        forecaster.predict()
    with pytest.raises(ValueError, match="Invalid parameter 'horizont'"):
        forecaster.set_params(horizont=3)
    with pytest.raises(TypeError, match="horizont"):
        forecaster_class(horizont=3)
    before = forecaster.get_params()
    forecaster.fit(y)
    assert forecaster.get_params() == before


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda fitted: pickle.loads(pickle.dumps(fitted))])
def test_copies_forecast_the_same(forecaster, duplicate):
    assert np.array_equal(duplicate(forecaster).predict(), forecaster.predict())


def test_predict_changes_nothing(forecaster, y):
    fitted = forecaster
    before = copy.deepcopy(fitted)
    fitted.predict(horizon=20)
    fitted.backtest(y)
    fitted.score(waves(180).iloc[160:])
    assert vars(fitted).keys() == vars(before).keys()
    pd.testing.assert_frame_equal(fitted.history_, before.history_)
    for name, weight in fitted.network_.state_dict().items():
        assert torch.equal(weight, before.network_.state_dict()[name])


def test_context_is_chosen_from_horizon_and_data(y):
    settings = {"d_model": 8, "n_heads": 2, "n_layers": 1, "max_steps": 1, "device": "cpu"}
    assert SAMoVARForecaster(horizon=2, **settings).fit(y).context_length_ == 20
    assert SAMoVARForecaster(horizon=4, **settings).fit(y).context_length_ == 128 // 6
    assert SAMoVARForecaster(horizon=8, **settings).fit(y).context_length_ == 3 * 8
    panel = dict.fromkeys("abc", y)
    assert SAMoVARForecaster(horizon=8, **settings).fit(panel).context_length_ == (128 - 8) // 2


def test_too_short_names_the_rows_needed(forecaster_class, tiny, y):
    with pytest.raises(ValueError, match="need at least 32"):
        forecaster_class(**(tiny | {"validation_fraction": 0})).fit(y.iloc[:31])
    forecaster_class(**(tiny | {"validation_fraction": 0})).fit(y.iloc[:32])
    with pytest.raises(ValueError, match="the network needs 24 of history"):
        forecaster_class(**tiny).fit(y).predict(y.iloc[:23])


def test_a_short_series_trains_without_validation_and_says_so(tiny, y):
    with pytest.warns(UserWarning, match="of 36 rows is 7, less than the 8 rows forecast at once"):
        forecaster = SAMoVARForecaster(**tiny).fit(y.iloc[:36])
    assert forecaster.training_summary_.validation_loss is None


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"horizon": 0}, ValueError, "horizon must be at least 1"),
        ({"horizon": 2.5}, TypeError, "horizon must be an integer"),
        ({"horizon": True}, TypeError, "horizon must be an integer"),
        ({"context_length": -1}, ValueError, "context_length must be at least 1"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"max_epochs": None}, TypeError, "max_epochs"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be greater than 0"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number"),
        ({"weight_decay": -1}, ValueError, "weight_decay"),
        ({"gradient_clip": 0}, ValueError, "gradient_clip"),
        ({"validation_fraction": 1.0}, ValueError, r"validation_fraction must be in \[0, 1\)"),
        ({"schedule": "linear"}, ValueError, "schedule must be one of"),
        ({"scaler": "robust!"}, ValueError, "scaler must be one of"),
        ({"loss": "l7"}, ValueError, "loss must be one of"),
        ({"precision": "64"}, ValueError, "precision must be one of"),
        ({"logger": "wandb"}, ValueError, "logger must be one of"),
        ({"device": "gpu7"}, ValueError, "device='gpu7'"),
        ({"device": "cuda:99"}, ValueError, "device='cuda:99' is not there"),
        ({"sharpness_rho": -1}, ValueError, "sharpness_rho must be 0 or greater"),
        ({"adam_betas": (0.9, 1)}, ValueError, "adam_betas must be two numbers"),
        ({"calendar": ["hours"]}, ValueError, "calendar has unknown features"),
        ({"targets": ["nope"]}, ValueError, "targets must name columns"),
        ({"random_state": "seed"}, TypeError, "random_state must be an integer or a RandomState or None"),
        ({"sampling": "shops"}, ValueError, r"sampling must be one of \('windows', 'series'\), got 'shops'"),
        ({"log1p": "yes"}, ValueError, "log1p must be one of"),
        ({"quantiles": 0.5}, TypeError, "quantiles must be a tuple of numbers"),
        ({"quantiles": ()}, ValueError, "quantiles must ascend"),
        ({"quantiles": ("a",)}, TypeError, "quantiles must be a tuple of numbers"),
    ],
)
def test_bad_hyperparameters_are_named(forecaster_class, tiny, y, wrong, error, named):
    with pytest.raises(error, match=named):
        forecaster_class(**(tiny | wrong)).fit(y)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"d_model": 0}, "d_model must be at least 1"),
        ({"dropout": 1.5}, "dropout must be in"),
        ({"n_heads": 3}, "n_heads must divide d_model"),
    ],
)
def test_bad_sizes_of_networks_are_named(forecaster_class, tiny, y, wrong, named):
    if not set(wrong) <= set(tiny | {"dropout": 0} if hasattr(forecaster_class, "dropout") else tiny):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            forecaster_class(**(tiny | wrong))
        return
    with pytest.raises(ValueError, match=named):
        forecaster_class(**(tiny | wrong)).fit(y)


def test_predict_refuses_foreign_histories(tiny, y):
    forecaster = SAMoVARForecaster(**tiny).fit(y)
    with pytest.raises(ValueError, match="lacks"):
        forecaster.predict(y[["s0", "s1"]])
    with pytest.raises(ValueError, match="has a step of"):
        forecaster.predict(waves(index=pd.date_range("2024", periods=160, freq="D")))
    with pytest.raises(ValueError, match="horizon must be a positive integer"):
        forecaster.predict(horizon=0)


def test_nothing_is_written_into_the_working_directory(forecaster_class, tiny, y, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forecaster_class(**tiny).fit(y).backtest(y)
    assert list(tmp_path.iterdir()) == []


CHANGES = {
    "horizon": 3, "context_length": 30, "quantiles": (0.3, 0.5, 0.7), "log1p": True, "scaler": "none",
    "calendar": ["month"], "targets": ["s1"], "learning_rate": 9.0, "d_model": 4, "validation_fraction": 0.5,
    "sampling": "series", "random_state": 5,
}  # fmt: skip


@pytest.mark.parametrize("quantiles", [None, (0.1, 0.5, 0.9)])
def test_hyperparameters_set_after_fit_count_from_the_next_fit_on(tiny, y, quantiles, tmp_path):
    columns = ["s0", "s2", "s1"]
    given = {**tiny, "quantiles": quantiles, "calendar": ["hour"], "targets": columns}
    forecaster = SAMoVARForecaster(**given).fit(y)
    other = copy.deepcopy(forecaster)
    forecaster.set_params(**CHANGES)
    for name, value in CHANGES.items():
        assert getattr(forecaster, name) == value  # as sklearn wants it
    pd.testing.assert_frame_equal(forecaster.predict(), other.predict())
    pd.testing.assert_frame_equal(forecaster.predict(y.iloc[:60], horizon=11), other.predict(y.iloc[:60], horizon=11))
    pd.testing.assert_frame_equal(forecaster.predict_interval(0.5), other.predict_interval(0.5))
    pd.testing.assert_frame_equal(forecaster.predict_in_sample(y), other.predict_in_sample(y))
    assert forecaster.backtest(y, quantiles=[0.5]).equals(other.backtest(y, quantiles=[0.5]))
    for one, name in ((forecaster, "changed"), (other, "not")):
        one.save(tmp_path / name)
    assert (tmp_path / "changed").read_bytes() == (tmp_path / "not").read_bytes()
    assert SAMoVARForecaster.load(tmp_path / "changed").get_params() == other.get_params()
    new = waves(170).iloc[160:]
    assert forecaster.score(new) == other.score(new)
    forecaster.set_params(random_state=given["random_state"])  # where the seed of an update comes from
    pd.testing.assert_frame_equal(forecaster.update(new).predict(), other.update(new).predict())
    assert forecaster.fitted_.hyperparameters["horizon"] == given["horizon"]
    assert forecaster.to_darts().output_chunk_length == given["horizon"]
    assert forecaster.to_sktime().horizon == given["horizon"]


def test_a_mutable_hyperparameter_that_is_changed_in_place_changes_nothing_fitted(tiny, y):
    targets = ["s1", "s0"]
    forecaster = SAMoVARForecaster(**tiny, targets=targets).fit(y)
    targets.append("s2")
    forecaster.columns_.append("nothing")
    assert forecaster.predict().columns.tolist() == ["s1", "s0"]
    assert forecaster.fitted_.hyperparameters["targets"] == ["s1", "s0"]


def test_what_is_fitted_is_one_frozen_object(tiny, y):
    forecaster = SAMoVARForecaster(**tiny)
    unfitted = set(vars(forecaster))
    forecaster.fit(y)
    assert set(vars(forecaster)) - unfitted == {"fitted_"}
    before = forecaster.fitted_
    for name in ("network", "data", "calibration"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(before, name, None)
    forecaster.update(waves(170).iloc[160:], retrain=False)
    assert forecaster.fitted_ is not before
    assert before.data.series[None].history.index[-1] == y.index[-1]
    with pytest.raises(ValueError, match="too short"):
        forecaster.fit(y.iloc[:5])
    assert forecaster.fitted_.data.series[None].history.index[-1] == waves(170).index[-1]
