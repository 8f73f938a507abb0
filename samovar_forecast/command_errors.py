"""What the command line says when something is wrong: one line."""

from __future__ import annotations

import warnings
from typing import Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """Turns what the package's own gates raise into one line on stderr and the exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _print_warning
                return super().invoke(ctx)
        except BrokenPipeError:  # `| head` is no error; typer ends quietly
            raise
        except (ValueError, TypeError, OSError) as error:
            message = error.strerror and f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else None
            _print_line("error", message or str(error))
            raise typer.Exit(2) from error


def _print_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if not issubclass(category, (DeprecationWarning, PendingDeprecationWarning, FutureWarning)):
        _print_line("warning", str(message))


def _print_line(kind: str, message: str) -> None:
    typer.secho(f"{kind}: ", fg="red" if kind == "error" else "yellow", err=True, nl=False)
    typer.echo(" ".join(message.split()), err=True)
