"""What holds for every forecaster, whatever the data and the settings, tried on those that hypothesis makes up.

Fits are dear, forecasts are not: a few forecasters are fitted once for the file and asked often, and a smaller number
of examples fits anew.
"""

import functools
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from samovar_forecast.forecasters import ALL_FORECASTERS
from tests.conftest import TINY, suited, waves
from tests.made_up_data import any_frames, frames

settings.register_profile("samovar", deadline=None, print_blob=True, database=None)
settings.load_profile("samovar")

CONTEXT, HORIZON = 12, 4
QUICK = TINY | {"context_length": CONTEXT, "horizon": HORIZON, "max_epochs": 1, "max_steps": 2, "average_weights": None}
OPTIONS = {
    "plain": {},
    "quantiles": {"quantiles": (0.1, 0.5, 0.9)},
    "some targets": {"targets": ["s2", "s0"]},
    "robust": {"scaler": "robust"},
    "logarithms": {"log1p": True},
    "unscaled": {"scaler": "none"},
    "bounded": {"lower": 0.0},
    "panel": {},
}
fitted_kinds = st.tuples(st.sampled_from(ALL_FORECASTERS), st.sampled_from(list(OPTIONS)))
seeds = st.integers(0, 2**32 - 1)


@functools.cache
def fitted(cls, kind):
    """A forecaster that no test changes."""
    y = waves(80)
    data = {"one": y, "two": waves(60, seed=1), "three": waves(20, seed=2)} if kind == "panel" else y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return cls(**suited(QUICK, cls), **OPTIONS[kind]).fit(data)


@st.composite
def histories(draw, n_rows=None, gaps=True):
    """Rows as the fitted forecasters know them, of a size that they can take, with an hourly axis."""
    n_rows = draw(st.integers(CONTEXT, 40)) if n_rows is None else n_rows
    generator = np.random.default_rng(draw(seeds))
    made = generator.normal(size=(n_rows, 3)).cumsum(0) * 10.0 ** draw(st.integers(-3, 6))
    made = np.abs(made) if draw(st.booleans()) else np.abs(made).round()
    if gaps and draw(st.booleans()):
        made[generator.random(made.shape) < 0.3] = np.nan
        made[-1] = 1.0  # every column has a value in the newest context
    start = pd.Timestamp("2000-01-01") + pd.Timedelta(hours=draw(st.integers(0, 10**5)))
    return pd.DataFrame(made, pd.date_range(start, periods=n_rows, freq="h", name="time"), ["s0", "s1", "s2"])


def check_forecast(forecast, history, columns, n_steps):
    assert list(forecast.columns) == list(columns)
    assert (forecast.dtypes == np.float64).all()
    expected = pd.date_range(history.index[-1], periods=n_steps + 1, freq="h", name="time")[1:]
    pd.testing.assert_index_equal(forecast.index, expected, exact="equiv")
    assert np.isfinite(forecast).all(axis=None)


def size_of(forecaster, history):
    """What single precision is relative to, for each target."""
    spread = np.nanmax(np.abs(history[forecaster.targets_].to_numpy()), axis=0)
    return np.maximum(spread, forecaster.series_[next(iter(forecaster.series_))].scaler.scale[-len(spread) :])


@settings(max_examples=400)
@given(fitted_kinds, histories(), st.integers(1, 3 * HORIZON))
def test_forecasts_are_finite_and_go_on_after_the_history(which, history, n_steps):
    forecaster = fitted(*which)
    forecast = forecaster.predict(history, horizon=n_steps)
    check_forecast(forecast, history, forecaster.targets_, n_steps)
    intervals = forecaster.predict_interval(0.8, history, horizon=n_steps)
    assert np.isfinite(intervals).all(axis=None)
    assert intervals.index.equals(forecast.index)
    for target in forecaster.targets_:
        assert (intervals[target, "lower"] <= intervals[target, "upper"]).all()


@settings(max_examples=200)
@given(fitted_kinds, st.integers(CONTEXT, 40).flatmap(histories), st.integers(0, 2), st.integers(1, 3 * HORIZON))
def test_an_outage_stops_no_forecast_and_fewer_steps_are_the_first_of_more(which, history, column, n_steps):
    """One of the columns has no value in the context, but before it."""
    forecaster, name = fitted(*which), f"s{column}"
    earlier = history.iloc[:1].set_axis(history.index[:1] - history.index.freq).fillna(1.0)
    history = pd.concat([earlier, history]).asfreq("h")
    history.loc[history.index[-CONTEXT:], name] = np.nan
    forecast = forecaster.predict(history, horizon=3 * HORIZON)
    check_forecast(forecast, history, forecaster.targets_, 3 * HORIZON)
    level = history[name].dropna().iloc[-1]
    size = dict(zip(forecaster.targets_, size_of(forecaster, history.ffill().bfill()), strict=True))
    if name in forecast:
        np.testing.assert_allclose(forecast[name] / size[name], level / size[name], atol=1e-5)
    if forecaster.lower is not None:
        assert (forecaster.predict_interval(0.9, history, horizon=n_steps) >= 0).all(axis=None)
    first = forecaster.predict(history, horizon=n_steps)
    for target, one in size.items():
        np.testing.assert_allclose(first[target] / one, forecast[target][:n_steps] / one, atol=1e-4)


