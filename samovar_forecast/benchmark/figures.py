"""Figures of the report: a row for each model, whose color is the same in all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from samovar_forecast.benchmark.summary import Result
from samovar_forecast.evaluation.pictures.style import COLORS, FAINT, OBSERVED, heading, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAIVE = "naive"
_OWN = ("SAMoVAR", "SAMformer", "FixedVAR", "LinTrans", "LinearAttention", "PSFAttention", "Autoformer")
_COLORS = dict(zip(_OWN, COLORS, strict=False)) | {NAIVE: FAINT}  # all others: the color of text
_ROW, _MARK = 0.34, 4.5  # inches of a row, points of a mark that shares its row


class _Kind(NamedTuple):
    """What a mark stands for: its shape, and whether it is filled."""

    marker: str
    filled: bool


_KINDS = {  # in this order from above where a row has several
    "default recipe": _Kind("o", True),
    "published recipe": _Kind("s", True),
    "changed settings": _Kind("^", True),
    "published result": _Kind("o", False),
}


def color_of(model: str) -> str:
    """The color of a model in every figure, whatever else is in the store.

    Examples
    --------
    >>> color_of("SAMoVAR"), color_of("SAMformer")
    ('#0072b2', '#d55e00')
    """
    return _COLORS.get(model, OBSERVED)


def draw_errors(results: Sequence[Result], data: str, path: Path) -> bool:
    """Write a figure of the errors on a data set: a column for each horizon, a row for each model.

    Runs with changed settings are left to the tables where the model has others on the data set.

    Returns
    -------
    bool
        Whether there is a figure: none is drawn of the naive forecast alone, and one of an earlier report is removed.
    """
    own = [one for one in _drawn(results) if one.data == data and one.horizon is not None]
    models = _models(own)
    if not set(models) - {NAIVE}:
        path.unlink(missing_ok=True)
        return False
    horizons = sorted({one.horizon for one in own if one.horizon is not None and one.model != NAIVE})
    figure = new_figure(2.3 + 2.1 * max(3, len(horizons)), 1.6 + _ROW * len(models))
    columns = figure.subplots(1, len(horizons), sharey=True, squeeze=False)[0]
    kinds = set()
    for axes, horizon in zip(columns, horizons, strict=True):
        for row, model in enumerate(models):
            of_row = [one for one in own if (one.horizon, one.model) == (horizon, model)]
            marks = [(_kind(one), one.mse, one.deviation or 0.0) for one in of_row]
            marks += {("published result", one.published.mse, 0.0) for one in of_row if one.published is not None}
            present = [kind for kind in _KINDS if kind in {kind for kind, _, _ in marks}]
            kinds.update(present)
            for kind, mse, deviation in marks:
                height = row + 0.32 * (present.index(kind) - (len(present) - 1) / 2)
                _mark(axes, mse, height, kind, color_of(model))
                if deviation:
                    ends = [mse - deviation, mse + deviation]
                    axes.plot(ends, [height] * 2, color=color_of(model), linewidth=1.4, zorder=2)
        style(axes, f"horizon {horizon}", grid="both")
        axes.set_xlabel("MSE")
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=4)
    _rows(columns[0], models)
    heading(figure, f"{data}, in squared standard deviations of the training rows")
    _explain_marks(figure, [kind for kind in _KINDS if kind in kinds])
    figure.savefig(path, dpi=130)
    return True


def draw_time(results: Sequence[Result], path: Path) -> None:
    """Write a figure of errors and times of training, over all data and horizons with several models.

    Errors are relative to the best of the other models: the best of all lie below 1, and not on each other at 1.
    """
    drawn = [one for one in _drawn(results) if one.horizon is not None]
    errors: dict[tuple[str, int | None], list[tuple[str, float]]] = {}
    for one in results:
        errors.setdefault((one.data, one.horizon), []).append((one.model, one.mse))
    of_others = {one: [mse for model, mse in errors[one.data, one.horizon] if model != one.model] for one in drawn}
    compared = [one for one in drawn if of_others[one]]
    models = _models(compared)
    figure = new_figure(10, 1.7 + 1.25 * _ROW * max(1, len(models)))
    left, right = figure.subplots(1, 2, sharey=True)
    kinds = set()
    right.set_xscale("log")
    for row, model in enumerate(models):
        marks = [one for one in compared if one.model == model]
        kinds |= {_kind(one) for one in marks}
        relative = [one.mse / min(of_others[one]) for one in marks]
        _swarm(left, relative, row, marks, model)
        if model != NAIVE:  # which is not trained
            _swarm(right, [max(one.training_seconds, 1) for one in marks], row, marks, model)
    left.axvline(1, color=OBSERVED, linewidth=0.9, zorder=1)
    style(left, "error; bar: median", grid="both")
    left.set_xlabel("MSE / lowest MSE of the other models there")
    style(right, "time; bar: median", grid="both")
    right.set_xlabel("seconds of training (at least 1)")
    _rows(left, models)
    heading(figure, "Accuracy and time of training, a mark for each data set and horizon")
    _explain_marks(figure, [kind for kind in _KINDS if kind in kinds])
    _settle(figure, [left, right])
    figure.savefig(path, dpi=130)


def _drawn(results: Sequence[Result]) -> list[Result]:
    """The results with a recipe as it is named; of a model that has none of these on a data set, all of them there."""
    plain = {(one.model, one.data) for one in results if _kind(one) != "changed settings"}
    return [one for one in results if (one.model, one.data) not in plain or _kind(one) != "changed settings"]


def _kind(one: Result) -> str:
    recipe, *changed = [part for part in one.recipe.split(", ") if not part.startswith(("on ", "split "))]
    if changed or recipe not in ("default", "published"):
        return "changed settings"
    return f"{recipe} recipe"


def _models(results: Sequence[Result]) -> list[str]:
    """The models of this package, those of others, the naive forecast."""
    found = {one.model for one in results}
    others = sorted(found - {*_OWN, NAIVE}, key=str.casefold)
    return [model for model in (*_OWN, *others, NAIVE) if model in found]


def _mark(axes: Axes, value: float, height: float, kind: str, color: str) -> None:
    marker, filled = _KINDS[kind]
    axes.plot(value, height, marker, markersize=5.5 if filled else 6.5, color=color, zorder=3,
              markerfacecolor=color if filled else "none", markeredgewidth=0 if filled else 1.4)  # fmt: skip


def _rows(axes: Axes, models: Sequence[str]) -> None:
    axes.set_yticks(range(len(models)), [model.replace(":", ": ") for model in models])
    for label, model in zip(axes.get_yticklabels(), models, strict=True):
        label.set_color(color_of(model))
    axes.set_ylim(max(1, len(models)) - 0.5, -0.5)


def _explain_marks(figure: Figure, kinds: Sequence[str]) -> None:
    """A legend of one line below the axes: colors are named by the rows."""
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], linestyle="", marker=_KINDS[kind].marker, color=OBSERVED, markersize=6,
               markerfacecolor=OBSERVED if _KINDS[kind].filled else "none")
        for kind in kinds
    ]  # fmt: skip
    if handles:
        figure.legend(handles, kinds, loc="outside lower center", ncols=4, frameon=False, fontsize=9)


def _swarm(axes: Axes, values: Sequence[float], row: int, results: Sequence[Result], model: str) -> None:
    """The marks of a row, to be spread where they would lie on each other, and their median."""
    for value, one in zip(values, results, strict=True):
        kind = _kind(one)
        marker = _KINDS[kind].marker
        axes.plot(value, row, marker, markersize=_MARK, color=color_of(model), markeredgewidth=0, alpha=0.85, zorder=3)
    axes.plot([median(values)] * 2, [row - 0.42, row + 0.42], color=color_of(model), linewidth=1.4, alpha=0.6, zorder=2)


def _settle(figure: Figure, columns: Sequence[Axes]) -> None:
    """Move the marks of each row up and down until none lies on another one; make them smaller where room is short."""
    figure.draw_without_rendering()  # the limits and the layout are final only then
    for axes in columns:
        rows: dict[float, list[Any]] = {}
        for line in axes.lines:
            across, heights = (np.asarray(values, dtype=float) for values in line.get_data())
            if len(across) == 1:
                rows.setdefault(float(heights[0]), []).append(line)
        height = abs(float(axes.transData.transform((1, 0))[1] - axes.transData.transform((1, 1))[1]))
        for row, lines in rows.items():
            places = [float(axes.transData.transform((line.get_xdata()[0], row))[0]) for line in lines]
            size, shifts = _MARK, None
            while shifts is None:
                shifts = _shifts(places, apart=figure.dpi * (size + 0.3) / 72, room=0.42 * height)
                size *= 1 if shifts is not None else 0.85
            for line, shift in zip(lines, shifts, strict=True):
                line.set_ydata([row + shift / height])
                line.set_markersize(size)


def _shifts(places: Sequence[float], apart: float, room: float) -> list[float] | None:
    """How far up or down each mark goes, in pixels, so that all are apart; None where the room does not suffice.

    Examples
    --------
    >>> _shifts([1.0, 1.0, 9.0], apart=4.0, room=10.0)
    [0.0, 4.0, 0.0]
    """
    steps = int(2 * room / apart)
    possible = [0.0, *(sign * n * apart / 2 for n in range(1, steps + 1) for sign in (1, -1))]
    placed: dict[int, float] = {}
    for number in sorted(range(len(places)), key=places.__getitem__):
        near = [(places[other], shift) for other, shift in placed.items() if places[number] - places[other] < apart]
        free = (s for s in possible if all(math.hypot(places[number] - x, s - y) >= apart for x, y in near))
        shift = next(free, None)
        if shift is None:
            return None
        placed[number] = shift
    return [placed[number] for number in range(len(places))]
