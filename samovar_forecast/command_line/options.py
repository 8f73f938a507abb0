"""The options of the commands; hyperparameters have the words of their one declaration."""

from __future__ import annotations

import ast
import csv
import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from samovar_forecast.files.table_format import DUPLICATES, TableFormat
from samovar_forecast.training.config import TrainingConfig

_FORECASTER, _DATA, _TABLE, _TRAINING = "Forecaster", "Data", "Files", "Training"  # the groups in --help
_DECLARED = TrainingConfig()
_CONFIG_DOC, _FORMAT_DOC = (inspect.cleandoc(one.__doc__ or "") for one in (TrainingConfig, TableFormat))


def split_names(listed: str | None) -> list[str]:
    """The names of a list that is written as a,b; one with a comma in it stands in quotation marks."""
    return [] if listed is None else [name.strip() for row in csv.reader([listed]) for name in row]


def split_levels(listed: str) -> tuple[float, ...]:
    """The quantiles of a list that is written as 0.1,0.9."""
    try:
        levels = tuple(float(level) for level in listed.split(","))
    except ValueError as error:
        raise ValueError(f"--quantiles must be numbers such as 0.1,0.5,0.9, got {listed!r}") from error
    if len(set(levels)) < len(levels):
        raise ValueError(f"--quantiles must name every level once, got {listed!r}")
    return levels


def _bound(listed: str) -> float | tuple[float | None, ...]:
    """One number, or one for each target, with "none" where there is no bound."""
    try:
        bounds = tuple(None if one.strip() == "none" else float(one) for one in listed.split(","))
    except ValueError as error:
        raise ValueError(f"--lower and --upper must be a number, or one for each target, got {listed!r}") from error
    return bounds[0] if len(bounds) == 1 and bounds[0] is not None else bounds


def _calendar(listed: str) -> list[str] | str | None:
    return {"auto": "auto", "none": None}.get(listed, split_names(listed))


def read_settings(given: list[str] | None) -> dict[str, Any]:
    """Hyperparameters that are written as name=value, values as in Python or plain text."""
    settings: dict[str, Any] = {}
    for one in given or ():
        name, sign, written = one.partition("=")
        if not sign or not name.strip():
            raise ValueError(f"--set must be name=value, e.g. --set d_model=32, got {one!r}")
        try:
            value = ast.literal_eval(written.strip())
        except (ValueError, SyntaxError):
            value = written.strip()
        settings[name.strip().replace("-", "_")] = value
    return settings


def read_space(given: list[str] | None) -> dict[str, Any] | None:
    """A space to search, written as name=a,b,c or name=low:high; None where nothing is given."""
    if not given:
        return None
    space: dict[str, Any] = {}
    for one in given:
        name, sign, written = one.partition("=")
        low, colon, high = written.partition(":")
        try:
            values: Any = [ast.literal_eval(part) for part in ((low, high) if colon else split_names(written))]
        except (ValueError, SyntaxError):
            values = None if colon else split_names(written)
        if not sign or not values or (colon and len(values) != 2):
            raise ValueError(f"--space must be name=a,b,c or name=low:high, e.g. learning_rate=1e-4:1e-2, got {one!r}")
        space[name.strip().replace("-", "_")] = tuple(values) if colon else values
    return space


class _Hyperparameter(NamedTuple):
    """The form of a hyperparameter on the command line; `default` describes one that is no declared value."""

    kind: type
    group: str
    default: str | None = None
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None


_MODELS_OWN = "the model's own"
HYPERPARAMETERS = {
    "horizon": _Hyperparameter(int, _FORECASTER, default="that of a model file, else it must be given"),
    "context_length": _Hyperparameter(int, _FORECASTER),
    "quantiles": _Hyperparameter(str, _FORECASTER, metavar="0.1,0.5,0.9", parse=split_levels),
    "targets": _Hyperparameter(str, _DATA, metavar="a,b", parse=split_names),
    "calendar": _Hyperparameter(str, _DATA, default=_MODELS_OWN, metavar="hour,month|auto|none", parse=_calendar),
    "scaler": _Hyperparameter(str, _DATA, metavar="standard|robust|none"),
    "log1p": _Hyperparameter(bool, _DATA),
    "lower": _Hyperparameter(str, _DATA, metavar="0|0,none", parse=_bound),
    "upper": _Hyperparameter(str, _DATA, metavar="1|1,none", parse=_bound),
    "loss": _Hyperparameter(str, _TRAINING, default=_MODELS_OWN, metavar="mse|mae|huber"),
    "learning_rate": _Hyperparameter(float, _TRAINING, default=_MODELS_OWN),
    "batch_size": _Hyperparameter(int, _TRAINING),
    "max_epochs": _Hyperparameter(int, _TRAINING, default=_MODELS_OWN),
    "max_steps": _Hyperparameter(int, _TRAINING),
    "patience": _Hyperparameter(int, _TRAINING, default=_MODELS_OWN),
    "validation_fraction": _Hyperparameter(float, _TRAINING),
    "sharpness_rho": _Hyperparameter(float, _TRAINING, default=_MODELS_OWN),
    "sampling": _Hyperparameter(str, _TRAINING, metavar="windows|series"),
    "checkpoint_dir": _Hyperparameter(str, _TRAINING),
    "random_state": _Hyperparameter(int, _TRAINING),
    "device": _Hyperparameter(str, _TRAINING),
}

