"""Pictures of forecasts, errors and readings: what is drawn, read back from the figure."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

from samovar_forecast import FixedVARForecaster, SAMformerForecaster
from samovar_forecast.evaluation import pictures
from samovar_forecast.evaluation.metrics import coverage, mae
from tests.conftest import TINY, suited, waves

LEVELS = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]


@pytest.fixture(scope="module")
def forecaster():
    return FixedVARForecaster(**TINY).fit(waves().iloc[:-40])


@pytest.fixture(scope="module")
def backtest(forecaster):
    return forecaster.backtest(waves(), start=waves().index[-40], quantiles=LEVELS)


@pytest.fixture(scope="module")
def reading(forecaster):
    return forecaster.explain(waves())


DRAWN = {
    "forecast": lambda f, b, r, **ax: pictures.plot_forecast(
        waves(), f.predict(waves()), f.predict_quantiles(LEVELS, waves()), series=["s1"], **ax
    ),
    "errors": lambda f, b, r, **ax: pictures.plot_errors_by_step({"one": b, "two": b}, series="s1", **ax),
    "calibration": lambda f, b, r, **ax: pictures.plot_calibration(b, **ax),
    "losses": lambda f, b, r, **ax: pictures.plot_losses(f.training_summary_, **ax),
    "contributions": lambda f, b, r, **ax: pictures.plot_contributions(r, series=["s1"], **ax),
    "lag matrices": lambda f, b, r, **ax: pictures.plot_lag_matrices(r, series=["s2"], **ax),
    "paths": lambda f, b, r, **ax: pictures.plot_influence_paths(f.influence_paths(n_paths=4), series=["s0"], **ax),
    "responses": lambda f, b, r, **ax: pictures.plot_impulse_responses(
        f.impulse_response(waves(), start=waves().index[-10]), shocks=["s0"], series=["s1"], **ax
    ),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_a_picture_is_a_figure_or_lies_in_given_axes(kind, forecaster, backtest, reading, tmp_path):
    figure = DRAWN[kind](forecaster, backtest, reading)
    figure.savefig(tmp_path / "picture.png", dpi=50)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    own = Figure()
    left, right = own.subplots(1, 2)
    assert DRAWN[kind](forecaster, backtest, reading, ax=right) is own
    assert right.has_data()
    assert not left.has_data()


SEVERAL = {
    "forecast": lambda f, r, ax: pictures.plot_forecast(waves(), f.predict(waves()), ax=ax),
    "contributions": lambda f, r, ax: pictures.plot_contributions(r, ax=ax),
    "lag matrices": lambda f, r, ax: pictures.plot_lag_matrices(r, ax=ax),
    "paths": lambda f, r, ax: pictures.plot_influence_paths(f.influence_paths(n_paths=2), ax=ax),
    "responses": lambda f, r, ax: pictures.plot_impulse_responses(f.impulse_response(), ax=ax),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_axes_have_room_for_one(kind, forecaster, reading):
    with pytest.raises(ValueError, match="ax has room for one"):
        SEVERAL[kind](forecaster, reading, Figure().subplots())


def test_the_fan_holds_the_quantiles(forecaster):
    y, quantiles = waves(), forecaster.predict_quantiles(LEVELS, waves())
    axes = pictures.plot_forecast(y, forecaster.predict(y), quantiles, series=["s2"]).axes[0]
    widest = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert widest.min() == pytest.approx(min(quantiles["s2"][0.05].min(), y["s2"].iloc[-1]))
    assert widest.max() == pytest.approx(max(quantiles["s2"][0.95].max(), y["s2"].iloc[-1]))
    assert [one.get_label() for one in axes.collections] == ["90% interval", "80% interval", "50% interval"]
    np.testing.assert_allclose(axes.lines[1].get_ydata()[1:], forecaster.predict(y)["s2"])


def test_bands_and_refits_of_a_backtest(backtest):
    trained = backtest["cutoff"].values[[0] * 16 + [16] * (backtest.sizes["cutoff"] - 16)]
    refitted = backtest.assign_coords(trained_until=("cutoff", trained))
    axes = pictures.plot_forecasts(waves(), refitted, series=["s1"]).axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert {"trained anew", "90% interval"} <= set(labels)
    assert sum(line.get_linestyle() == ":" for line in axes.lines) == 2


def test_errors_and_calibration_are_those_of_the_metrics(backtest):
    axes = pictures.plot_errors_by_step(backtest, series="s1").axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), mae(backtest, dim="cutoff").sel(series="s1"))
    axes = pictures.plot_calibration(backtest).axes[0]
    np.testing.assert_allclose(axes.lines[1].get_xdata(), [0.9, 0.8, 0.5])
    expected = [coverage(backtest, nominal=one, dim=None) for one in (0.9, 0.8, 0.5)]
    np.testing.assert_allclose(axes.lines[1].get_ydata(), expected)
    with pytest.raises(ValueError, match="in pairs"):
        pictures.plot_calibration(backtest.drop_vars("quantiles").drop_dims("quantile"))
    for wrong in ({"metric": "mape"}, {"series": "s9"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            pictures.plot_errors_by_step(backtest, **wrong)
    with pytest.raises(ValueError, match="at most 8"):
        pictures.plot_errors_by_step({str(number): backtest for number in range(9)})


def test_bars_add_up_to_the_contributions(reading):
    axes = pictures.plot_contributions(reading, series=["s1"]).axes[0]
    total = (reading.own + reading.contribution.sum(["segment", "token"])).sel(series="s1")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), total, rtol=1e-6)
    heights = np.array([[bar.get_height() for bar in bars] for bars in axes.containers])
    np.testing.assert_allclose(heights.sum(0), total, rtol=1e-6, atol=1e-6)
    assert axes.get_ylabel() == "units of s1"


def test_heat_maps_are_centred_at_zero_and_per_deviation(reading):
    figure = pictures.plot_lag_matrices(reading, series=["s2"], step=3)
    image = figure.axes[0].images[0]
    expected = (reading.lag_matrix * reading.scale).sel(series="s2", step=3).transpose("source", "lag")
    np.testing.assert_allclose(image.get_array(), expected)
    assert image.get_clim()[0] == -image.get_clim()[1] == -float(abs(expected).max())
    image = pictures.plot_lag_matrices(reading, variable="influence").axes[0].images[0]
    assert image.get_clim()[0] == 0
    with pytest.raises(ValueError, match="no spread"):
        pictures.plot_lag_matrices(reading, variable="spread")
    with pytest.raises(ValueError, match="step must be"):
        pictures.plot_lag_matrices(reading, step=9)


def test_panels_that_are_left_out_are_counted(reading):
    wide = xr.concat([reading] * 3, "series", data_vars="minimal").assign_coords(
        series=[f"s{number}" for number in range(9)]
    )
    figure = pictures.plot_contributions(wide)
    assert len(figure.axes) == pictures.MOST_PANELS
    assert "(6 of 9 series)" in figure.get_suptitle()


@pytest.mark.parametrize("tuples", [False, True])
def test_every_model_with_attention_has_a_picture(forecaster_class, tiny, tuples):
    y = waves()
    if tuples:
        y.columns = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])
    reading = forecaster_class(**tiny | {"max_epochs": 1}).fit(y).explain(lag_matrices=False, influence=False)
    if "contribution" in reading:
        with pytest.raises(ValueError, match="no attention weights"):
            pictures.plot_attention(reading)
        assert len(pictures.plot_contributions(reading).axes) == 3
        return
    figure = pictures.plot_attention(reading)
    if "delay" in reading:
        assert len(figure.axes[0].get_legend().get_texts()) == 3
    else:
        assert figure.axes[0].images[0].get_array().size == reading.attention.size / (
            1 if reading.attention.dims == ("series", "source") else 3
        )
        with pytest.raises(ValueError, match="forecast apart"):
            pictures.plot_contributions(reading)


def test_arcs_lie_on_the_side_of_their_sign(forecaster):
    paths = forecaster.influence_paths(n_paths=6)
    axes = pictures.plot_influence_paths(paths, series=["s1"]).axes[0]
    arcs = [line for line in axes.lines if len(line.get_xdata()) == 40]
    ups = {line.get_color() for line in arcs if line.get_ydata().max() > 0.01}
    downs = {line.get_color() for line in arcs if line.get_ydata().min() < -0.01}
    assert len(ups) <= 1
    assert len(downs) <= 1
    assert not ups & downs
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "3", "forecast"]


def test_old_summaries_have_no_losses(forecaster):
    from dataclasses import replace

    with pytest.raises(ValueError, match="older version"):
        pictures.plot_losses(replace(forecaster.training_summary_, history=()))


def test_samformer_attention_adds_up():
    reading = SAMformerForecaster(**suited(TINY, SAMformerForecaster)).fit(waves()).explain(lag_matrices=False)
    np.testing.assert_allclose(reading.attention.sum("source"), 1, rtol=1e-5)


@pytest.mark.parametrize("chosen", [{}, {"quantiles": [0.1, 0.5, 0.9]}], ids=["conformal", "trained"])
def test_a_forecaster_draws_its_own_forecast(chosen):
    y = waves()
    forecaster = FixedVARForecaster(**TINY, **chosen).fit(y)
    axes = forecaster.plot(series=["s1"], horizon=11).axes[0]
    np.testing.assert_allclose(axes.lines[1].get_ydata()[1:], forecaster.predict(horizon=11)["s1"])
    labels = [one.get_label() for one in axes.collections]
    assert labels == (["80% interval"] if chosen else ["90% interval", "80% interval", "50% interval"])
    with pytest.raises(ValueError, match="plot takes one series"):
        FixedVARForecaster(**TINY).fit({"a": y, "b": y}).plot()
