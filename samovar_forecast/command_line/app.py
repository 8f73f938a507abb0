"""The commands: fit, predict and backtest on files, and a demo. Run ``samovar-forecast --help``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from samovar_forecast.command_line.accuracy import (
    check_reports,
    first_test_row,
    first_unseen_row,
    print_json,
    print_table,
    save_report,
)
from samovar_forecast.command_line.benchmark import benchmark
from samovar_forecast.command_line.errors import Commands, files_for_arguments
from samovar_forecast.command_line.files import (
    in_one,
    names_of_training,
    read_known,
    read_series,
    read_static,
    read_training,
    with_bounds,
    write_forecast,
)
from samovar_forecast.command_line.fitted_models import explain, export, update
from samovar_forecast.command_line.forecasters import build, keep, load, load_for_frames, load_to_test, train
from samovar_forecast.command_line.options import (
    Data,
    Freeze,
    InitFrom,
    Known,
    Model,
    Series,
    Static,
    split_levels,
    split_names,
    with_hyperparameters,
    with_table_format,
    words_of,
)
from samovar_forecast.command_line.outputs import check_output, kept_when_interrupted
from samovar_forecast.command_line.pictures import (
    METAVAR,
    OF_BACKTESTS,
    check_picture,
    pictures_asked,
    save_forecast_plot,
    save_losses,
    save_pictures_of_backtest,
)
from samovar_forecast.command_line.search import compare, tune
from samovar_forecast.command_line.telling import tell, with_quiet
from samovar_forecast.command_line.understood import understood

# torch, pandas, matplotlib are imported where they are needed: --help and a wrong option answer at once.

MODEL_FILE, TEST_FRACTION = Path("model.safetensors"), 0.2

app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(benchmark, name="benchmark")
for command in (update, explain, export, compare, tune):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"samovar-forecast {version('samovar-forecast')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Deep forecasters for multivariate time series."""


@app.command()
@with_quiet
@with_table_format
@with_hyperparameters
def fit(
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")] = MODEL_FILE,
    model: Model = None,
    series: Series = None,
    known: Known = None,
    static: Static = None,
    layout: Any = None,
    init_from: InitFrom = None,
    freeze: Freeze = None,
    plot: Annotated[Path | None, typer.Option(help="Picture of the losses by epoch to write, e.g. losses.png.")] = None,
    **settings: Any,
) -> None:
    """Train a forecaster on all rows of a file and save it."""
    check_output(output)
    if plot is not None:
        check_output(plot)
        check_picture(plot)
    source = None if init_from is None else load(init_from)
    forecaster = build(model, source, settings)
    names = split_names(series)
    panel, covariates = read_training(data, layout, names), read_known(known, layout, names)
    rows = read_static(static, layout, names)
    with files_for_arguments(data, known, static), kept_when_interrupted(forecaster, output):
        tell(understood(panel, layout, names, forecaster.targets, covariates))
        train(forecaster, in_one(panel), in_one(covariates), static=rows, init_from=source, freeze=split_names(freeze))
    keep(forecaster, output)
    if plot is not None:
        save_losses(forecaster, plot)


@app.command()
@with_quiet
@with_table_format
def predict(
    model_file: Annotated[Path, typer.Argument(help="What `fit` wrote.")],
    data: Annotated[Path | None, typer.Argument(help="History to continue; default: the training data.")] = None,
    horizon: Annotated[int | None, typer.Option(help="Steps to forecast; default: those of training.")] = None,
    quantiles: Annotated[
        str | None,
        typer.Option(metavar="0.1,0.9", help="Forecast quantiles, in columns such as 'load 0.1'; 0.5 is the point."),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Forecast points and intervals that hold this share, in columns load, 'load lower', 'load upper'."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Picture of history, forecast and interval to write, e.g. forecast.png.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV or Parquet file to write; default: CSV on stdout.")
    ] = None,
    series: Series = None,
    known: Known = None,
    static: Static = None,
    layout: Any = None,
) -> None:
    """Forecast the steps that follow a file, or the training data."""
    from samovar_forecast.files.tables import check_ending

    if quantiles is not None and coverage is not None:
        raise ValueError("give --quantiles or --coverage, not both")
    levels = None if quantiles is None else split_levels(quantiles)
    if output is not None:
        check_output(output)
        check_ending(output)
    if plot is not None:
        check_output(plot)
        check_picture(plot)
    forecaster = load_for_frames(model_file)
    reads = any(file is not None for file in (data, known, static))
    names = split_names(series) or (names_of_training(forecaster, model_file) if reads else [])
    y = None if data is None else in_one(read_series(data, layout, names, forecaster))
    X = in_one(read_known(known, layout, names, forecaster))
    rows = read_static(static, layout, names, forecaster)
    with files_for_arguments(data, known, static):
        points = forecaster.predict(y, X, horizon, rows)
        intervals = None if coverage is None else forecaster.predict_interval(coverage, y, X, horizon, rows)
        levelled = None if levels is None else forecaster.predict_quantiles(levels, y, X, horizon, rows)
    if plot is not None:
        save_forecast_plot(forecaster, y, points, intervals, coverage, plot)
    forecast = points if levelled is None else levelled
    write_forecast(with_bounds(forecast, intervals), output, forecaster)


