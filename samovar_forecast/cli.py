"""The command line: fit, predict and backtest on files, and a demo. Run ``samovar-forecast --help``."""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from samovar_forecast.command_errors import Commands
from samovar_forecast.training.config import TrainingConfig

if TYPE_CHECKING:
    import pandas as pd

    from samovar_forecast.accuracy import Evaluation
    from samovar_forecast.forecaster import Forecaster

# torch, pandas, matplotlib are imported where they are needed: --help and a wrong option answer at once.


DEFAULTS = TrainingConfig()
_CONFIG_DOC = inspect.cleandoc(TrainingConfig.__doc__ or "")


def _hyperparameter(name: str, differs: bool = False) -> Any:
    """The command-line option of a hyperparameter, with the words of its one declaration.

    Where the default `differs` between the models, the option has none of its own.
    """
    found = re.search(rf"^{name} : .*\n((?:    .*\n?)+)", _CONFIG_DOC, re.MULTILINE)
    assert found is not None, name
    text = " ".join(found.group(1).split()) + " Default: the model's own." * differs
    return typer.Option(f"--{name.replace('_', '-')}", help=text)


Horizon = Annotated[int, _hyperparameter("horizon")]
ContextLength = Annotated[int | None, _hyperparameter("context_length")]
MaxEpochs = Annotated[int | None, _hyperparameter("max_epochs", differs=True)]
LearningRate = Annotated[float | None, _hyperparameter("learning_rate", differs=True)]
RandomState = Annotated[int | None, _hyperparameter("random_state")]
Device = Annotated[str, _hyperparameter("device")]
Data = Annotated[Path, typer.Argument(help="CSV or Parquet file; first column: dates or whole numbers.")]
Model = Annotated[str, typer.Option(help="Forecaster, by its name without 'Forecaster': samovar, lintrans, ...")]
Targets = Annotated[str | None, typer.Option(help="Columns to forecast, as a,b; the others are past covariates.")]
Encoding = Annotated[str, typer.Option(help="Encoding of the CSV file.")]
MODEL_FILE, TEST_FRACTION = Path("model.safetensors"), 0.2

app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


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
def fit(
    data: Data,
    horizon: Horizon,
    model: Model = "samovar",
    context_length: ContextLength = DEFAULTS.context_length,
    targets: Targets = None,
    max_epochs: MaxEpochs = None,
    learning_rate: LearningRate = None,
    random_state: RandomState = None,
    device: Device = DEFAULTS.device,
    encoding: Encoding = "utf-8",
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")] = MODEL_FILE,
) -> None:
    """Train a forecaster on all rows of a file and save it."""
    _check_folder(output)
    forecaster = _build(
        model, horizon=horizon, context_length=context_length, targets=_names(targets), max_epochs=max_epochs,
        learning_rate=learning_rate, random_state=random_state, device=device,
    )  # fmt: skip
    _train(forecaster, _read(data, encoding))
    forecaster.save(output)
    typer.echo(f"saved {output}", err=True)


@app.command()
def predict(
    model_file: Annotated[Path, typer.Argument(help="What `fit` wrote.")],
    data: Annotated[Path | None, typer.Argument(help="History to continue; default: the training data.")] = None,
    horizon: Annotated[int | None, typer.Option(help="Steps to forecast; default: those of training.")] = None,
    encoding: Encoding = "utf-8",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV or Parquet file to write; default: CSV on stdout.")
    ] = None,
) -> None:
    """Forecast the steps that follow a file, or the training data."""
    import pandas as pd

    from samovar_forecast.forecaster import Forecaster
    from samovar_forecast.tables import write_table

    if output is not None:
        _check_folder(output)
    forecaster = Forecaster.load(model_file)
    forecast = forecaster.predict(None if data is None else _read(data, encoding), horizon=horizon)
    frame = pd.DataFrame(forecast)
    if output is None:
        frame.to_csv(sys.stdout)
        return
    write_table(frame, output)
    typer.echo(f"saved {output}", err=True)


