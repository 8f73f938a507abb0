"""The pictures that commands write: what --plot can name, and how each kind is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samovar_forecast.command_line.accuracy import label_of
from samovar_forecast.command_line.outputs import check_output
from samovar_forecast.command_line.telling import tell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from samovar_forecast.estimator import Forecaster
    from samovar_forecast.evaluation.accuracy import Evaluation

METAVAR = "[KIND=]FILE"
OF_BACKTESTS = ("forecasts", "errors", "calibration")
OF_READINGS = ("contributions", "influence", "lag-matrices", "attention", "paths", "responses")


def pictures_asked(given: Sequence[str] | None, kinds: Sequence[str], default: str) -> dict[str, Path]:
    """The files of ``--plot FILE`` and ``--plot KIND=FILE`` by their kind, tried before any work is done.

    Raises
    ------
    ValueError
        If a kind is unknown or named twice, or a file cannot be a picture.
    OSError
        If a file cannot be written.
    """
    asked: dict[str, Path] = {}
    for one in given or ():
        kind, equals, file = one.partition("=")
        if not equals:
            kind, file = default, one
        if kind not in kinds:
            raise ValueError(f"--plot {one}: there is no picture {kind!r} here; there are {', '.join(kinds)}")
        if kind in asked:
            raise ValueError(f"--plot names two files for the picture {kind!r}: {asked[kind]} and {file}")
        asked[kind] = Path(file)
        check_output(asked[kind])
        check_picture(asked[kind])
    return asked


def check_picture(path: Path) -> None:
    """Refuse a kind of file that no picture can be."""
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.removeprefix(".").lower() not in known:
        raise ValueError(f"--plot {path} must end in one of {known}")


def write(figure: Figure, path: Path) -> None:
    """Write a picture and say so."""
    figure.savefig(path, dpi=150)
    tell(f"saved {path}")


def save_losses(forecaster: Forecaster, path: Path) -> None:
    """Write the losses of a training by epoch."""
    from samovar_forecast.evaluation.pictures import plot_losses

    write(plot_losses(forecaster.training_summary_), path)


def save_pictures_of_backtest(asked: dict[str, Path], frame: pd.DataFrame, result: Evaluation) -> None:
    """Write the pictures of a backtest beside the seasonal naive forecast."""
    from samovar_forecast.evaluation.pictures import plot_calibration, plot_errors_by_step, plot_forecasts

    model = result.backtest.attrs["model"].removesuffix("Forecaster") or "forecast"
    draw = {
        "forecasts": lambda: plot_forecasts(frame, result.backtest, reference=result.naive),
        "errors": lambda: plot_errors_by_step({model: result.backtest, "seasonal naive": result.naive}),
        "calibration": lambda: plot_calibration({model: result.backtest}),
    }
    for kind, path in asked.items():
        write(draw[kind](), path)


def save_pictures_of_reading(asked: dict[str, Path], forecaster: Forecaster, y: Any, X: Any) -> None:
    """Write the pictures of what a model reads in a history.

    Raises
    ------
    ValueError
        If the model has no such parts.
    """
    from samovar_forecast.evaluation import pictures

    model = type(forecaster).__name__.removesuffix("Forecaster")
    for kind, path in asked.items():
        if kind == "paths":
            try:
                figure = pictures.plot_influence_paths(forecaster.influence_paths(y, X))
            except TypeError as error:
                raise ValueError(f"--plot paths={path}: {error}") from error
        elif kind == "responses":
            figure = pictures.plot_impulse_responses(forecaster.impulse_response(y, X))
        elif kind == "lag-matrices":
            reading = forecaster.explain(y, X, steps=[1], influence=False)
            figure = pictures.plot_lag_matrices(reading)
        elif kind == "influence":
            figure = pictures.plot_lag_matrices(forecaster.explain(y, X, lag_matrices=False), variable="influence")
        else:
            reading = forecaster.explain(y, X, lag_matrices=False, influence=False)
            needed = ("contribution",) if kind == "contributions" else ("attention", "delay_weight")
            if not set(needed) & set(reading):
                raise ValueError(
                    f"--plot {kind}={path}: {model} has no such parts; influence, lag-matrices and responses are of "
                    "every model"
                )
            draw = pictures.plot_contributions if kind == "contributions" else pictures.plot_attention
            figure = draw(reading)
        write(figure, path)


def save_forecast_plot(
    forecaster: Forecaster, y: Any, points: Any, intervals: Any, coverage: float | None, path: Path
) -> None:
    """Write the picture of a forecast, after the history given or that of training; of many series, six panels."""
    import pandas as pd

    from samovar_forecast.data.panel import read_panel
    from samovar_forecast.evaluation.pictures import MOST_PANELS, plot_forecast
    from samovar_forecast.evaluation.pictures.style import heading, panels

    targets = forecaster.targets_
    histories = forecaster.fitted_.data.read_history(y).frames
    forecasts = read_panel(points, "the forecast", missing=True).frames
    bands = {} if intervals is None else read_panel(intervals, "the intervals", missing=True).frames
    share = 0.0 if coverage is None else coverage
    levels = pd.MultiIndex.from_product([targets, [0.5 - share / 2, 0.5 + share / 2]])
    shown = [(key, target) for key in forecasts for target in targets][:MOST_PANELS]
    figure, axes = panels(None, len(shown), 10.5, 2.4, share_x=None in forecasts)
    for (key, target), ax in zip(shown, axes, strict=True):
        band = bands[key].set_axis(levels, axis=1) if key in bands else None
        title = str(target) if key is None else f"{label_of(key)}: {target}"
        forecast = forecasts[key].set_axis(targets, axis=1)
        plot_forecast(histories[key], forecast, band, series=[target], title=title, ax=ax)
    heading(figure, f"{type(forecaster).__name__.removesuffix('Forecaster')}, {len(forecast)} steps ahead")
    write(figure, path)
