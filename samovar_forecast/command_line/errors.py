"""Errors and warnings of all commands: one line on stderr, and the exit code 2 after an error."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from samovar_forecast.command_line.options import FORMAT_OPTIONS, HYPERPARAMETERS

INTERRUPTED = 130  # the exit code of a shell after Ctrl-C
_PARAMETERS = (*FORMAT_OPTIONS, *HYPERPARAMETERS, "series", "freeze", "coverage", "init_from")
_VALUE = r"(\[[^\]]*\]|\([^()]*\)|'[^']*'|\"[^\"]*\"|[\w.+-]*\w)"
_GIVEN = re.compile(rf"(?<![\w.('-])({'|'.join(_PARAMETERS)})={_VALUE}")
_SEVERAL = re.compile(r"(--[a-z-]+(?: '[^']*'| [^\s,]+)?), (?=--)")
_AT_THE_BEGINNING = re.compile(rf"^({'|'.join(HYPERPARAMETERS)})(?= )")
_DATED = re.compile(r"df\.set_index\(pd\.to_datetime\(df\[(\[[^\]]*\])\]\)\)")
_DROPPED = re.compile(r"df\.drop\(columns=(\[[^\]]*\])\)")


class Commands(TyperGroup):
    """A group of commands whose errors about input are one line on stderr and the exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _print_warning
                return super().invoke(ctx)
        except BrokenPipeError:  # `| head` is no error; typer ends quietly
            raise
        except KeyboardInterrupt:
            _print_line("interrupted", "nothing was written")
            raise typer.Exit(INTERRUPTED) from None
        except (ValueError, TypeError, OSError, ImportError) as error:
            message = error.strerror and f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else None
            _print_line("error", message or in_options(str(error)))
            raise typer.Exit(2) from error


@contextmanager
def files_for_arguments(y: Path | None, X: Path | None = None, static: Path | None = None) -> Iterator[None]:
    """Errors about the arguments `y`, `X` and `static` of a forecaster name the files, or the missing options."""
    try:
        yield
    except (ValueError, TypeError) as error:
        names = (str(y or "the training data"), str(X or "--known"), str(static or "--static"))
        message = _with_names(str(error), *names)
        zone = re.search(r"if both are the same clock, df\.tz_localize\((?:None|'([^']*)')\)", message)
        if zone is not None:
            message = message.replace(zone[0], f"name the zone of both: --timezone {zone[1] or 'UTC'}")
        elif re.search(r"has an index of .*, .* one of ", message):
            message += "; read both files in one way, see --time, --start and --date-format"
        raise ValueError(message) from error


def _with_names(message: str, y: str, X: str, static: str) -> str:
    """The message with the file in place of an argument at its beginning, and with the option elsewhere."""
    outside = r"(?<![\w'\".(\[/-]){}(?![\w'\".)\]=/-])"  # no part of a name, of a file or of a formula
    for words, name in (
        (r"^X\b(?!=)", X),
        (r"^static\b(?!=)", static),
        (outside.format("X"), "--known"),
        (outside.format("y"), y),
    ):
        message = re.sub(words, name.replace("\\", r"\\"), message)
    return message


def _print_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if not issubclass(category, (DeprecationWarning, PendingDeprecationWarning, FutureWarning)):
        _print_line("warning", in_options(str(message)))


def in_options(message: str) -> str:
    """A message with options where it has parameters of Python: ``drop=['wd']`` is ``--drop wd``."""
    message = _DATED.sub(r"time=\1", _DROPPED.sub(r"drop=\1", message))
    message = _AT_THE_BEGINNING.sub(lambda found: _option(found[1]), message)
    message = _GIVEN.sub(lambda found: _with_value(found[0], found[1], found[2]), message)
    return _SEVERAL.sub(r"\1 ", message)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _with_value(text: str, name: str, written: str) -> str:
    try:
        value = ast.literal_eval(written)
    except (ValueError, SyntaxError):
        value = written
    if value is None or value is False:
        return text
    if value is True:
        return _option(name)
    if isinstance(value, (list, tuple)):
        value = ",".join(f'"{one}"' if "," in str(one) else str(one) for one in value)
    return f"{_option(name)} {shlex.quote(str(value).replace(chr(9), chr(92) + 't'))}"


def _print_line(kind: str, message: str) -> None:
    typer.secho(f"{kind}: ", fg="red" if kind == "error" else "yellow", err=True, nl=False)
    typer.echo(" ".join(message.split()), err=True)