@settings(max_examples=200)
@given(
    fitted_kinds,
    histories(),
    st.permutations(["s0", "s1", "s2"]),
    st.sampled_from(["float64", "Float64", "double[pyarrow]"]),
)
def test_the_order_and_the_type_of_columns_do_not_matter(which, history, order, dtype):
    forecaster = fitted(*which)
    pd.testing.assert_frame_equal(
        forecaster.predict(history[order].astype(dtype)), forecaster.predict(history), check_exact=True
    )


@settings(max_examples=150)
@given(fitted_kinds, st.lists(histories(), min_size=2, max_size=6))
def test_a_forecast_does_not_depend_on_its_company(which, many):
    forecaster = fitted(*which)
    together = forecaster.predict(dict(enumerate(many)))
    for number, history in enumerate(many):
        alone = forecaster.predict({number: history})[number]
        size = size_of(forecaster, history)
        np.testing.assert_allclose(together[number] / size, alone / size, atol=1e-4)
        assert together[number].index.equals(alone.index)


@settings(max_examples=150)
@given(fitted_kinds, histories(n_rows=CONTEXT + HORIZON + 14), st.integers(1, 3))
def test_a_backtest_is_a_loop_of_forecasts(which, history, stride):
    forecaster = fitted(*which)
    name = "two" if forecaster.is_panel_ else None  # a series that training has seen
    given_rows = history if name is None else {name: history}
    result = forecaster.backtest(given_rows, stride=stride)
    result = result if name is None else result[name]
    size = size_of(forecaster, history)
    for position in range(result.sizes["cutoff"]):
        rows = history.iloc[: CONTEXT + position * stride]
        alone = forecaster.predict(rows if name is None else {name: rows})
        alone = alone if name is None else alone[name]
        np.testing.assert_allclose(result.forecast[position] / size, alone / size, atol=1e-4)


@settings(max_examples=200)
@given(
    fitted_kinds,
    histories(n_rows=CONTEXT + HORIZON + 12),
    st.integers(1, 12),
    seeds,
    st.sampled_from(["two", "unseen"]),
)
@example((ALL_FORECASTERS[0], "panel"), waves(28), 1, 0, "unseen")  # once scaled by all of its rows
def test_what_comes_after_a_cutoff_changes_no_forecast_before_it(which, history, n_later, seed, name):
    forecaster = fitted(*which)
    later = history.copy()
    later.iloc[-n_later:] = np.random.default_rng(seed).uniform(0, 10.0 ** (seed % 7), size=(n_later, 3))
    before, after = (
        forecaster.backtest({name: rows})[name] if forecaster.is_panel_ else forecaster.backtest(rows)
        for rows in (history, later)
    )
    n_before = len(history) - n_later - CONTEXT + 1  # cutoffs whose context holds none of the changed rows
    np.testing.assert_array_equal(before.forecast[:n_before], after.forecast[:n_before])


@settings(max_examples=150)
@given(fitted_kinds, histories(), st.integers(1, 9))
def test_forecasting_changes_nothing(which, history, n_steps):
    forecaster = fitted(*which)
    before, kept = pickle.dumps(forecaster), history.copy()
    forecaster.predict(history, horizon=n_steps)
    forecaster.predict_quantiles((0.2, 0.5), history)
    if len(history) >= CONTEXT + HORIZON:
        forecaster.backtest(history)
        forecaster.predict_in_sample(history)
    assert pickle.dumps(forecaster) == before
    pd.testing.assert_frame_equal(history, kept)


