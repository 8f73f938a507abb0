"""Figures of the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from samovar_forecast.benchmark.summary import Result

_COLORS = (
    "#e0531f", "#5b8fb9", "#4c9f70", "#b8860b", "#8e6bb0", "#c2557d", "#2e8b9a", "#7f6a55", "#3b4f81", "#a3a847",
    "#2e3440", "#8a919e",
)  # fmt: skip


def draw_errors(results: Sequence[Result], data: str, path: Path) -> None:
    """Write a figure of the errors on a data set by horizon, with the published ones as open circles."""
    figure, axes = _figure()
    own = [one for one in results if one.data == data and one.horizon is not None]
    horizons = sorted({one.horizon for one in own if one.horizon is not None})
    for label, color in _colors(results).items():
        line = sorted((one for one in own if one.label == label), key=lambda one: one.horizon or 0)
        if not line:
            continue
        places = [horizons.index(one.horizon or 0) for one in line]
        axes.plot(places, [one.mse for one in line], marker="o", markersize=4, color=color, label=label)
        published = [(place, one.published) for place, one in zip(places, line, strict=True)]
        axes.plot(
            [place for place, found in published if found is not None],
            [found.mse for _, found in published if found is not None],
            "o", markersize=8, markerfacecolor="none", color=color,
        )  # fmt: skip
    axes.set_xticks(range(len(horizons)), [str(horizon) for horizon in horizons])
    axes.set(xlabel="horizon", ylabel="MSE", title=f"{data}; open circles: published")
    _finish(figure, axes, path)


def draw_time(results: Sequence[Result], path: Path) -> None:
    """Write a figure of errors against the time of training, over all data and horizons with several models."""
    figure, axes = _figure()
    errors: dict[tuple[str, int | None], list[float]] = {}
    for one in results:
        errors.setdefault((one.data, one.horizon), []).append(one.mse)
    compared = [one for one in results if one.horizon is not None and len(errors[one.data, one.horizon]) > 1]
    for label, color in _colors(results).items():
        marks = [one for one in compared if one.label == label]
        seconds = [max(one.training_seconds, 1) for one in marks]
        relative = [one.mse / min(errors[one.data, one.horizon]) for one in marks]
        axes.scatter(seconds, relative, s=26, color=color, alpha=0.8, label=label)
    axes.set_xscale("log")
    axes.set(xlabel="seconds of training (at least 1)", ylabel="MSE / lowest MSE of the same data and horizon")
    _finish(figure, axes, path)


def _colors(results: Sequence[Result]) -> dict[str, str]:
    """The same color for a model in every figure."""
    labels = sorted({one.label for one in results})
    return {label: _COLORS[number % len(_COLORS)] for number, label in enumerate(labels)}


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.5, 4.2), layout="constrained")
    return figure, figure.subplots()


def _finish(figure: Figure, axes: Axes, path: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=130)
