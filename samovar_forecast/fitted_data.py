"""What a fitted forecaster keeps of its data, and how it reads new data against that."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
import torch

from samovar_forecast.calendar_features import calendar_features
from samovar_forecast.frames import Frequency, align_columns, continue_index, frequency_of, read_frame, select_rows
from samovar_forecast.scaling import Scaler
from samovar_forecast.training.config import TrainingConfig


class FittedData(TrainingConfig):
    """The data side of a fitted forecaster.

    Attributes
    ----------
    context_length_ : int
        Points of history in a window.
    columns_ : list
        Names of the series in the network's order: past covariates first, targets last.
    targets_ : list
        Names of the targets.
    known_ : list
        Names of the covariates known in the future.
    calendar_ : list
        Names of the calendar features, which follow the covariates.
    scaler_, known_scaler_ : Scaler
        Scaling of the series and of the known covariates.
    history_ : DataFrame
        The newest rows, from which `predict` continues, as many as an update needs.
    known_history_ : DataFrame or None
        The known covariates of those rows.
    frequency_ : offset or int
        Step of the index.
    y_is_series_ : bool
        Whether `fit` saw a Series, so that `predict` returns one.
    """

    context_length_: int
    columns_: list[Hashable]
    targets_: list[Hashable]
    known_: list[Hashable]
    calendar_: list[str]
    scaler_: Scaler
    known_scaler_: Scaler
    history_: pd.DataFrame
    known_history_: pd.DataFrame | None
    frequency_: Frequency
    y_is_series_: bool

    def _window(
        self, y: pd.Series | pd.DataFrame | None, X: pd.DataFrame | None, steps: int
    ) -> tuple[torch.Tensor, torch.Tensor | None, pd.Index]:
        """The newest context, scaled, with the known covariates up to the last step, and the index of the steps."""
        history = (self.history_ if y is None else self._read_history(y)).iloc[-self.context_length_ :]
        future = continue_index(history.index, self.frequency_, steps)
        known = self._known_rows(X, history.index.append(future), n_spare=-steps % self.horizon)
        return *self._scaled(history, known), future

    def _scaled(self, frame: pd.DataFrame, known: pd.DataFrame | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Series and known covariates as the network sees them: (n_rows, n_series) and (n_rows, n_known)."""
        values = torch.from_numpy(self.scaler_.transform(frame.to_numpy()))
        if known is None:
            return values, None
        parts = [self.known_scaler_.transform(known.to_numpy())] if self.known_ else []
        if self.calendar_:
            parts.append(calendar_features(known.index, self.calendar_))
        return values, torch.from_numpy(np.concatenate(parts, axis=1))

    def _remember(self, frame: pd.DataFrame, known: pd.DataFrame | None) -> None:
        """Keep the rows that a forecast or an update still needs."""
        rows = self.context_length_ + self.horizon - 1
        self.history_ = frame.iloc[-rows:].copy()
        self.known_history_ = None if known is None or not self.known_ else known.iloc[-rows:].copy()

    def _read_history(self, y: pd.Series | pd.DataFrame) -> pd.DataFrame:
        frame = align_columns(read_frame(y), self.columns_, "y")
        if len(frame) < self.context_length_:
            raise ValueError(f"y is too short: {len(frame)} rows, the network needs {self.context_length_} of history")
        frequency = frequency_of(frame.index, default=self.frequency_)
        if frequency != self.frequency_:
            raise ValueError(f"y has a step of {frequency}, the training data had {self.frequency_}")
        return frame

    def _known_rows(self, X: pd.DataFrame | None, index: pd.Index, n_spare: int = 0) -> pd.DataFrame | None:
        """Known covariates at every label of `index`, from `X` and from what was known in training.

        The network forecasts whole horizons. For the `n_spare` steps behind `index`, which nobody asked for, rows of
        `X` are taken where there are any, else the last one is repeated; the calendar goes on.

        A frame without columns where the calendar alone is known; None where nothing is.
        """
        spare = continue_index(index, self.frequency_, n_spare)
        if not self.known_:
            if X is not None and X.shape[1]:
                raise ValueError("X is given, but the forecaster was fitted without X; fit with X to use it")
            return pd.DataFrame(index=index.append(spare)) if self.calendar_ else None
        known = self.known_history_
        assert known is not None
        if X is not None:
            given = align_columns(read_frame(X, "X"), self.known_, "X")
            known = pd.concat([known[~known.index.isin(given.index)], given])
        return pd.concat([select_rows(known, index, "X"), known.reindex(spare)]).ffill()
