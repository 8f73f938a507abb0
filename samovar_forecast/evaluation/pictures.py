"""Pictures of forecasts beside the actual values."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.frames import read_frame
from samovar_forecast.evaluation.baselines import cutoff_rows

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 6
MOST_FORECASTS = 8
_OBSERVED, _FORECAST, _REFERENCE, _FAINT = "#2e3440", "#e0531f", "#5b8fb9", "#8a919e"


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
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    frame = read_frame(y, missing=True)
    names, horizon = _panels(backtest, frame, series), backtest.sizes["step"]
    rows = cutoff_rows(frame.index, backtest["cutoff"])
    positions = _newest_apart(rows, horizon) if cutoffs is None else _checked(cutoffs, len(rows))
    rows = rows[positions]
    if rows[-1] + horizon >= len(frame):
        raise ValueError(f"y ends at {frame.index[-1]}, before the last forecast shown; give all rows backtested")
    if history is None:
        history = max(2 * horizon, (rows[-1] - rows[0] + horizon) // 2)
    visible = slice(max(0, rows[0] - history + 1), rows[-1] + horizon + 1)
    times = _times(frame.index)

    figure = Figure(figsize=(10.5, 1.1 + 2.4 * len(names)), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        values = frame[name].to_numpy()
        axes.axvspan(times[rows[0]], times[visible][-1], color=_FAINT, alpha=0.09, linewidth=0)
        axes.plot(times[visible], values[visible], color=_OBSERVED, linewidth=1.2, label="observed")
        spans = times[rows + np.arange(horizon + 1)[:, None]]  # (horizon + 1, forecast)
        if reference is not None:
            paths, label = _paths(reference, name, positions, values[rows]), reference.attrs.get("model", "reference")
            lines = axes.plot(spans, paths, color=_REFERENCE, linewidth=1.2, linestyle=(0, (4, 2)), zorder=3)
            lines[0].set_label(label)
        paths = _paths(backtest, name, positions, values[rows])
        lines = axes.plot(spans, paths, color=_FORECAST, linewidth=1.9, solid_capstyle="round", zorder=4)
        lines[0].set_label("forecast")
        axes.plot(times[rows], values[rows], "o", color=_FORECAST, markersize=4.5, markeredgecolor="white", zorder=5)
        _style(axes, str(name))
    panels[-1].set_xlim(times[visible][0], times[visible][-1])
    _style_time(panels[-1], frame.index)
    handles, labels = panels[0].get_legend_handles_labels()
    if title is None:
        title = f"{backtest.attrs.get('model', 'Forecasts')}, {horizon} steps ahead"
    figure.suptitle(title, x=0.015, ha="left", fontsize=13, fontweight="bold", color=_OBSERVED)
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=9.5)
    return figure


def _panels(backtest: xr.Dataset, frame: pd.DataFrame, series: Sequence[Hashable] | None) -> list[Any]:
    known = backtest["series"].values.tolist()
    names = known[:MOST_PANELS] if series is None else list(series)
    unknown = [name for name in names if name not in known or name not in frame.columns]
    if unknown or not names:
        raise ValueError(f"series must name some of {known}, and y must have them: got {names}")
    return names


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
    return np.vstack([newest, backtest["forecast"].sel(series=name).values[positions].T])


def _times(index: pd.Index) -> NDArray[Any]:
    """Positions on the time axis of matplotlib, which has dates in UTC."""
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(
            None
        )  # in autumn the clock of the zone goes back, the axis does not
    return index.to_numpy()


def _style(axes: Axes, name: str) -> None:
    axes.set_title(name, loc="left", fontsize=10.5, color=_OBSERVED, pad=5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.grid(axis="y", color=_FAINT, alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.margins(x=0, y=0.08)
    axes.tick_params(length=0, labelsize=9, labelcolor=_OBSERVED)


def _style_time(axes: Axes, index: pd.Index) -> None:
    axes.tick_params(axis="x", length=3, color=_FAINT)
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        zone = getattr(index, "tz", None)
        locator = AutoDateLocator(tz=zone, minticks=4, maxticks=9)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))
    else:
        axes.set_xlabel(str(index.name or "row"), color=_OBSERVED)
