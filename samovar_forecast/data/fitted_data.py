"""What a fitted forecaster keeps of its data, and how it reads new data against that."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.calendar_features import calendar_features
from samovar_forecast.data.fitted_series import Contexts, FittedSeries
from samovar_forecast.data.frames import (
    align_columns,
    check_above_minus_one,
    check_observed,
    read_static,
    select_rows,
)
from samovar_forecast.data.panel import Layout, Panel, read_panel
from samovar_forecast.data.scaling import Scaler, check_moves, scale_frame
from samovar_forecast.data.time_axis import Frequency, continue_index
from samovar_forecast.forecasting.intervals import Calibration
from samovar_forecast.training.config import TrainingConfig


class FittedData(TrainingConfig):
    """The data side of a fitted forecaster.

    Attributes
    ----------
    context_length_ : int
        Points of history in a window.
    columns_ : list
        Names of the columns in the network's order: past covariates first, targets last.
    targets_ : list
        Names of the targets.
    known_ : list
        Names of the covariates known in the future.
    calendar_ : list
        Names of the calendar features, which follow the covariates.
    static_ : list
        Names of the covariates that are constant in time.
    known_scaler_, static_scaler_ : Scaler
        Scaling of the known and of the static covariates.
    series_ : dict
        A `FittedSeries` for each series of a panel, under its name; a lone series has the name None.
    frequency_ : offset or int
        Step of the index.
    layout_ : Layout
        The form of the data that `fit` saw, and of what `predict` gives.
    calibration_ : Calibration or None
        Errors on the validation windows; None where quantiles were trained.
    """

    context_length_: int
    columns_: list[Hashable]
    targets_: list[Hashable]
    known_: list[Hashable]
    calendar_: list[str]
    static_: list[Hashable]
    known_scaler_: Scaler
    static_scaler_: Scaler
    series_: dict[Hashable, FittedSeries]
    frequency_: Frequency
    layout_: Layout
    calibration_: Calibration | None

    @property
    def is_panel_(self) -> bool:
        """Whether `fit` saw a panel: then every series has its scaling, and short histories are filled up."""
        return self.layout_.kind != "single"

    @property
    def history_(self) -> pd.DataFrame:
        """The newest rows of a lone series; a panel has them in `series_`."""
        return self._lone_series("history_").history

    @property
    def scaler_(self) -> Scaler:
        """The scaling of a lone series; a panel has it in `series_`."""
        return self._lone_series("scaler_").scaler

    def _lone_series(self, name: str) -> FittedSeries:
        if "series_" not in vars(self) or self.is_panel_:
            reason = "is not fitted" if "series_" not in vars(self) else "was fitted on a panel: see series_"
            raise AttributeError(f"{type(self).__name__} has no {name}: it {reason}")
        return self.series_[None]

    def read_history(self, y: Any, *, shortest: int | None = None) -> Panel:
        """Check another history: the columns and the step of the training data, and rows enough.

        Parameters
        ----------
        y : Series, DataFrame, dict or None
            None: the newest training rows.
        shortest : int or None
            Rows that a series must have. None: a context, or one row where the forecaster fills up short ones.
        """
        if y is None:
            frames = {key: series.history for key, series in self.series_.items()}
            return Panel(frames, self.layout_, "the training data")
        panel = self._renamed(read_panel(y, missing=True, step=self.frequency_), self.columns_).align(self.columns_)
        frequency = panel.frequency(default=self.frequency_)
        if frequency != self.frequency_:
            raise ValueError(f"y has a step of {frequency}, the training data had {self.frequency_}")
        if shortest is None:
            shortest = 1 if self.is_panel_ else self.context_length_
        for key, frame in panel.frames.items():
            if len(frame) < shortest:
                raise ValueError(
                    f"{panel.name_of(key)} is too short: {len(frame)} rows, the network needs {shortest} of history"
                )
            if self.log1p:
                check_above_minus_one(frame, self.targets_, panel.name_of(key))
        return panel

    def read_new_rows(self, y: Any) -> Panel:
        """Check rows that follow the training data or replace their newest ones; they take its time zone.

        Raises
        ------
        ValueError
            As `read_history`, which asks for one row, and if the time axis is of another kind than that of training.
        """
        panel = self.read_history(y, shortest=1)
        return panel.on_axes({key: series.history.index for key, series in self.series_.items()}, "the training data")

    def _renamed(self, panel: Panel, columns: list[Hashable]) -> Panel:
        """Series for a forecaster of a panel of Series are known by their keys; their column takes the name of fit."""
        if not (self.is_panel_ and panel.layout.is_series and len(columns) == 1):
            return panel
        return panel.map(lambda frame, _: frame.set_axis(columns, axis=1))

    def read_known(self, X: Any, panel: Panel) -> dict[Hashable, pd.DataFrame]:
        """The known covariates given for the series of a panel; empty where none are given."""
        if X is None or (isinstance(X, pd.DataFrame) and X.shape[1] == 0):
            return {}
        if not self.known_:
            raise ValueError("X is given, but the forecaster was fitted without X; fit with X to use it")
        given = read_panel(X, "X", missing=True, step=self.frequency_).beside(panel)
        unknown = [key for key in given.frames if key not in panel.frames]
        if unknown:
            raise ValueError(f"X holds series that y lacks: {unknown}; y has {list(panel.frames)}")
        return self._renamed(given, self.known_).align(self.known_).frames

    def known_rows(
        self,
        given: pd.DataFrame | None,
        index: pd.Index,
        key: Hashable = None,
        n_spare: int = 0,
        n_future: int = 0,
    ) -> pd.DataFrame | None:
        """Known covariates at every label of `index`, from those given and from what was known in training.

        The network forecasts whole horizons. For the `n_spare` steps behind `index`, which nobody asked for, given
        rows are taken where there are any, else the last one is repeated; the calendar goes on.

        A frame without columns where the calendar alone is known; None where nothing is.

        Raises
        ------
        ValueError
            If a row is missing, or one of the last `n_future` rows has no value; the message names it.
        """
        name = "X" if not self.is_panel_ or key is None else f"X of series {key!r}"
        spare = continue_index(index, self.frequency_, n_spare)
        if not self.known_:
            return pd.DataFrame(index=index.append(spare)) if self.calendar_ else None
        remembered = self.series_[key].known if key in self.series_ else None
        rows = pd.DataFrame(columns=self.known_, dtype=np.float64) if remembered is None else remembered
        if given is not None:
            kept = rows[~rows.index.isin(given.index)]
            rows = given if kept.empty else pd.concat([kept, given])
        selected = select_rows(rows, index, name)
        missing = selected.iloc[len(selected) - n_future :].isna()
        if missing.to_numpy().any():
            column = missing.columns[missing.any().to_numpy()][0]
            labels = missing.index[missing[column].to_numpy()]
            raise ValueError(
                f"{name} column {column!r} has no value at {labels[0]} ({len(labels)} of the {n_future} rows to "
                "forecast); known covariates must be known there"
            )
        if not n_spare:
            return selected
        continued = pd.concat([selected.iloc[-1:], rows.reindex(spare)]).ffill()
        return pd.concat([selected, continued.iloc[1:]])

    def scaled(
        self, frame: pd.DataFrame, known: pd.DataFrame | None, scaler: Scaler, key: Hashable = None
    ) -> tuple[Tensor, Tensor | None]:
        """Series and known covariates as the network sees them: (n_rows, n_columns) and (n_rows, n_known).

        A known covariate without a value gets its mean.

        Raises
        ------
        ValueError
            If a value is too large for the single precision of the network; the message names column and row.
        """
        of_series = "" if key is None else f" of series {key!r}"
        values = torch.from_numpy(scale_frame(frame, scaler, f"y{of_series}"))
        if known is None:
            return values, None
        parts = [np.nan_to_num(scale_frame(known, self.known_scaler_, f"X{of_series}"))] if self.known_ else []
        if self.calendar_:
            parts.append(calendar_features(known.index, self.calendar_))
        return values, torch.from_numpy(np.concatenate(parts, axis=1))

    def scaler_of(self, key: Hashable, frame: pd.DataFrame) -> Scaler:
        """The scaling of a series: that of training, or for one that a panel did not hold, that of its rows."""
        if not self.is_panel_:
            return self.scaler_
        return self.series_[key].scaler if key in self.series_ else self.fit_scaler(frame)

    def fit_scaler(self, frame: pd.DataFrame, name: str = "y") -> Scaler:
        """The scaling by the rows of a frame with the columns of `columns_`.

        Raises
        ------
        ValueError
            If nothing is to be scaled, and a column moves too little for a network to see.
        """
        if self.scaler == "none":
            check_moves(frame.to_numpy(), list(frame.columns), name, "scaler='standard'")
        n_past = len(self.columns_) - len(self.targets_)
        logarithmic = np.array([False] * n_past + [self.log1p] * len(self.targets_))
        return Scaler.fit(frame.to_numpy(), self.scaler, logarithmic)

    def static_of(self, panel: Panel, static: pd.DataFrame | None) -> dict[Hashable, NDArray[np.float32]]:
        """Scaled static covariates of the series of a panel; those not given are those of training."""
        if not self.static_:
            if static is not None:
                raise ValueError("static is given, but the forecaster was fitted without static covariates")
            return {}
        found = {key: series.static for key, series in self.series_.items() if series.static is not None}
        if static is not None:
            rows = align_columns(read_static(static), self.static_, "static")
            scaled = self.static_scaler_.transform(rows.to_numpy())
            found |= dict(zip(rows.index, scaled, strict=True))
        missing = [key for key in panel.frames if key not in found]
        if missing:
            raise ValueError(f"static lacks the series {missing}; give a row for each")
        return {key: found[key] for key in panel.frames}

    def contexts(self, y: Any, X: Any, steps: int, static: pd.DataFrame | None = None) -> Contexts:
        """The newest context of every series, ready to forecast `steps` rows."""
        panel = self.read_history(y)
        given, statics = self.read_known(X, panel), self.static_of(panel, static)
        n_spare = -steps % self.horizon
        values, knowns, futures, scalers = [], [], [], []
        for key, whole in panel.frames.items():
            frame = whole.iloc[-self.context_length_ :]
            future = continue_index(frame.index, self.frequency_, steps)
            known = self.known_rows(given.get(key), frame.index.append(future), key, n_spare, n_future=steps)
            check_observed(frame, self.targets_, panel.name_of(key))
            scalers.append(self.scaler_of(key, whole))
            past, scaled_known = self.scaled(frame, known, scalers[-1], key)
            front = self.context_length_ - len(frame)
            values.append(_padded(past, front, steps + n_spare, torch.nan))
            if scaled_known is not None:
                knowns.append(_padded(scaled_known, front, 0, 0.0))
            futures.append(future)
        length = self.context_length_ + steps + n_spare
        return Contexts(
            list(panel.frames),
            torch.cat(values),
            torch.cat(knowns) if knowns else None,
            torch.from_numpy(np.stack([statics[key] for key in panel.frames])) if statics else None,
            torch.arange(len(values)) * length + self.context_length_,
            futures,
            scalers,
            panel.layout,
        )

    def remember(self, key: Hashable, frame: pd.DataFrame, known: pd.DataFrame | None) -> None:
        """Keep the rows of a series that a forecast or an update still needs."""
        rows = self.context_length_ + self.horizon  # a whole window, so that an update can correct the newest row
        series = self.series_[key]
        series.history = frame.iloc[-rows:].copy()
        series.known = None if known is None or not self.known_ else known.iloc[-rows:].copy()


def _padded(values: Tensor, front: int, behind: int, fill: float) -> Tensor:
    parts = (values.new_full((n_rows, values.shape[1]), fill) for n_rows in (front, behind))
    first, last = parts
    return torch.cat([first, values, last])
