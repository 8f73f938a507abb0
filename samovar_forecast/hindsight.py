"""What a fitted forecaster would have said about rows that have been observed: backtests, fitted values, scores."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from samovar_forecast.data.panel import PandasPanel, read_panel
from samovar_forecast.data.scaling import scale_frame
from samovar_forecast.data.time_axis import continue_index
from samovar_forecast.predictor import Predictor


class Hindsight(Predictor):
    """Forecasts of rows whose values are known, to judge a fitted forecaster by."""

    def predict_in_sample(
        self, y: PandasPanel, X: PandasPanel | None = None, static: pd.DataFrame | None = None
    ) -> Any:
        """Forecasts of rows that have been observed, each as part of the horizon that begins in front of it.

        The rows are cut into horizons, counted from the newest row back, and every horizon is forecast from the
        rows in front of it, all in large batches.

        Parameters
        ----------
        y : Series, DataFrame or dict
            The training data, or other rows.
        X, static
            The known covariates over the index of `y`; see `predict`.

        Returns
        -------
        DataFrame, Series or dict, as `y` was given
            The rows that have a full context in front of them; those of a forecaster of a panel, one horizon.

        Raises
        ------
        ValueError
            As `predict`, or if there is no such row.
        """
        check_is_fitted(self)
        panel = self.read_history(y)
        given, statics = self.read_known(X, panel), self.static_of(panel, static)
        frames = {}
        for key, frame in panel.frames.items():
            least = min(self.context_length_, self.horizon) if self.is_panel_ else self.context_length_
            first = len(frame) - (len(frame) - least) // self.horizon * self.horizon
            if first >= len(frame):
                needed = least + self.horizon
                raise ValueError(f"{panel.name_of(key)} is too short: {len(frame)} rows, {needed} are needed")
            contexts = self.row_contexts(
                frame, given.get(key), np.arange(first, len(frame), self.horizon), self.horizon, key, statics.get(key)
            )
            outputs = self.forecast_rows(contexts, self.horizon)
            point = outputs[..., self.network_.point_output].reshape(-1, len(self.targets_))
            columns = self.layout_.columns(self.targets_)
            frames[key] = pd.DataFrame(contexts.scaler.inverse(point, len(self.targets_)), frame.index[first:], columns)
        return panel.layout.assemble(frames)

    def residuals(self, y: PandasPanel, X: PandasPanel | None = None, static: pd.DataFrame | None = None) -> Any:
        """`y` less `predict_in_sample`, NaN where `y` has no value."""
        fitted = read_panel(self.predict_in_sample(y, X, static), "the fitted values")
        panel = self.read_history(y)
        frames = {
            key: panel.frames[key].loc[frame.index, self.targets_] - frame.set_axis(self.targets_, axis=1)
            for key, frame in fitted.frames.items()
        }
        return panel.layout.assemble(frames)

    def backtest(
        self,
        y: PandasPanel,
        X: PandasPanel | None = None,
        start: Hashable | None = None,
        stride: int = 1,
        *,
        quantiles: Sequence[float] | None = None,
        static: pd.DataFrame | None = None,
        refit_every: int | None = None,
        warm_start: bool = False,
        n_jobs: int = 1,
    ) -> Any:
        """Forecast from every cutoff inside `y`, in large batches.

        Parameters
        ----------
        y : Series, DataFrame or dict
            The columns of `fit`. Its first `context_length_` rows are context only.
        X : DataFrame, dict or None
            The known covariates over the index of `y`.
        start : index label or None
            First row to be forecast; None: the first one with a full context in front of it.
        stride : int
            Rows between two cutoffs.
        quantiles : sequence of float or None
            Also forecast these quantiles; see `predict_quantiles`.
        static : DataFrame or None
            See `predict`.
        refit_every : int or None
            Train anew after so many rows, each time a copy of this forecaster, fitted or not, on all rows of `y` in
            front of the next cutoff; `start` says where the first training ends. None: this forecaster, as it is.
        warm_start : bool
            Begin every training but the first with the weights of the one before it.
        n_jobs : int
            Processes that train side by side; -1: one for each processor.

        Returns
        -------
        xarray.Dataset, or a dict of them by series where `y` is a panel
            `forecast` and `actual` with the dimensions cutoff, step and series, for every cutoff whose full
            context and full horizon lie inside `y`; and `quantiles` with the dimension quantile. The coordinate
            `cutoff` is the last observed label; with `refit_every`, `trained_until` is that of the training.

        Raises
        ------
        ValueError
            If `y` holds no such cutoff, `start` has no full context in front of it, or `refit_every` meets a panel.
        """
        from samovar_forecast.forecasting.backtesting import backtest
        from samovar_forecast.forecasting.refitting import backtest_refitting

        if refit_every is not None:
            if static is not None:
                raise ValueError("static is of the series of a panel, and refit_every takes a lone series")
            return backtest_refitting(self, y, X, start, stride, refit_every, warm_start, n_jobs, quantiles)
        check_is_fitted(self)
        panel = self.read_history(y, shortest=self.context_length_)
        given, statics = self.read_known(X, panel), self.static_of(panel, static)
        results = {
            key: backtest(self, frame, given.get(key), start, stride, quantiles, key, statics.get(key))
            for key, frame in panel.frames.items()
        }
        return results if panel.layout.kind != "single" else next(iter(results.values()))

    def score(self, y: PandasPanel, X: PandasPanel | None = None) -> float:
        """Negative mean squared error of the forecast of `y`, in training standard deviations of each target.

        `y` is the block of rows that follows the training data. Higher is better, as sklearn's
        cross-validation wants it.

        Raises
        ------
        ValueError
            If `y` does not begin right after the training data, or holds no value.
        """
        check_is_fitted(self)
        panel = self.read_new_rows(y)
        given = self.read_known(X, panel)
        errors: list[NDArray[np.float32]] = []
        for key, frame in panel.frames.items():
            if key not in self.series_:
                raise ValueError(f"{panel.name_of(key)} is no series of the training data")
            series = self.series_[key]
            expected = continue_index(series.history.index, self.frequency_, 1)[0]
            if frame.index[0] != expected:
                raise ValueError(
                    f"{panel.name_of(key)} must follow the training data: it begins at {frame.index[0]}, "
                    f"not at {expected}"
                )
            cutoff, steps = np.array([len(series.history)]), len(frame)
            contexts = self.row_contexts(
                series.history, given.get(key), cutoff, steps, key, series.static, n_future=steps
            )
            outputs = self.forecast_rows(contexts, steps)
            actual = scale_frame(frame[self.targets_], contexts.scaler, panel.name_of(key))
            errors.append((outputs[0, ..., self.network_.point_output] - actual).ravel())
        squared = np.concatenate(errors).astype(np.float64) ** 2
        if np.isnan(squared).all():
            raise ValueError("y holds no value of a target")
        return -float(np.nanmean(squared))
