"""Commands that choose: several models on one backtest, and a search for hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from samovar_forecast.command_line.accuracy import label_of
from samovar_forecast.command_line.errors import INTERRUPTED, files_for_arguments
from samovar_forecast.command_line.files import in_one, read_known, read_static, read_training
from samovar_forecast.command_line.forecasters import build, keep
from samovar_forecast.command_line.options import (
    Data,
    Known,
    Model,
    Series,
    Static,
    read_space,
    split_names,
    with_hyperparameters,
    with_table_format,
)
from samovar_forecast.command_line.outputs import check_output
from samovar_forecast.command_line.telling import tell, with_quiet
from samovar_forecast.command_line.understood import understood


@with_quiet
@with_table_format
@with_hyperparameters
def compare(
    data: Data,
    models: Annotated[
        str, typer.Option(metavar="a,b", help="Kinds, by their names without 'Forecaster', e.g. samovar,lintrans.")
    ] = "samovar",
    baselines: Annotated[
        str,
        typer.Option(metavar="a,b", help="Out of 'seasonal naive', AutoETS, AutoARIMA, AutoTheta (statsforecast)."),
    ] = "seasonal naive",
    test_fraction: Annotated[float, typer.Option(help="Share of the newest rows to test on.")] = 0.2,
    stride: Annotated[int, typer.Option(help="Rows from one cutoff to the next.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    series: Series = None,
    known: Known = None,
    static: Static = None,
    layout: Any = None,
    **settings: Any,
) -> None:
    """Train several models and compare their forecasts of the newest rows with those of baselines.

    Errors are in units of the seasonal naive error; p is the Diebold-Mariano test against the best model.
    """
    from samovar_forecast.evaluation.comparison import compare as compared

    named = {name: build(name, None, settings) for name in split_names(models)}
    names = split_names(series)
    panel, X = read_training(data, layout, names), read_known(known, layout, names)
    rows = read_static(static, layout, names)
    targets = next(iter(named.values())).targets if named else None
    tell(understood(panel, layout, names, targets, X))
    with files_for_arguments(data, known, static):
        result = compared(
            named,
            in_one(panel),
            in_one(X),
            test_fraction=test_fraction,
            stride=stride,
            baselines=split_names(baselines),
            static=rows,
        )
    if as_json:
        written = {
            "models": json.loads(result.table.to_json(orient="index")),
            "best": result.best,
            "series": {label_of(key): json.loads(row.to_json()) for key, row in result.scaled_errors.iterrows()},
        }
        typer.echo(json.dumps(written, indent=2))
        return
    _print(result)


def _print(result: Any) -> None:
    from rich.table import Table

    count = len(result.scaled_errors)
    table = Table(title=f"mean over {count} series, in units of the seasonal naive error", title_justify="left")
    table.add_column("model")
    for name in ("MASE", "RMSSE", "rank", "p", "seconds"):
        table.add_column(name, justify="right")
    for name, row in result.table.iterrows():
        p_value = "best" if name == result.best else "" if row["p_value"] != row["p_value"] else f"{row['p_value']:.3f}"
        seconds = f"{row['seconds']:.1f}"
        table.add_row(str(name), f"{row['MASE']:.4g}", f"{row['RMSSE']:.4g}", f"{row['rank']:.2f}", p_value, seconds)
    Console().print(table)


@with_quiet
@with_table_format
@with_hyperparameters
def tune(
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")] = Path("model.safetensors"),
    model: Model = None,
    n_trials: Annotated[int, typer.Option(help="Trainings with other hyperparameters, at most.")] = 20,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which no further trial begins.")] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="name=values",
            help="Hyperparameter to search: name=a,b,c or name=low:high; may be given several times. "
            "Default: context, width, depth, rate, dropout and loss.",
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds of the newest rows that judge a trial.")] = 2,
    storage: Annotated[
        Path | None, typer.Option(help="File that keeps the trials; the same command goes on from it.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Trials side by side.")] = 1,
    series: Series = None,
    known: Known = None,
    static: Static = None,
    layout: Any = None,
    **settings: Any,
) -> None:
    """Search for hyperparameters on the newest rows, then train the best ones on all rows and save the model."""
    from samovar_forecast.evaluation.tuning import tune as tuned

    check_output(output)
    forecaster = build(model, None, settings)
    names = split_names(series)
    panel, X = read_training(data, layout, names), read_known(known, layout, names)
    rows = read_static(static, layout, names)
    tell(understood(panel, layout, names, forecaster.targets, X))
    with files_for_arguments(data, known, static), _trials_kept(storage):
        found = tuned(
            forecaster,
            in_one(panel),
            in_one(X),
            space=read_space(space),
            n_trials=n_trials,
            timeout=timeout,
            n_folds=folds,
            storage=None if storage is None else str(storage),
            n_jobs=jobs,
            random_state=settings.get("random_state"),
            static=rows,
        )
    _print_trials(found)
    keep(found.best, output)


@contextmanager
def _trials_kept(storage: Path | None) -> Iterator[None]:
    """Say where the trials are after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        if storage is None:
            raise
        typer.echo(f"interrupted: the trials are in {storage}; the same command goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _print_trials(found: Any) -> None:
    from rich.table import Table

    names = list(found.best_parameters)
    table = Table(
        title=f"{len(found.trials)} trials, the best ones; error: mean MASE of the folds", title_justify="left"
    )
    for name in ("trial", "error", "seconds", *names):
        table.add_column(name, justify="right")
    done = found.trials[found.trials["state"] == "COMPLETE"].sort_values("error").head(5)
    for _, row in done.iterrows():
        values = [f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name]) for name in names]
        which = "as given" if row["number"] == 0 else str(row["number"])
        table.add_row(which, f"{row['error']:.4g}", f"{row['seconds']:.1f}", *values)
    Console().print(table)
