"""The sktime contract, once for all forecasters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sktime.datatypes import convert_to
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.base._base import _format_moving_cutoff_predictions
from sktime.split.base import BaseSplitter

from samovar_forecast.data.frames import plain_index
from samovar_forecast.data.panel import Panel, read_panel
from samovar_forecast.estimator import Forecaster
from samovar_forecast.hyperparameters import cite, hyperparameters
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.interrupts import interrupts_held_back
from samovar_forecast.training.progress import progress_shown
from samovar_sktime import saved_files
from samovar_sktime.forecasts import forecast_asked, forecast_windows
from samovar_sktime.observed_rows import ObservedRows
from samovar_sktime.pretrained import take_over, train_on
from samovar_sktime.rows_asked import RowsAsked, check_covers, rows_asked

MYPY = False  # which mypy takes for True
if MYPY:  # sktime has no types, and mypy checks no names of arguments below a base without types

    class BaseForecaster:
        """What the methods here use of sktime's class."""

        def _check_X_y(self, X: Any = None, y: Any = None, **kwargs: Any) -> Any: ...  # noqa: N802
        def pretrain(self, y: Any, X: Any = None, fh: Any = None) -> Self: ...
        def fit(self, y: Any, X: Any = None, fh: Any = None) -> Self: ...
        def update(self, y: Any, X: Any = None, update_params: bool = True) -> Self: ...
        def _get_varnames(self) -> Any: ...
        def save(self, path: Any = None, serialization_format: str = "pickle") -> Any: ...
        @classmethod
        def get_param_names(cls) -> list[str]: ...
        def __getattr__(self, name: str) -> Any: ...

else:
    from sktime.forecasting.base import BaseForecaster


