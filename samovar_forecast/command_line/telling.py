"""What commands say beside their results: lines on stderr, which --quiet leaves out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Annotated, Any

import typer

_is_quiet: ContextVar[bool] = ContextVar("_is_quiet", default=False)
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results, warnings and errors.")]


def tell(text: str) -> None:
    """A line on stderr, unless the command was to be quiet."""
    if not _is_quiet.get():
        typer.echo(text, err=True)


def with_quiet(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --quiet; without it, the progress of its trainings is shown."""
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())
    option = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    position = next((n for n, one in enumerate(own) if one.kind is inspect.Parameter.VAR_KEYWORD), len(own))

    @functools.wraps(command)
    def run(quiet: bool, **arguments: Any) -> None:
        from samovar_forecast.training.progress import progress_shown  # Lightning is slow to import

        token = _is_quiet.set(quiet)
        try:
            with progress_shown(0 if quiet else 1):
                command(**arguments)
        finally:
            _is_quiet.reset(token)

    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own[:position], option, *own[position:]]
    )
    return run
