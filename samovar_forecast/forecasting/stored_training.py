"""What `fit` does with series that are larger than memory: the same as with a frame, piece by piece."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from samovar_forecast.data.fitted_series import FittedSeries
from samovar_forecast.data.frames import check_above_minus_one, order_columns
from samovar_forecast.data.panel import Layout
from samovar_forecast.data.scaling import Scaler, scale_frame
from samovar_forecast.data.stored_series import StoredSeries
from samovar_forecast.training.split import Block, choose_context_length, training_rows

if TYPE_CHECKING:
    from samovar_forecast.forecaster import Forecaster


def read_stored(forecaster: Forecaster, y: StoredSeries, X: Any, static: Any, source: Forecaster | None) -> Block:
    """Give the forecaster everything that `fit` learns of its data, and the engine scaled rows that are mapped.

    The scaled rows lie in a file without a name beside `y`, which is gone when nobody needs it, even where the process
    is killed.

    Raises
    ------
    ValueError
        As `fit` of a frame; and if covariates known in the future, the calendar or another scaler are wanted.
    """
    for name, wanted in (("X", X is not None), ("static", static is not None), ("calendar", bool(forecaster.calendar))):
        if wanted:
            raise ValueError(f"{name} cannot be used with StoredSeries; keep covariates as columns beside the targets")
    if forecaster.scaler != "standard":
        raise ValueError(f"StoredSeries are scaled in the 'standard' way, not by scaler={forecaster.scaler!r}")
    forecaster.layout_, forecaster.frequency_ = Layout("single", False, ()), y.frequency()
    forecaster.targets_, forecaster.columns_ = order_columns(y.rows(slice(0, 1)), forecaster.targets)
    forecaster.known_, forecaster.calendar_, forecaster.static_ = [], [], []
    (n_training,) = training_rows([len(y)], forecaster)
    if source is not None and forecaster.context_length in (None, source.context_length_):
        forecaster.context_length_ = source.context_length_
    else:
        forecaster.context_length_ = choose_context_length(n_training, forecaster)
    scaler = _fit_scaler(forecaster, y, n_training)
    n_kept = forecaster.context_length_ + forecaster.horizon
    history = y.rows(slice(max(0, len(y) - n_kept), len(y)), forecaster.columns_)
    forecaster.series_ = {None: FittedSeries(history, None, scaler)}
    return Block(torch.from_numpy(_scaled(forecaster, y, scaler)), n_training)


def _fit_scaler(forecaster: Forecaster, y: StoredSeries, n_training: int) -> Scaler:
    columns, targets = forecaster.columns_, forecaster.targets_
    n_observed = np.zeros(len(targets), dtype=np.int64)

    def pieces() -> Iterator[NDArray[np.float64]]:
        for _, frame in y.pieces(n_training, columns):
            yield frame.to_numpy()

    for values in pieces():
        n_observed += np.isfinite(values[:, -len(targets) :]).sum(axis=0)
    if not n_observed.all():
        empty, labels = targets[int(n_observed.argmin())], (y.index[0], y.index[n_training - 1])
        raise ValueError(f"{y.folder} column {empty!r} has no value in rows {labels[0]} to {labels[1]}")
    logarithmic = np.array([False] * (len(columns) - len(targets)) + [forecaster.log1p] * len(targets))
    return Scaler.fit_pieces(pieces, logarithmic)


def _scaled(forecaster: Forecaster, y: StoredSeries, scaler: Scaler) -> NDArray[np.float32]:
    with tempfile.TemporaryFile(dir=y.folder) as file:
        scaled = np.memmap(file, dtype=np.float32, mode="w+", shape=y.values.shape)  # outlives the handle
    for rows, frame in y.pieces(len(y), forecaster.columns_):
        if forecaster.log1p:
            check_above_minus_one(frame, forecaster.targets_, str(y.folder))
        scaled[rows] = scale_frame(frame, scaler, str(y.folder))
    return scaled