@functools.cache
def loaded(cls, kind, folder):
    path = folder / f"{cls.__name__}-{kind}.safetensors"
    fitted(cls, kind).save(path)
    return cls.load(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def test_a_model_file_gives_the_same_bits(folder):
    @settings(max_examples=200)
    @given(fitted_kinds, histories(), st.integers(1, 9))
    def forecasts_alike(which, history, n_steps):
        one, other = fitted(*which), loaded(*which, folder)
        pd.testing.assert_frame_equal(
            other.predict(history, horizon=n_steps), one.predict(history, horizon=n_steps), check_exact=True
        )
        pd.testing.assert_frame_equal(
            other.predict_interval(0.5, history), one.predict_interval(0.5, history), check_exact=True
        )

    forecasts_alike()


@settings(max_examples=250)
@given(fitted_kinds, any_frames(histories()))
def test_any_frame_is_refused_or_forecast(which, history):
    forecaster = fitted(*which)
    try:
        forecast = forecaster.predict(history)
    except (ValueError, TypeError) as error:
        event(type(error).__name__)
        assert str(error).startswith(("y ", "the index"))  # noqa: PT017  # the message names what it is about
        return
    assert np.isfinite(forecast).all(axis=None)


@settings(max_examples=150)
@given(fitted_kinds, histories(), st.integers(0, 40), st.integers(0, 2), st.floats(1, 1e300))
def test_values_of_any_size_are_refused_or_forecast(which, history, row, column, value):
    forecaster = fitted(*which)
    row = min(row, len(history) - 1)
    history.iloc[row, column] = value
    try:
        forecast = forecaster.predict(history)
    except ValueError as error:
        assert f"column 's{column}' is" in str(error)  # noqa: PT017
        assert str(history.index[row]) in str(error)  # noqa: PT017
        return
    assert np.isfinite(forecast).all(axis=None)


SIZES = {
    "d_model": [4, 8], "n_layers": [1, 2], "n_heads": [1, 2, 4], "dropout": [0.0, 0.5],
    "segment_length": [None, 1, 3, 100], "univariate": [False, True], "value_rank": [None, 2],
    "sigma_reparam": [False, True], "n_encoder_layers": [1, 2], "n_decoder_layers": [1], "moving_average": [1, 5, 99],
    "factor": [0.5, 3.0], "patch_length": [1, 4, 64], "patch_stride": [1, 3], "head": ["flatten", "pooled"],
    "attention": ["linear", "linformer", "image"], "causal": [False, False, True], "glu": [False, True],
    "reversible": [False, True], "token_shift": [False, True], "value_width": [1, 8],
    "direction": ["past", "circular"], "n_factors": [None, 1], "residual": [False, True], "layer_norm": [False, True],
    "feed_forward": [False, True],
}  # fmt: skip
TRAINING = {
    "batch_size": [1, 8, 512], "max_steps": [1, 2], "learning_rate": [1e-9, 1e-3, 1e-1], "weight_decay": [0.0, 0.1],
    "gradient_clip": [None, 1.0], "accumulate_batches": [1, 3], "patience": [None, 1],
    "validation_fraction": [0.0, 0.2, 0.5], "scaler": ["standard", "robust", "none"],
    "log1p": [False, False, False, True], "loss": ["mse", "mae", "huber"], "quantiles": [None, (0.1, 0.5, 0.9)],
    "sampling": ["windows", "series"], "sharpness_rho": [None, 0.05], "average_weights": [None, 0.9],
    "schedule": ["onecycle", "cosine", "halving", "constant"], "calendar": [None, "auto"], "horizon": [1, 3, 7],
    "context_length": [None, 2, 9], "random_state": [0, 1], "lower": [None, None, None, None, 0, -1e30],
    "upper": [None, None, None, 1e9],
}  # fmt: skip


@st.composite
def forecasters(draw):
    """A forecaster of any class with any settings, small enough to be fitted in a moment."""
    cls = draw(st.sampled_from(ALL_FORECASTERS))
    choices = {name: draw(st.sampled_from(options)) for name, options in TRAINING.items()}
    sizes = {name: draw(st.sampled_from(options)) for name, options in SIZES.items() if hasattr(cls, name)}
    return cls(**choices, **sizes, max_epochs=1, device="cpu")


long_frames = frames(n_rows=st.integers(20, 50), n_columns=2, largest_exponent=20)


@settings(max_examples=250)
@given(forecasters(), long_frames | long_frames | any_frames(long_frames))
def test_any_fit_is_refused_or_forecasts(forecaster, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            forecaster.fit(y)
            forecast = forecaster.predict()
            intervals = forecaster.predict_interval()
        except (ValueError, TypeError) as error:
            event(str(error).replace("0", "")[:40])
            assert type(error).__module__.startswith(("builtins", "samovar_forecast"))  # noqa: PT017
            return
    assert np.isfinite(forecast).all(axis=None)
    assert np.isfinite(intervals).all(axis=None)
    assert len(forecast) == forecaster.horizon
    for found in (forecast, intervals):
        assert forecaster.lower is None or (found >= forecaster.lower).all(axis=None)
        assert forecaster.upper is None or (found <= forecaster.upper).all(axis=None)
    event("forecast")


@settings(max_examples=60)
@given(st.sampled_from(ALL_FORECASTERS), seeds, st.integers(-100, 100), st.sampled_from(["standard", "robust"]))
def test_another_unit_gives_the_same_forecast(cls, seed, exponent, scaler):
    """Bit by bit where the factor is a power of two: then no rounding differs."""
    y = waves(48, 2, seed=seed)
    forecaster = cls(**suited(QUICK, cls), scaler=scaler)
    expected = forecaster.fit(y).predict()
    forecast = forecaster.fit(y * 2.0**exponent).predict()
    pd.testing.assert_frame_equal(forecast / 2.0**exponent, expected, check_exact=True)


@settings(max_examples=60)
@given(st.sampled_from(ALL_FORECASTERS), seeds, st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_another_unit_and_another_zero_give_the_same_forecast(cls, seed, factor, shift):
    """Within the rounding of 1,000 deviations around zero, which two steps of training carry on."""
    y = waves(48, 2, seed=seed)
    spread = y.std()
    forecaster = cls(**suited(QUICK, cls))
    expected = forecaster.fit(y).predict()
    forecast = forecaster.fit(factor * (y + shift * spread)).predict()
    np.testing.assert_allclose((forecast / factor - shift * spread) / spread, expected / spread, atol=1e-2)