@hyperparameters
class SktimeForecaster(TrainingConfig, BaseForecaster):
    """Base of the sktime forecasters: everything of the contract.

    A public class inherits from a network's configuration and from this class, and names the forecaster of
    samovar-forecast that does the work.

    Parameters
    ----------
    fine_tune_epochs : int, default 0
        Passes over the new series in `fit` after `pretrain`. 0: none, the weights stay as they are.

    Attributes
    ----------
    forecaster_ : Forecaster
        The fitted forecaster of samovar-forecast; forecasts are its forecasts.
    pretrained_forecaster_ : Forecaster
        The forecaster that `pretrain` trained, or that the weights came from with `from_core`. `fit` begins with
        its weights.
    """

    core_class: ClassVar[type[Forecaster]]

    fine_tune_epochs: int = 0

    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["samovar-forecast"],
        "maintainers": ["samovar-forecast"],
        "y_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:categorical_in_X": False,
        "capability:non_contiguous_X": False,  # forecasts roll through every step up to the last one requested
        "capability:missing_values": True,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": True,
        "capability:pretrain": True,
        "pretrain:fitted_params": ["pretrained_forecaster_"],
        "capability:unequal_length": True,
        "capability:update": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
        "requires-fh-in-fit": False,
        "X-y-must-have-same-index": True,
    }
    # The rows seen are kept here, in parts; sktime's own copy would grow by a join of the whole history per
    # update. Parts of sktime read the attributes of that copy all the same.
    _config: ClassVar[dict[str, Any]] = {"remember_data": False}
    _y = _X = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "core_class"):
            cite(cls, cls.core_class.network_class)

    def __post_init__(self) -> None:
        # A dataclass constructor calls no other constructor, only this hook. sktime's constructor, called from
        # here, calls the hook again; by then it has set the state. By name: the next one in line, of
        # `TrainingConfig`, would put the defaults back.
        if not hasattr(self, "_state"):
            BaseForecaster.__init__(self)

    def set_params(self, **params: Any) -> Self:
        """Set hyperparameters, and drop what `fit` learnt; what `pretrain` learnt is kept.

        `fit` refuses pretrained weights that the hyperparameters do not fit.
        """
        return self._set_params_at("pretrained", params)

    def _check_X_y(self, X: Any = None, y: Any = None, **kwargs: Any) -> Any:  # noqa: N802  # sktime's name
        X, y = (_on_plain_index(data) for data in (X, y))
        try:
            return super()._check_X_y(X, y, **kwargs)
        except TypeError:  # sktime says only that data are of no type it knows; the row or the column is said here
            for data, name in ((y, "y"), (X, "X")):
                if isinstance(data, (pd.Series, pd.DataFrame)):
                    read_panel(data, name, missing=True)
            raise

    @interrupts_held_back()
    def pretrain(self, y: Any, X: Any = None, fh: Any = None) -> Self:
        """Train one network on a panel; see `BaseForecaster.pretrain`, and `fit` for Ctrl-C."""
        return super().pretrain(y, X, fh)

    @interrupts_held_back()
    def fit(self, y: Any, X: Any = None, fh: Any = None) -> Self:
        """Train on series; see `BaseForecaster.fit`.

        After Ctrl-C the forecaster is complete with the best weights so far before KeyboardInterrupt is raised.
        """
        return super().fit(y, X, fh)

    @interrupts_held_back()
    def update(self, y: Any, X: Any = None, update_params: bool = True) -> Self:
        """Take in new rows; see `BaseForecaster.update`, and `fit` for Ctrl-C."""
        return super().update(y, X, update_params)

    def _core_params(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self.core_class)}

    def _pretrain(self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: ForecastingHorizon | None = None) -> Self:
        source = getattr(self, "pretrained_forecaster_", None)
        with self._progress():
            if source is None:
                self.pretrained_forecaster_: Forecaster = self.core_class(**self._core_params()).fit(y, X)
            else:
                self.pretrained_forecaster_ = train_on(source, self._core_params(), y, X)
        return self

    def _progress(self) -> AbstractContextManager[None]:
        """Silent unless `verbose` is 1: a forecaster may be a part of a pipeline, which has lines of its own."""
        return progress_shown(1 if self.verbose == 1 else 0)

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: ForecastingHorizon | None) -> Self:
        if isinstance(self.fine_tune_epochs, bool) or not hasattr(self.fine_tune_epochs, "__index__"):
            raise TypeError(f"fine_tune_epochs must be an integer, got {self.fine_tune_epochs!r}")
        if self.fine_tune_epochs < 0:
            raise ValueError(f"fine_tune_epochs must be 0 or greater, got {self.fine_tune_epochs}")
        source = getattr(self, "pretrained_forecaster_", None)
        with self._progress():
            if source is None:
                core = self.core_class(**self._core_params()).fit(y, X)
            elif self.fine_tune_epochs:
                core = train_on(source, self._core_params(), y, X, self.fine_tune_epochs)
            else:
                core = take_over(source, self._core_params(), y, X)
        data = core.fitted_.data
        panel = data.read_history(y)
        given = data.read_known(X, panel)
        self.forecaster_: Forecaster = core
        self._layout = panel.layout
        # In the order of y, which may be another one than that of pretrained weights.
        self._targets = core.targets_ if self.targets is not None else list(y.columns)
        self._observed = {
            key: ObservedRows(frame, self._known_rows(given, key, frame.index)) for key, frame in panel.frames.items()
        }
        self._give_cutoff_a_frequency()
        return self

    def _update(self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True) -> Self:
        core, data = self.forecaster_, self.forecaster_.fitted_.data
        panel = data.read_history(y, shortest=1)
        given = self._given(X, panel)
        before = core.fitted_
        try:
            for key, new in panel.frames.items():
                if key in self._observed and new.index[0] <= self._observed[key].cutoff[0]:
                    self._go_back(key, new, panel.name_of(key))
            core.update(y, X if data.known else None, retrain=update_params)
        except Exception:
            core.fitted_ = before
            raise
        for key, new in panel.frames.items():
            known = self._known_rows(given, key, new.index)
            if key in self._observed:
                self._observed[key].replace_from(new, known)
            else:
                self._observed[key] = ObservedRows(new, known)
        self._give_cutoff_a_frequency()
        return self

    def _given(self, X: Any, panel: Panel) -> dict[Hashable, pd.DataFrame]:
        """The known covariates given for a panel; ignored, as sktime's forecasters do, after a fit without any."""
        data = self.forecaster_.fitted_.data
        if X is not None and not data.known:
            warnings.warn(f"X is ignored: {type(self).__name__} was fitted without X", stacklevel=2)
            return {}
        return data.read_known(X, panel)

    def _go_back(self, key: Hashable, new: pd.DataFrame, name: str) -> None:
        """Let the forecaster forget the rows of a series from the first of some new ones on."""
        fitted = self.forecaster_.fitted_
        data = fitted.data
        seen, known = self._observed[key].newest(data.context_length + data.output_length - 1, before=new.index[0])
        if not data.is_panel and len(seen) + len(new) < data.context_length:
            raise ValueError(
                f"{name} moves the cutoff back to {new.index[-1]}, which leaves {len(seen) + len(new)} rows of "
                f"history; the network needs {data.context_length}"
            )
        if len(seen):
            series = data.series[key]
            moved = {key: data.newest(seen, known, series.scaler, series.static, series.number)}
            self.forecaster_.fitted_ = replace(fitted, data=data.with_series(moved))

    def _known_rows(
        self, given: Mapping[Hashable, pd.DataFrame], key: Hashable, index: pd.Index
    ) -> pd.DataFrame | None:
        data = self.forecaster_.fitted_.data
        return data.known_rows(given.get(key), index, key) if data.known else None

    def _give_cutoff_a_frequency(self) -> None:
        """From one or two rows, and from those of a panel, sktime infers none."""
        cutoff, frequency = self.cutoff, self.forecaster_.frequency_
        if isinstance(cutoff, pd.DatetimeIndex) and cutoff.freq is None and not isinstance(frequency, int):
            self._set_cutoff(pd.DatetimeIndex(cutoff, freq=frequency))

    def _update_predict_single(
        self, y: pd.DataFrame, fh: ForecastingHorizon, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> pd.DataFrame:
        self._update(y, X, update_params)
        return self._predict(fh, X)

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        return self._forecast(fh, X, pd.Index(self._targets))

    def _predict_quantiles(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, alpha: Sequence[float]
    ) -> pd.DataFrame:
        # Levels made from coverages carry an error of rounding, which would lead them outside trained ones.
        levels = [round(float(level), 12) for level in alpha]
        return self._forecast(fh, X, pd.MultiIndex.from_product([self._targets, alpha]), levels)

    def _get_varnames(self) -> Any:
        """The columns that are forecast, where `targets` are not all of y; sktime names those of its intervals so."""
        return super()._get_varnames() if self.targets is None else self._targets

    def _forecast(
        self, fh: ForecastingHorizon, X: Any, columns: pd.Index, levels: Sequence[float] | None = None
    ) -> pd.DataFrame:
        fitted = self.forecaster_.fitted_
        panel = Panel({key: series.history for key, series in fitted.data.series.items()}, self._layout, "y")
        asked: dict[Hashable, RowsAsked] = {
            key: rows_asked(fh, rows, fitted.data.frequency, panel.name_of(key)) for key, rows in self._observed.items()
        }
        if X is not None and fitted.data.known and not isinstance(X.index, pd.MultiIndex):
            check_covers(X, self._observed[None], int(asked[None].steps.max()), fitted.data.frequency)
        values = forecast_asked(fitted, self._observed, asked, self._given(X, panel), levels)
        return self._layout.assemble(
            {
                key: pd.DataFrame(self._in_order(values[key]).reshape(len(labels), -1), index=labels, columns=columns)
                for key, (labels, _) in asked.items()
            }
        )

    def _in_order(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The targets in the order of y: (n_rows, n_targets, n_levels)."""
        targets = self.forecaster_.targets_
        return values if self._targets == targets else values[:, [targets.index(name) for name in self._targets]]

    def _predict_moving_cutoff(
        self,
        y: pd.DataFrame,
        cv: BaseSplitter,
        X: pd.DataFrame | None = None,
        update_params: bool = True,
        reset_forecaster: bool = True,
    ) -> pd.Series | pd.DataFrame:
        mtype, store = (
            self._y_metadata["mtype"],
            dict(self._converter_store_y),
        )  # of the y given; the loop replaces them
        windows = self._forecast_windows(y, cv, X) if not update_params and reset_forecaster else None
        if windows is None:
            # The loop of sktime takes a step back from the first label, which it cannot for most panels of dates.
            forecaster = copy.deepcopy(self) if reset_forecaster else self
            windows = []
            for rows, _ in cv.split(y):
                forecast = forecaster.update_predict_single(y.iloc[rows], cv.get_fh(), X, update_params)
                windows.append((forecaster.cutoff[0], forecast))
        forecasts = [convert_to(forecast, mtype, store=store, store_behaviour="freeze") for _, forecast in windows]
        return _format_moving_cutoff_predictions(forecasts, [pd.Index([cutoff]) for cutoff, _ in windows])

    def _forecast_windows(
        self, y: pd.DataFrame, cv: BaseSplitter, X: pd.DataFrame | None
    ) -> list[tuple[Any, pd.DataFrame]] | None:
        """Cutoff and forecast of all windows of a splitter, in large batches; None where that needs a loop."""
        fitted, fh = self.forecaster_.fitted_, cv.get_fh()
        data = fitted.data
        steps = fh.to_numpy()
        counts_rows = fh.is_relative and steps.dtype.kind == "i" and steps.min() > 0
        across_series = cv.get_tag("split_hierarchical", False, raise_error=False)
        if not counts_rows or across_series or (isinstance(data.frequency, int) and data.frequency > 1):
            return None
        panel = data.read_history(y, shortest=1)
        windows = forecast_windows(fitted, self._observed, panel, cv, self._given(X, panel), steps)
        if windows is None:
            return None
        return [
            (cutoff, panel.layout.assemble({key: frame[self._targets] for key, frame in frames.items()}))
            for cutoff, frames in windows
        ]

    def _carry_weights(self, core: Forecaster) -> None:
        """Take the weights of a fitted forecaster as pretrained state."""
        self.pretrained_forecaster_ = copy.deepcopy(core)
        self._pretrained_attrs = ["pretrained_forecaster_"]
        self._state = "pretrained"

    def save(self, path: str | Path | None = None, serialization_format: str = "pickle") -> Any:
        """Write the forecaster to ``path + ".zip"``, as sktime does, with checksums and whole or not at all.

        Parameters
        ----------
        path : str, Path or None
            None: nothing is written, and what `sktime.base.load` takes is returned.
        serialization_format : {"pickle", "cloudpickle"}

        Returns
        -------
        ZipFile or tuple

        Raises
        ------
        OSError
            If the file cannot be written; an older one survives.
        """
        if not isinstance(path, (str, Path)):
            return super().save(path, serialization_format)
        return saved_files.write(super().save, Path(path), serialization_format)

    @classmethod
    def load_from_path(cls, serial: str | Path) -> Self:
        """Read a forecaster that `save` wrote.

        Nothing in the file is opened before its checksums are compared. `sktime.base.load` opens a part of it, which
        names the class, before it calls this method; where a file may be damaged, call the method itself.

        Parameters
        ----------
        serial : str or Path
            The file, or its name without ".zip".

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            If the file is damaged, was not written by `save`, or holds a forecaster of another class.
        """
        path = Path(serial)
        return saved_files.read(path if path.suffix == ".zip" else path.with_name(f"{path.name}.zip"), cls)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Hyperparameters for sktime's conformance tests: tiny networks on short series.

        Parameters
        ----------
        parameter_set : str
            Ignored; there is one set for all tests.
        """
        names = cls.get_param_names()
        tiny = {"d_model": 8, "n_heads": 2, "n_layers": 1, "device": "cpu", "max_epochs": 1}
        tiny = {name: value for name, value in tiny.items() if name in names}
        quantiles, last_weights = (0.05, 0.5, 0.95), {"average_weights": None}
        return [
            {**tiny, "horizon": 2, "context_length": 4, "validation_fraction": 0.0, "max_steps": 2, **last_weights},
            {**tiny, "horizon": 1, "max_steps": 1, "quantiles": quantiles, "scaler": "none", "fine_tune_epochs": 1},
        ]


def _on_plain_index(data: Any) -> Any:
    """Rows of pandas on an index that sktime knows; see `plain_index`."""
    if not isinstance(data, (pd.Series, pd.DataFrame)) or isinstance(data.index, pd.MultiIndex):
        return data
    index = plain_index(data.index)
    return data if index is data.index else data.set_axis(index)
