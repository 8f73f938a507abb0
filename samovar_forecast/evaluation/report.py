"""A report of a backtest in one HTML file: forecasts, errors, calibration, training, reading, settings, versions."""

from __future__ import annotations

import html
import platform
from collections.abc import Callable, Hashable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from samovar_forecast.data.frames import read_frame
from samovar_forecast.data.time_axis import Frequency, continue_index
from samovar_forecast.evaluation import metrics
from samovar_forecast.evaluation.baselines import cutoff_rows
from samovar_forecast.evaluation.pictures.style import COLORS, FAINT, FORECAST, OBSERVED, choose, of_series, times
from samovar_forecast.files.atomic_files import replace_file

if TYPE_CHECKING:
    import xarray as xr

    from samovar_forecast.training.summary import TrainingSummary

MOST_SERIES = 8  # with charts of their own
_PACKAGES = ("samovar-forecast", "torch", "pytorch-lightning", "numpy", "pandas", "xarray", "plotly")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #2e3440; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: .2em } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #d8dee9 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto }
th, td { padding: .25em .8em; text-align: right; border-bottom: 1px solid #e5e9f0 } th:first-child { text-align: left }
p.note { color: #5b6270; font-size: .92em }
"""


def write_report(
    path: str | PathLike[str],
    y: pd.Series | pd.DataFrame,
    backtest: xr.Dataset,
    *,
    reference: xr.Dataset | None = None,
    reading: xr.Dataset | None = None,
    summary: TrainingSummary | None = None,
    settings: Mapping[str, Any] | None = None,
    series: Sequence[Hashable] | None = None,
    title: str | None = None,
) -> Path:
    """Write the report of a backtest: one file with its charts and plotly inside, which opens without a network.

    Parameters
    ----------
    path : path
        Where to write, replaced atomically.
    y : Series or DataFrame
        The rows that were backtested, with the history before them.
    backtest : Dataset
        What `Forecaster.backtest` gives; with quantiles there are bands and a chart of calibration.
    reference : Dataset or None
        Another backtest at the same cutoffs, such as the seasonal naive one, for the table and the errors by step.
    reading : Dataset or None
        What `Forecaster.explain` gives.
    summary : TrainingSummary or None
        What the training did.
    settings : mapping or None
        Hyperparameters.
    series : sequence of names or None
        Series with charts of their own. None: the first eight; the table has all.
    title : str or None
        None: the model and the horizon.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ImportError
        If the extra ``samovar-forecast[report]`` is not installed.
    ValueError
        If a series is not in the backtest, or `y` does not hold the rows that were forecast.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError("a report needs plotly: pip install 'samovar-forecast[report]'") from error
    frame = read_frame(y, missing=True)
    names, left_out = choose(backtest["series"].values.tolist(), series, MOST_SERIES)
    several = {str(backtest.attrs.get("model") or "forecast"): backtest}
    if reference is not None:
        several[str(reference.attrs.get("model") or "reference")] = reference
    model, horizon = next(iter(several)), backtest.sizes["step"]
    parts = [
        f"<h1>{html.escape(title or f'{model}, {horizon} steps ahead')}</h1>",
        f'<p class="note">{_span(backtest)}</p>',
        "<h2>Errors by series</h2>",
        _error_table(several),
        f"<h2>Forecasts{html.escape(left_out)}</h2>",
        '<p class="note">Drag to zoom, double click to go back, click a name to hide it.</p>',
        *(_chart(_forecasts(frame, backtest, name)) for name in names),
        "<h2>Error by step</h2>",
        *(_chart(_errors_by_step(several, name)) for name in names),
    ]
    if "quantiles" in backtest and (pairs := _pairs(backtest)):
        parts += ["<h2>Calibration of the intervals</h2>", _chart(_calibration(backtest, names, pairs))]
    if reading is not None:
        parts += ["<h2>What the model looks at</h2>", *_reading_charts(reading, names)]
    if summary is not None and summary.history:
        parts += ["<h2>Training</h2>", _chart(_losses(summary))]
    if settings:
        parts += ["<h2>Settings</h2>", _table(pd.DataFrame({"value": {k: repr(v) for k, v in settings.items()}}))]
    parts += ["<h2>Versions</h2>", _table(pd.DataFrame({"version": _versions()}))]
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<link rel="icon" href="data:,"><title>{html.escape(title or model)}</title><style>{_STYLE}</style>'
        f"<script>{get_plotlyjs()}</script></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )
    target = Path(path)
    replace_file(target, page.encode())
    return target


def observed_rows(backtest: xr.Dataset, frequency: Frequency) -> pd.DataFrame:
    """The rows that a backtest has forecast, put together again; NaN in its first cutoff, which it only has seen.

    Parameters
    ----------
    backtest : Dataset
        What `Forecaster.backtest` gives.
    frequency : offset or int
        Step of the index.
    """
    first, last = backtest.indexes["cutoff"][[0, -1]]
    index = pd.Index([first])
    while index[-1] < last:
        index = index.append(continue_index(index, frequency, backtest.sizes["cutoff"]))
    index = index[: index.get_loc(last) + 1]
    index = index.append(continue_index(index, frequency, backtest.sizes["step"]))
    rows = np.full((len(index), backtest.sizes["series"]), np.nan)
    actual = backtest["actual"].transpose("cutoff", "step", "series").values
    for cutoff, values in zip(cutoff_rows(index, backtest["cutoff"]), actual, strict=True):
        rows[cutoff + 1 : cutoff + 1 + len(values)] = values
    return pd.DataFrame(rows, index, pd.Index(backtest["series"].values.tolist(), tupleize_cols=False))


def _span(backtest: xr.Dataset) -> str:
    cutoffs = backtest.indexes["cutoff"]
    return f"{len(cutoffs)} cutoffs, whose newest observed rows are from {cutoffs[0]} to {cutoffs[-1]}"


def _steps(reading: xr.Dataset) -> str:
    steps = reading["step"].values
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}, on average,"


def _error_table(several: Mapping[str, xr.Dataset]) -> str:
    columns: dict[tuple[str, str], Any] = {}
    for name, backtest in several.items():
        for label, metric in {"MAE": metrics.mae, "RMSE": metrics.rmse, "bias": metrics.bias}.items():
            columns[name, label] = metric(backtest).values
        if "quantiles" in backtest and backtest.sizes["quantile"] > 1:
            levels = backtest["quantile"].to_numpy()
            label = f"coverage of {levels.max() - levels.min():.0%}"
            columns[name, label] = metrics.coverage(backtest).values
    index = [str(one) for one in next(iter(several.values()))["series"].values.tolist()]
    return _table(pd.DataFrame(columns, index=index))


def _table(frame: pd.DataFrame) -> str:
    return str(frame.to_html(border=0, float_format=lambda value: f"{value:.4g}", justify="right"))


def _forecasts(frame: pd.DataFrame, backtest: xr.Dataset, name: Any) -> Any:
    """All rows, and the forecasts from cutoffs that do not overlap, with the band between the outermost quantiles."""
    horizon, rows = backtest.sizes["step"], cutoff_rows(frame.index, backtest["cutoff"])
    stride = int(rows[1] - rows[0]) if len(rows) > 1 else horizon
    positions = np.arange(len(rows) - 1, -1, -max(1, -(-horizon // stride)))[::-1]
    if rows[positions[-1]] + horizon >= len(frame):
        raise ValueError(f"y ends at {frame.index[-1]}, before the last forecast; give all rows backtested")
    places, values = times(frame.index), frame[name].to_numpy()
    first = max(0, rows[positions[0]] - max(2 * horizon, len(positions) * horizon // 2))
    one = of_series(backtest, name)
    figure = _figure(str(name))
    figure.add_scatter(x=places[first:], y=values[first:], name="observed", line={"color": OBSERVED, "width": 1.2})
    ahead = np.append(np.arange(1, horizon + 1), horizon)  # and a place for the gap
    x = np.concatenate([places[rows[place] + ahead] for place in positions])

    def joined(paths: Any) -> Any:  # one line with a gap after each forecast
        return np.concatenate([np.append(paths.isel(cutoff=place).values, np.nan) for place in positions])

    if "quantiles" in backtest and backtest.sizes["quantile"] > 1:
        levels = backtest["quantile"].to_numpy()
        lower, upper = (joined(one["quantiles"].sel(quantile=level)) for level in (levels.min(), levels.max()))
        band = f"{levels.max() - levels.min():.0%} interval"
        for number in range(len(positions)):  # a band cannot have gaps
            part = slice(number * (horizon + 1), number * (horizon + 1) + horizon)
            figure.add_scatter(
                x=np.concatenate([x[part], x[part][::-1]]), y=np.concatenate([upper[part], lower[part][::-1]]),
                fill="toself", fillcolor=FORECAST, opacity=0.22, line={"width": 0}, mode="lines", hoverinfo="skip",
                name=band, legendgroup=band, showlegend=number == 0,
            )  # fmt: skip
    figure.add_scatter(x=x, y=joined(one["forecast"]), name="forecast", line={"color": FORECAST, "width": 2})
    return figure


def _errors_by_step(several: Mapping[str, xr.Dataset], name: Any) -> Any:
    figure = _figure(str(name), height=260, x="step", y="mean absolute error")
    for color, (label, backtest) in zip((FORECAST, COLORS[0]), several.items(), strict=False):
        error = of_series(metrics.mae(backtest, dim="cutoff"), name)
        figure.add_scatter(x=error["step"].values, y=error.values, name=label, line={"color": color})
    figure.update_yaxes(rangemode="tozero")
    return figure


def _pairs(backtest: xr.Dataset) -> list[float]:
    levels = backtest["quantile"].to_numpy()
    return [1 - 2 * level for level in sorted(levels) if level < 0.5 and np.isclose(levels, 1 - level).any()]


def _calibration(backtest: xr.Dataset, names: Sequence[Any], pairs: Sequence[float]) -> Any:
    figure = _figure("", height=420, x="nominal coverage", y="observed coverage")
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": FAINT, "dash": "dash"}, showlegend=False)
    for color, name in zip(COLORS, names, strict=False):
        observed = [float(of_series(metrics.coverage(backtest, nominal=pair), name)) for pair in pairs]
        figure.add_scatter(x=list(pairs), y=observed, mode="lines+markers", name=str(name), line={"color": color})
    figure.update_xaxes(range=[0, 1])
    figure.update_yaxes(range=[0, 1.02])
    return figure


def _reading_charts(reading: xr.Dataset, names: Sequence[Any]) -> list[str]:
    """Heat maps of source by lag, of the variables that the reading has."""
    kinds: dict[str, tuple[str, Callable[[], Any]]] = {
        "lag_matrix": (
            f"derivative of the forecast of {_steps(reading)} per deviation of the source",
            lambda: (reading["lag_matrix"] * reading["scale"]).mean("step"),
        ),
        "influence": ("change of the forecast when a past value is one deviation higher", lambda: reading["influence"]),
    }
    charts = []
    shown = [name for name in names if name in reading["series"].values.tolist()]
    for variable, (meaning, compute) in kinds.items():
        if variable not in reading:
            continue
        charts.append(f'<p class="note">{html.escape(meaning)}; lag 1 is the newest row</p>')
        signed = variable == "lag_matrix"
        for name in shown:
            values = of_series(compute(), name).transpose("source", "lag")
            largest = float(np.abs(values).max()) or 1.0
            figure = _figure(f"forecast of {name}", height=150 + 24 * values.sizes["source"], x="lag, rows", y="source")
            figure.add_heatmap(
                z=values.values, x=values["lag"].values, y=[str(one) for one in values["source"].values.tolist()],
                colorscale="RdBu" if signed else "Blues", reversescale=signed,
                zmin=-largest if signed else 0, zmax=largest, colorbar={"title": {"text": f"units of {name}"}},
            )  # fmt: skip
            figure.update_yaxes(autorange="reversed", type="category")
            charts.append(_chart(figure))
    return charts


def _losses(summary: TrainingSummary) -> Any:
    figure = _figure("", height=300, x="epoch", y="loss, scaled series")
    history = pd.DataFrame(summary.history)
    figure.add_scatter(x=history["epoch"], y=history["training_loss"], name="training", line={"color": OBSERVED})
    if history["validation_loss"].notna().any():
        figure.add_scatter(
            x=history["epoch"], y=history["validation_loss"], name="validation", line={"color": FORECAST}
        )
    figure.add_vline(x=summary.best_epoch, line={"color": FAINT, "dash": "dot"}, annotation_text="weights kept")
    return figure


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _figure(title: str, height: int = 320, x: str = "", y: str = "") -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "font": {"size": 15}, "x": 0.01},
        height=height,
        margin={"l": 60, "r": 20, "t": 64, "b": 40},
        template="simple_white",
        font={"color": OBSERVED},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y, showgrid=True, gridcolor="#e5e9f0")
    return figure


def _chart(figure: Any) -> str:
    config = {"displaylogo": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config))
