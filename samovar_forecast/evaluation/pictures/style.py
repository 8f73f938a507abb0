"""The one style of all pictures: colours that the colour-blind tell apart, quiet axes, dates that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 6
OBSERVED, FORECAST, REFERENCE, FAINT = "#2e3440", "#d55e00", "#0072b2", "#8a919e"
COLORS = (  # after Okabe & Ito; no more than these lie in one picture
    "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#8c6d31", "#2e3440",
)  # fmt: skip
SIGNED, UNSIGNED = "RdBu_r", "Blues"  # maps of values around zero, and of sizes


def new_figure(width: float, height: float) -> Figure:
    """A figure that belongs to no window and no global state."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))


def figure_of(axes: Axes) -> Figure:
    """The figure that axes lie in."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def panels(ax: Axes | None, count: int, width: float, height: float, share_x: bool = True) -> tuple[Figure, list[Axes]]:
    """Axes one below the other: the one given, or those of a new figure.

    Raises
    ------
    ValueError
        If one is given for several panels.
    """
    if ax is not None:
        if count > 1:
            raise ValueError(f"ax has room for one series, and there are {count}: name one, e.g. series=[...]")
        return figure_of(ax), [ax]
    figure = new_figure(width, 0.9 + height * count)
    return figure, list(figure.subplots(count, 1, sharex=share_x, squeeze=False)[:, 0])


def style(axes: Axes, title: str, grid: str = "y") -> None:
    """Quiet axes with the title at the left."""
    axes.set_title(title, loc="left", fontsize=10.5, color=OBSERVED, pad=5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    if grid:
        axes.grid(axis=grid, color=FAINT, alpha=0.25, linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=OBSERVED)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=OBSERVED, fontsize=9.5)


def heading(figure: Figure, title: str) -> None:
    """The title of a figure."""
    figure.suptitle(title, x=0.015, ha="left", fontsize=12.5, fontweight="bold", color=OBSERVED)


def legend(axes: Axes, n_columns: int = 1, **where: Any) -> None:
    """A legend without a frame, where the data leave room."""
    axes.legend(frameon=False, fontsize=9, ncols=n_columns, labelcolor=OBSERVED, **({"loc": "best"} | where))


def style_time(axes: Axes, index: pd.Index) -> None:
    """Dates on the x axis, of the zone of the index; otherwise the name of the index."""
    axes.tick_params(axis="x", length=3, color=FAINT)
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        zone = getattr(index, "tz", None)
        locator = AutoDateLocator(tz=zone, minticks=4, maxticks=9)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))
    else:
        axes.set_xlabel(str(index.name or "row"), color=OBSERVED)


def times(index: pd.Index) -> NDArray[Any]:
    """Positions on the time axis of matplotlib, which has dates in UTC."""
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        # In autumn the clock of the zone goes back, the axis does not.
        index = index.tz_convert("UTC").tz_localize(None)
    return index.to_numpy()


def choose(
    known: Sequence[Any], chosen: Sequence[Any] | None, most: int, name: str = "series"
) -> tuple[list[Any], str]:
    """The names to draw, and what to say where these are not all.

    Raises
    ------
    ValueError
        If a name is not there.
    """
    if chosen is None:
        return list(known[:most]), "" if len(known) <= most else f" ({most} of {len(known)} {name})"
    wrong = [one for one in chosen if one not in known]
    if wrong or not len(chosen):
        raise ValueError(f"{name} must name some of {list(known)}, got {list(chosen)}")
    return list(chosen), ""


def of_series(data: Any, name: Any, dim: str = "series") -> Any:
    """The part of a Dataset or DataArray that belongs to one name, which may be a tuple."""
    return data.isel({dim: data[dim].values.tolist().index(name)})


def integer_ticks(axes: Axes, which: str = "x") -> None:
    """Whole numbers on an axis."""
    from matplotlib.ticker import MaxNLocator

    (axes.xaxis if which == "x" else axes.yaxis).set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def heat_map(
    axes: Axes, values: NDArray[Any], rows: Sequence[Any], columns: Sequence[Any], label: str, *, signed: bool
) -> None:
    """Values by row and column, with a scale that is centred at zero where they have signs."""
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    limits = (-largest or -1.0, largest or 1.0) if signed else (0.0, largest or 1.0)
    image = axes.imshow(
        values,
        aspect="auto",
        interpolation="nearest",
        cmap=SIGNED if signed else UNSIGNED,
        vmin=limits[0],
        vmax=limits[1],
    )
    longest = max(len(str(column)) for column in columns)
    places = np.arange(0, len(columns), -(-len(columns) // (14 if longest < 4 else 10)))
    axes.set_xticks(places, [str(columns[place]) for place in places.tolist()])
    shown = np.arange(0, len(rows), -(-len(rows) // 24))
    axes.set_yticks(shown, [str(rows[place]) for place in shown.tolist()])
    bar = figure_of(axes).colorbar(image, ax=axes, pad=0.015, aspect=14)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8.5, labelcolor=OBSERVED)
    bar.set_label(label, fontsize=9, color=OBSERVED)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=OBSERVED)
