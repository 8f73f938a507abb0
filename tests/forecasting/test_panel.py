"""One network for many series: each has its own time axis, scaling and forecast."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.panel import read_panel
from tests.conftest import TINY, series_of_panel, waves

HORIZON, CONTEXT = TINY["horizon"], TINY["context_length"]
ONE_STEP = TINY | {"max_steps": 1}


def push():
    """A covariate for each series, beyond its end."""
    index = waves(220).index
    return {
        key: pd.DataFrame({"push": np.random.default_rng(number).normal(size=220)}, index=index)
        for number, key in enumerate(series_of_panel())
    }


def assert_close(one, other, **options):
    assert list(one) == list(other)
    for key in one:
        pd.testing.assert_frame_equal(one[key], other[key], check_freq=False, **options)


@pytest.fixture(scope="module")
def trained_with_x(panel):
    X = push()
    return SAMoVARForecaster(**TINY, calendar=["hour"]).fit(panel, {key: X[key].loc[panel[key].index] for key in panel})


FORMS = {
    "dict": lambda frames: frames,
    "rows by series": lambda frames: pd.concat(frames, names=["shop"]),
    "rows by time": lambda frames: pd.concat(frames, names=["shop"]).sort_index(level="time", kind="stable"),
    "categories": lambda frames: pd.concat(
        {key: frame.assign(shop=key) for key, frame in frames.items()}
    ).droplevel(0).assign(
        shop=lambda frame: pd.Categorical(frame["shop"], [*frames, "closed"])
    ).set_index("shop", append=True).swaplevel(),
    "three levels": lambda frames: pd.concat({("x", key): one for key, one in frames.items()}, names=["land", "shop"]),
    "unnamed levels": lambda frames: pd.concat(frames).rename_axis([None, None]),
}  # fmt: skip
OF_SERIES = {
    "dict of series": lambda frames: {key: frame["s0"] for key, frame in frames.items()},
    "dict of series with other names": lambda frames: {key: frame["s0"].rename(key) for key, frame in frames.items()},
    "dict of series without names": lambda frames: {key: frame["s0"].rename(None) for key, frame in frames.items()},
    "series by shop": lambda frames: pd.concat({key: frame["s0"] for key, frame in frames.items()}, names=["shop"]),
}


@pytest.mark.parametrize("form", FORMS | OF_SERIES)
def test_forecasts_come_in_the_form_of_the_data(form):
    frames = series_of_panel(2 if form in FORMS else 1)
    data = (FORMS | OF_SERIES)[form](frames)
    expected = SAMoVARForecaster(**ONE_STEP).fit(frames).predict()
    forecaster = SAMoVARForecaster(**ONE_STEP).fit(data)
    for forecast in (forecaster.predict(), forecaster.predict(data)):
        assert type(forecast) is type(data)
        if isinstance(data, dict):
            parts = forecast
        else:
            assert forecast.index.names == data.index.names
            levels = list(range(data.index.nlevels - 1))
            parts = {key: part.droplevel(levels) for key, part in forecast.groupby(level=levels, sort=False)}
        parts = {key[-1] if isinstance(key, tuple) else key: part for key, part in parts.items()}
        assert list(parts) == list(expected)  # in the order of the data
        for key, part in parts.items():
            assert part.ndim == next(iter(data.values())).ndim if isinstance(data, dict) else data.ndim
            np.testing.assert_array_equal(np.ravel(part), np.ravel(expected[key]))
            assert list(part.index) == list(expected[key].index)


@pytest.mark.parametrize("form", OF_SERIES)
def test_names_of_series_are_those_of_their_keys(form):
    """Whatever the Series are called: new rows, new series, covariates and single series find their place."""
    y = OF_SERIES[form](series_of_panel(1))
    y = y if isinstance(y, dict) else {key: part.droplevel(0) for key, part in y.groupby(level=0, sort=False)}
    X = {key: frame["push"].rename(None if one.name is None else f"{one.name} push")
         for (key, frame), one in zip(push().items(), y.values(), strict=True)}  # fmt: skip
    known = {key: X[key][one.index] for key, one in y.items()}
    forecaster = SAMoVARForecaster(**ONE_STEP).fit(y, known)
    expected = forecaster.predict(X=X)
    pd.testing.assert_series_equal(forecaster.predict({"early": y["early"]}, {"early": X["early"]})["early"],
                                   expected["early"], check_freq=False)  # fmt: skip
    single = forecaster.predict(y["long"].rename("other"), X["long"])
    np.testing.assert_allclose(single, expected["long"], rtol=0.1)
    new = pd.Series([5.0], y["early"].index[-1:] + pd.Timedelta("1h"), name="early")
    forecaster.score({"early": new}, {"early": X["early"]})
    assert forecaster.update({"early": new}, {"early": X["early"]}).series_["early"].history.iloc[-1].item() == 5


@pytest.mark.parametrize("index", [pd.RangeIndex(5, 485, 3), pd.period_range("2000-01", periods=160, freq="M"),
                                   pd.date_range("2024-03-29", periods=160, freq="h", tz="Europe/Berlin"),
                                   pd.date_range("2020-01-01", periods=160, freq="B"),
                                   pd.date_range("1950-01-01", periods=160, freq="QS")],
                         ids=["range", "periods", "zone", "business days", "quarters"])  # fmt: skip
@pytest.mark.parametrize("form", ["dict", "rows by series"])
def test_every_series_continues_its_own_index(index, form):
    """Also where the labels of a series alone allow another step: Tuesday to Friday, or two rows."""
    rows = {"long": slice(0, 150), "four days": slice(61, 65), "two": slice(70, 72), "one": slice(80, 81)}
    whole = waves(160, 1, index=index)
    data = FORMS[form]({key: whole.iloc[chosen] for key, chosen in rows.items()})
    forecaster = SAMoVARForecaster(**ONE_STEP).fit(data)
    forecast = read_panel(forecaster.predict(), missing=True).frames
    for key, chosen in rows.items():
        assert list(forecast[key].index) == list(index[chosen.stop : chosen.stop + HORIZON])
        assert forecast[key].index.dtype == index.dtype
    # New rows, as they are read from a file: without a frequency, and too few to show one.
    new = pd.DataFrame(whole.iloc[150:153].to_numpy(), [*index[150:153]], whole.columns)
    moved = forecaster.update({"long": new}, retrain=False).predict({"long": whole.iloc[:153]})
    assert next(iter(moved["long"].index)) == index[153]


def test_one_series_at_a_time_gives_the_same(trained, panel):
    together = trained.predict()
    assert_close(trained.predict(panel), together, rtol=0)
    assert_close(trained.predict({key: frame[["s1", "s0"]] for key, frame in panel.items()}), together, rtol=0)
    for key, frame in panel.items():
        assert_close(trained.predict({key: frame}), {key: together[key]}, rtol=1e-5)
        assert together[key].index[0] == frame.index[-1] + pd.Timedelta("1h")
        assert np.isfinite(together[key]).all(axis=None)
    long = trained.predict(horizon=20)
    assert_close({key: frame.iloc[:HORIZON] for key, frame in long.items()}, together, rtol=1e-5)
    assert_close(trained.predict(dict(reversed(panel.items()))), dict(reversed(together.items())), rtol=1e-5)


def test_covariates_of_each_series(trained_with_x, panel):
    X = push()
    together = trained_with_x.predict(X=X)
    for key, frame in panel.items():
        alone = trained_with_x.predict({key: frame}, {key: X[key]})
        assert_close(alone, {key: together[key]}, rtol=1e-5)
    other = X | {"early": X["early"] + 1}
    changed = trained_with_x.predict(X=other)
    assert_close({key: changed[key] for key in panel if key != "early"},
                 {key: together[key] for key in panel if key != "early"}, rtol=0)  # fmt: skip
    assert not np.allclose(changed["early"], together["early"], rtol=1e-6)
    stacked = pd.concat(X, names=["shop"])
    assert_close(trained_with_x.predict(X=stacked), together, rtol=0)


def test_series_never_seen(fitted):
    new = waves(40, 2, seed=9)
    forecast = fitted.predict({"new": new})["new"]
    pd.testing.assert_frame_equal(fitted.predict(new), forecast)  # a single one, without a name
    pd.testing.assert_frame_equal(fitted.predict(1024 * new), 1024 * forecast)  # scaled by its own rows
    assert len(fitted.predict(new.iloc[:1])) == HORIZON
    together = fitted.predict({"long": series_of_panel()["long"], "new": new})
    pd.testing.assert_frame_equal(together["new"], forecast, rtol=1e-5)
    pd.testing.assert_frame_equal(together["long"], fitted.predict()["long"], rtol=1e-5, check_freq=False)


def test_each_series_has_its_own_scaling():
    panel = {"one": waves(100, 2), "other": waves(100, 2, seed=1)}
    plain = SAMoVARForecaster(**TINY).fit(panel).predict()
    # A power of two is exact in floating point: nothing else may change.
    doubled = SAMoVARForecaster(**TINY).fit(panel | {"other": 1024 * panel["other"]}).predict()
    pd.testing.assert_frame_equal(doubled["one"], plain["one"], rtol=0, atol=0)
    pd.testing.assert_frame_equal(doubled["other"], 1024 * plain["other"], rtol=0, atol=0)
    moved = SAMoVARForecaster(**TINY).fit(panel | {"other": 1000 * panel["other"] - 5e4}).predict()
    pd.testing.assert_frame_equal(moved["one"], plain["one"], rtol=1e-4)
    pd.testing.assert_frame_equal(moved["other"], 1000 * plain["other"] - 5e4, rtol=1e-3, atol=10)


def test_static_covariates_tell_series_apart(tiny):
    rng, n_rows = np.random.default_rng(0), 150
    panel = {
        name: pd.Series((drift + rng.normal(scale=0.5, size=n_rows)).cumsum())
        for name, drift in (("up", 0.6), ("down", -0.6), ("upwards", 0.6), ("downwards", -0.6))
    }
    static = pd.DataFrame({"slope": [1, 0, 1, 0], "noise": [3, 3, 3, 3]}, index=list(panel))
    settings = tiny | {"max_epochs": 10, "scaler": "none"}
    forecaster = SAMoVARForecaster(**settings).fit(panel, static=static)
    history = pd.Series(rng.normal(size=60))
    new = static.iloc[:2].set_axis(["p", "q"])
    forecast = forecaster.predict({"p": history, "q": history}, static=new)
    apart = forecast["p"] - forecast["q"]
    # As the slopes lead them apart: by nothing to speak of at first, more than the noise of training later.
    assert (apart.iloc[4:] > 0.2).all()
    assert apart.iloc[-1] > apart.iloc[0] + 0.2
    without = SAMoVARForecaster(**(settings | {"max_steps": 5})).fit(panel).predict({"p": history, "q": history})
    assert np.array_equal(without["p"], without["q"])
    # Those of the training data are remembered, whatever the order; others must be given.
    known = forecaster.predict()
    one = forecaster.predict({"down": panel["down"]})["down"]
    np.testing.assert_allclose(one, known["down"], rtol=1e-5)
    reordered = forecaster.predict(static=static.iloc[::-1, ::-1])
    np.testing.assert_allclose(reordered["up"], known["up"], rtol=1e-6)
    for use in (forecaster.predict, forecaster.update, forecaster.predict_in_sample):
        with pytest.raises(ValueError, match=r"static lacks the series \['p'\]; give a row for each"):
            use({"p": history})
    forecaster.update({"p": history}, static=new)
    assert forecaster.series_["p"].static[0] == forecaster.series_["up"].static[0]
    np.testing.assert_allclose(forecaster.predict({"p": history})["p"], forecaster.predict()["p"], rtol=1e-5)


def test_backtest_of_every_series(trained, panel):
    chosen = {key: panel[key] for key in ("long", "early")}
    results = trained.backtest(chosen, stride=7)
    assert list(results) == ["long", "early"]
    for key, result in results.items():
        assert result.sizes["cutoff"] == len(range(CONTEXT, len(panel[key]) - HORIZON + 1, 7))
        for position, cutoff in enumerate(result.cutoff.values):
            history = panel[key][:cutoff]
            by_hand = trained.predict({key: history})[key]
            np.testing.assert_allclose(result.forecast[position], by_hand, rtol=1e-5)
            np.testing.assert_array_equal(result.actual[position], panel[key].loc[by_hand.index])
    with pytest.raises(ValueError, match="y of series 'tiny' is too short: 6 rows, the network needs 24"):
        trained.backtest(panel)
    with pytest.raises(ValueError, match="y of series 'early' is too short: a forecast from row 90"):
        trained.backtest(chosen, start=panel["long"].index[125])
    with pytest.raises(ValueError, match=r"0 rows before it, the network needs 24 \(y of series 'early'\)"):
        trained.backtest(chosen, start=panel["long"].index[30])


def test_score_is_over_the_values_of_all_series(trained, panel):
    whole = {key: waves(170, 2, seed=number) for number, key in enumerate(panel)}
    following = {key: whole[key].loc[panel[key].index[-1] :].iloc[1 : 1 + n] for key, n in (("early", 3), ("long", 10))}
    following["early"].iloc[1, 0] = np.nan
    forecast = trained.predict(horizon=10)
    errors = [
        ((forecast[key].iloc[: len(rows)] - rows) / trained.series_[key].scaler.scale).to_numpy().ravel()
        for key, rows in following.items()
    ]
    errors = np.concatenate(errors)
    assert len(errors[~np.isnan(errors)]) == 25
    assert trained.score(following) == pytest.approx(-np.nanmean(errors**2), rel=1e-5)
    with pytest.raises(ValueError, match="y of series 'early' must follow the training data"):
        trained.score(following | {"early": following["early"].iloc[1:]})
    with pytest.raises(ValueError, match="y of series 'new' is no series of the training data"):
        trained.score(following | {"new": following["early"]})


def test_score_needs_covariates_of_the_scored_rows_only(trained_with_x, panel):
    whole = {key: waves(170, 2, seed=number) for number, key in enumerate(panel)}
    following = {"long": whole["long"].iloc[160:168], "early": whole["early"].iloc[120:123]}
    X = {key: push()[key].loc[rows.index] for key, rows in following.items()}
    assert trained_with_x.score(following, X) == pytest.approx(
        trained_with_x.score(following, {key: push()[key] for key in X})
    )


@pytest.mark.parametrize("quantiles", [None, (0.1, 0.5, 0.9)])
def test_quantiles_of_every_series(panel, quantiles):
    stacked = pd.concat(panel, names=["shop"])
    forecaster = SAMoVARForecaster(**ONE_STEP, quantiles=quantiles).fit(stacked)
    forecast = forecaster.predict_quantiles((0.2, 0.5, 0.8))
    assert forecast.index.equals(forecaster.predict().index)
    assert forecast.columns.names == ["series", "quantile"]
    np.testing.assert_allclose(forecast.xs(0.5, axis=1, level="quantile"), forecaster.predict(), rtol=1e-6)
    frames = forecaster.predict_interval(0.6, panel)
    for key, frame in frames.items():
        assert list(frame.columns.get_level_values("bound")) == ["lower", "upper"] * 2
        np.testing.assert_allclose(frame.to_numpy()[:, [0, 1]], forecast.loc[key][[("s0", 0.2), ("s0", 0.8)]])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda fitted: pickle.loads(pickle.dumps(fitted))])
def test_copies_of_panels_forecast_the_same(trained, duplicate):
    copied = duplicate(trained)
    assert_close(copied.predict(), trained.predict(), rtol=0)
    assert clone(trained).get_params() == trained.get_params()


def test_what_a_single_series_has_a_panel_has_by_series(trained):
    assert trained.is_panel_
    for name in ("history_", "scaler_"):
        with pytest.raises(AttributeError, match=f"has no {name}: it was fitted on a panel: see series_"):
            getattr(trained, name)
    assert not hasattr(SAMoVARForecaster(), "history_")


def test_sampling_reaches_the_training(panel):
    forecasts = [
        SAMoVARForecaster(**TINY, sampling=sampling).fit(panel).predict()["long"] for sampling in ("windows", "series")
    ]
    assert not np.allclose(*forecasts, rtol=1e-6)


def test_wrong_uses_of_a_trained_panel_are_named(trained, trained_with_x, panel):
    X, new = push(), waves(60, 2)
    for use, message in (
        (lambda: trained.predict({"new": new[["s0"]]}), r"y of series 'new' lacks \['s1'\]"),
        (lambda: trained.predict({"new": new * np.nan}), "y of series 'new' column 's0' has no value"),
        (lambda: trained.predict({"new": new.iloc[[0, 2]]}), r"<2 \* Hours>, the training data had <Hour>"),
        (lambda: trained.predict(static=pd.DataFrame({"size": [1]}, ["long"])), "fitted without static covariates"),
        (lambda: trained.predict(X=X), "fitted without X"),
        (lambda: trained_with_x.predict(X=X["long"]), "X must come in the form of the training data"),
        (lambda: trained_with_x.predict(X={"long": X["long"]}), "X of series 'early' lacks 8 of the 32 rows"),
        (lambda: trained_with_x.predict({"new": panel["long"]}), "X of series 'new' lacks 32 of the 32 rows"),
        (lambda: trained_with_x.predict(X=X | {"early": X["early"].assign(push=np.nan)}),
         "X of series 'early' column 'push' has no value at 2024-01-06 00:00:00"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            use()


def test_covariates_of_other_series_are_left_aside(trained_with_x, panel):
    X = push()
    other = {"new": X["long"] * np.nan}
    assert_close(trained_with_x.predict(X=X | other), trained_with_x.predict(X=X), rtol=0)
    given = {key: X[key].loc[panel[key].index] for key in panel}
    first, second = (
        SAMoVARForecaster(**ONE_STEP).fit(panel, known).predict(X=X | other) for known in (given, given | other)
    )
    assert_close(first, second, rtol=0)
