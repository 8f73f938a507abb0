"""Take in new rows: a fitted forecaster moves on and, if asked to, trains on."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from samovar_forecast.data.fitted_series import FittedSeries
from samovar_forecast.data.frames import check_observed, read_frame
from samovar_forecast.data.panel import PandasPanel
from samovar_forecast.data.time_axis import continue_index
from samovar_forecast.hindsight import Hindsight
from samovar_forecast.networks.covariate_network import build_network
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.config import check_training_config
from samovar_forecast.training.devices import resolve_device
from samovar_forecast.training.fine_tuning import only_training
from samovar_forecast.training.interrupts import interrupts_held_back
from samovar_forecast.training.random_state import seeded
from samovar_forecast.training.split import Block, split_windows
from samovar_forecast.training.summary import TrainingSummary


class Updating(Hindsight):
    """A forecaster that new rows reach after `fit`.

    Attributes
    ----------
    network_ : ForecastNetwork
        The trained network.
    training_summary_ : TrainingSummary
        Epochs, errors and time of the last training.
    """

    network_class: ClassVar[type[ForecastNetwork]]
    training_summary_: TrainingSummary

    def update(
        self,
        y: PandasPanel,
        X: PandasPanel | None = None,
        *,
        static: pd.DataFrame | None = None,
        retrain: bool = True,
        epochs: int = 1,
        learning_rate: float | None = None,
        freeze: Sequence[str] = (),
    ) -> Self:
        """Take in the rows that follow the training data.

        Parameters
        ----------
        y : Series, DataFrame or dict
            New rows with the columns of `fit`; rows that are known already replace the old ones. A panel may leave
            out series and bring new ones.
        X : DataFrame, dict or None
            The known covariates over the index of `y`.
        static : DataFrame or None
            Covariates constant in time of the new series, a row for each.
        retrain : bool, default True
            Continue training on every window with a target among the new rows; False only moves the cutoff. The
            calibration of intervals stays that of `fit`.
        epochs : int, default 1
            Passes over those windows, at a constant learning rate.
        learning_rate : float or None, default None
            None: the hyperparameter `learning_rate`.
        freeze : sequence of str
            See `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `y` leaves a gap behind the training data, or replaces more rows than the forecaster remembers; if a
            new series has no name, or no value of a target.
        KeyboardInterrupt
            After Ctrl-C, once the rows are taken in, with the weights reached so far; see `fit`.
        """
        from samovar_forecast.training.engine import train

        check_is_fitted(self)
        panel = self.read_new_rows(y)
        given, statics = self.read_known(X, panel), self.static_of(panel, static)
        joined: dict[Hashable, tuple[pd.DataFrame, pd.DataFrame | None]] = {}
        blocks: list[Block] = []
        n_new: list[int] = []
        for key, new in panel.frames.items():
            frame = self._continued(key, new, panel.name_of(key), retrain)
            known = self.known_rows(given.get(key), frame.index, key)
            joined[key] = frame, known
            values, scaled_known = self.scaled(frame, known, self.scaler_of(key, frame), key)
            blocks.append(Block(values, len(values), scaled_known, statics.get(key)))
            n_new.append(len(new))
        with interrupts_held_back():
            if retrain:
                if isinstance(epochs, bool) or not hasattr(epochs, "__index__") or epochs < 1:
                    raise ValueError(f"epochs must be a positive integer, got {epochs!r}")
                windows, _ = split_windows(blocks, self.context_length_, self.horizon, len(self.targets_), n_new)
                config = clone(self).set_params(
                    max_epochs=epochs, max_steps=None, schedule="constant", checkpoint_dir=None
                )
                if learning_rate is not None:
                    config.set_params(learning_rate=learning_rate)
                check_training_config(config)
                network = copy.deepcopy(self.network_)  # a training that fails leaves the old weights
                with self._seeded(resolve_device(self.device)) as seed, only_training(network, freeze):
                    self.training_summary_ = train(network, windows, None, config, seed)
                self.network_ = network
            for key, (frame, known) in joined.items():
                if key not in self.series_:
                    self.series_[key] = FittedSeries(frame, None, self.scaler_of(key, frame))
                self.series_[key].static = statics.get(key)
                self.remember(key, frame, known)
        return self

    def _continued(self, key: Hashable, new: pd.DataFrame, name: str, retrain: bool) -> pd.DataFrame:
        """The remembered rows of a series with new ones behind or over them."""
        if key not in self.series_:
            if not self.is_panel_:
                raise ValueError(f"{name} is no series of the training data, which was a lone one")
            if key is None:
                raise ValueError("y is a lone series, and the training data were a panel; name it: {name: y}")
            levels = self.layout_.names
            if len(levels) > 1 and not (isinstance(key, tuple) and len(key) == len(levels)):
                raise ValueError(f"{name} is new, and its name needs {len(levels)} parts: {levels}")
            check_observed(new, self.targets_, name)
            return new
        history = self.series_[key].history
        expected = continue_index(history.index, self.frequency_, 1)[0]
        if new.index[0] > expected:
            raise ValueError(
                f"{name} leaves a gap: it begins at {new.index[0]}, the training data continue at {expected}"
            )
        rows = pd.concat([history[history.index < new.index[0]], new])
        frame = read_frame(rows, name, missing=True, step=self.frequency_)
        complete = len(history) < self.context_length_ + self.horizon  # then no row of it has been forgotten
        needed = self.context_length_ + (self.horizon if retrain and not self.is_panel_ else 0)
        if len(frame) < needed and not complete:
            raise ValueError(
                f"{name} begins at {new.index[0]}, so far back that {len(frame)} rows are left up to its end, and "
                f"{needed} are needed; give every row from {history.index[0]} on, or fit again"
            )
        return frame

    def _build_network(self) -> ForecastNetwork:
        try:
            return build_network(
                self.network_class,
                len(self.columns_),
                len(self.targets_),
                self.context_length_,
                self.horizon,
                self,
                n_outputs=1 if self.quantiles is None else len(self.quantiles),
                n_known=len(self.known_) + len(self.calendar_),
                n_static=len(self.static_),
            )
        except RuntimeError as error:
            if "allocate" not in str(error):
                raise
            raise ValueError(f"there is no memory for so large a network, lower its sizes: {self!r}") from error

    @contextmanager
    def _seeded(self, device: torch.device) -> Iterator[int]:
        """Draw a seed and run under it; the caller's random state comes back afterwards."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        with seeded(device, seed):
            yield seed
