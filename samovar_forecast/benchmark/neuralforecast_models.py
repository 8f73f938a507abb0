"""Models of neuralforecast, trained by their own steps, on batches that are made here.

By itself, neuralforecast (3.3) draws every batch anew from all windows, so that none of its epochs is a pass over
them; its last training windows reach beyond the training rows and are masked there; and a model of single series copies
all windows of all series for every step. Therefore each batch has the layout of the library's series: the chosen
windows end to end, and a step of one window. `training_step` and `validation_step` then see exactly these windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from samovar_forecast.benchmark.library_training import BestEpoch, Clock, count_parameters, quiet, trainer_settings
from samovar_forecast.benchmark.protocol import Task, Trained
from samovar_forecast.benchmark.recipes import plain_name
from samovar_forecast.benchmark.runs import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS = pd.Index(["y", "available_mask"])


def train(run: Run, task: Task) -> Trained:
    """Train a model of neuralforecast on the training windows; the validation windows choose the epoch.

    Raises
    ------
    ImportError
        If the extra ``samovar-forecast[benchmark]`` is not installed.
    ValueError
        If neuralforecast has no such model, or it diverged.
    """
    import neuralforecast.models
    import pytorch_lightning as pl
    from neuralforecast.losses.pytorch import MSE

    context_length = run.context_length
    assert context_length is not None
    name = plain_name(run.model)
    if not hasattr(neuralforecast.models, name):
        raise ValueError(f"neuralforecast has no model {name}")
    kind = getattr(neuralforecast.models, name)
    if kind.RECURRENT:
        raise ValueError(f"{name} forecasts step by step, which the benchmark does not; choose another model")
    settings: dict[str, Any] = dict(run.hyperparameters)
    batch_size, max_epochs, patience = (settings.pop(key) for key in ("batch_size", "max_epochs", "patience"))
    length = context_length + run.horizon
    best = BestEpoch("ptl/val_loss", patience)
    spare = batch_size * length  # rows that the library cuts off its training batches, to validate on
    batches = window_batches(task.train, length, batch_size, shuffled_by=run.seed, spare=spare)
    model = kind(
        h=run.horizon,
        input_size=context_length,
        loss=MSE(),
        step_size=length,  # from one window of a batch to the next
        windows_batch_size=None,  # all windows of a batch
        inference_windows_batch_size=-1,
        training_data_availability_threshold=1.0,
        random_seed=run.seed,
        max_steps=max_epochs * len(batches),  # for schedules that depend on it
        **({"n_series": task.train.shape[1]} if kind.MULTIVARIATE else {}),
        **settings,
    )
    model.val_size = spare
    clock = Clock()
    with quiet():
        trainer = pl.Trainer(**trainer_settings(run.device), callbacks=[best], max_epochs=max_epochs)
        trainer.fit(model, batches, window_batches(task.validation_windows, length, batch_size))
    best.give_to(model)
    seconds, epochs = clock.seconds(), trainer.current_epoch
    model.to(run.device).eval()

    @torch.inference_mode()
    def forecast(rows: pd.DataFrame) -> NDArray[np.float32]:
        windows = _tensor(rows).unfold(0, context_length, 1)[: len(rows) - length + 1]  # (windows, series, context)
        parts = [_forecast(model, part.to(run.device), kind.MULTIVARIATE).cpu() for part in windows.split(batch_size)]
        return torch.cat(parts).numpy()

    return Trained(forecast, context_length, count_parameters(model), epochs, best.epoch, seconds)


def window_batches(
    rows: pd.DataFrame, length: int, batch_size: int, shuffled_by: int | None = None, spare: int = 0
) -> DataLoader:
    """Batches of every window of the rows, as neuralforecast takes series: windows end to end, and spare columns.

    Shuffled ones are for training: a last batch of one window joins the batch before it there, since batch
    normalisation finds no deviation in one.

    Shape
    -----
    temporal : (n_series, 2, batch_size * length + spare), the values and which of them count
    """
    windows = _tensor(rows).unfold(0, length, 1)  # (windows, series, length), a view

    def join(chosen: list[int]) -> dict[str, Any]:
        joined = windows[chosen].permute(1, 0, 2).flatten(1)
        values = torch.nn.functional.pad(joined, (0, spare))
        return {
            "temporal": torch.stack([values, torch.ones_like(values)], dim=1), "temporal_cols": _COLUMNS, "y_idx": 0,
        }  # fmt: skip

    numbers = range(len(windows))
    if shuffled_by is None:
        return DataLoader(numbers, batch_size, collate_fn=join)  # type: ignore[arg-type]  # a sequence is a data set
    generator = torch.Generator().manual_seed(shuffled_by)
    order = RandomSampler(numbers, generator=generator)
    return DataLoader(
        numbers,  # type: ignore[arg-type]
        batch_sampler=_NoneOfOne(order, batch_size, drop_last=False),
        generator=generator,
        collate_fn=join,
    )


class _NoneOfOne(BatchSampler):
    """Batches of a size, but for the last one: it is smaller, or larger by one."""

    def __iter__(self) -> Iterator[list[int]]:
        *others, last = super().__iter__()
        if others and len(last) == 1:
            others[-1] = others[-1] + last
            return iter(others)
        return iter([*others, last])

    def __len__(self) -> int:
        n_windows = len(self.sampler)  # type: ignore[arg-type]
        return max(1, -(-(n_windows - 1) // self.batch_size))


def _forecast(model: Any, past: Tensor, multivariate: bool) -> Tensor:
    """Forecasts of a batch of contexts: (windows, n_series, context) to (windows, horizon, n_series).

    By the steps of the library's own `predict_step` after its scaler, whose windows hold the horizon, unobserved.
    """
    n_windows, n_series, context = past.shape
    inputs = past.transpose(1, 2) if multivariate else past.reshape(n_windows * n_series, context, 1)
    rows = torch.nn.functional.pad(inputs, (0, 0, 0, model.h))
    windows = {"temporal": torch.stack([rows, torch.ones_like(rows)], dim=2), "temporal_cols": _COLUMNS}
    values, observed = model._normalization(windows, y_idx=0)["temporal"][:, :context].unbind(2)
    made = model._predict_step_direct_batch(values, observed, None, None, None, y_idx=0)
    if multivariate:
        return made.reshape(n_windows, model.h, n_series)
    return made.reshape(n_windows, n_series, model.h).transpose(1, 2)


def _tensor(rows: pd.DataFrame) -> Tensor:
    return torch.from_numpy(rows.to_numpy(dtype=np.float32, copy=True))
