"""Errors and warnings of all commands: one line on stderr, and the exit code 2 after an error."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """A group of commands whose errors about input are one line on stderr and the exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _print_warning
                return super().invoke(ctx)
        except BrokenPipeError:  # `| head` is no error; typer ends quietly
            raise
        except (ValueError, TypeError, OSError, ImportError) as error:
            message = error.strerror and f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else None
            _print_line("error", message or str(error))
            raise typer.Exit(2) from error


@contextmanager
def files_for_arguments(y: Path | None, X: Path | None = None, static: Path | None = None) -> Iterator[None]:
    """Errors about the arguments `y`, `X` and `static` of a forecaster name the files, or the missing options."""
    try:
        yield
    except (ValueError, TypeError) as error:
        names = (str(y or "the training data"), str(X or "--known"), str(static or "--static"))
        raise ValueError(_with_names(str(error), *names)) from error


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
        _print_line("warning", str(message))


def _print_line(kind: str, message: str) -> None:
    typer.secho(f"{kind}: ", fg="red" if kind == "error" else "yellow", err=True, nl=False)
    typer.echo(" ".join(message.split()), err=True)
