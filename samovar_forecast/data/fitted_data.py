"""What `fit` learns of its data, and how new data are read against that."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.bounds import UNBOUNDED, Bounds
from samovar_forecast.data.frames import read_static
from samovar_forecast.data.layout import Layout
from samovar_forecast.data.lengths import Lengths
from samovar_forecast.data.panel import Panel, align_columns, read_covariates, read_panel, select_rows
from samovar_forecast.data.scaling import Scaler, fit_scaler, scale_frame, scale_known
from samovar_forecast.data.time_axis import Frequency, continue_index
from samovar_forecast.data.windows import Windows


@dataclass(frozen=True, eq=False)
class FittedSeries:
    """What is kept of one series of the training data.

    Attributes
    ----------
    history : DataFrame
        The newest rows, from which `predict` continues, as many as an update needs.
    known : DataFrame or None
        The known covariates of those rows.
    scaler : Scaler
        Scaling of the columns.
    static : ndarray or None
        Covariates constant in time, scaled: (n_static,).
    number : int
        Position among the series of training, -1 for a series that training did not see.
    """

    history: pd.DataFrame
    known: pd.DataFrame | None
    scaler: Scaler
    static: NDArray[np.float32] | None = None
    number: int = -1


class OneSeries(NamedTuple):
    """Checked rows of one series and its covariates; None where there are none."""

    key: Hashable
    frame: pd.DataFrame
    known: pd.DataFrame | None
    static: NDArray[np.float32] | None


class Given(NamedTuple):
    """Checked histories and their covariates.

    Attributes
    ----------
    panel : Panel
        Series by name.
    known : dict
        Known covariates by series; empty where none are given.
    statics : dict
        Scaled static covariates by series; empty where there are none.
    """

    panel: Panel
    known: Mapping[Hashable, pd.DataFrame]
    statics: Mapping[Hashable, NDArray[np.float32]]

    def single(self, method: str) -> OneSeries:
        """The only series.

        Raises
        ------
        ValueError
            If there are several.
        """
        if len(self.panel.frames) > 1:
            raise ValueError(
                f"{method} takes one series, and there are {len(self.panel.frames)}; give one of them as y"
            )
        return self.series()[0]

    def series(self) -> list[OneSeries]:
        """Every series with its covariates."""
        return [
            OneSeries(key, frame, self.known.get(key), self.statics.get(key))
            for key, frame in self.panel.frames.items()
        ]


@dataclass(frozen=True, eq=False)
class FittedData:
    """The data side of a fitted forecaster: names, scaling, time axes and newest rows of its series.

    Attributes
    ----------
    horizon : int
        Steps to forecast where no other number is given.
    lengths : Lengths
        Points of history that the network sees, steps that it forecasts at once, and points of its segments.
    scaling : {"standard", "robust", "none"}
        How series are scaled.
    log1p : bool
        Whether targets are forecast as ``log(1 + y)``.
    columns : list
        Names of the columns in the network's order: past covariates first, targets last.
    targets : list
        Names of the targets.
    frequency : offset or int
        Step of the index.
    layout : Layout
        The form of the data that `fit` saw, and of what `predict` gives.
    series : dict
        A `FittedSeries` for each series of a panel, under its name; a single series has the name None.
    calendar : list
        Names of the calendar features, which follow the known covariates.
    known, static : list
        Names of the covariates known in the future, and of those constant in time.
    known_scaler, static_scaler : Scaler or None
        Their scaling.
    bounds : Bounds
        Which values targets can have, and which forecasts.
    embeds_known : bool
        Whether a network that embeds the calendar embeds the known covariates too, as those of model files up to format
        4 do. Their forecasts of one step depend on the covariates of the others.
    """

    horizon: int
    lengths: Lengths
    scaling: str
    log1p: bool
    columns: list[Hashable]
    targets: list[Hashable]
    frequency: Frequency
    layout: Layout
    series: Mapping[Hashable, FittedSeries]
    calendar: list[str] = field(default_factory=list)
    known: list[Hashable] = field(default_factory=list)
    static: list[Hashable] = field(default_factory=list)
    known_scaler: Scaler | None = None
    static_scaler: Scaler | None = None
    bounds: Bounds = UNBOUNDED
    embeds_known: bool = False

    @property
    def context_length(self) -> int:
        """Points of history that the network sees."""
        return self.lengths.context

    @property
    def output_length(self) -> int:
        """Steps that the network forecasts at once."""
        return self.lengths.output

    @property
    def is_panel(self) -> bool:
        """Whether `fit` saw a panel: then every series has its scaling, and short histories are filled up."""
        return self.layout.kind != "single"

    def number_of(self, key: Hashable) -> int:
        """Position of a series among those of training, -1 for a series that training did not see."""
        return self.series[key].number if key in self.series else -1

    def with_series(self, series: Mapping[Hashable, FittedSeries]) -> FittedData:
        """The same with these series in place of those of the same names, or beside the others."""
        return replace(self, series={**self.series, **series})

    # Reading data against what was learnt.

    def read(self, y: Any, X: Any = None, static: pd.DataFrame | None = None, *, shortest: int | None = None) -> Given:
        """Check a history and its covariates; see `read_history`, `read_known` and `read_statics`."""
        panel = self.read_history(y, shortest=shortest)
        return Given(panel, self.read_known(X, panel), self.read_statics(panel, static))

    def read_history(self, y: Any, *, shortest: int | None = None) -> Panel:
        """Check another history: the columns, the time zone and the step of the training data, and rows enough.

        Parameters
        ----------
        y : Series, DataFrame, dict or None
            None: the newest training rows.
        shortest : int or None
            Rows that a series must have. None: a context, or one row where the forecaster fills up short ones.

        Raises
        ------
        ValueError
            If a column is missing, the index is of another kind or step, a series is too short, or a target leaves
            its bounds.
        """
        if y is None:
            frames = {key: series.history for key, series in self.series.items()}
            return Panel(frames, self.layout, "the training data")
        axes = {key: series.history.index for key, series in self.series.items()}
        panel = read_panel(y, missing=True, step=self.frequency, axes=axes, long=self.layout.long)
        panel = self._renamed(panel, self.columns).align(self.columns)
        frequency = panel.frequency(default=self.frequency)
        if frequency != self.frequency:
            raise ValueError(f"y has a step of {frequency}, the training data had {self.frequency}")
        if shortest is None:
            shortest = 1 if self.is_panel else self.context_length
        for key, frame in panel.frames.items():
            if len(frame) < shortest:
                raise ValueError(
                    f"{panel.name_of(key)} is too short: {len(frame)} rows, the network needs {shortest} of history"
                )
            self.bounds.check(frame, self.targets, panel.name_of(key), log1p=self.log1p)
        return panel

    def read_known(self, X: Any, panel: Panel) -> dict[Hashable, pd.DataFrame]:
        """The known covariates given for the series of a panel; empty where none are given."""
        if X is None or (isinstance(X, pd.DataFrame) and X.shape[1] == 0):
            return {}
        if not self.known:
            raise ValueError("X is given, but the forecaster was fitted without X; fit with X to use it")
        given = read_covariates(X, panel, self.layout.long, self.frequency)
        frames = self._renamed(given, self.known).align(self.known).frames
        return {key: frame for key, frame in frames.items() if key in panel.frames}

    def read_statics(self, panel: Panel, static: pd.DataFrame | None) -> dict[Hashable, NDArray[np.float32]]:
        """Scaled static covariates of the series of a panel; those not given are those of training."""
        if self.static_scaler is None:
            if static is not None:
                raise ValueError("static is given, but the forecaster was fitted without static covariates")
            return {}
        found = {key: series.static for key, series in self.series.items() if series.static is not None}
        if static is not None:
            named = static if self.layout.long is None else self.layout.long.names_of(static)
            rows = align_columns(read_static(named), self.static, "static")
            scaled = self.static_scaler.transform(rows.to_numpy())
            found |= dict(zip(rows.index, scaled, strict=True))
        missing = [key for key in panel.frames if key not in found]
        if missing:
            raise ValueError(f"static lacks the series {missing}; give a row for each")
        return {key: found[key] for key in panel.frames}

    def _renamed(self, panel: Panel, columns: list[Hashable]) -> Panel:
        """Series for a forecaster of a panel of Series are known by their keys; their column takes the name of fit."""
        if not (self.is_panel and panel.layout.is_series and len(columns) == 1):
            return panel
        return panel.map(lambda frame, _: frame.set_axis(columns, axis=1))

    def known_rows(
        self,
        given: pd.DataFrame | None,
        index: pd.Index,
        key: Hashable = None,
        n_spare: int = 0,
        n_future: int = 0,
    ) -> pd.DataFrame | None:
        """Known covariates at every label of `index`, from those given and from what was known in training.

        The network forecasts whole outputs. For the `n_spare` steps after `index`, which are cut off from the
        forecast, given rows are taken where there are any, else the last one is repeated; the calendar goes on.

        A frame without columns where the calendar alone is known; None where nothing is.

        Raises
        ------
        ValueError
            If a row is missing, or one of the last `n_future` rows has no value; the message names it.
        """
        name = "X" if not self.is_panel or key is None else f"X of series {key!r}"
        spare = continue_index(index, self.frequency, n_spare)
        if not self.known:
            return pd.DataFrame(index=index.append(spare)) if self.calendar else None
        remembered = self.series[key].known if key in self.series else None
        rows = pd.DataFrame(columns=self.known, dtype=np.float64) if remembered is None else remembered
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

    # From frames to what a network sees.

    def scaler_of(self, key: Hashable, frame: pd.DataFrame) -> Scaler:
        """The scaling of a series: that of training, or for one that a panel did not hold, that of its rows."""
        if not self.is_panel:
            return self.series[None].scaler
        return self.series[key].scaler if key in self.series else self.fit_scaler(frame)

    def fit_scaler(self, frame: pd.DataFrame, name: str = "y") -> Scaler:
        """The scaling by the rows of a frame with the columns of `columns`; see `fit_scaler`."""
        return fit_scaler(
            lambda: [(slice(len(frame)), frame)], self.columns, len(self.targets), self.scaling, self.log1p, name
        )

    def windows(
        self, series: OneSeries, cutoffs: NDArray[np.int64], steps: int, scaler: Scaler, *, n_future: int = 0
    ) -> Windows:
        """Windows from which to forecast `steps` rows of one series after each of many cutoffs.

        A context that reaches back beyond the first row is filled up with missing values.

        Parameters
        ----------
        series : OneSeries
            Its columns in the order of `columns`; of its known covariates those that were given.
        cutoffs : ndarray
            Row numbers of the first steps to forecast: (n_cutoffs,).
        steps : int
        scaler : Scaler
            See `scaler_of`.
        n_future : int
            Rows after the series that a forecast reaches, at which the known covariates must have values.

        Raises
        ------
        ValueError
            If rows of them are missing, or a value is too large for the single precision of the network.
        """
        index, last = series.frame.index, int(cutoffs.max())
        n_after = max(0, last + steps - len(index))
        if n_after:
            index = index.append(continue_index(index, self.frequency, n_after))
        reach = last + -(-steps // self.output_length) * self.output_length
        known = self.known_rows(series.known, index, series.key, max(0, reach - len(index)), n_future)
        values, scaled_known = self._scaled(series.frame, known, scaler, series.key)
        return self.windows_before(torch.from_numpy(cutoffs), values, scaled_known, series.static)

    def training_windows(self, series: OneSeries, cutoffs: Tensor, scaler: Scaler) -> Windows:
        """Windows of a series whose future was observed, with the known covariates of all of its rows."""
        values, scaled_known = self._scaled(series.frame, series.known, scaler, series.key)
        return self.windows_before(cutoffs, values, scaled_known, series.static)

    def windows_before(
        self, cutoffs: Tensor, values: Tensor, known: Tensor | None, static: NDArray[np.float32] | None
    ) -> Windows:
        """Windows of scaled rows, with futures as long as an output."""
        shape = (self.context_length, self.output_length, len(self.targets))
        return Windows.before(cutoffs, values, *shape, known, None if static is None else torch.from_numpy(static))

    def _scaled(
        self, frame: pd.DataFrame, known: pd.DataFrame | None, scaler: Scaler, key: Hashable
    ) -> tuple[Tensor, Tensor | None]:
        """Series and known covariates as the network sees them."""
        of_series = "" if key is None else f" of series {key!r}"
        values = torch.from_numpy(scale_frame(frame, scaler, f"y{of_series}"))
        return values, None if known is None else torch.from_numpy(
            scale_known(known, self.known_scaler, self.calendar, f"X{of_series}")
        )

    def newest(
        self,
        frame: pd.DataFrame,
        known: pd.DataFrame | None,
        scaler: Scaler,
        static: NDArray[np.float32] | None = None,
        number: int = -1,
    ) -> FittedSeries:
        """What is kept of a series with these rows: a whole window, so that an update can replace the newest row."""
        n_rows = self.context_length + self.output_length
        kept = None if known is None or not self.known else known.iloc[-n_rows:].copy()
        return FittedSeries(frame.iloc[-n_rows:].copy(), kept, scaler, static, number)