@app.command()
def backtest(
    data: Data,
    model_file: Annotated[
        Path | None, typer.Option(help="What `fit` wrote. Default: train on the rows in front of the test rows.")
    ] = None,
    horizon: Annotated[int | None, _hyperparameter("horizon")] = None,
    model: Model = "samovar",
    context_length: ContextLength = DEFAULTS.context_length,
    targets: Targets = None,
    max_epochs: MaxEpochs = None,
    learning_rate: LearningRate = None,
    random_state: RandomState = None,
    device: Device = DEFAULTS.device,
    test_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the newest rows to test on. Default: 0.2, or what a model file has not seen."),
    ] = None,
    stride: Annotated[int, typer.Option(help="Rows from one cutoff to the next.")] = 1,
    encoding: Encoding = "utf-8",
    plot: Annotated[Path | None, typer.Option(help="Picture to write, e.g. forecasts.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure the forecasts of the newest rows against the seasonal naive forecast."""
    from samovar_forecast.accuracy import evaluate
    from samovar_forecast.forecaster import Forecaster

    if plot is not None:
        _check_folder(plot)
    frame = _read(data, encoding)
    if model_file is not None:
        if horizon is not None:
            raise ValueError("give --horizon or --model-file, not both: the model file has its own horizon")
        forecaster = Forecaster.load(model_file)
        start = _first_unseen_row(forecaster, frame, test_fraction)
    else:
        if horizon is None:
            raise ValueError("give --horizon to train a forecaster, or --model-file to use one")
        start = _first_test_row(len(frame), TEST_FRACTION if test_fraction is None else test_fraction)
        forecaster = _build(
            model, horizon=horizon, context_length=context_length, targets=_names(targets), max_epochs=max_epochs,
            learning_rate=learning_rate, random_state=random_state, device=device,
        )  # fmt: skip
        _train(forecaster, frame.iloc[:start])
    result = evaluate(forecaster, frame, start, stride)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _print_table(result)
    if plot is not None:
        _save_plot(frame, result, plot)


@app.command()
def demo(
    data: Annotated[
        str | None, typer.Option(help="Benchmark data set, e.g. ETTh1. Default: small data that need no download.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the model and the picture.")] = Path("demo-output"),
    device: Device = DEFAULTS.device,
) -> None:
    """Train on real data in about a minute, and measure it on rows that it has not seen."""
    import pandas as pd
    import torch

    from samovar_forecast import datasets
    from samovar_forecast.accuracy import NAIVE, evaluate

    # Of a small grid, these gave the lowest error on the validation rows of the built-in data.
    settings: dict[str, Any] = {"learning_rate": 3e-3, "max_steps": 300, "random_state": 0, "device": device}
    if data is None:
        frame, name = datasets.load_demo(), "CO2 at Mauna Loa and sea temperature off Peru, monthly"
        start = _first_test_row(len(frame), TEST_FRACTION)
        settings |= {"horizon": 12, "context_length": 60}
        torch.set_num_threads(1)  # more gain nothing on a network this small, and wait for each other on a busy machine
    else:
        train, validation, test = datasets.split(data, context_length=0)
        frame, name = pd.concat([train, validation, test]), data
        start = len(train) + len(validation)
        settings["validation_fraction"] = len(validation) / start
    console = Console()
    size = f"{len(frame):,} rows x {frame.shape[1]} series, the newest {len(frame) - start:,} rows held out"
    console.print(f"[bold]{name}[/]: {size}", highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    forecaster = _build("samovar", **settings)
    _train(forecaster, frame.iloc[:start])
    result = evaluate(forecaster, frame, start)
    _print_table(result)
    model, naive = (result.table[name, "MASE"].iloc[-1] for name in (result.backtest.attrs["model"], NAIVE))
    verdict = f"[green]{1 - model / naive:.0%} below[/]" if model < naive else f"[red]{model / naive - 1:.0%} above[/]"
    console.print(f"The mean scaled error (MASE) is {verdict} that of the seasonal naive forecast.", highlight=False)
    forecaster.save(out / MODEL_FILE)
    typer.echo(f"saved {out / MODEL_FILE}", err=True)
    _save_plot(frame, result, out / "forecasts.png")
    console.print(f"Try next: samovar-forecast predict {out / MODEL_FILE}", soft_wrap=True)


def _read(path: Path, encoding: str) -> pd.DataFrame:
    """The series of a file, checked; errors call it by its name."""
    from samovar_forecast.frames import read_frame
    from samovar_forecast.tables import read_table

    return read_frame(read_table(path, encoding), str(path))


def _names(listed: str | None) -> list[str] | None:
    return None if listed is None else [name.strip() for name in listed.split(",")]


def _build(model: str, **settings: Any) -> Forecaster:
    """The forecaster of a name; settings that are None stay at its own defaults."""
    from samovar_forecast.forecasters import ALL_FORECASTERS

    by_name = {cls.__name__.removesuffix("Forecaster").lower(): cls for cls in ALL_FORECASTERS}
    if model.lower() not in by_name:
        raise ValueError(f"there is no model {model!r}; there are {', '.join(by_name)}")
    return by_name[model.lower()](**{name: value for name, value in settings.items() if value is not None})


def _train(forecaster: Forecaster, frame: pd.DataFrame) -> None:
    console, name = Console(stderr=True), type(forecaster).__name__
    with console.status(f"training {name} ..."):
        forecaster.fit(frame)
    done = forecaster.training_summary_
    error = "" if done.validation_loss is None else f", validation loss {done.validation_loss:.4g}"
    typer.echo(
        f"trained {name}: {done.n_parameters:,} parameters, {done.epochs} epochs, kept epoch {done.best_epoch}{error}, "
        f"{done.seconds:.1f} s",
        err=True,
    )


def _first_test_row(n_rows: int, fraction: float) -> int:
    if not 0 < fraction < 1:
        raise ValueError(f"--test-fraction must be between 0 and 1, got {fraction}")
    return n_rows - int(fraction * n_rows)


def _first_unseen_row(forecaster: Forecaster, frame: pd.DataFrame, fraction: float | None) -> int:
    """The first row to test a trained forecaster on: behind its training data and behind one full context."""
    from samovar_forecast.accuracy import season_length

    newest = forecaster.history_.index[-1]
    if type(newest) is not type(frame.index[0]):
        raise ValueError(f"the model was trained up to {newest}, but the rows have labels such as {frame.index[0]}")
    unseen = int(frame.index.searchsorted(newest, side="right"))
    first = max(unseen, forecaster.context_length_, season_length(forecaster.frequency_) + 1)
    if first >= len(frame):
        raise ValueError(
            f"there is nothing to test on: the model was trained up to {newest}, which leaves {len(frame) - unseen} "
            f"new rows; give newer rows, or leave --model-file out to train on the first part"
        )
    if fraction is None:
        return first
    start = _first_test_row(len(frame), fraction)
    if start < first:
        raise ValueError(
            f"--test-fraction {fraction} reaches rows that the model was trained on or needs as context; "
            f"at most {(len(frame) - first) / len(frame):.2g} is possible, the rows from {frame.index[first]} on"
        )
    return start


def _check_folder(path: Path) -> None:
    """Refuse a file in a folder that is not there before any work is done."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder of {path} does not exist")


def _print_table(result: Evaluation) -> None:
    from rich.table import Table

    sizes = result.backtest.sizes
    table = Table(
        title=f"{sizes['cutoff']:,} forecasts of {sizes['step']} steps; seasonal naive repeats {result.season} rows",
        title_justify="left",
    )
    table.add_column("series")
    columns = result.table.columns
    for forecast, measure in zip(columns.get_level_values(0), columns.get_level_values(1), strict=True):
        group = forecast.removesuffix("Forecaster") if measure == "MSE" else ""
        table.add_column(f"{group}\n{measure}", justify="right")
    for number, (series, row) in enumerate(result.table.iterrows()):
        table.add_row(str(series), *(f"{value:.4g}" for value in row), end_section=number == len(result.table) - 2)
    Console().print(table)


def _save_plot(frame: pd.DataFrame, result: Evaluation, path: Path) -> None:
    from samovar_forecast.plots import plot_forecasts

    plot_forecasts(frame, result.backtest, reference=result.naive).savefig(path, dpi=150)
    typer.echo(f"saved {path}", err=True)
