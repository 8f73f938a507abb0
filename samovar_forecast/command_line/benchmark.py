"""The command `benchmark`: runs of the published protocols, and the report of a store."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from typer.core import TyperGroup

if TYPE_CHECKING:
    from samovar_forecast.benchmark.runs import Run
    from samovar_forecast.benchmark.store import Store

_LISTS = ("--models", "--datasets", "--horizons", "--seeds", "--split", "--set")
_ALL = "all"
RESULTS = Path("results")
SECONDS_BETWEEN_LOOKS = 0.2


class _Lists(TyperGroup):
    """Lets options take a list: ``--seeds 0 1 2`` and ``--seeds 0,1,2`` are ``--seeds 0 --seeds 1 --seeds 2``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_spread(args, set(self.commands))))


def _spread(args: Sequence[str], commands: set[str]) -> Iterator[str]:
    if args and args[0] in commands:
        yield from args
        return
    option = None
    for number, arg in enumerate(args):
        name, _, value = arg.partition("=")
        if name in _LISTS:
            option = name
            if not value and (number + 1 == len(args) or args[number + 1].startswith("-")):
                yield name  # without a value, which the parser reports
        else:
            option, value = None if arg.startswith("-") else option, arg
        if option is None:
            yield arg
            continue
        for one in [value] if option == "--set" else value.split(","):
            if one:
                yield from (option, one)


benchmark = typer.Typer(cls=_Lists, no_args_is_help=True, invoke_without_command=True)


@benchmark.callback()
def run(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Option(
            help="SAMoVAR, LinTrans, ..., naive, linear, darts:TSMixer, neuralforecast:PatchTST, ...; all: all "
            "forecasters of this package.",
            metavar="NAMES",
        ),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option(
            help="ETTh1, ETTh2, ... (see docs/how_to/datasets.md), or CSV and Parquet files of your own, whose first "
            "column is the time; all: all data sets.",
            metavar="NAMES|FILES",
        ),
    ] = None,
    horizons: Annotated[
        list[int] | None,
        typer.Option(help="Steps to forecast. Default: 96 192 336 720, for ILI 24 36 48 60.", metavar="STEPS"),
    ] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="Default: 0.", metavar="NUMBERS")] = None,
    recipe: Annotated[
        str, typer.Option(help="Hyperparameters: default (of this package) or published (of the papers).")
    ] = "default",
    workers: Annotated[
        int, typer.Option(help="Runs at a time, each in a process that gets its share of the cores.")
    ] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the results. What it holds already is not run again.")] = RESULTS,
    context_length: Annotated[
        int | None, typer.Option(help="Look-back of all runs. Default: that of the recipe.")
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Epochs at most. Default: those of the recipe.")] = None,
    split: Annotated[
        list[float] | None,
        typer.Option(
            help="Shares of training, validation and test rows in your own files. Default: 0.7 0.1 0.2.",
            metavar="SHARES",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Other hyperparameters for all models, e.g. dropout=0.2 loss=huber.", metavar="NAME=VALUE"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: the fastest one there is.")] = "auto",
) -> None:
    """Train and score models on benchmark data, or on your own; killed, the same command goes on where it stopped."""
    if context.invoked_subcommand is not None:
        return
    if not models or not datasets:
        raise ValueError("give --models and --datasets, e.g. --models SAMoVAR naive --datasets ETTh1")
    if workers < 1:
        raise ValueError(f"--workers must be at least 1, got {workers}")
    given = _settings(settings or []) | ({} if max_epochs is None else {"max_epochs": max_epochs})
    from samovar_forecast.benchmark.plan import FORECASTERS, plan
    from samovar_forecast.benchmark.running import run_all
    from samovar_forecast.benchmark.store import Store
    from samovar_forecast.files.datasets import names

    store = Store(out)
    runs = plan(
        list(FORECASTERS) if models == [_ALL] else models,
        names() if datasets == [_ALL] else datasets,
        horizons or (),
        seeds or (0,),
        recipe,
        context_length=context_length,
        shares=split,
        settings=given,
        device=device,
    )
    console = Console()
    try:
        with RunsDisplay(console, runs, store):
            failed = run_all(runs, store, workers)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on where it was")
        raise typer.Exit(130) from None
    if failed:
        _print_failed(failed, store)
        raise typer.Exit(1)
    console.print(f"all results are in {out}; next: samovar-forecast benchmark report {out}", soft_wrap=True)


