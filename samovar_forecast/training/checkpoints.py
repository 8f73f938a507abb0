"""Checkpoints: the complete state of a training in a file, from which the same training goes on after a kill."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import CheckpointIO

from samovar_forecast.files.atomic_files import remove_left_over, replace_file
from samovar_forecast.training.random_state import random_states, set_random_states

FILE_NAME = "training.ckpt"
_MARK = b"samovar_forecast checkpoint 3\n"
_OURS = "samovar_forecast"


class CheckpointError(ValueError):
    """The checkpoint is damaged, or of another training."""


class Checkpoints(Checkpoint):
    """Write the complete state of a training at the end of every epoch, and begin with it where there is one.

    Lightning knows the weights, the optimizer, the learning rate, the loops and the callbacks; the generators of
    random numbers come with them here. The last epoch writes nothing: the finished model follows it.

    Parameters
    ----------
    folder : str or path
        Where the file lies; it is made where it is missing. It serves one training at a time.
    training : mapping of str to str
        See `describe_training`.

    Attributes
    ----------
    found : bool
        Whether a checkpoint of this training is there.

    Raises
    ------
    CheckpointError
        If the file there is damaged, or of another training; the message names what differs.
    OSError
        If the folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str], training: Mapping[str, str]) -> None:
        self.path = Path(folder) / FILE_NAME
        self._training = dict(training)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(self.path.parent, os.W_OK):
            raise PermissionError(f"checkpoint_dir={str(folder)!r} is a folder that cannot be written to")
        remove_left_over(self.path)
        self.found = self.path.exists()
        if self.found:
            self._check_ours(read_checkpoint(self.path))
        self._random_states: list[torch.Tensor] | None = None

    def _check_ours(self, checkpoint: dict[str, Any]) -> None:
        theirs = checkpoint[_OURS]["training"]
        differing = [name for name in self._training | theirs if self._training.get(name) != theirs.get(name)]
        if not differing:
            return
        told = [
            f"{name} is {theirs.get(name)} there and {self._training.get(name)} here"
            if max(len(str(of.get(name))) for of in (theirs, self._training)) < 60
            else f"{name} is another one there"
            for name in differing[:5]
        ]
        raise CheckpointError(
            f"{self.path} is a checkpoint of another training: {', '.join(told)}; call fit as that training did to "
            "finish it, or remove the file, or give every training a checkpoint_dir of its own"
        )

    def _check_seen_by_all(self, n_devices: int) -> None:
        """Refuse to begin on some devices and go on on others, which would wait for each other without end."""
        seen: list[Any] = [None] * n_devices
        torch.distributed.all_gather_object(seen, self.found)
        if any(seen) and not all(seen):
            with_it, without = (
                [str(rank) for rank, found in enumerate(seen) if found is wanted] for wanted in (True, False)
            )
            raise CheckpointError(
                f"a checkpoint of this training is there for process {', '.join(with_it)}, but not for process "
                f"{', '.join(without)}: checkpoint_dir={str(self.path.parent)!r} must be on a disk that all machines "
                "share; copy the file there, or remove it to train from the beginning"
            )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            self._check_seen_by_all(trainer.world_size)
        # With a limit of steps Lightning takes every checkpoint for one from within an epoch, and would resume at the
        # end of the last one. It reads the limit before and after the restoring alone.
        self._max_steps, trainer.fit_loop.epoch_loop.max_steps = trainer.max_steps, -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.fit_loop.epoch_loop.max_steps = self._max_steps
        if self._random_states is not None:
            set_random_states(pl_module.device, self._random_states)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert trainer.max_epochs is not None
        ends = trainer.current_epoch + 1 >= trainer.max_epochs or 0 <= trainer.max_steps <= trainer.global_step
        if ends or trainer.should_stop:
            return
        trainer.save_checkpoint(self.path)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint[_OURS] = {
            "training": self._training,
            "order_of_windows": pl_module.generator.get_state(),
            "random_states": _of_all_devices(random_states(pl_module.device), trainer.world_size),
        }

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        pl_module.generator.set_state(checkpoint[_OURS]["order_of_windows"])
        of_devices = checkpoint[_OURS]["random_states"]
        if len(of_devices) == trainer.world_size:
            self._random_states = of_devices[trainer.global_rank]


def _of_all_devices(states: list[torch.Tensor], n_devices: int) -> list[list[torch.Tensor]]:
    if n_devices == 1:
        return [states]
    every: list[Any] = [None] * n_devices
    torch.distributed.all_gather_object(every, states)
    return every


def remove_checkpoint(folder: str | os.PathLike[str]) -> None:
    """Remove the file of a training that is over."""
    (Path(folder) / FILE_NAME).unlink(missing_ok=True)


class CheckpointFiles(CheckpointIO):
    """How Lightning writes and reads checkpoints: replaced atomically, checked by a digest, without pickled code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        payload = content.getvalue()
        try:
            replace_file(path, b"".join((_MARK, hashlib.sha256(payload).digest(), payload)))
        except OSError as error:  # answered here, where one device writes: the others wait for it
            warnings.warn(
                f"the checkpoint of epoch {checkpoint['epoch'] + 1} could not be written: {error}; the training goes "
                "on, and the last one that was written stays",
                stacklevel=2,
            )

    def load_checkpoint(self, path: str | os.PathLike[str], *_: Any, **__: Any) -> dict[str, Any]:
        return read_checkpoint(path)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint; its tensors land on the CPU, and nothing in it is executed.

    Raises
    ------
    CheckpointError
        If the file is damaged, or no checkpoint of this package.
    """
    content = Path(path).read_bytes()
    begin = len(_MARK) + hashlib.sha256().digest_size
    payload = memoryview(content)[begin:]
    if not content.startswith(_MARK) or hashlib.sha256(payload).digest() != content[len(_MARK) : begin]:
        raise CheckpointError(
            f"{path} is damaged, or no checkpoint of this version of samovar-forecast; remove it to train from the "
            "beginning"
        )
    try:
        checkpoint: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; remove it to train from the beginning") from error
    return checkpoint
