"""Pictures of readings: contributions, lag matrices, influence paths, impulse responses and attention."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from samovar_forecast.evaluation.pictures.style import (
    COLORS,
    FAINT,
    FORECAST,
    MOST_PANELS,
    OBSERVED,
    REFERENCE,
    choose,
    figure_of,
    heading,
    heat_map,
    integer_ticks,
    legend,
    new_figure,
    of_series,
    panels,
    style,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SEGMENTS = 5  # with a color of their own; older ones are added up
MOST_RESPONSES = 5  # shocks and series in one figure


def plot_contributions(
    reading: xr.Dataset, *, series: Sequence[Hashable] | None = None, title: str | None = None, ax: Axes | None = None
) -> Figure:
    """What each past segment adds to the forecast, step by step, stacked with its sign: a panel for each series.

    Parameters
    ----------
    reading : Dataset
        What `Forecaster.explain` of SAMoVAR or FixedVAR gives.
    series : sequence of names or None
        Panels. None: the first six series.
    title : str or None
        Heading. None: the model and the cutoff.
    ax : matplotlib.axes.Axes or None
        Where to draw a single series. None: a new figure.

    Raises
    ------
    ValueError
        If the reading has no contributions, a series is not there, or `ax` is given for several.
    """
    if "contribution" not in reading:
        raise ValueError("only SAMoVAR and FixedVAR take a forecast apart; plot_lag_matrices draws every model")
    names, left_out = choose(reading["series"].values.tolist(), series, MOST_PANELS)
    figure, below = panels(ax, len(names), 9.5, 2.8)
    for axes, name in zip(below, names, strict=True):
        one = of_series(reading, name)
        by_segment = one["contribution"].sum("token").transpose("segment", "step").values
        parts = {"newest segment itself": one["own"].values}
        parts |= {f"segment {number + 1}": row for number, row in enumerate(by_segment[:MOST_SEGMENTS])}
        if len(by_segment) > MOST_SEGMENTS:
            parts["older segments"] = by_segment[MOST_SEGMENTS:].sum(0)
        steps = one["step"].values
        above, under = np.zeros(len(steps)), np.zeros(len(steps))
        for color, (label, values) in zip((FAINT, *COLORS), parts.items(), strict=False):
            base = np.where(values >= 0, above, under)
            axes.bar(steps, values, 0.86, bottom=base, color=color, label=label, linewidth=0)
            above, under = above + values.clip(min=0), under + values.clip(max=0)
        total = sum(parts.values())
        axes.plot(steps, total, color=OBSERVED, linewidth=1.4, marker="o", markersize=3, label="sum")
        axes.axhline(0, color=OBSERVED, linewidth=0.8)
        style(axes, str(name))
        axes.set_ylabel(one["contribution"].attrs["units"].replace("units of the series", f"units of {name}"))
        integer_ticks(axes)
        axes.set_xlim(steps[0] - 0.7, steps[-1] + 0.7)
    below[-1].set_xlabel("step of the forecast")
    handles, labels = below[0].get_legend_handles_labels()
    if ax is None:
        heading(figure, title or f"What past segments add to the forecast{_of(reading)}{left_out}")
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    else:
        legend(ax, 2)
        if title is not None:
            ax.set_title(title, loc="left", fontsize=10.5, color=OBSERVED)
    return figure


def plot_lag_matrices(
    reading: xr.Dataset,
    *,
    variable: Literal["lag_matrix", "influence", "mean", "spread"] = "lag_matrix",
    step: int | None = None,
    series: Sequence[Hashable] | None = None,
    sources: Sequence[Hashable] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Source by lag, how the forecast answers to each past value: a panel for each series.

    Parameters
    ----------
    reading : Dataset
        What `Forecaster.explain` gives, or `explain_backtest` for `mean` and `spread`.
    variable : {"lag_matrix", "influence", "mean", "spread"}
        `lag_matrix` is drawn per standard deviation of the source, so that sources of different units compare.
    step : int or None
        Step of the forecast. None: the mean over the steps.
    series, sources : sequence of names or None
        Panels and rows. None: the first six series, and the first 24 sources.
    title, ax
        See `plot_contributions`.

    Raises
    ------
    ValueError
        If the reading lacks the variable, a name or the step, or `ax` is given for several.
    """
    if variable not in reading:
        raise ValueError(f"the reading has no {variable}; it has {list(reading.data_vars)}")
    values = reading[variable]
    if variable == "lag_matrix":
        values = values * reading["scale"]
    if "step" in values.dims:
        if step is not None and step not in values["step"].values:
            raise ValueError(f"step must be one of {values['step'].values.tolist()}, got {step}")
        values = values.mean("step") if step is None else values.sel(step=step)
    names, left_out = choose(values["series"].values.tolist(), series, MOST_PANELS)
    rows, rows_out = choose(values["source"].values.tolist(), sources, 24, "sources")
    figure, below = panels(ax, len(names), 9.5, max(1.5, 0.9 + 0.26 * len(rows)))
    for axes, name in zip(below, names, strict=True):
        places = [values["source"].values.tolist().index(row) for row in rows]
        matrix = of_series(values, name).isel(source=places).transpose("source", "lag").values
        label = f"units of {name}\nper {'unit' if variable in ('mean', 'spread') else 'deviation'} of the source"
        heat_map(
            axes, matrix, rows, values["lag"].values.tolist(), label, signed=variable not in ("influence", "spread")
        )
        axes.set_title(f"forecast of {name}", loc="left", fontsize=10.5, color=OBSERVED, pad=5)
        axes.set_ylabel("source", fontsize=9.5, color=OBSERVED)
    below[-1].set_xlabel("lag, rows before the forecast (1 is the newest)", fontsize=9.5, color=OBSERVED)
    what = {
        "lag_matrix": "Lag matrices", "influence": "Influence of a change of one deviation",
        "mean": "Lag matrices, mean over the cutoffs", "spread": "Lag matrices, spread over the cutoffs",
    }[variable]  # fmt: skip
    which = "" if variable == "influence" else ", mean over the steps" if step is None else f", step {step}"
    if ax is None:
        heading(figure, title or f"{what}{which}{_of(reading)}{left_out}{rows_out}")
    elif title is not None:
        ax.set_title(title, loc="left", fontsize=10.5, color=OBSERVED)
    return figure