@benchmark.command()
def report(
    results: Annotated[Path, typer.Argument(help="Folder of the results.")] = RESULTS,
    docs: Annotated[
        Path | None,
        typer.Option(
            help="Markdown file to write; figures go into the folder figures beside it. Default: report.md in "
            "the folder of the results."
        ),
    ] = None,
) -> None:
    """Write tables and figures of all results, beside the published ones."""
    from samovar_forecast.benchmark.report import write_report
    from samovar_forecast.benchmark.store import Store
    from samovar_forecast.command_line.outputs import check_output

    path = results / "report.md" if docs is None else docs
    store = Store(results)
    records = store.records()
    check_output(path)
    write_report(records, path)
    typer.echo(f"saved {path}", err=True)


class RunsDisplay:
    """A view of a store while its runs are done: a line for all, one for each at work, one that stays for each ended.

    It reads the files of the store alone, so the runs may be at work in other processes and on other machines.

    Parameters
    ----------
    console : Console
    runs : sequence of Run
        Those that are to be done; the ones in the store already are counted.
    store : Store
    """

    def __init__(self, console: Console, runs: Sequence[Run], store: Store) -> None:
        self._console, self._store = console, store
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(), console=console,
        )  # fmt: skip
        waiting = [run for run in runs if not store.is_done(run)]
        n_done = len(runs) - len(waiting)
        if n_done:
            console.print(f"{n_done} of {len(runs)} runs are in the store already", highlight=False)
        self._all = self._progress.add_task("all runs", total=len(runs), completed=n_done, unit="runs")
        self._waiting = {run.name: (run, store.written(run)) for run in waiting}
        self._lines: dict[str, TaskID] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._progress.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        self._progress.stop()

    def _watch(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        for run, before in list(self._waiting.values()):
            now = self._store.written(run)
            if now.record != before.record:
                self._ended(run)
            elif now != before:
                self._waiting[run.name] = run, now
                if run.name not in self._lines:
                    epochs = run.hyperparameters.get("max_epochs")
                    self._lines[run.name] = self._progress.add_task(f"  {run}", total=epochs, unit="epochs")
                if now.checkpoint not in (None, before.checkpoint):
                    self._progress.advance(self._lines[run.name])

    def _ended(self, run: Run) -> None:
        del self._waiting[run.name]
        if run.name in self._lines:
            self._progress.remove_task(self._lines.pop(run.name))
        self._progress.advance(self._all)
        record = self._store.record(run) or {}
        if "error" in record:
            told = f"[red]failed[/]: {escape(record['error'])}"
        else:
            errors = f"MSE {record['mse']:.4f}, MAE {record['mae']:.4f}"
            told = f"{errors}, {record['epochs']} epochs, {record['total_seconds']:.0f} s"
        self._console.print(f"{time.strftime('%H:%M:%S')} {run}: {told}", highlight=False, soft_wrap=True)


def _settings(given: Sequence[str]) -> dict[str, Any]:
    """Hyperparameters written as name=value, where the value is JSON, or else a word."""
    made = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise ValueError(f"--set must be given as name=value, such as dropout=0.2, got {one!r}")
        try:
            made[name.replace("-", "_")] = json.loads(
                {"None": "null", "True": "true", "False": "false"}.get(value, value)
            )
        except json.JSONDecodeError:
            made[name.replace("-", "_")] = value
    return made


def _print_failed(failed: Sequence[Run], store: Store) -> None:
    table = Table(title=f"{len(failed)} runs failed", title_justify="left")
    for column in ("run", "error", "log"):
        table.add_column(column, overflow="fold")
    for run in failed:
        record = store.record(run) or {}
        table.add_row(str(run), record["error"], str(store.log(run)))
    Console(stderr=True).print(table)