Data = Annotated[Path, typer.Argument(help="CSV or Parquet file, or a folder of them; first column: the time.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Kind, by its name without 'Forecaster': samovar, lintrans, ... Default: samovar.",
        rich_help_panel=_FORECASTER,
    ),
]
Series = Annotated[
    str | None,
    typer.Option(
        metavar="a,b",
        help="Columns of a long table that tell its series apart; the first other column is the time.",
        rich_help_panel=_DATA,
    ),
]
Known = Annotated[
    Path | None,
    typer.Option(
        help="File of covariates that are also known in the future, with the same first columns.",
        rich_help_panel=_DATA,
    ),
]
Static = Annotated[
    Path | None,
    typer.Option(
        help="File of covariates that are constant in time: the names of the series, then numbers.",
        rich_help_panel=_DATA,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="name=value",
        help="Any other hyperparameter of the model, e.g. d_model=32 or schedule=cosine; may be given several times.",
        rich_help_panel=_FORECASTER,
    ),
]
InitFrom = Annotated[
    Path | None,
    typer.Option(
        metavar="model",
        help="Model file to go on from: its weights, and its hyperparameters where no option says otherwise.",
        rich_help_panel=_TRAINING,
    ),
]
Freeze = Annotated[
    str | None,
    typer.Option(
        metavar="a,b", help="Modules of the network that keep their weights, e.g. tokens.", rich_help_panel=_TRAINING
    ),
]


def with_hyperparameters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each hyperparameter; those that were given come as its `settings`."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "settings"]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(name))
        for name in HYPERPARAMETERS
    ]
    options.append(inspect.Parameter("set_", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Set))

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in HYPERPARAMETERS}
        others = read_settings(arguments.pop("set_"))
        settings = {
            name: (HYPERPARAMETERS[name].parse or HYPERPARAMETERS[name].kind)(value)
            for name, value in given.items()
            if value is not None
        }
        twice = [name for name in others if name in settings]
        if twice:
            raise ValueError(f"--set {twice[0]} and --{twice[0].replace('_', '-')} are the same; give one of them")
        command(**arguments, **settings, **others)

    run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return run


FORMAT_OPTIONS = [field.name for field in fields(TableFormat)]


def with_table_format(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each part of a `TableFormat`, which comes as its `layout`."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "layout"]
    names = FORMAT_OPTIONS
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_format_option(name))
        for name in names
    ]
    position = next((n for n, one in enumerate(own) if one.kind is inspect.Parameter.VAR_KEYWORD), len(own))

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in names}
        parts = {name: _format_value(name, value) for name, value in given.items() if value is not None}
        command(layout=TableFormat(**parts), **arguments)

    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own[:position], *options, *own[position:]]
    )
    return run


def _format_value(name: str, value: Any) -> Any:
    default = getattr(TableFormat(), name)
    if name == "duplicates" and value not in DUPLICATES:
        raise ValueError(f"--duplicates must be one of {', '.join(DUPLICATES)}, got {value!r}")
    if isinstance(default, tuple):
        return tuple(split_names(value))
    return value.replace("\\t", "\t") if name == "separator" else value


def _format_option(name: str) -> Any:
    default = getattr(TableFormat(), name)
    metavar = {"duplicates": "|".join(DUPLICATES)}.get(name, "a,b" if isinstance(default, tuple) else None)
    kind = {bool: bool, int: int}.get(type(default), str)
    flag, words = f"--{name.replace('_', '-')}", format_words_of(name)
    return Annotated[
        kind | None, typer.Option(flag, help=words, metavar=metavar, rich_help_panel=_TABLE, show_default=False)
    ]


def _annotation(name: str) -> Any:
    kind, group, _, metavar, _ = HYPERPARAMETERS[name]
    flag = f"--{name.replace('_', '-')}"
    option = typer.Option(flag, help=words_of(name), metavar=metavar, rich_help_panel=group, show_default=False)
    return Annotated[kind | None, option]


def words_of(name: str) -> str:
    """The description of a hyperparameter in its declaration, in terms of the command line, which has no None."""
    text, declared = _declared_words(name, _CONFIG_DOC), getattr(_DECLARED, name)
    default = HYPERPARAMETERS[name].default or ("" if declared is False else declared)
    if default is None:
        return text.replace("None: ", "Default: ")
    return re.sub(r" None: [^.]*\.", "", text) + f" Default: {default}." * bool(default)


def format_words_of(name: str) -> str:
    """The description of a part of a `TableFormat`, in terms of the command line."""
    text, declared = _declared_words(name, _FORMAT_DOC).replace("Empty: ", "Default: "), getattr(TableFormat(), name)
    return text if not declared else f"{text} Default: {declared}"


def _declared_words(name: str, doc: str) -> str:
    found = re.search(rf"^(?:\w+, )*{name}(?:, \w+)* : .*\n((?:    .*\n?)+)", doc, re.MULTILINE)
    assert found is not None, name
    text = " ".join(found.group(1).split())
    return re.sub(r"(?<!`)`(\w+)`", lambda other: f"--{other.group(1).replace('_', '-')}", text).replace("``", "")
