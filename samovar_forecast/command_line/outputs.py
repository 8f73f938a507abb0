"""What commands write: a file that is tried before the work, a model that is kept when its place is not there."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from samovar_forecast.command_line.errors import INTERRUPTED

if TYPE_CHECKING:
    from samovar_forecast.estimator import Forecaster


def check_output(path: Path) -> None:
    """Refuse a file that cannot be written before any work is done, by writing one beside it.

    Raises
    ------
    OSError
        If there is no such folder, it takes no file, or is there with another kind.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder of {path} does not exist")
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file")
    if target.exists() and not target.is_file():
        raise OSError(f"{path} is no regular file")
    trial = target.with_name(f".{target.name[:64]}.{uuid.uuid4().hex}.tmp")
    try:
        trial.write_bytes(b"\0" * 4096)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        trial.unlink(missing_ok=True)


def keep_model(forecaster: Forecaster, path: Path) -> Path:
    """Save a model; where its place cannot be written any more, in the folder of temporary files.

    Returns
    -------
    Path
        Where the model is.

    Raises
    ------
    OSError
        If it can be written nowhere.
    """
    try:
        forecaster.save(path)
    except OSError as error:
        reason = error.strerror or str(error)
        spare = Path(tempfile.mkdtemp(prefix="samovar-forecast-"), path.name)
        try:
            forecaster.save(spare)
        except OSError as second:
            raise OSError(f"{path} cannot be written ({reason}), and neither can {spare}: {second}") from error
        typer.secho("warning: ", fg="yellow", err=True, nl=False)
        typer.echo(f"{path} cannot be written: {reason}; the trained model is in {spare}", err=True)
        return spare
    return path


@contextmanager
def kept_when_interrupted(forecaster: Forecaster, path: Path) -> Iterator[None]:
    """Save the best weights so far after Ctrl-C in a training, say so, and end.

    Before the first step of training there is nothing to keep.
    """
    try:
        yield
    except KeyboardInterrupt:
        if "fitted_" not in vars(forecaster) or not forecaster.training_summary_.interrupted:
            typer.echo("interrupted before the first training step: nothing is kept", err=True)
            raise typer.Exit(INTERRUPTED) from None
        done = forecaster.training_summary_
        kept = f"the weights of epoch {done.best_epoch}" if done.best_epoch and done.epochs else "the newest weights"
        place = keep_model(forecaster, path)
        typer.echo(f"interrupted after {done.epochs} epochs: {kept} are in {place}", err=True)
        if forecaster.checkpoint_dir is not None:
            typer.echo(f"the same command goes on from {forecaster.checkpoint_dir}", err=True)
        raise typer.Exit(INTERRUPTED) from None
