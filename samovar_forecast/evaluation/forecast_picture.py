"""A forecast as a picture: the newest history, the point forecast and the interval around it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from samovar_forecast.evaluation.pictures.style import FAINT, FORECAST, MOST_PANELS, OBSERVED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_forecast(
    histories: Mapping[Hashable, pd.DataFrame],
    forecasts: Mapping[Hashable, pd.DataFrame],
    intervals: Mapping[Hashable, pd.DataFrame] | None = None,
    *,
    coverage: float | None = None,
    title: str = "Forecast",
) -> Figure:
    """A panel for each series and target, at most six: history, forecast and interval.

    Parameters
    ----------
    histories, forecasts : mapping of names to DataFrame
        Rows before and after the cutoff, the targets as columns; a single series has the name None.
    intervals : mapping of names to DataFrame, or None
        Columns (target, "lower") and (target, "upper"), as `Forecaster.predict_interval` gives.
    coverage : float or None
        Their coverage, for the legend.
    title : str

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> history = pd.DataFrame({"load": [1.0, 2.0, 3.0]})
    >>> forecast = pd.DataFrame({"load": [4.0, 5.0]}, index=[3, 4])
    >>> len(plot_forecast({None: history}, {None: forecast}).axes)
    1
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    shown = [(key, column) for key, frame in forecasts.items() for column in frame.columns][:MOST_PANELS]
    figure = Figure(figsize=(10.5, 1.1 + 2.4 * len(shown)), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, (key, column) in zip(panels, shown, strict=True):
        ahead = forecasts[key][column]
        past = histories[key][column].iloc[-max(3 * len(ahead), 30) :]
        before, after = _moments(past.index), _moments(ahead.index)
        axes.plot(before, past.to_numpy(), color=OBSERVED, linewidth=1.2, label="observed")
        if intervals is not None:
            bounds = intervals[key][column]
            share = "interval" if coverage is None else f"{coverage:.0%} interval"
            low, high = bounds["lower"].to_numpy(), bounds["upper"].to_numpy()
            axes.fill_between(after, low, high, color=FORECAST, alpha=0.2, linewidth=0, label=share)
        axes.plot(
            np.concatenate([before[-1:], after]),
            np.concatenate([past.to_numpy()[-1:], ahead.to_numpy()]),
            color=FORECAST,
            linewidth=1.9,
            label="forecast",
        )
        name = str(column) if key is None else f"{' '.join(map(str, key)) if isinstance(key, tuple) else key}: {column}"
        axes.set_title(name, loc="left", fontsize=10.5, color=OBSERVED, pad=5)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(FAINT)
        axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.7)
        axes.margins(x=0, y=0.08)
        axes.tick_params(labelsize=9, labelcolor=OBSERVED, color=FAINT)
        if np.issubdtype(np.asarray(after).dtype, np.datetime64):
            locator = AutoDateLocator(minticks=4, maxticks=9)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        else:
            axes.set_xlabel(str(ahead.index.name or "row"), color=OBSERVED, fontsize=9)
    figure.suptitle(title, x=0.015, ha="left", fontsize=13, fontweight="bold", color=OBSERVED)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=9.5)
    return figure


def _moments(index: pd.Index) -> np.ndarray:
    """Positions on the time axis: first moments of periods, the wall clock of dates with a zone."""
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        index = index.tz_localize(None)
    return np.asarray(index)
