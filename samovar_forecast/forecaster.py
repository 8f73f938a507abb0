"""The sklearn-style estimator: a DataFrame in, forecasts out."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from samovar_forecast.calendar_features import choose_calendar
from samovar_forecast.fitted_data import FittedData
from samovar_forecast.frames import align_columns, continue_index, frequency_of, order_columns, read_frame, select_rows
from samovar_forecast.networks.covariate_network import build_network
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.rolling import forecast_cutoffs
from samovar_forecast.scaling import Scaler
from samovar_forecast.training.config import check_training_config
from samovar_forecast.training.devices import resolve_device
from samovar_forecast.training.split import choose_context_length, split_windows, training_rows
from samovar_forecast.training.windows import Windows

if TYPE_CHECKING:
    import xarray as xr


class Forecaster(FittedData, BaseEstimator):
    """Base of the public forecasters: everything but the network and its hyperparameters.

    A public class inherits from a network's configuration and from this class, and names the network:
    the estimator is its own configuration. What it keeps of the data is described in `FittedData`.

    Attributes
    ----------
    network_ : ForecastNetwork
        The trained network.
    training_summary_ : TrainingSummary
        Epochs, errors and time of the last training.
    """

    network_class: ClassVar[type[ForecastNetwork]]

    def fit(self, y: pd.Series | pd.DataFrame, X: pd.DataFrame | None = None) -> Self:
        """Train on a frame of series.

        Parameters
        ----------
        y : Series or DataFrame
            Rows are time (dates, periods or integers; regular), columns are series.
        X : DataFrame or None
            Covariates that are also known in the future, with the index of `y`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a hyperparameter, a column, a row or the index is not right; the message names it.
        """
        from samovar_forecast.training.engine import train  # Lightning is slow to import; only training needs it

        check_training_config(self)
        device = resolve_device(self.device)
        frame = read_frame(y)
        self.y_is_series_ = isinstance(y, pd.Series)
        self.frequency_ = frequency_of(frame.index)
        self.targets_, self.columns_ = order_columns(frame, self.targets)
        frame = frame[self.columns_]
        self.calendar_ = choose_calendar(self.calendar, frame.index, self.frequency_)
        known = None if X is None else select_rows(read_frame(X, "X"), frame.index, "X")
        self.known_ = [] if known is None else list(known.columns)
        if known is None and self.calendar_:
            known = pd.DataFrame(index=frame.index)
        n_training_rows = training_rows(len(frame), self)
        self.context_length_ = choose_context_length(n_training_rows, self)

        self.scaler_ = Scaler.fit(frame.to_numpy()[:n_training_rows], self.scaler)
        if known is not None and self.known_:
            self.known_scaler_ = Scaler.fit(known.to_numpy()[:n_training_rows], "standard")
        windows, validation = split_windows(
            *self._scaled(frame, known), n_training_rows, self.context_length_, self.horizon, len(self.targets_)
        )
        with self._seeded(device) as seed:
            self.network_ = self._build_network()
            self.training_summary_ = train(self.network_, windows, validation, self, seed)
        self._remember(frame, known)
        return self

    def predict(
        self, y: pd.Series | pd.DataFrame | None = None, X: pd.DataFrame | None = None, horizon: int | None = None
    ) -> pd.Series | pd.DataFrame:
        """Forecast the steps that follow the training data, or the history given.

        Parameters
        ----------
        y : Series, DataFrame or None
            Another history with the columns of `fit`, in any order, of at least `context_length_` rows.
        X : DataFrame or None
            The known covariates of the steps to forecast and, where `y` is given, of its context too.
        horizon : int or None
            Steps to forecast; None: the horizon of training. More steps roll forward.

        Returns
        -------
        DataFrame, or Series where `fit` saw one
            The targets; the index continues the history.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        ValueError
            If a column is missing, the history is too short, or a row of `X` is missing.
        """
        check_is_fitted(self)
        steps = self.horizon if horizon is None else horizon
        if isinstance(steps, bool) or not hasattr(steps, "__index__") or steps < 1:
            raise ValueError(f"horizon must be a positive integer, got {horizon!r}")
        values, known, future = self._window(y, X, steps)
        forecast = forecast_cutoffs(self.network_, values, torch.tensor([len(values)]), steps, known)[0]
        values_in_units = self.scaler_.inverse(forecast, len(self.targets_))
        result = pd.DataFrame(values_in_units, index=future, columns=self.targets_)
        return result.iloc[:, 0] if self.y_is_series_ else result

    def backtest(
        self,
        y: pd.Series | pd.DataFrame,
        X: pd.DataFrame | None = None,
        start: Hashable | None = None,
        stride: int = 1,
    ) -> xr.Dataset:
        """Forecast from every cutoff inside `y` without refitting, in large batches.

        Parameters
        ----------
        y : Series or DataFrame
            The columns of `fit`. Its first `context_length_` rows are context only.
        X : DataFrame or None
            The known covariates over the index of `y`.
        start : index label or None
            First row to be forecast; None: the first one with a full context in front of it.
        stride : int
            Rows between two cutoffs.

        Returns
        -------
        xarray.Dataset
            `forecast` and `actual` with the dimensions cutoff, step and series, for every cutoff whose full
            context and full horizon lie inside `y`. The coordinate `cutoff` is the last observed label.

        Raises
        ------
        ValueError
            If `y` holds no such cutoff, or `start` has no full context in front of it.
        """
        from samovar_forecast.backtesting import backtest

        check_is_fitted(self)
        return backtest(self, y, X, start, stride)

    def score(self, y: pd.Series | pd.DataFrame, X: pd.DataFrame | None = None) -> float:
        """Negative mean squared error of the forecast of `y`, in training standard deviations of each target.

        `y` is the block of rows that follows the training data. Higher is better, as sklearn's
        cross-validation wants it.

        Raises
        ------
        ValueError
            If `y` does not begin right after the training data.
        """
        check_is_fitted(self)
        actual = align_columns(read_frame(y), self.columns_, "y")[self.targets_]
        expected = continue_index(self.history_.index, self.frequency_, 1)[0]
        if actual.index[0] != expected:
            raise ValueError(f"y must follow the training data: it begins at {actual.index[0]}, not at {expected}")
        forecast = self.predict(X=X, horizon=len(actual))
        errors = (np.asarray(forecast).reshape(actual.shape) - actual.to_numpy()) / self.scaler_.scale[
            -actual.shape[1] :
        ]
        return -float(np.mean(errors**2))

    def update(
        self, y: pd.Series | pd.DataFrame, X: pd.DataFrame | None = None, *, retrain: bool = True, epochs: int = 1
    ) -> Self:
        """Take in the rows that follow the training data.

        Parameters
        ----------
        y : Series or DataFrame
            New rows with the columns of `fit`; rows that are known already replace the old ones.
        X : DataFrame or None
            The known covariates over the index of `y`.
        retrain : bool, default True
            Continue training on every window with a target among the new rows; False only moves the cutoff.
        epochs : int, default 1
            Passes over those windows, at the constant learning rate `learning_rate`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `y` leaves a gap behind the training data, or replaces more rows than the forecaster remembers.
        """
        from samovar_forecast.training.engine import train

        check_is_fitted(self)
        new = align_columns(read_frame(y), self.columns_, "y")
        expected = continue_index(self.history_.index, self.frequency_, 1)[0]
        if new.index[0] > expected:
            raise ValueError(f"y leaves a gap: it begins at {new.index[0]}, the training data continue at {expected}")
        frame = read_frame(pd.concat([self.history_[self.history_.index < new.index[0]], new]))
        known = self._known_rows(X, frame.index)
        window_length = self.context_length_ + self.horizon
        needed = window_length if retrain else self.context_length_
        if len(frame) < needed:
            raise ValueError(
                f"y begins at {new.index[0]}, so far back that {len(frame)} rows are left up to its end, and "
                f"{needed} are needed; give every row from {self.history_.index[0]} on, or fit again"
            )
        if retrain:
            first = max(0, len(frame) - len(new) - window_length + 1)  # the first window that reaches a new row
            starts = torch.arange(first, len(frame) - window_length + 1)
            values, scaled_known = self._scaled(frame, known)
            windows = Windows(
                values, starts, self.context_length_, self.horizon, len(self.targets_), scaled_known
            )  # fmt: skip
            config = clone(self).set_params(max_epochs=epochs, max_steps=None, schedule="constant")
            with self._seeded(resolve_device(self.device)) as seed:
                self.training_summary_ = train(self.network_, windows, None, config, seed)
        self._remember(frame, known)
        return self

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted forecaster to one file (safetensors with a JSON header), replaced atomically.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        """
        from samovar_forecast.persistence import save

        check_is_fitted(self)
        save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a forecaster that `save` wrote; on the base class, of any kind.

        Raises
        ------
        ModelFileError
            If the file is not a model, is damaged, or holds another class.
        """
        from samovar_forecast.persistence import load

        return load(cls, path)

    def to_sktime(self) -> Any:
        """The native sktime forecaster with the same hyperparameters and, when fitted, the same weights.

        The weights come as pretrained state: sktime's `fit` takes in the data and keeps them.

        Raises
        ------
        ImportError
            If the extra ``samovar-forecast[sktime]`` is not installed.
        """
        from samovar_sktime.bridge import from_core

        return from_core(self)

    def to_darts(self) -> Any:
        """The native darts model with the same hyperparameters and, when fitted, the same weights.

        Raises
        ------
        ImportError
            If the extra ``samovar-forecast[darts]`` is not installed.
        """
        from samovar_darts.bridge import from_core

        return from_core(self)

    def _build_network(self) -> ForecastNetwork:
        n_series, n_targets = len(self.columns_), len(self.targets_)
        n_known = len(self.known_) + len(self.calendar_)
        return build_network(
            self.network_class, n_series, n_targets, self.context_length_, self.horizon, self, n_known=n_known
        )

    @contextmanager
    def _seeded(self, device: torch.device) -> Iterator[int]:
        """Draw a seed and run under it; the caller's random state comes back afterwards."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield seed
