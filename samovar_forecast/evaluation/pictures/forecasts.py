"""Pictures of forecasts: the coming one with its intervals, and those of a backtest beside the actual values."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.frames import read_frame
from samovar_forecast.evaluation.baselines import cutoff_rows
from samovar_forecast.evaluation.pictures.style import (
    FAINT,
    FORECAST,
    MOST_PANELS,
    OBSERVED,
    REFERENCE,
    choose,
    heading,
    new_figure,
    of_series,
    panels,
    style,
    style_time,
    times,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_FORECASTS = 8


def plot_forecasts(
    y: pd.Series | pd.DataFrame,
    backtest: xr.Dataset,
    *,
    reference: xr.Dataset | None = None,
    series: Sequence[Hashable] | None = None,
    cutoffs: Sequence[int] | None = None,
    history: int | None = None,
    title: str | None = None,
) -> Figure:
    """History, actual values and the forecasts from some cutoffs: a panel for each series.

    Where the backtest has quantiles, the band between the outermost ones is drawn; where it was refitted, the dates of
    the trainings.

    Parameters
    ----------
    y : Series or DataFrame
        The rows that were backtested, with the history before them.
    backtest : Dataset
        What `Forecaster.backtest` gives.
    reference : Dataset or None
        Another backtest at the same cutoffs, drawn dashed: the seasonal naive forecast, say.
    series : sequence of names or None
        Panels. None: the first six series.
    cutoffs : sequence of int or None
        Which cutoffs, by their position in `backtest`. None: the newest that do not overlap, at most eight.
    history : int or None
        Rows to show before the first forecast. None: half as many as the forecasts span, at least two
        horizons.
    title : str or None
        Heading. None: the model and its horizon.

    Returns
    -------
    matplotlib.figure.Figure
        ``figure.savefig("forecasts.png", dpi=150)`` writes it; it belongs to no window and no global state.

    Raises
    ------
    ValueError
        If a series or a cutoff is not in `backtest`, or `y` does not hold the rows that were forecast.

    Examples
    --------
    >>> from samovar_forecast.evaluation.baselines import seasonal_naive_backtest
    >>> y = pd.DataFrame({"load": np.sin(np.arange(100) / 4)})
    >>> naive = seasonal_naive_backtest(y, horizon=10, season=25, cutoffs=np.arange(50, 80))
    >>> len(plot_forecasts(y, naive).axes)
    1
    """
    frame = read_frame(y, missing=True)
    known = [name for name in backtest["series"].values.tolist() if name in frame.columns]
    names, left_out = choose(known, series, MOST_PANELS)
    horizon = backtest.sizes["step"]
    rows = cutoff_rows(frame.index, backtest["cutoff"])
    positions = _newest_apart(rows, horizon) if cutoffs is None else _checked(cutoffs, len(rows))
    rows = rows[positions]
    if rows[-1] + horizon >= len(frame):
        raise ValueError(f"y ends at {frame.index[-1]}, before the last forecast shown; give all rows backtested")
    if history is None:
        history = max(2 * horizon, (rows[-1] - rows[0] + horizon) // 2)
    visible = slice(max(0, rows[0] - history + 1), rows[-1] + horizon + 1)
    places = times(frame.index)

    figure = new_figure(10.5, 1.1 + 2.4 * len(names))
    below = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(below, names, strict=True):
        values = frame[name].to_numpy()
        axes.axvspan(places[rows[0]], places[visible][-1], color=FAINT, alpha=0.09, linewidth=0)
        axes.plot(places[visible], values[visible], color=OBSERVED, linewidth=1.2, label="observed")
        spans = places[rows + np.arange(horizon + 1)[:, None]]  # (horizon + 1, forecast)
        if reference is not None:
            paths, label = _paths(reference, name, positions, values[rows]), reference.attrs.get("model", "reference")
            lines = axes.plot(spans, paths, color=REFERENCE, linewidth=1.2, linestyle=(0, (4, 2)), zorder=3)
            lines[0].set_label(label)
        _draw_refits(axes, backtest, positions, places[rows])
        _draw_bands(axes, backtest, name, positions, spans)
        paths = _paths(backtest, name, positions, values[rows])
        lines = axes.plot(spans, paths, color=FORECAST, linewidth=1.9, solid_capstyle="round", zorder=4)
        lines[0].set_label("forecast")
        axes.plot(places[rows], values[rows], "o", color=FORECAST, markersize=4.5, markeredgecolor="white", zorder=5)
        style(axes, str(name))
        axes.margins(x=0, y=0.08)
    below[-1].set_xlim(places[visible][0], places[visible][-1])
    style_time(below[-1], frame.index)
    handles, labels = below[0].get_legend_handles_labels()
    if title is None:
        title = f"{backtest.attrs.get('model', 'Forecasts')}, {horizon} steps ahead{left_out}"
    heading(figure, title)
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=9.5)
    return figure


def _newest_apart(rows: NDArray[np.intp], horizon: int) -> NDArray[np.intp]:
    """Positions of the newest cutoffs whose forecasts do not overlap, oldest first."""
    stride = int(rows[1] - rows[0]) if len(rows) > 1 else horizon
    return np.arange(len(rows) - 1, -1, -max(1, -(-horizon // stride)))[:MOST_FORECASTS][::-1]


def _checked(cutoffs: Sequence[int], n_cutoffs: int) -> NDArray[np.intp]:
    positions = np.sort(np.asarray(cutoffs, dtype=np.intp))
    if not len(positions) or positions[0] < 0 or positions[-1] >= n_cutoffs:
        raise ValueError(f"cutoffs must be positions between 0 and {n_cutoffs - 1}, got {list(cutoffs)}")
    return positions


def _paths(backtest: xr.Dataset, name: Any, positions: NDArray[np.intp], newest: NDArray[np.float64]) -> Any:
    """Forecasts, each after the newest value that it has seen: (horizon + 1, forecast)."""
    return np.vstack([newest, of_series(backtest["forecast"], name).values[positions].T])


def _draw_bands(axes: Axes, backtest: xr.Dataset, name: Any, positions: NDArray[np.intp], spans: NDArray[Any]) -> None:
    """The band between the outermost quantiles."""
    if "quantiles" not in backtest or backtest.sizes["quantile"] < 2:
        return
    levels = backtest["quantile"].to_numpy()
    found = of_series(backtest["quantiles"], name).isel(cutoff=positions)
    lower, upper = (
        found.sel(quantile=level).transpose("step", "cutoff").values for level in (levels.min(), levels.max())
    )
    for number in range(len(positions)):
        label = f"{levels.max() - levels.min():.0%} interval" if number == 0 else None
        axes.fill_between(
            spans[1:, number], lower[:, number], upper[:, number], color=FORECAST, alpha=0.2, linewidth=0, label=label
        )


def _draw_refits(axes: Axes, backtest: xr.Dataset, positions: NDArray[np.intp], where: NDArray[Any]) -> None:
    """A line before the first cutoff of every training."""
    if "trained_until" not in backtest.coords:
        return
    trained = backtest["trained_until"].to_numpy()[positions]
    first = np.flatnonzero(np.append(True, trained[1:] != trained[:-1]))
    for number, place in enumerate(first):
        axes.axvline(where[place], color=FAINT, linewidth=1, linestyle=":", label=None if number else "trained anew")


def plot_forecast(
    y: pd.Series | pd.DataFrame,
    forecast: pd.Series | pd.DataFrame,
    quantiles: pd.DataFrame | None = None,
    *,
    series: Sequence[Hashable] | None = None,
    history: int | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """The coming forecast after its history, with a fan of intervals: a panel for each series.

    Parameters
    ----------
    y : Series or DataFrame
        The history.
    forecast : Series or DataFrame
        What `Forecaster.predict` gives.
    quantiles : DataFrame or None
        What `Forecaster.predict_quantiles` gives; each pair of levels around the median is a band.
    series : sequence of names or None
        Panels. None: the first six series.
    history : int or None
        Rows to show before the forecast. None: three times the forecast.
    title : str or None
        Heading. None: the number of steps.
    ax : matplotlib.axes.Axes or None
        Where to draw a single series. None: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a series is not there, or `ax` is given for several.

    Examples
    --------
    >>> y = pd.DataFrame({"load": np.sin(np.arange(60) / 4)})
    >>> forecast = pd.DataFrame({"load": np.sin(np.arange(60, 72) / 4)}, index=range(60, 72))
    >>> len(plot_forecast(y, forecast).axes)
    1
    """
    frame = read_frame(y, missing=True)
    future = forecast.to_frame(frame.columns[0]) if isinstance(forecast, pd.Series) else forecast
    names, left_out = choose([name for name in future.columns if name in frame.columns], series, MOST_PANELS)
    shown = frame.iloc[-(3 * len(future) if history is None else history) :]
    figure, below = panels(ax, len(names), 10.5, 2.4)
    before, after = times(shown.index), times(future.index)
    for axes, name in zip(below, names, strict=True):
        column = list(future.columns).index(name)
        newest = shown[name].iloc[-1]
        axes.plot(before, shown[name].to_numpy(), color=OBSERVED, linewidth=1.2, label="observed")
        if quantiles is not None:
            of_name = quantiles.iloc[:, _columns_of(quantiles, column, future.shape[1])]
            _draw_fan(axes, np.append(before[-1:], after), of_name, newest)
        path = np.append(newest, future.iloc[:, column].to_numpy())
        axes.plot(np.append(before[-1:], after), path, color=FORECAST, linewidth=1.9, label="forecast", zorder=4)
        style(axes, str(name))
        axes.margins(x=0, y=0.08)
        axes.axvline(before[-1], color=FAINT, linewidth=0.8)
    style_time(below[-1], frame.index)
    handles, labels = below[0].get_legend_handles_labels()
    if ax is None:
        heading(figure, title or f"Forecast, {len(future)} steps ahead{left_out}")
        figure.legend(handles, labels, loc="outside upper right", ncols=min(len(labels), 6), frameon=False, fontsize=9)
    else:
        ax.legend(frameon=False, fontsize=8.5)
        ax.set_title(title or str(names[0]), loc="left", fontsize=10.5, color=OBSERVED)
    return figure


def _columns_of(quantiles: pd.DataFrame, column: int, n_series: int) -> list[int]:
    """Positions of the quantiles of a series: they lie side by side, in the order of the forecast."""
    n_levels = quantiles.shape[1] // n_series
    return list(range(column * n_levels, (column + 1) * n_levels))


def _draw_fan(axes: Axes, places: NDArray[Any], quantiles: pd.DataFrame, newest: float) -> None:
    """A band for each pair of levels, from the newest observed value on."""
    levels = np.array([float(label[-1]) for label in quantiles.columns])
    values = np.vstack([np.full(len(levels), newest), quantiles.to_numpy()[:, np.argsort(levels)]])
    levels = np.sort(levels)
    for number in range(len(levels) // 2):
        lower, upper = values[:, number], values[:, -1 - number]
        share = levels[-1 - number] - levels[number]
        axes.fill_between(
            places, lower, upper, color=FORECAST, alpha=0.16 + 0.08 * number, linewidth=0, label=f"{share:.0%} interval"
        )
