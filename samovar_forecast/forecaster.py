"""The sklearn-style estimator: series in, forecasts out."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from samovar_forecast.data.calendar_features import choose_calendar
from samovar_forecast.data.fitted_series import FittedSeries
from samovar_forecast.data.frames import (
    check_above_minus_one,
    check_observed,
    order_columns,
    read_static,
    select_rows,
)
from samovar_forecast.data.panel import PandasPanel, Panel, read_panel
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.data.stored_series import StoredSeries
from samovar_forecast.forecasting.intervals import calibrate
from samovar_forecast.forecasting.stored_training import read_stored
from samovar_forecast.training.config import check_training_config
from samovar_forecast.training.devices import resolve_device
from samovar_forecast.training.fine_tuning import only_training, take_weights
from samovar_forecast.training.interrupts import interrupts_held_back
from samovar_forecast.training.split import Block, choose_context_length, split_windows, training_rows
from samovar_forecast.updating import Updating


class Forecaster(Updating, BaseEstimator):
    """Base of the public forecasters: everything but the network and its hyperparameters.

    A public class inherits from a network's configuration and from this class, and names the network:
    the estimator is its own configuration. What it keeps of the data is described in `FittedData`.

    """

    def fit(
        self,
        y: PandasPanel | StoredSeries,
        X: PandasPanel | None = None,
        *,
        static: pd.DataFrame | None = None,
        init_from: str | PathLike[str] | Forecaster | None = None,
        freeze: Sequence[str] = (),
    ) -> Self:
        """Train on a frame of series, or one network on a panel of them.

        Parameters
        ----------
        y : Series, DataFrame, dict or StoredSeries
            Rows are time (dates, periods or integers; regular), columns are series. A panel is a dict of such
            frames by name, or a frame with a MultiIndex whose last level is time; its series may begin and end at
            different times. NaN stands for what was not observed. `StoredSeries` may be larger than memory.
        X : DataFrame, dict or None
            Covariates that are also known in the future, with the index of `y`.
        static : DataFrame or None
            For a panel: covariates constant in time, a row of numbers for each series.
        init_from : path, fitted forecaster or None
            Begin with the weights of a saved or fitted forecaster of the same kind and shape, and train on.
        freeze : sequence of str
            Modules of the network that keep their weights, e.g. ``("tokens",)``; see
            ``network_.named_children()``.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a hyperparameter, a column, a row, a series or the index is not right; the message names it. The
            forecaster stays as it was.
        KeyboardInterrupt
            After Ctrl-C, once the forecaster is complete with the best weights so far: it can be used, and
            ``training_summary_.interrupted`` is True. Pressed a second time, or before the first training step, it
            leaves the forecaster as it was.
        """
        with interrupts_held_back(), self._unchanged_by_failure():
            self._fit(y, X, static, init_from, freeze)
        return self

    def _fit(self, y: Any, X: Any, static: Any, init_from: Any, freeze: Sequence[str]) -> None:
        check_training_config(self)
        source = Forecaster.load(init_from) if isinstance(init_from, (str, PathLike)) else init_from
        if source is not None:
            check_is_fitted(source)
        if isinstance(y, StoredSeries):
            self._train([read_stored(self, y, X, static, source)], source, freeze)
            return
        panel = read_panel(y, missing=True)
        self.layout_, self.frequency_ = panel.layout, panel.frequency()
        self.targets_, self.columns_ = order_columns(next(iter(panel.frames.values())), self.targets)
        panel = panel.align(self.columns_)
        index = next(iter(panel.frames.values())).index
        self.calendar_ = choose_calendar(self.calendar, index, self.frequency_)
        known = self._read_known(X, panel)
        rows = training_rows([len(frame) for frame in panel.frames.values()], self)
        if source is not None and self.context_length in (None, source.context_length_):
            self.context_length_ = source.context_length_
        else:
            self.context_length_ = choose_context_length(max(rows), self)
        if known and self.known_:
            training = [frame[:n].to_numpy() for frame, n in zip(known.values(), rows, strict=True)]
            self.known_scaler_ = Scaler.fit(np.concatenate(training), "standard")
        statics = self._read_static(static, panel)
        blocks, self.series_ = [], {}
        for (key, frame), n_rows in zip(panel.frames.items(), rows, strict=True):
            check_observed(frame[:n_rows], self.targets_, panel.name_of(key))
            if self.log1p:
                check_above_minus_one(frame, self.targets_, panel.name_of(key))
            scaler = self.fit_scaler(frame[:n_rows], panel.name_of(key))
            self.series_[key] = FittedSeries(frame, None, scaler, statics.get(key))
            self.remember(key, frame, known.get(key))
            values, scaled_known = self.scaled(frame, known.get(key), scaler, key)
            blocks.append(Block(values, n_rows, scaled_known, statics.get(key)))
        self._train(blocks, source, freeze)

    def _train(self, blocks: Sequence[Block], source: Forecaster | None, freeze: Sequence[str]) -> None:
        # Lightning is slow to import; only training needs it.
        from samovar_forecast.training.checkpoints import remove_checkpoint
        from samovar_forecast.training.engine import train

        windows, validation = split_windows(blocks, self.context_length_, self.horizon, len(self.targets_))
        with self._seeded(resolve_device(self.device)) as seed:
            network = self._build_network()
            if source is not None:
                take_weights(network, source.network_)  # the source may be this forecaster
            with only_training(network, freeze):
                begun_with = None if source is None else source.network_
                self.training_summary_ = train(network, windows, validation, self, seed, begun_with)
        self.network_ = network
        self.calibration_ = None
        if self.quantiles is None:
            held_out = validation is not None
            self.calibration_ = calibrate(self.network_, validation or windows, held_out=held_out)
        if self.checkpoint_dir is not None and not self.training_summary_.interrupted:
            remove_checkpoint(self.checkpoint_dir)

    @contextmanager
    def _unchanged_by_failure(self) -> Iterator[None]:
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__ = before
            raise

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted forecaster to one file (safetensors with a JSON header), replaced atomically.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        """
        from samovar_forecast.files.persistence import save

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
        from samovar_forecast.files.persistence import load

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

    def _read_known(self, X: Any, panel: Panel) -> dict[Hashable, pd.DataFrame]:
        """The known covariates of every row; frames without columns where the calendar alone is known."""
        self.known_ = []
        self.__dict__.pop("known_scaler_", None)  # of a fit before this one
        if X is None:
            return {key: frame[[]] for key, frame in panel.frames.items()} if self.calendar_ else {}
        given = read_panel(X, "X", missing=True).beside(panel)
        self.known_ = given.columns
        lacking = [key for key in panel.frames if key not in given.frames]
        if lacking:
            raise ValueError(f"X lacks the series {lacking}; it has {list(given.frames)}")
        return {
            key: select_rows(given.frames[key], frame.index, given.name_of(key)) for key, frame in panel.frames.items()
        }

    def _read_static(self, static: pd.DataFrame | None, panel: Panel) -> dict[Hashable, Any]:
        self.static_, self.series_ = [], {}
        self.__dict__.pop("static_scaler_", None)
        if static is None:
            return {}
        if not self.is_panel_:
            raise ValueError("static tells the series of a panel apart, and y is a lone one")
        rows = read_static(static)
        self.static_, self.static_scaler_ = list(rows.columns), Scaler.fit(rows.to_numpy(), "standard")
        return self.static_of(panel, static)