@app.command()
@with_quiet
@with_table_format
@with_hyperparameters
def backtest(
    data: Data,
    model_file: Annotated[
        Path | None, typer.Option(help="What `fit` wrote. Default: train on the rows before the test rows.")
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the newest rows to test on. Default: 0.2, or what a model file has not seen."),
    ] = None,
    stride: Annotated[int, typer.Option(help="Rows from one cutoff to the next.")] = 1,
    refit_every: Annotated[
        int | None, typer.Option(help="Train anew after so many rows, on all rows before; for a single series.")
    ] = None,
    plot: Annotated[
        list[str] | None,
        typer.Option(
            metavar=METAVAR,
            help="Picture to write, e.g. forecasts.png, or errors=errors.png, calibration=calibration.png; again for "
            "another one.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Report to write, one HTML file with all charts, e.g. report.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    model: Model = None,
    series: Series = None,
    known: Known = None,
    static: Static = None,
    layout: Any = None,
    **settings: Any,
) -> None:
    """Measure forecasts of the newest rows beside the seasonal naive forecast."""
    from samovar_forecast.evaluation.accuracy import evaluate

    pictures = pictures_asked(plot, OF_BACKTESTS, default="forecasts")
    if report is not None:
        check_output(report)
        check_reports()
    levels = settings.pop("quantiles", None) if model_file is not None else settings.get("quantiles")
    if "calibration" in pictures and (levels is None or len(levels) < 2):
        raise ValueError(f"--plot calibration={pictures['calibration']} needs intervals: --quantiles 0.1,0.5,0.9")
    if refit_every is not None and (model_file is not None or series is not None):
        raise ValueError("--refit-every trains a single series anew; leave --model-file and --series out")
    trained = None if model_file is None else load_to_test(model_file, model, static, settings)
    names = split_names(series)
    if trained is not None and model_file is not None:
        names = names or names_of_training(trained, model_file)
    for option, wanted in (("--plot", pictures), ("--report", report)):
        if wanted and names:
            raise ValueError(f"{option} draws a single series; leave it or --series out")
    panel = read_training(data, layout, names) if trained is None else read_series(data, layout, names, trained)
    X, rows = read_known(known, layout, names, trained), read_static(static, layout, names)
    with files_for_arguments(data, known, static):
        if trained is None:
            trained = build(model, None, settings)
            tell(understood(panel, layout, names, trained.targets, X))
            fraction = TEST_FRACTION if test_fraction is None else test_fraction
            starts = {
                key: first_test_row(len(frame), fraction, trained.horizon, panel.name_of(key))
                for key, frame in panel.frames.items()
            }
            training = {key: frame.iloc[: starts[key]] for key, frame in panel.frames.items()}
            if refit_every is None:
                train(trained, panel.layout.assemble(training), in_one(X), static=rows)
        else:
            starts = {
                key: first_unseen_row(trained, frame, test_fraction, key, panel.name_of(key))
                for key, frame in panel.frames.items()
            }
        results = {
            key: evaluate(
                trained,
                frame,
                starts[key],
                stride,
                X=None if X is None else X.frames.get(key),
                key=key,
                quantiles=levels,
                refit_every=refit_every,
            )
            for key, frame in panel.frames.items()
        }
    if as_json:
        print_json(results)
    else:
        print_table(results)
    if pictures:
        save_pictures_of_backtest(pictures, panel.frames[None], results[None])
    if report is not None:
        save_report(trained, panel.frames[None], results[None], report)


@app.command()
@with_quiet
def demo(
    data: Annotated[
        str | None, typer.Option(help="Benchmark data set, e.g. ETTh1. Default: small data that need no download.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the model and the picture.")] = Path("demo-output"),
    device: Annotated[str, typer.Option(help=words_of("device"), show_default=False)] = "auto",
) -> None:
    """Train on real data in about a minute, and measure the forecasts on rows held out."""
    import pandas as pd
    import torch

    from samovar_forecast.evaluation.accuracy import evaluate
    from samovar_forecast.evaluation.baselines import NAIVE
    from samovar_forecast.files import datasets

    # Of a small grid, these gave the lowest error on the validation rows of the built-in data.
    settings: dict[str, Any] = {"learning_rate": 3e-3, "max_steps": 300, "random_state": 0, "device": device}
    if data is None:
        frame, name = datasets.load_demo(), "CO2 at Mauna Loa and sea temperature off Peru, monthly"
        start = first_test_row(len(frame), TEST_FRACTION)
        settings |= {"horizon": 12, "context_length": 60}
        torch.set_num_threads(1)  # more gain nothing on a network this small, and wait for each other on a busy machine
    else:
        training, validation, test = datasets.split(data, context_length=0)
        frame, name = pd.concat([training, validation, test]), data
        start = len(training) + len(validation)
        settings |= {"horizon": 24, "validation_fraction": len(validation) / start}
    console = Console()
    size = f"{len(frame):,} rows x {frame.shape[1]} series, the newest {len(frame) - start:,} rows held out"
    console.print(f"[bold]{name}[/]: {size}", highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    forecaster = build("samovar", None, settings)
    train(forecaster, frame.iloc[:start])
    result = evaluate(forecaster, frame, start)
    print_table({None: result})
    model, naive = (result.table[name, "MASE"].iloc[-1] for name in (result.backtest.attrs["model"], NAIVE))
    verdict = f"[green]{1 - model / naive:.0%} below[/]" if model < naive else f"[red]{model / naive - 1:.0%} above[/]"
    console.print(f"The mean scaled error (MASE) is {verdict} that of the seasonal naive forecast.", highlight=False)
    forecaster.save(out / MODEL_FILE)
    tell(f"saved {out / MODEL_FILE}")
    save_pictures_of_backtest({"forecasts": out / "forecasts.png"}, frame, result)
    console.print(f"Try next: samovar-forecast predict {out / MODEL_FILE}", soft_wrap=True)