def plot_influence_paths(
    paths: xr.Dataset, *, series: Sequence[Hashable] | None = None, title: str | None = None, ax: Axes | None = None
) -> Figure:
    """Influence paths as arcs over the past segments: above the line they raise the forecast, below they lower it.

    A full circle is a main token, the target's own past; an open one is a context token, a mixture of all series.

    Parameters
    ----------
    paths : Dataset
        What `Forecaster.influence_paths` gives.
    series, title, ax
        See `plot_contributions`.
    """
    names, left_out = choose(paths["series"].values.tolist(), series, MOST_PANELS)
    figure, below = panels(ax, len(names), 9.5, 2.9)
    n_segments = int(paths.attrs["n_segments"])
    for axes, name in zip(below, names, strict=True):
        one = of_series(paths, name)
        strongest = float(one["strength"].max()) or 1.0
        highest = 0.5
        for number in range(one.sizes["path"] - 1, -1, -1):  # the strongest lies on top
            path = one.isel(path=number)
            if not path["layers"]:
                continue
            up = float(path["contribution"].mean()) >= 0
            share, color = float(path["strength"]) / strongest, FORECAST if up else REFERENCE
            stops = [-float(segment) for segment in path["segment"].values[: int(path["layers"]) + 1]] + [0.0]
            for left, right in pairwise(stops):
                if right > left:
                    highest = max(highest, (right - left) / 2)
                    _arc(axes, left, right, up, color, 0.6 + 3.4 * share, 0.25 + 0.65 * share)
            own = str(path["token"].values[0]) == "main"
            axes.plot(stops[0], 0, "o", color=color, markersize=5 + 4 * share, zorder=5, markeredgewidth=1.3,
                      markerfacecolor=color if own else "white")  # fmt: skip
        axes.plot(0, 0, "s", color=OBSERVED, markersize=8, zorder=6)
        axes.axhline(0, color=FAINT, linewidth=0.8, zorder=1)
        ticks = np.unique(np.linspace(1, n_segments, min(n_segments, 12)).round().astype(int))
        axes.set_xticks([*(-ticks), 0], [*map(str, ticks), "forecast"])
        axes.set(xlim=(-n_segments - 0.6, 0.8), ylim=(-1.15 * highest, 1.15 * highest), yticks=[])
        style(axes, f"{name}: strongest path {strongest:.3g} {_units(one['strength'], name)}", grid="")
        axes.text(0.005, 0.96, "raises", color=FORECAST, fontsize=9, va="top", transform=axes.transAxes)
        axes.text(0.005, 0.04, "lowers", color=REFERENCE, fontsize=9, transform=axes.transAxes)
        axes.spines["bottom"].set_visible(False)
    below[-1].set_xlabel(
        f"past segment of {paths.attrs['segment_length']} rows (1 is the newest);  "
        "full circle: own past,  open circle: mixture of all series"
    )
    below[-1].xaxis.label.set(color=OBSERVED, fontsize=9.5)
    if ax is None:
        heading(figure, title or f"The strongest {paths.sizes['path']} influence paths{_of(paths)}{left_out}")
    elif title is not None:
        ax.set_title(title, loc="left", fontsize=10.5, color=OBSERVED)
    return figure


