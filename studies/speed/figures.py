"""The figures of docs/evidence/speed.md; each function writes one and gives its path from the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Rows = list[dict[str, Any]]


def data_of(row: dict[str, Any]) -> str:
    """The data of a training step in words."""
    lengths = f", {row['context_length']} rows by {row['segment_length']}" if "segment_length" in row else ""
    return f"{row['n_series']} series, width {row['d_model']}{lengths}"


def name_of(row: dict[str, Any], between: str = "({})") -> str:
    """The model by its own name, without what the library adds to that of its class, and the library."""
    model = row["model"].removesuffix("Forecaster").removesuffix("Model")
    return f"{model} {between.format(row['library'])}"


def draw_steps(rows: Rows, path: Path) -> str:
    """Milliseconds of each form and of the floors, a panel for each size."""
    n_lines = -(-len(rows) // 2)
    figure = Figure(figsize=(10, 3 * n_lines), layout="constrained")
    for axes, row in zip(figure.subplots(n_lines, 2, squeeze=False).flat, rows, strict=False):
        names = list(row["milliseconds"])
        colours = ["0.75" if name in ("floor", "products alone") else "C0" for name in names]
        bars = axes.barh(names, list(row["milliseconds"].values()), color=colours)
        axes.bar_label(bars, fmt="{:,.0f}", padding=3)
        axes.margins(x=0.15)
        axes.invert_yaxis()
        axes.set_title(data_of(row), fontsize=10)
        axes.set_xlabel("milliseconds of a training step")
    return _saved(figure, path)


def draw_wide(rows: Rows, path: Path) -> str:
    """Memory and time against the number of series."""
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    widths = [row["n_series"] for row in rows]
    names = ("gigabytes at the peak", "milliseconds of a step")
    for axes, name in zip(figure.subplots(1, 2), names, strict=True):
        values = [row[name] for row in rows]
        axes.plot(widths, values, marker="o", label="measured")
        axes.plot(widths, [values[-1] * n / widths[-1] for n in widths], "--", color="0.6", label="in proportion")
        axes.set(xscale="log", yscale="log", xlabel="series", ylabel=name)
        axes.set_xticks(widths, [str(n) for n in widths])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return _saved(figure, path)


def draw_fits(rows: Rows, path: Path) -> str:
    """Windows per second of fits, and the time of a step with the engine's part."""
    figure = Figure(figsize=(11, 0.3 * len(rows) + 1), layout="constrained")
    names = [name_of(row) for row in rows]
    colours = [_colour(row["library"]) for row in rows]
    left, right = figure.subplots(1, 2, sharey=True)
    left.barh(names, [row["windows per second of a fit"] for row in rows], color=colours)
    left.set(xlabel="windows per second of a whole fit", xscale="log")
    right.barh(names, [100 * row["share of the engine"] for row in rows], color=colours)
    right.set_xlabel("engine's share of a step, %")
    left.invert_yaxis()
    return _saved(figure, path)


def draw_backtests(rows: Rows, path: Path) -> str:
    """Seconds inside the network and beside it."""
    figure = Figure(figsize=(9, 0.35 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    names = [name_of(row) for row in rows]
    beside = [row["seconds beside the network"] for row in rows]
    inside = [row["seconds"] - rest for row, rest in zip(rows, beside, strict=True)]
    axes.barh(names, inside, color="0.75", label="inside the network")
    axes.barh(names, beside, left=inside, color="C1", label="beside it")
    axes.set_xlabel("seconds for 2,785 windows")
    axes.invert_yaxis()
    axes.legend(fontsize=8)
    return _saved(figure, path)


def _colour(library: str) -> str:
    return {"samovar-forecast": "C0", "darts": "C1", "neuralforecast": "C2", "sktime": "C3"}[library]


def _saved(figure: Figure, path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    return f"figures/{path.name}"
