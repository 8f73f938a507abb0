"""The sklearn-style estimator: series in, forecasts out."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from samovar_forecast.data.fitted_data import FittedSeries
from samovar_forecast.data.layout import Layout, LongTable
from samovar_forecast.data.panel import PandasPanel
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.data.stored_series import StoredSeries
from samovar_forecast.data.time_axis import Frequency, continue_index
from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting.fit import fit
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.forecast import forecast_in_units, newest_windows
from samovar_forecast.forecasting.in_sample import forecast_in_sample, score
from samovar_forecast.forecasting.intervals import Calibration, interval_levels
from samovar_forecast.forecasting.update import update
from samovar_forecast.hyperparameters import cite
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.config import TrainingConfig, check_training_config
from samovar_forecast.training.folds import check_fold
from samovar_forecast.training.interrupts import interrupts_held_back
from samovar_forecast.training.summary import TrainingSummary

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from samovar_darts.base import DartsModel
    from samovar_sktime.base import SktimeForecaster

if TYPE_CHECKING:  # scikit-learn has no types, and no checker knows the arguments of a class below a base without types

    class BaseEstimator:
        """What the methods here use of scikit-learn's class."""

        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def __getattr__(self, name: str) -> Any: ...

else:
    from sklearn.base import BaseEstimator

Data = TypeVar("Data", pd.DataFrame, pd.Series, dict[Any, pd.DataFrame], dict[Any, pd.Series])