def plot_impulse_responses(
    responses: xr.Dataset,
    *,
    shocks: Sequence[Hashable] | None = None,
    series: Sequence[Hashable] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Responses of the forecasts to shocks, with their bands over the cutoffs: a column per shock, a row per series.

    Parameters
    ----------
    responses : Dataset
        What `Forecaster.impulse_response` gives.
    shocks, series : sequence of names or None
        Columns and rows. None: the first five.
    title : str or None
        Heading. None: the model and the kind of shock.
    ax : matplotlib.axes.Axes or None
        Where to draw one response: name one shock and one series. None: a new figure.

    Raises
    ------
    ValueError
        If a name is not there, or `ax` is given for several responses.
    """
    columns, columns_out = choose(responses["shock"].values.tolist(), shocks, MOST_RESPONSES, "shocks")
    rows, rows_out = choose(responses["series"].values.tolist(), series, MOST_RESPONSES)
    if ax is not None and len(columns) * len(rows) > 1:
        raise ValueError("ax has room for one response: name one, e.g. shocks=[...], series=[...]")
    if ax is None:
        figure = new_figure(1.2 + 2.5 * len(columns), 1.1 + 1.8 * len(rows))
        grid = figure.subplots(len(rows), len(columns), sharex=True, sharey="row", squeeze=False)
    else:
        figure, grid = figure_of(ax), np.array([[ax]])
    several = responses.sizes["cutoff"] > 1
    for across, shock in enumerate(columns):
        for down, name in enumerate(rows):
            axes, one = grid[down, across], of_series(of_series(responses, shock, "shock"), name)
            if several:
                axes.fill_between(one["step"], one["lower"], one["upper"], color=FORECAST, alpha=0.22, linewidth=0)
            axes.plot(one["step"], one["mean"], color=FORECAST, linewidth=1.7)
            axes.axhline(0, color=OBSERVED, linewidth=0.8)
            style(axes, f"shock to {shock}" if down == 0 else "")
            integer_ticks(axes)
            if across == 0:
                axes.set_ylabel(f"{name}", color=OBSERVED, fontsize=9.5)
            if down == len(rows) - 1:
                axes.set_xlabel("steps after the shock", color=OBSERVED, fontsize=9.5)
    kind = {
        "unit": "one unit",
        "deviation": "one standard deviation",
        "cholesky": "a Cholesky factor",
        "own": "own matrix",
    }
    band = f"; band: {responses.attrs['coverage']:.0%} of {responses.sizes['cutoff']} cutoffs" if several else ""
    if ax is None:
        heading(
            figure, title or f"Responses to shocks of {kind[responses.attrs['shock']]}{band}{columns_out}{rows_out}"
        )
    elif title is not None:
        ax.set_title(title, loc="left", fontsize=10.5, color=OBSERVED)
    return figure


def plot_attention(
    reading: xr.Dataset, *, series: Hashable | None = None, title: str | None = None, ax: Axes | None = None
) -> Figure:
    """What the network attends to: series by series, past tokens by layer and head, or the delays of Autoformer.

    Parameters
    ----------
    reading : Dataset
        What `Forecaster.explain` gives for a model with attention.
    series : name or None
        Whose attention, where every series has its own. None: the first one.
    title : str or None
        Heading. None: the model and the series.
    ax : matplotlib.axes.Axes or None
        Where to draw. None: a new figure.

    Raises
    ------
    ValueError
        If the reading has no attention, or the series is not there.
    """
    if "delay" in reading:
        return _plot_delays(reading, title, ax)
    if "attention" not in reading:
        raise ValueError("this model has no attention weights; plot_contributions draws those of SAMoVAR and FixedVAR")
    attention, of_one = reading["attention"], ""
    if attention.dims == ("series", "source"):
        values, rows, columns = attention.values, attention["series"].values, attention["source"].values
        across, down = "attends to", "series"
    else:
        known = attention["series"].values.tolist()
        ((name,), _) = choose(known, None if series is None else [series], 1)
        of_one, one = f", {name}", of_series(attention, name)
        past = "segment" if "segment" in one.dims else "patch"
        others = [dim for dim in one.dims if dim != past]
        stacked = one.stack(row=others).transpose("row", past).isel({past: slice(None, None, -1)})
        values = stacked.values
        rows = np.array([_row_label(label, others) for label in stacked["row"].values], dtype=object)
        columns, down = stacked[past].values, ""
        if past == "patch":
            columns = np.array([f"{int(a)}-{int(b)}" if a != b else str(int(a)) for a, b in zip(
                stacked["oldest_lag"].values, stacked["newest_lag"].values, strict=True)], dtype=object)  # fmt: skip
        across = "lags of the past token, oldest at the left" if past == "patch" else "past segment (1 is the newest)"
    axes = new_figure(8.6, max(2.4, 1.2 + 0.3 * len(rows))).subplots() if ax is None else ax
    heat_map(axes, values, list(rows), list(columns), "weight", signed=bool((values < 0).any()))
    axes.set_xlabel(across, fontsize=9.5, color=OBSERVED)
    axes.set_ylabel(down, fontsize=9.5, color=OBSERVED)
    if sum(len(str(column)) for column in columns[:10]) > 90:
        axes.tick_params(axis="x", labelrotation=30)
    axes.set_title(title or f"Attention{of_one}{_of(reading)}", loc="left", fontsize=10.5, color=OBSERVED)
    return figure_of(axes)


def _plot_delays(reading: xr.Dataset, title: str | None, ax: Axes | None) -> Figure:
    axes = new_figure(8.6, 3.2).subplots() if ax is None else ax
    layers = reading["layer"].values.tolist()
    for number, (color, layer) in enumerate(zip(COLORS, layers, strict=False)):
        delays, weights = (reading[name].sel(layer=layer).values for name in ("delay", "delay_weight"))
        shift = 0.25 * (number - (min(len(layers), len(COLORS)) - 1) / 2)
        axes.vlines(delays + shift, 0, weights, color=color, linewidth=2.2)
        axes.plot(delays + shift, weights, "o", color=color, markersize=4.5, label=layer)
    style(axes, title or f"Delays that the layers attend over{_of(reading)}")
    axes.set(xlabel="delay, rows", ylabel="weight")
    axes.set_ylim(bottom=0)
    integer_ticks(axes)
    legend(axes)
    return figure_of(axes)


def _arc(axes: Axes, left: float, right: float, up: bool, color: str, width: float, alpha: float) -> None:
    angle = np.linspace(0, np.pi, 40)
    radius = (right - left) / 2
    height = radius * np.sin(angle) * (1 if up else -1)
    axes.plot((left + right) / 2 - radius * np.cos(angle), height, color=color, linewidth=width, alpha=alpha,
              solid_capstyle="round", zorder=2)  # fmt: skip


def _row_label(label: Any, dims: Sequence[Any]) -> str:
    parts = label if isinstance(label, tuple) else (label,)
    return ", ".join(
        str(part) if dim in ("source", "token") else f"{dim} {part}" for dim, part in zip(dims, parts, strict=True)
    )


def _units(values: xr.DataArray, name: Any) -> str:
    return str(values.attrs["units"]).replace("units of the series", f"units of {name}")


def _of(reading: xr.Dataset) -> str:
    model, cutoff = reading.attrs.get("model"), reading.attrs.get("cutoff")
    return f" - {model}" * bool(model) + f", after {cutoff}" * bool(cutoff)
