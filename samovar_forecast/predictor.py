"""What a fitted forecaster says about the future: forecasts, quantiles and intervals."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from samovar_forecast.data.fitted_data import FittedData
from samovar_forecast.data.fitted_series import Contexts
from samovar_forecast.data.panel import PandasPanel
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.data.time_axis import continue_index
from samovar_forecast.forecasting.intervals import activity, interpolate_levels, widen_beyond_horizon
from samovar_forecast.forecasting.rolling import forecast_cutoffs
from samovar_forecast.networks.network import ForecastNetwork


class RowContexts(NamedTuple):
    """Scaled rows of one series and the cutoffs in them, `context_length` rows in front of each.

    Shape
    -----
    values : (n_rows, n_columns)
    cutoffs : (n_cutoffs,)
    known : (n_rows or more, n_known) or None
    static : (n_cutoffs, n_static) or None
    """

    values: Tensor
    cutoffs: Tensor
    known: Tensor | None
    static: Tensor | None
    scaler: Scaler


class Predictor(FittedData):
    """Forecasts of a fitted forecaster.

    Attributes
    ----------
    network_ : ForecastNetwork
        The trained network.
    """

    network_: ForecastNetwork

    def predict(
        self,
        y: PandasPanel | None = None,
        X: PandasPanel | None = None,
        horizon: int | None = None,
        static: pd.DataFrame | None = None,
    ) -> Any:
        """Forecast the steps that follow the training data, or the history given.

        Parameters
        ----------
        y : Series, DataFrame, dict or None
            Another history with the columns of `fit`, in any order. It needs `context_length_` rows; a forecaster
            of a panel fills up shorter ones, and forecasts series that it has never seen.
        X : DataFrame, dict or None
            The known covariates of the steps to forecast and, where `y` is given, of its context too.
        horizon : int or None
            Steps to forecast; None: the horizon of training. More steps roll forward.
        static : DataFrame or None
            Covariates constant in time of series that training has not seen, a row for each.

        Returns
        -------
        DataFrame, Series or dict, as the history was given
            The targets; the index continues the history.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        ValueError
            If a column is missing, the history is too short or without a value, or a row of `X` is missing.
        """
        check_is_fitted(self)
        contexts, outputs = self._forecast(y, X, horizon, static)
        point = outputs[..., self.network_.point_output]
        columns = self.layout_.columns(self.targets_)
        frames = {
            key: pd.DataFrame(scaler.inverse(one, len(self.targets_)), future, columns)
            for key, scaler, future, one in zip(contexts.keys, contexts.scalers, contexts.futures, point, strict=True)
        }
        return contexts.layout.assemble(frames)

    def predict_quantiles(
        self,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        y: PandasPanel | None = None,
        X: PandasPanel | None = None,
        horizon: int | None = None,
        static: pd.DataFrame | None = None,
    ) -> Any:
        """Forecast quantiles.

        Where quantiles were trained these are the network's, interpolated between the trained levels. Otherwise
        they lie around the point forecast as far off as the errors on the validation windows were, relative to
        the activity of the context (split conformal prediction, symmetric).

        Parameters
        ----------
        quantiles : sequence of float
            Levels, inside (0, 1).
        y, X, horizon, static
            See `predict`.

        Returns
        -------
        DataFrame or dict of DataFrames
            Columns (series, quantile).

        Raises
        ------
        ValueError
            As `predict`; and if a level is not inside (0, 1), or lies outside the trained ones; and without errors
            to go by, as where the forecaster comes from a model file of the first format.
        """
        check_is_fitted(self)
        levels = [float(level) for level in quantiles]
        wrong = [level for level in levels if not 0 < level < 1]
        if wrong or not levels:
            raise ValueError(f"quantiles must be numbers inside (0, 1), got {list(quantiles)}")
        contexts, outputs = self._forecast(y, X, horizon, static)
        scaled = self.outputs_to_quantiles(outputs, levels, contexts.values, contexts.cutoffs)
        columns = pd.MultiIndex.from_product([self.targets_, levels], names=["series", "quantile"])
        frames = {
            key: pd.DataFrame(scaler.inverse_quantiles(one).reshape(len(one), -1), index=future, columns=columns)
            for key, scaler, future, one in zip(contexts.keys, contexts.scalers, contexts.futures, scaled, strict=True)
        }
        return replace(contexts.layout, is_series=False).assemble(frames)  # one quantile is a column too

    def predict_interval(
        self,
        coverage: float = 0.8,
        y: PandasPanel | None = None,
        X: PandasPanel | None = None,
        horizon: int | None = None,
        static: pd.DataFrame | None = None,
    ) -> Any:
        """Forecast the interval that holds the true value with probability `coverage`; see `predict_quantiles`.

        Returns
        -------
        DataFrame or dict of DataFrames
            Columns (series, "lower" or "upper").

        Raises
        ------
        ValueError
            As `predict_quantiles`; and if `coverage` is not inside (0, 1).
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage must be a number inside (0, 1), got {coverage}")
        levels = [round(0.5 - coverage / 2, 12), round(0.5 + coverage / 2, 12)]
        result = self.predict_quantiles(levels, y, X, horizon, static)
        for frame in result.values() if isinstance(result, Mapping) else [result]:
            frame.columns = pd.MultiIndex.from_product([self.targets_, ["lower", "upper"]], names=["series", "bound"])
        return result

    def row_contexts(
        self,
        frame: pd.DataFrame,
        X: pd.DataFrame | None,
        cutoffs: NDArray[np.int64],
        steps: int,
        key: Hashable = None,
        static: NDArray[np.float32] | None = None,
        n_future: int = 0,
    ) -> RowContexts:
        """What the network needs to forecast `steps` rows from each of many row numbers of one series.

        A context that reaches back beyond the first row is filled up with missing values.

        Parameters
        ----------
        frame : DataFrame
            Checked rows of one series, in the order of `columns_`.
        X : DataFrame or None
            The known covariates given; see `known_rows`.
        cutoffs : ndarray
            Rows in front of each forecast.
        n_future : int
            Rows behind the frame that a forecast reaches, for which `X` must hold values.
        """
        index = frame.index
        n_behind = max(0, int(cutoffs.max()) + steps - len(frame))
        if n_behind:
            index = index.append(continue_index(index, self.frequency_, n_behind))
        reach = int(cutoffs.max()) + -(-steps // self.horizon) * self.horizon
        known = self.known_rows(X, index, key, max(0, reach - len(index)), n_future)
        # A series that training has not seen is scaled by the rows in front of the first cutoff: nothing looks ahead.
        scaler = self.scaler_of(key, frame.iloc[: max(1, int(cutoffs.min()))])
        values, scaled_known = self.scaled(frame, known, scaler, key)
        front = max(0, self.context_length_ - int(cutoffs.min()))
        values = torch.cat([values.new_full((front, values.shape[1]), torch.nan), values])
        if scaled_known is not None:
            scaled_known = torch.cat([scaled_known.new_zeros(front, scaled_known.shape[1]), scaled_known])
        ends = torch.from_numpy(cutoffs) + front
        statics = None if static is None else torch.from_numpy(static).expand(len(ends), -1)
        return RowContexts(values, ends, scaled_known, statics, scaler)

    def forecast_rows(self, contexts: RowContexts, steps: int) -> NDArray[np.float32]:
        """Forecast `steps` rows from every cutoff, scaled: (n_cutoffs, steps, n_targets, n_outputs)."""
        return forecast_cutoffs(
            self.network_, contexts.values, contexts.cutoffs, steps, contexts.known, contexts.static
        )

    def outputs_to_quantiles(
        self, outputs: NDArray[np.float32], levels: Sequence[float], values: Tensor, cutoffs: Tensor
    ) -> NDArray[np.float64]:
        """Quantiles, scaled, of what the network gave from each cutoff: (n_cutoffs, steps, n_targets, n_levels)."""
        if self.calibration_ is None and self.quantiles is None:
            raise ValueError(
                "this forecaster comes from a model file of the first format, which keeps no errors of forecasts to "
                "make intervals from; fit again, e.g. fit(y, init_from=forecaster)"
            )
        if self.calibration_ is None:
            assert self.quantiles is not None
            widened = widen_beyond_horizon(outputs, self.horizon, self.network_.point_output)
            return interpolate_levels(widened, self.quantiles, levels)
        active = activity(values, cutoffs, self.context_length_, self.horizon, len(self.targets_))
        point = outputs[..., self.network_.point_output, None].astype(np.float64)
        return point + self.calibration_.spread(levels, active, outputs.shape[1])

    def _forecast(
        self, y: Any, X: Any, horizon: int | None, static: pd.DataFrame | None
    ) -> tuple[Contexts, NDArray[np.float32]]:
        steps = self.horizon if horizon is None else horizon
        if isinstance(steps, bool) or not hasattr(steps, "__index__") or steps < 1:
            raise ValueError(f"horizon must be a positive integer, got {horizon!r}")
        contexts = self.contexts(y, X, steps, static)
        outputs = forecast_cutoffs(
            self.network_, contexts.values, contexts.cutoffs, steps, contexts.known, contexts.static
        )
        return contexts, outputs