class Forecaster(TrainingConfig, BaseEstimator):
    """Base of the public forecasters: everything but the network and its hyperparameters.

    A public class inherits from a network's configuration and from this class, and names the network: the estimator
    is its own configuration. `fit` assigns one attribute, `fitted_`, complete and last. Everything else that is
    fitted is read from it, so hyperparameters that are set afterwards count from the next `fit` on.

    Attributes
    ----------
    fitted_ : Fitted
        What `fit` learnt: the network, the data side, the calibration and the settings. It is never changed.
    """

    network_class: ClassVar[type[ForecastNetwork]]
    fitted_: Fitted

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "network_class"):
            cite(cls, cls.network_class)

    def fit(
        self,
        y: PandasPanel | StoredSeries,
        X: PandasPanel | None = None,
        *,
        static: pd.DataFrame | None = None,
        init_from: str | PathLike[str] | Forecaster | None = None,
        freeze: Sequence[str] = (),
        id_column: str | Sequence[str] | None = None,
        time_column: str | None = None,
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
        id_column : str, sequence of str or None
            For long tables, of pandas, polars or pyarrow: the column, or columns, of the names of series. `X` and
            `static` have it too, and forecasts come back as long tables of the same library. None: a single series.
        time_column : str or None
            For tables without an index: the column of the time, which may be text.

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
        with interrupts_held_back():
            check_training_config(self)
            check_fold()
            source = Forecaster.load(init_from) if isinstance(init_from, (str, PathLike)) else init_from
            if source is not None:
                check_is_fitted(source)
            long = LongTable.of(id_column, time_column)
            begun_with = None if source is None else source.fitted_
            settings = self._hyperparameters()
            self.fitted_ = fit(self.network_class, self, settings, y, X, static, long, begun_with, freeze)
        return self

    def _hyperparameters(self) -> dict[str, Any]:
        """A copy that no `set_params` reaches, without loggers and callbacks, some of which cannot be copied."""
        given = self.get_params(deep=False)
        logger = given["logger"] if isinstance(given["logger"], str) else None
        return clone(type(self)(**given | {"logger": logger, "callbacks": None})).get_params(deep=False)

    @overload
    def predict(
        self,
        y: None = None,
        X: PandasPanel | None = None,
        horizon: int | None = None,
        static: pd.DataFrame | None = None,
    ) -> Any: ...

    @overload
    def predict(
        self, y: Data, X: PandasPanel | None = None, horizon: int | None = None, static: pd.DataFrame | None = None
    ) -> Data: ...

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
        layout, forecasts = self._forecast_newest(y, X, horizon, static)
        columns = self.layout_.columns(self.targets_)
        return layout.assemble(
            {key: pd.DataFrame(points, index, columns) for key, (index, points, _) in forecasts.items()}
        )

    @overload
    def predict_quantiles(
        self,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        y: None = None,
        X: PandasPanel | None = None,
        horizon: int | None = None,
        static: pd.DataFrame | None = None,
    ) -> Any: ...

    @overload
    def predict_quantiles(
        self,
        quantiles: Sequence[float],
        y: pd.DataFrame | pd.Series,
        X: PandasPanel | None = None,
        horizon: int | None = None,
        static: pd.DataFrame | None = None,
    ) -> pd.DataFrame: ...

    @overload
    def predict_quantiles(
        self,
        quantiles: Sequence[float],
        y: Mapping[Any, pd.DataFrame] | Mapping[Any, pd.Series],
        X: PandasPanel | None = None,
        horizon: int | None = None,
        static: pd.DataFrame | None = None,
    ) -> dict[Any, pd.DataFrame]: ...

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
        levels = [float(level) for level in quantiles]
        wrong = [level for level in levels if not 0 < level < 1]
        if wrong or not levels:
            raise ValueError(f"quantiles must be numbers inside (0, 1), got {list(quantiles)}")
        columns = pd.MultiIndex.from_product([self._fitted().data.targets, levels], names=["series", "quantile"])
        return self._quantile_frames(levels, columns, y, X, horizon, static)

    @overload
    def predict_interval(
        self,
        coverage: float = 0.8,
        y: None = None,
        X: PandasPanel | None = None,
        horizon: int | None = None,
        static: pd.DataFrame | None = None,
    ) -> Any: ...

    @overload
    def predict_interval(
        self,
        coverage: float,
        y: pd.DataFrame | pd.Series,
        X: PandasPanel | None = None,
        horizon: int | None = None,
        static: pd.DataFrame | None = None,
    ) -> pd.DataFrame: ...

    @overload
    def predict_interval(
        self,
        coverage: float,
        y: Mapping[Any, pd.DataFrame] | Mapping[Any, pd.Series],
        X: PandasPanel | None = None,
        horizon: int | None = None,
        static: pd.DataFrame | None = None,
    ) -> dict[Any, pd.DataFrame]: ...

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
        TypeError
            If `coverage` is no number.
        ValueError
            As `predict_quantiles`; and if `coverage` is not inside (0, 1).
        """
        levels = interval_levels(coverage)
        bounds = ["lower", "upper"]
        columns = pd.MultiIndex.from_product([self._fitted().data.targets, bounds], names=["series", "bound"])
        return self._quantile_frames(levels, columns, y, X, horizon, static)

    def _quantile_frames(
        self, levels: list[float], columns: pd.MultiIndex, y: Any, X: Any, horizon: int | None, static: Any
    ) -> Any:
        layout, forecasts = self._forecast_newest(y, X, horizon, static, levels)
        frames = {
            key: pd.DataFrame(by_level.reshape(len(index), -1), index, columns)
            for key, (index, _, by_level) in forecasts.items()
        }
        return replace(layout, is_series=False).assemble(frames)  # one quantile is a column too

    def _forecast_newest(
        self, y: Any, X: Any, horizon: int | None, static: pd.DataFrame | None, levels: Sequence[float] = ()
    ) -> tuple[Layout, dict[Hashable, tuple[pd.Index, np.ndarray, np.ndarray]]]:
        """Index, points and quantiles of the rows that follow each series, all forecast in the same batches."""
        data = self._fitted().data
        steps = data.horizon if horizon is None else horizon
        if isinstance(steps, bool) or not hasattr(steps, "__index__") or steps < 1:
            raise ValueError(f"horizon must be a positive integer, got {horizon!r}")
        given = data.read(y, X, static)
        windows, scalers = newest_windows(data, given, steps)
        points, by_level = forecast_in_units(self.fitted_, windows, scalers, steps, levels)
        frames = given.panel.frames
        futures = (continue_index(frame.index, data.frequency, steps) for frame in frames.values())
        return given.panel.layout, dict(zip(frames, zip(futures, points, by_level, strict=True), strict=True))

    @overload
    def predict_in_sample(self, y: Data, X: PandasPanel | None = None, static: pd.DataFrame | None = None) -> Data: ...

    @overload
    def predict_in_sample(
        self, y: PandasPanel, X: PandasPanel | None = None, static: pd.DataFrame | None = None
    ) -> Any: ...

    def predict_in_sample(
        self, y: PandasPanel, X: PandasPanel | None = None, static: pd.DataFrame | None = None
    ) -> Any:
        """Forecasts of rows that have been observed, each as part of the horizon that begins before it.

        The rows are cut into horizons, counted from the newest row back, and every horizon is forecast from the
        rows before it, all in large batches.

        Parameters
        ----------
        y : Series, DataFrame or dict
            The training data, or other rows.
        X, static
            The known covariates over the index of `y`; see `predict`.

        Returns
        -------
        DataFrame, Series or dict, as `y` was given
            The rows that have a full context before them; those of a forecaster of a panel, one horizon.

        Raises
        ------
        ValueError
            As `predict`, or if there is no such row.
        """
        given = self._fitted().data.read(y, X, static)
        return given.panel.layout.assemble(forecast_in_sample(self.fitted_, given))

    @overload
    def residuals(self, y: Data, X: PandasPanel | None = None, static: pd.DataFrame | None = None) -> Data: ...

    @overload
    def residuals(self, y: PandasPanel, X: PandasPanel | None = None, static: pd.DataFrame | None = None) -> Any: ...

    def residuals(self, y: PandasPanel, X: PandasPanel | None = None, static: pd.DataFrame | None = None) -> Any:
        """`y` less `predict_in_sample`, NaN where `y` has no value."""
        given = self._fitted().data.read(y, X, static)
        observed, targets = given.panel.frames, self.targets_
        residuals = {
            key: observed[key].loc[frame.index, targets] - frame.set_axis(targets, axis=1)
            for key, frame in forecast_in_sample(self.fitted_, given).items()
        }
        return given.panel.layout.assemble(residuals)

    @overload
    def backtest(
        self,
        y: pd.DataFrame | pd.Series,
        X: PandasPanel | None = None,
        start: Hashable | None = None,
        stride: int = 1,
        *,
        quantiles: Sequence[float] | None = None,
        static: pd.DataFrame | None = None,
        refit_every: int | None = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
    ) -> xr.Dataset: ...

    @overload
    def backtest(
        self,
        y: Mapping[Any, pd.DataFrame] | Mapping[Any, pd.Series],
        X: PandasPanel | None = None,
        start: Hashable | None = None,
        stride: int = 1,
        *,
        quantiles: Sequence[float] | None = None,
        static: pd.DataFrame | None = None,
        refit_every: int | None = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
    ) -> dict[Any, xr.Dataset]: ...

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
        n_jobs: int | None = None,
    ) -> Any:
        """Forecast after every cutoff inside `y`, in large batches.

        Parameters
        ----------
        y : Series, DataFrame or dict
            The columns of `fit`. Its first `context_length_` rows are context only.
        X : DataFrame, dict or None
            The known covariates over the index of `y`.
        start : index label or None
            First row to be forecast; None: the first one with a full context before it.
        stride : int
            Rows between two cutoffs.
        quantiles : sequence of float or None
            Also forecast these quantiles; see `predict_quantiles`.
        static : DataFrame or None
            See `predict`.
        refit_every : int or None
            Train anew after so many rows, each time a copy of this forecaster, fitted or not, on all rows of `y`
            before the next cutoff; `start` says where the first training ends. None: this forecaster, as it is.
        warm_start : bool
            Begin every training but the first with the weights of the one before it.
        n_jobs : int or None
            Trainings side by side, as joblib counts them; -1: one for each processor. None: one, or what
            ``joblib.parallel_config`` says.

        Returns
        -------
        xarray.Dataset, or a dict of them by series where `y` is a panel
            `forecast` and `actual` with the dimensions cutoff, step and series, for every cutoff whose full
            context and full horizon lie inside `y`; and `quantiles` with the dimension quantile. The coordinate
            `cutoff` is the last observed label; with `refit_every`, `trained_until` is that of the training.

        Raises
        ------
        ValueError
            If `y` holds no such cutoff, `start` has no full context before it, or `refit_every` meets a panel.
        """
        from samovar_forecast.forecasting.backtest import backtest, backtest_refitting

        if refit_every is not None:
            if static is not None:
                raise ValueError("static is of the series of a panel, and refit_every takes a single series")
            return backtest_refitting(self, y, X, start, stride, refit_every, warm_start, n_jobs, quantiles)
        data, model = self._fitted().data, type(self).__name__
        given = data.read(y, X, static, shortest=data.context_length)
        results = {one.key: backtest(self.fitted_, one, start, stride, quantiles, model) for one in given.series()}
        return results if given.panel.layout.kind != "single" else results[None]

    def score(self, y: PandasPanel, X: PandasPanel | None = None) -> float:
        """Negative mean squared error of the forecast of `y`, in training standard deviations of each target.

        `y` is the block of rows that follows the training data. Higher is better, as sklearn's
        cross-validation wants it.

        Raises
        ------
        ValueError
            If `y` does not begin right after the training data, or holds no value.
        """
        fitted = self._fitted()
        return score(fitted, fitted.data.read(y, X, shortest=1))

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
            None: that of `fit`.
        freeze : sequence of str
            See `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `y` leaves a gap after the training data, or replaces more rows than the forecaster remembers; if a
            new series has no name, or no value of a target.
        KeyboardInterrupt
            After Ctrl-C, once the rows are taken in, with the weights reached so far; see `fit`.
        """
        given = self._fitted().data.read(y, X, static, shortest=1)
        config = self._update_config(epochs, learning_rate) if retrain else None
        with interrupts_held_back():
            self.fitted_ = update(self.fitted_, given, config, freeze)
        return self

    def _update_config(self, epochs: int, learning_rate: float | None) -> Forecaster:
        """The hyperparameters of `fit` for a short training; random numbers go on from this forecaster's own."""
        if isinstance(epochs, bool) or not hasattr(epochs, "__index__") or epochs < 1:
            raise ValueError(f"epochs must be a positive integer, got {epochs!r}")
        changed: dict[str, Any] = {
            "max_epochs": epochs, "max_steps": None, "schedule": "constant", "checkpoint_dir": None,
            **{name: getattr(self, name) for name in ("random_state", "device", "devices", "num_nodes", "strategy")},
        }  # fmt: skip
        if learning_rate is not None:
            changed["learning_rate"] = learning_rate
        config = type(self)(**{**self.fitted_.hyperparameters, **changed})
        check_training_config(config)
        return config

    def explain(
        self,
        y: PandasPanel | None = None,
        X: PandasPanel | None = None,
        *,
        static: pd.DataFrame | None = None,
        series: Sequence[Hashable] | None = None,
        sources: Sequence[Hashable] | None = None,
        steps: Sequence[int] | None = None,
        lag_matrices: bool = True,
        influence: bool = True,
    ) -> xr.Dataset:
        """What each part of the past does to the forecast after one window.

        Every model gives `lag_matrix` and `influence`; SAMoVAR and FixedVAR also give exact parts that add up to the
        forecast, and the models with attention what they attend to. ``reading["influence"].attrs`` says the unit and
        the meaning of a variable.

        Parameters
        ----------
        y : Series, DataFrame or None
            The history to explain, as in `predict`; None: the newest training rows.
        X, static
            Covariates, as in `predict`.
        series, sources : sequence of names or None
            Targets to explain, and columns whose past is looked at. None: all.
        steps : sequence of int or None
            Steps, counted from 1, of those that the network forecasts at once (`output_length_`). None: all.
        lag_matrices : bool, default True
            Compute `lag_matrix`: one backward pass per target and step, whatever the sources.
        influence : bool, default True
            Compute `influence`: one forecast per source and lag.

        Returns
        -------
        xarray.Dataset
            `forecast` (series, step) is what `predict` returns, as far as the network forecasts at once and before any
            bounds. Lags count rows, lag 1 being the newest. Of an ensemble, contributions are the mean of its members,
            and weights, tokens and attention have a first dimension `member`.

            - `lag_matrix` (series, source, lag, step): the derivative of the forecast by a past value, all that the
              network does with it included, in units of the series per unit of the source.
            - `influence` (series, source, lag): by how much the forecast changes, root mean square over the steps and
              in units of the series, if the past value were one standard deviation of the source in training higher.
              A difference of two forecasts, not a derivative: it is of use for a series that stands still, whose
              derivative is that of a division by nearly nothing. `scale` (source) holds the deviations.

            Of SAMoVAR and FixedVAR. Segment 1 is the newest; `token` is "context" (all series mixed) or "main" (the
            target). In the units of the data (with `log1p`, of their logarithms), adding up to the forecast:

            - `contribution` (series, segment, token, step): what each token adds through the autoregression,
            - `own` (series, step): what the newest main token adds directly,
            - `baseline` (series, step): level of the window, bias of the decoder, effect of covariates.

            In the features of the network:

            - `weights` (series, layer, head, segment, token, feature_in, feature_out): the VAR weights,
            - `tokens` and `token_contribution` (series, segment, token, feature): what enters the stack, and that
              times the weights,
            - `forecast_token` (series, feature): the newest main token plus all token contributions.

            Of the other models, what they attend to:

            - SAMformer: `attention` (series, source), which adds up to 1 over the sources,
            - LinTrans: `attention` (series, layer, head, segment, token) of the newest token,
            - Linear Attention Transformer: `attention` (series, layer, head, patch) of the newest token, with
              ``attention="image"`` (series, layer, head, source, patch),
            - PSF-Attn: `attention` (series, layer, patch), the newest row of the product of the factors,
            - Autoformer: `delay` and `delay_weight` (layer, rank). Its derivatives hold the choice of delays fixed;
              the forecast jumps where the choice changes.

            ``attrs`` hold the model and the cutoff, the label of the newest row.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        ValueError
            If the history is too short, has other columns, or holds several series, if `X` lacks rows, if a choice is
            not there, or if the lag matrices would take more than 4 GiB.

        References
        ----------
        Lu & Yang, ICML 2025, temporal influence paths.
        """
        from samovar_forecast.forecasting.reading import Choice, explain

        data = self._fitted().data
        choice = Choice(data, series, sources, steps)
        windows, scaler, attrs = self._window_to_read("explain", y, X, static)
        reading = explain(self.fitted_, windows, scaler, choice, lag_matrices=lag_matrices, influence=influence)
        return reading.assign_attrs(attrs)

    @overload
    def explain_backtest(
        self,
        y: pd.DataFrame | pd.Series,
        X: PandasPanel | None = None,
        start: Hashable | None = None,
        stride: int = 1,
        *,
        static: pd.DataFrame | None = None,
        series: Sequence[Hashable] | None = None,
        sources: Sequence[Hashable] | None = None,
        steps: Sequence[int] | None = None,
    ) -> xr.Dataset: ...

    @overload
    def explain_backtest(
        self,
        y: Mapping[Any, pd.DataFrame] | Mapping[Any, pd.Series],
        X: PandasPanel | None = None,
        start: Hashable | None = None,
        stride: int = 1,
        *,
        static: pd.DataFrame | None = None,
        series: Sequence[Hashable] | None = None,
        sources: Sequence[Hashable] | None = None,
        steps: Sequence[int] | None = None,
    ) -> dict[Any, xr.Dataset]: ...

    def explain_backtest(
        self,
        y: PandasPanel,
        X: PandasPanel | None = None,
        start: Hashable | None = None,
        stride: int = 1,
        *,
        static: pd.DataFrame | None = None,
        series: Sequence[Hashable] | None = None,
        sources: Sequence[Hashable] | None = None,
        steps: Sequence[int] | None = None,
    ) -> Any:
        """Lag matrices after every cutoff inside `y`: their mean, their spread and their course.

        The weights of a classical vector autoregression are the same at all times; those of the models here follow
        the data.

        Parameters
        ----------
        y, X, start, stride, static
            As in `backtest`.
        series, sources, steps
            As in `explain`.

        Returns
        -------
        xarray.Dataset, or a dict of them by series where `y` is a panel
            In units of the series per unit of the source, lag 1 being the newest row:

            - `mean` and `spread` (series, source, lag, step): mean and standard deviation over the cutoffs,
            - `course` (cutoff, series, source, lag): the lag matrix of each cutoff, averaged over the steps.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        ValueError
            As `backtest` and `explain`.
        """
        from samovar_forecast.forecasting.reading import Choice, explain_backtest

        data = self._fitted().data
        choice = Choice(data, series, sources, steps)
        given, model = data.read(y, X, static, shortest=data.context_length), type(self).__name__
        results = {one.key: explain_backtest(self.fitted_, one, start, stride, choice, model) for one in given.series()}
        return results if given.panel.layout.kind != "single" else results[None]

    def influence_paths(
        self,
        y: PandasPanel | None = None,
        X: PandasPanel | None = None,
        *,
        static: pd.DataFrame | None = None,
        series: Sequence[Hashable] | None = None,
        n_paths: int = 10,
        segment: int | None = None,
    ) -> xr.Dataset:
        """The strongest temporal influence paths of SAMoVAR and FixedVAR, from past segments to the forecast.

        A path leads from the token of a past segment through the attention layers, in each of which it stays at its
        token or goes to a later one, to the newest main token, which is decoded to the forecast. All paths together
        are the VAR weights; the strongest ones are found by dynamic programming, without a look at the others.

        Parameters
        ----------
        y, X, static
            See `explain`.
        series : sequence of names or None
            Targets. None: all.
        n_paths : int
            Paths of each target.
        segment : int or None
            Only paths that start from this past segment, 1 being the newest. None: all.

        Returns
        -------
        xarray.Dataset
            Strongest first, `path` counting from 1:

            - `contribution` (series, path, step) and `strength` (series, path), its root mean square, in the units of
              the data (with `log1p`, of their logarithms),
            - `layers` and `head` (series, path): attention layers that the path passes, and its head,
            - `segment` and `token` (series, path, node): where it is before the first layer and after each: a main
              token is the target's own past, a context token is a mixture of all series. After the end 0 and "".

        Raises
        ------
        NotFittedError
            If called before `fit`.
        TypeError
            If the model has no autoregressive weights.
        ValueError
            As `explain`; and if `n_paths` or `segment` is out of range.

        References
        ----------
        Lu & Yang, ICML 2025, temporal influence paths.
        """
        from samovar_forecast.forecasting.backtest import check_count
        from samovar_forecast.forecasting.reading import Choice, read_paths

        choice = Choice(self._fitted().data, series)
        check_count("n_paths", n_paths)
        windows, scaler, attrs = self._window_to_read("influence_paths", y, X, static)
        return read_paths(self.fitted_, windows, scaler, choice, n_paths, segment).assign_attrs(attrs)

    def impulse_response(
        self,
        y: PandasPanel | None = None,
        X: PandasPanel | None = None,
        *,
        shock: str | pd.DataFrame = "deviation",
        steps: int | None = None,
        start: Hashable | None = None,
        stride: int = 1,
        coverage: float = 0.8,
        static: pd.DataFrame | None = None,
    ) -> xr.Dataset:
        """How the forecasts of all series answer to a shock to the newest row: the difference of two forecasts.

        For a linear vector autoregression this is the impulse response function of the textbooks. Here it depends on
        the window, and bands over many cutoffs show by how much. Beyond the horizon both forecasts roll forward.

        Parameters
        ----------
        y, X, static
            See `explain`.
        shock : {"deviation", "unit", "cholesky"} or DataFrame
            One standard deviation of training, or one unit, to each column in turn; the columns of the Cholesky factor
            of the covariance of the one-step errors in `y`, in the order of the targets; or a matrix of your own: a
            column for each shock, a row for each series that it moves.
        steps : int or None
            Steps after the shock; None: the horizon.
        start : index label or None
            First row after a cutoff; from there on every `stride`-th row is one. None: the end of `y` alone.
        coverage : float
            Of the bands over the cutoffs.

        Returns
        -------
        xarray.Dataset
            In the units of the data, step 0 being the shock itself: `response` (cutoff, shock, series, step), and over
            the cutoffs `mean`, `lower` and `upper` (shock, series, step). NaN where the newest row that a shock moves
            has no value. `size` (shock, source) holds the shocks.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        ValueError
            As `explain`; if an argument is out of range; and if `y` has too few rows for the covariance of its errors.

        References
        ----------
        Koop, Pesaran & Potter, "Impulse response analysis in nonlinear multivariate models", Journal of Econometrics,
        1996.
        """
        from samovar_forecast.forecasting.impulse_response import impulse_response

        data = self._fitted().data
        one, n_steps = data.read(y, X, static).single("impulse_response"), data.horizon if steps is None else steps
        return impulse_response(self.fitted_, one, shock, n_steps, start, stride, coverage, type(self).__name__)

    def _window_to_read(
        self, method: str, y: Any, X: Any, static: pd.DataFrame | None
    ) -> tuple[Windows, Scaler, dict[str, Any]]:
        """The newest window of a single series, its scaling, and what to say of both."""
        data = self._fitted().data
        given = data.read(y, X, static)
        one = given.single(method)
        windows, scalers = newest_windows(data, given, data.horizon)
        return windows, scalers[one.key], {"model": type(self).__name__, "cutoff": str(one.frame.index[-1])}

    def plot(
        self,
        y: PandasPanel | None = None,
        X: PandasPanel | None = None,
        horizon: int | None = None,
        *,
        static: pd.DataFrame | None = None,
        series: Sequence[Hashable] | None = None,
        ax: Axes | None = None,
    ) -> Figure:
        """The coming forecast after its history, with a fan of intervals: a panel for each series.

        Parameters
        ----------
        y, X, horizon, static
            As in `predict`, for a single series.
        series : sequence of names or None
            Panels. None: the first six targets.
        ax : matplotlib.axes.Axes or None
            Where to draw one target. None: a new figure.

        Returns
        -------
        matplotlib.figure.Figure
            ``figure.savefig("forecast.png")`` writes it. `samovar_forecast.evaluation.pictures` draws backtests, errors
            and readings in the same style.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        ValueError
            As `predict`; if there are several series, or a name is not there.
        """
        from samovar_forecast.evaluation.pictures import plot_forecast

        shown = self._fitted().data.read(y).single("plot")
        trained = self.fitted_.quantiles
        levels = (
            (0.05, 0.1, 0.25, 0.75, 0.9, 0.95) if trained is None and self.fitted_.calibration else trained or (0.5,)
        )
        _, forecasts = self._forecast_newest(y, X, horizon, static, levels)
        index, points, by_level = forecasts[shown.key]
        targets = pd.Index(self.targets_, tupleize_cols=False)
        columns = pd.MultiIndex.from_product([range(len(targets)), levels])
        quantiles = pd.DataFrame(by_level.reshape(len(index), -1), index, columns)
        return plot_forecast(shown.frame, pd.DataFrame(points, index, targets), quantiles, series=series, ax=ax)

    def report(
        self,
        backtest: xr.Dataset,
        path: str | PathLike[str] = "report.html",
        *,
        y: pd.Series | pd.DataFrame | None = None,
        X: PandasPanel | None = None,
        reference: xr.Dataset | None = None,
        series: Sequence[Hashable] | None = None,
    ) -> Path:
        """Write a report of a backtest: interactive forecasts, errors, calibration, reading, settings, in one file.

        The file holds everything that it needs and opens without a network.

        Parameters
        ----------
        backtest : Dataset
            What `backtest` gives for a single series, best with quantiles.
        path : path
            Where to write.
        y : Series, DataFrame or None
            The rows that were backtested. With them the report shows the history before the first forecast, and reads
            the model after the newest row. None: it shows the rows that were forecast, and reads the model after the
            training data.
        X : DataFrame or None
            The known covariates of the steps after `y`, as in `predict`; without them the reading is left out where the
            forecaster needs some.
        reference : Dataset or None
            Another backtest at the same cutoffs, such as the seasonal naive one.
        series : sequence of names or None
            Series with charts of their own. None: the first eight.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        ImportError
            If the extra ``samovar-forecast[report]`` is not installed.
        ValueError
            If a series is not in the backtest, or `y` does not hold the rows that were forecast.
        """
        from samovar_forecast.evaluation.report import observed_rows, write_report

        data = self._fitted().data
        names = list(backtest["series"].values.tolist() if series is None else series)[:8]
        readable = (not data.known or X is not None) and (y is not None or not data.is_panel)
        reading = self.explain(y, X, series=names, steps=[1], influence=False) if readable else None
        return write_report(
            path,
            observed_rows(backtest, data.frequency) if y is None else y,
            backtest,
            reference=reference,
            reading=reading,
            summary=self.fitted_.summary,
            settings=self.fitted_.hyperparameters,
            series=series,
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted forecaster to one file (safetensors with a JSON header), replaced atomically.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        """
        from samovar_forecast.files.model_file import save

        save(self._fitted(), type(self), path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a forecaster that `save` wrote; on the base class, of any kind that has been imported.

        Raises
        ------
        ModelFileError
            If the file is not a model, is damaged, or holds another class.
        """
        from samovar_forecast.files.model_file import load

        import_module("samovar_forecast.forecasters")  # the package's own classes, wherever this one was imported from
        known = {(one.__module__, one.__qualname__): one for one in _subclasses(Forecaster)}
        found, fitted = load(path, cls, known)
        forecaster = found(**fitted.hyperparameters)
        forecaster.fitted_ = fitted
        return forecaster

    def to_onnx(self, path: str | PathLike[str], coverage: float | None = None) -> None:
        """Write the steps forecast at once as an ONNX file, from histories in units to forecasts in units.

        Scaling, logarithms, missing values and trained quantiles are inside. The inputs are `history` (batch,
        ``context_length_``, columns in the order of ``columns_``), NaN where nothing was observed, and where the
        forecaster has them `known` and `calendar` (batch, context and output, features), `static` (batch, features)
        and for a panel `series` (batch,), the position of each series in ``series_``. The outputs are `forecast`
        (batch, output, targets) and, where quantiles were trained, `quantiles` with the levels as last dimension. All
        names are in the file's metadata, as JSON.

        Parameters
        ----------
        path : path
        coverage : float or None
            With the further outputs `lower` and `upper`, both (batch, output, targets): the interval that
            `predict_interval` gives at this coverage.

        Raises
        ------
        NotFittedError
            If called before `fit`.
        ImportError
            If the extra ``samovar-forecast[onnx]`` is not installed.
        TypeError, ValueError
            If the forecaster has no interval of this coverage; see `predict_interval`.
        """
        from samovar_forecast.forecasting.exported import write_onnx

        fitted, levels = self._fitted(), () if coverage is None else interval_levels(coverage)
        write_onnx(fitted, path, type(self).__name__, coverage, levels)

    def to_sktime(self) -> SktimeForecaster:
        """The native sktime forecaster with the same hyperparameters and, when fitted, the same weights.

        The weights come as pretrained state: sktime's `fit` takes in the data and keeps them.

        Raises
        ------
        ImportError
            If the extra ``samovar-forecast[sktime]`` is not installed.
        """
        from samovar_sktime.bridge import from_core

        return from_core(self)

    def to_darts(self) -> DartsModel:
        """The native darts model with the same hyperparameters and, when fitted, the same weights.

        Raises
        ------
        ImportError
            If the extra ``samovar-forecast[darts]`` is not installed.
        """
        from samovar_darts.bridge import from_core

        return from_core(self)

    def _fitted(self) -> Fitted:
        check_is_fitted(self)
        return self.fitted_

    # What is fitted, for reading.

    @property
    def network_(self) -> ForecastNetwork:
        """The trained network."""
        return self.fitted_.network

    @property
    def training_summary_(self) -> TrainingSummary:
        """Epochs, errors and time of the last training."""
        return self.fitted_.summary

    @property
    def calibration_(self) -> Calibration | None:
        """Errors on the validation windows; None where quantiles were trained."""
        return self.fitted_.calibration

    @property
    def context_length_(self) -> int:
        """Points of history in a window."""
        return self.fitted_.data.context_length

    @property
    def output_length_(self) -> int:
        """Steps that the network forecasts at once; longer forecasts roll forward."""
        return self.fitted_.data.output_length

    @property
    def columns_(self) -> list[Hashable]:
        """Names of the columns in the network's order: past covariates first, targets last."""
        return list(self.fitted_.data.columns)

    @property
    def targets_(self) -> list[Hashable]:
        """Names of the targets."""
        return list(self.fitted_.data.targets)

    @property
    def known_(self) -> list[Hashable]:
        """Names of the covariates known in the future."""
        return list(self.fitted_.data.known)

    @property
    def calendar_(self) -> list[str]:
        """Names of the calendar features, which follow the known covariates."""
        return list(self.fitted_.data.calendar)

    @property
    def static_(self) -> list[Hashable]:
        """Names of the covariates that are constant in time."""
        return list(self.fitted_.data.static)

    @property
    def frequency_(self) -> Frequency:
        """Step of the index."""
        return self.fitted_.data.frequency

    @property
    def layout_(self) -> Layout:
        """The form of the data that `fit` saw, and of what `predict` gives."""
        return self.fitted_.data.layout

    @property
    def is_panel_(self) -> bool:
        """Whether `fit` saw a panel: then every series has its scaling, and short histories are filled up."""
        return self.fitted_.data.is_panel

    @property
    def series_(self) -> Mapping[Hashable, FittedSeries]:
        """What is kept of each series, by name; a single series has the name None."""
        return self.fitted_.data.series

    @property
    def history_(self) -> pd.DataFrame:
        """The newest rows of a single series; a panel has them in `series_`."""
        return self._single_series("history_").history

    @property
    def scaler_(self) -> Scaler:
        """The scaling of a single series; a panel has it in `series_`."""
        return self._single_series("scaler_").scaler

    @property
    def known_scaler_(self) -> Scaler | None:
        """The scaling of the covariates known in the future."""
        return self.fitted_.data.known_scaler

    @property
    def static_scaler_(self) -> Scaler | None:
        """The scaling of the covariates that are constant in time."""
        return self.fitted_.data.static_scaler

    def _single_series(self, name: str) -> FittedSeries:
        if "fitted_" not in vars(self) or self.is_panel_:
            reason = "is not fitted" if "fitted_" not in vars(self) else "was fitted on a panel: see series_"
            raise AttributeError(f"{type(self).__name__} has no {name}: it {reason}")
        return self.series_[None]


def _subclasses(cls: type[Forecaster]) -> Iterator[type[Forecaster]]:
    """Every class below one; of several with the same name, as in a notebook, the newest comes last."""
    for one in cls.__subclasses__():
        yield one
        yield from _subclasses(one)
