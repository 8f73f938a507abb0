"""The sktime contract, once for all forecasters."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sktime.datatypes import VectorizedDF, convert_to
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
from sktime.forecasting.base._base import _format_moving_cutoff_predictions
from sktime.forecasting.base._clone_plugin import _PretrainedCloner
from sktime.split.base import BaseSplitter

from samovar_forecast.forecaster import Forecaster
from samovar_forecast.frames import align_columns, continue_index, read_frame
from samovar_forecast.training.config import TrainingConfig
from samovar_sktime.moving_cutoffs import forecast_behind, window_ends
from samovar_sktime.observed_rows import ObservedRows


class SktimeForecaster(TrainingConfig, BaseForecaster):
    """Base of the sktime forecasters: everything of the contract, no hyperparameter of its own.

    A public class inherits from a network's configuration and from this class, and names the forecaster of
    samovar-forecast that does the work.

    Attributes
    ----------
    forecaster_ : Forecaster
        The fitted forecaster of samovar-forecast; forecasts are its forecasts.
    pretrained_forecaster_ : Forecaster
        Where the weights came with `from_core`: the forecaster they came from. `fit` keeps its weights.
    """

    core_class: ClassVar[type[Forecaster]]

    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["samovar-forecast"],
        "maintainers": ["samovar-forecast"],
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:categorical_in_X": False,
        "capability:non_contiguous_X": False,  # forecasts roll through every step up to the last one asked for
        "capability:missing_values": False,
        "capability:insample": True,
        "capability:pred_int": False,
        "capability:pred_int:insample": False,
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

    def __post_init__(self) -> None:
        # A dataclass constructor calls no other constructor, only this hook. sktime's constructor, called from
        # here, calls the hook again; by then it has set the state. By name: the next one in line, of
        # `TrainingConfig`, would put the defaults back.
        if not hasattr(self, "_state"):
            BaseForecaster.__init__(self)

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: ForecastingHorizon | None) -> SktimeForecaster:
        pretrained = getattr(self, "pretrained_forecaster_", None)
        if pretrained is None:
            core = self.core_class(**self.get_params(deep=False)).fit(y, X)
        else:
            if pretrained.known_ and X is None:
                raise ValueError(f"X is missing: the weights were trained with the covariates {pretrained.known_}")
            core = copy.deepcopy(pretrained)
        frame = core._read_history(y)
        known = core._known_rows(X, frame.index)
        core._remember(frame, known)
        self.forecaster_, self._observed = core, ObservedRows(frame, known)
        return self

    def _update(self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True) -> SktimeForecaster:
        core = self.forecaster_
        new = align_columns(read_frame(y), core.columns_, "y")
        if new.index[0] <= core.history_.index[-1]:  # rows that were seen before: go back to those in front of them
            n_rows = core.context_length_ + core.horizon - 1
            seen, seen_known = self._observed.newest(n_rows, before=new.index[0])
            if len(seen) + len(new) < core.context_length_:
                raise ValueError(
                    f"y moves the cutoff back to {new.index[-1]}, which leaves {len(seen) + len(new)} rows of "
                    f"history; the network needs {core.context_length_}"
                )
            if len(seen):
                core._remember(seen, seen_known)
        core.update(new, X, retrain=update_params)
        self._observed.replace_from(new, core._known_rows(X, new.index))
        if isinstance(new.index, pd.DatetimeIndex) and self._cutoff.freq is None:
            self._cutoff.freq = core.frequency_  # sktime infers none from one or two rows
        return self

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        core = self.forecaster_
        labels = fh.to_absolute_index(self.cutoff)
        steps = self._steps_to(labels, fh)
        ahead = steps > 0
        values = np.empty((len(steps), len(core.targets_)))
        if ahead.any():
            forecast = core.predict(X=X, horizon=int(steps.max()))
            _check_labels(labels[ahead], forecast.index.take(steps[ahead] - 1))
            values[ahead] = np.asarray(forecast).reshape(-1, values.shape[1])[steps[ahead] - 1]
        if not ahead.all():
            values[~ahead] = self._predict_in_sample(labels[~ahead], steps[~ahead], X)
        return pd.DataFrame(values, index=labels.rename(core.history_.index.name), columns=core.targets_)

    def _predict_in_sample(
        self, labels: pd.Index, steps: NDArray[np.int64], X: pd.DataFrame | None
    ) -> NDArray[np.float64]:
        """One-step-ahead forecasts of rows that were seen, each from the rows in front of it, in one batch."""
        core = self.forecaster_
        frame, known = self._observed.newest(core.context_length_ + 1 - int(steps.min()))
        rows = steps - 1 + len(frame)  # step 0 is the newest row
        if rows.min() < 0:
            raise ValueError(f"fh reaches back to {labels[int(rows.argmin())]}, but y begins at {frame.index[0]}")
        _check_labels(labels, frame.index.take(rows))
        if X is not None:
            X = X[X.index.isin(frame.index)]
            known = X if known is None else X.combine_first(known)
        known = core._known_rows(known, frame.index, n_spare=core.horizon - 1)
        return forecast_behind(core, frame, known, rows, 1)[:, 0]

    def _steps_to(self, labels: pd.Index, fh: ForecastingHorizon) -> NDArray[np.int64]:
        """How many rows behind the cutoff each label lies; 0 is the cutoff itself."""
        if not isinstance(labels, (pd.DatetimeIndex, pd.PeriodIndex)):
            step = self.forecaster_.frequency_
            offsets = labels.to_numpy(dtype=np.int64) - self.cutoff[0]
            if (offsets % step).any():
                raise ValueError(f"fh={offsets.tolist()} lies between the rows of y: its index has a step of {step}")
            return offsets // step
        if not fh.is_relative or fh.to_numpy().dtype.kind != "i":  # dates, periods or durations
            fh = fh.to_absolute(self.cutoff).to_relative(self.cutoff)
        return fh.to_numpy().astype(np.int64)

    def _predict_moving_cutoff(
        self,
        y: pd.DataFrame | VectorizedDF,
        cv: BaseSplitter,
        X: pd.DataFrame | VectorizedDF | None = None,
        update_params: bool = True,
        reset_forecaster: bool = True,
    ) -> pd.Series | pd.DataFrame:
        if not update_params and reset_forecaster and not self._is_vectorized:
            forecasts = self._forecast_windows(y, cv, X)
            if forecasts is not None:
                return forecasts
        return super()._predict_moving_cutoff(y, cv, X, update_params, reset_forecaster)

    def _forecast_windows(
        self, y: pd.DataFrame, cv: BaseSplitter, X: pd.DataFrame | None
    ) -> pd.Series | pd.DataFrame | None:
        """Forecasts from all windows of a splitter in one batch; None where they need sktime's loop, or its error."""
        core, fh, ends = self.forecaster_, cv.get_fh(), window_ends(cv, y)
        steps = fh.to_numpy()
        counts_rows = fh.is_relative and steps.dtype.kind == "i" and steps.min() > 0
        if ends is None or not counts_rows or (isinstance(core.frequency_, int) and core.frequency_ > 1):
            return None
        frame = align_columns(read_frame(y), core.columns_, "y")
        seen, seen_known = self._observed.newest(core.context_length_, before=frame.index[0])
        follows = len(seen) == 0 or continue_index(seen.index, core.frequency_, 1)[0] == frame.index[0]
        if not follows or len(seen) + ends.min() < core.context_length_:
            return None
        n_steps = int(steps.max())
        axis = frame.index.append(continue_index(frame.index, core.frequency_, n_steps))
        if isinstance(axis, pd.DatetimeIndex) and not isinstance(core.frequency_, int):
            axis = pd.DatetimeIndex(axis, freq=core.frequency_)
        given = X if X is None or seen_known is None else X.combine_first(seen_known)
        n_spare = -n_steps % core.horizon
        known = core._known_rows(given, seen.index.append(axis[: ends.max() + n_steps]), n_spare)
        values = forecast_behind(core, pd.concat([seen, frame]), known, len(seen) + ends, n_steps)
        forecasts = [
            convert_to(
                pd.DataFrame(forecast[steps - 1], index=axis.take(end - 1 + steps), columns=core.targets_),
                self._y_metadata["mtype"],
                store=self._converter_store_y,
                store_behaviour="freeze",
            )
            for end, forecast in zip(ends, values, strict=True)
        ]
        return _format_moving_cutoff_predictions(forecasts, [axis[[end - 1]] for end in ends])

    def _carry_weights(self, core: Forecaster) -> None:
        """Take the weights of a fitted forecaster as pretrained state."""
        self.pretrained_forecaster_ = copy.deepcopy(core)
        self._pretrained_attrs = ["pretrained_forecaster_"]
        self._state = "pretrained"

    # sktime protects pretrained state in clones and refits only under the tag "capability:pretrain". That tag
    # promises training on panels, so it is False; weights that were carried over are protected all the same.
    def _has_pretrain_capability(self) -> bool:
        return hasattr(self, "pretrained_forecaster_") or super()._has_pretrain_capability()

    @classmethod
    def _get_clone_plugins(cls) -> list[type]:
        return [_CarriedWeightsCloner]

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
        return [
            {**tiny, "horizon": 2, "context_length": 4, "validation_fraction": 0.0, "max_steps": 2},
            {**tiny, "horizon": 1, "validation_fraction": 0.2, "max_steps": 1, "loss": "mae", "scaler": "none"},
        ]


class _CarriedWeightsCloner(_PretrainedCloner):
    def _check(self, obj: SktimeForecaster) -> bool:
        return hasattr(obj, "pretrained_forecaster_") or super()._check(obj)


def _check_labels(asked: pd.Index, rows: pd.Index) -> None:
    """Raise where a label asked for is not that of a row."""
    wrong = np.flatnonzero(asked != rows)
    if len(wrong):
        raise ValueError(f"fh asks for {asked[wrong[0]]}, but the row that belongs there is {rows[wrong[0]]}")
