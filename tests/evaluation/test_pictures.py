"""Pictures: what is drawn, read back from the figure, and files that are real pictures."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from samovar_forecast.evaluation.baselines import seasonal_naive_backtest
from samovar_forecast.evaluation.pictures import MOST_FORECASTS, MOST_PANELS, plot_forecasts

INDEXES = {
    "dates": pd.date_range("2024-01-01", periods=200, freq="h"),
    "zone": pd.date_range("2024-01-01", periods=200, freq="h", tz="Asia/Tokyo"),
    "autumn": pd.date_range("2024-10-22", periods=200, freq="h", tz="Europe/Berlin"),  # the clock goes back in row 122
    "periods": pd.period_range("2010-01", periods=200, freq="M"),
    "integers": pd.RangeIndex(200, name="round"),
}


def backtested(index, n_series=2, stride=1, horizon=10):
    rng = np.random.default_rng(0)
    y = pd.DataFrame(
        rng.normal(size=(200, n_series)).cumsum(0), index=index, columns=[f"s{i}" for i in range(n_series)]
    )
    return y, seasonal_naive_backtest(y, horizon, 24, y.index[np.arange(100, 190, stride)])


def forecast_lines(axes):
    """The lines of the forecasts: those with one point more than the horizon."""
    return [line for line in axes.lines if len(line.get_xdata()) == 11 and line.get_marker() == "None"]


@pytest.mark.parametrize("kind", INDEXES)
def test_every_kind_of_index_gives_a_picture(kind, tmp_path):
    y, backtest = backtested(INDEXES[kind])
    plot_forecasts(y, backtest, reference=backtest).savefig(tmp_path / "picture.png")
    content = (tmp_path / "picture.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 10_000


@pytest.mark.parametrize("stride", [1, 4, 10, 25])
def test_forecasts_are_the_newest_that_do_not_overlap(stride):
    y, backtest = backtested(INDEXES["integers"], stride=stride)
    axes = plot_forecasts(y, backtest).axes[0]
    starts = [line.get_xdata()[0] for line in forecast_lines(axes)]
    assert starts[-1] == backtest["cutoff"].values[-1]
    assert min(np.diff(starts)) >= 10
    assert 1 < len(starts) <= MOST_FORECASTS


def test_lines_hold_the_forecasts_and_begin_at_the_last_observed_value():
    y, backtest = backtested(INDEXES["integers"])
    axes = plot_forecasts(y, backtest, cutoffs=[3, 40], series=["s1"]).axes[0]
    for line, position in zip(forecast_lines(axes), [3, 40], strict=True):
        row = 100 + position
        np.testing.assert_array_equal(line.get_xdata(), np.arange(row, row + 11))
        expected = [y["s1"][row], *backtest["forecast"].sel(series="s1").values[position]]
        np.testing.assert_allclose(line.get_ydata(), expected)


@pytest.mark.parametrize("stride", [1, 3])
def test_clock_that_goes_back_moves_no_line_back(stride):
    y, backtest = backtested(INDEXES["autumn"], stride=stride)
    figure = plot_forecasts(y, backtest)
    for line in figure.axes[0].lines[:1] + forecast_lines(figure.axes[0]):
        assert set(np.diff(line.get_xdata())) == {np.timedelta64(1, "h")}
    cutoffs = [line.get_xdata()[0] for line in forecast_lines(figure.axes[0])]
    assert cutoffs[-1] == y.index[range(100, 190, stride)[-1]].tz_convert(None)
    ticks = pd.to_datetime(figure.axes[0].get_xticks(), unit="D", utc=True).round("min").tz_convert("Europe/Berlin")
    assert (ticks == ticks.normalize()).all()  # midnights of the zone


def test_reference_is_drawn_and_named():
    y, backtest = backtested(INDEXES["dates"])
    figure = plot_forecasts(y, backtest, reference=backtest)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["observed", "seasonal naive", "forecast"]
    assert len(forecast_lines(figure.axes[0])) == 2 * len(forecast_lines(plot_forecasts(y, backtest).axes[0]))


def test_panels_are_limited_unless_named():
    y, backtest = backtested(INDEXES["dates"], n_series=MOST_PANELS + 3)
    assert len(plot_forecasts(y, backtest).axes) == MOST_PANELS
    figure = plot_forecasts(y, backtest, series=list(y.columns), title="All of them")
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(y.columns)
    assert figure.get_suptitle() == "All of them"


def test_history_is_as_long_as_asked():
    y, backtest = backtested(INDEXES["integers"])
    observed = plot_forecasts(y, backtest, cutoffs=[20], history=15).axes[0].lines[0]
    assert observed.get_xdata()[0] == 120 - 15 + 1
    assert observed.get_xdata()[-1] == 130


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"series": ["s9"]}, "s9"), ({"series": []}, "series must name"), ({"cutoffs": [90]}, "between 0 and 89"),
     ({"cutoffs": []}, "cutoffs must be positions")],
)  # fmt: skip
def test_wrong_choices_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        plot_forecasts(*backtested(INDEXES["dates"]), **wrong)


def test_rows_of_another_frame_are_refused():
    y, backtest = backtested(INDEXES["integers"])
    with pytest.raises(ValueError, match="is no row of y"):
        plot_forecasts(y.iloc[:150], backtest)
    with pytest.raises(ValueError, match="before the last forecast shown"):
        plot_forecasts(y.iloc[:195], backtest)


def test_matplotlib_is_imported_late_and_pyplot_never(tmp_path):
    code = """if True:
        import sys
        import numpy as np, pandas as pd
        from samovar_forecast.evaluation.baselines import seasonal_naive_backtest
        from samovar_forecast.evaluation.pictures import plot_forecasts
        assert "matplotlib" not in sys.modules
        y = pd.DataFrame({"a": np.arange(50.0)})
        figure = plot_forecasts(y, seasonal_naive_backtest(y, 5, 1, np.arange(20, 40)))
        figure.savefig(sys.argv[1])
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code, tmp_path / "picture.png"], check=True, timeout=120)
    assert (tmp_path / "picture.png").stat().st_size > 0


def test_gaps_stay_gaps():
    y, backtest = backtested(INDEXES["integers"])
    y = y.mask(np.broadcast_to(np.arange(len(y))[:, None] % 7 == 0, y.shape))
    observed = plot_forecasts(y, backtest, cutoffs=[20], history=15).axes[0].lines[0]
    np.testing.assert_array_equal(np.isnan(observed.get_ydata()), observed.get_xdata() % 7 == 0)
