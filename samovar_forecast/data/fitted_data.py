"""What `fit` learns of its data, and how new data are read against that."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.bounds import UNBOUNDED, Bounds
from samovar_forecast.data.calendar_features import calendar_features, choose_calendar
from samovar_forecast.data.counting_columns import warn_of_counting_columns
from samovar_forecast.data.frames import (
    align_columns,
    check_above_minus_one,
    order_columns,
    read_static,
    select_rows,
)
from samovar_forecast.data.lengths import Lengths
from samovar_forecast.data.long_tables import LongTable
from samovar_forecast.data.panel import Layout, Panel, read_panel
from samovar_forecast.data.scaling import Scaler, check_moves, scale_frame, warn_of_raised_scales
from samovar_forecast.data.stored_series import StoredSeries
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
            if self.log1p:
                check_above_minus_one(frame, self.targets, panel.name_of(key))
            self.bounds.check(frame, self.targets, panel.name_of(key))
        return panel

    def read_known(self, X: Any, panel: Panel) -> dict[Hashable, pd.DataFrame]:
        """The known covariates given for the series of a panel; empty where none are given."""
        if X is None or (isinstance(X, pd.DataFrame) and X.shape[1] == 0):
            return {}
        if not self.known:
            raise ValueError("X is given, but the forecaster was fitted without X; fit with X to use it")
        axes = {key: frame.index for key, frame in panel.frames.items()}
        table = read_panel(
            X, "X", missing=True, step=self.frequency, axes=axes, owner=panel.name, long=self.layout.long
        )
        given = table.beside(panel)
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
        return fit_scaler(lambda: [frame], self.columns, len(self.targets), self.scaling, self.log1p, name)

    def windows(
        self,
        frame: pd.DataFrame,
        cutoffs: NDArray[np.int64],
        steps: int,
        scaler: Scaler,
        *,
        key: Hashable = None,
        X: pd.DataFrame | None = None,
        static: NDArray[np.float32] | None = None,
        n_future: int = 0,
    ) -> Windows:
        """Windows from which to forecast `steps` rows of one series after each of many cutoffs.

        A context that reaches back beyond the first row is filled up with missing values.

        Parameters
        ----------
        frame : DataFrame
            Checked rows of one series, in the order of `columns`.
        cutoffs : ndarray
            Row numbers of the first steps to forecast: (n_cutoffs,).
        steps : int
        scaler : Scaler
            See `scaler_of`.
        key : hashable
            Name of the series.
        X : DataFrame or None
            The known covariates given; see `known_rows`.
        static : ndarray or None
            Its static covariates, scaled: (n_static,).
        n_future : int
            Rows after the frame that a forecast reaches, for which `X` must hold values.

        Raises
        ------
        ValueError
            If rows of `X` are missing, or a value is too large for the single precision of the network.
        """
        index, last = frame.index, int(cutoffs.max())
        n_after = max(0, last + steps - len(frame))
        if n_after:
            index = index.append(continue_index(index, self.frequency, n_after))
        reach = last + -(-steps // self.output_length) * self.output_length
        known = self.known_rows(X, index, key, max(0, reach - len(index)), n_future)
        values, scaled_known = self._scaled(frame, known, scaler, key)
        return self._windows_before(torch.from_numpy(cutoffs), values, scaled_known, static)

    def training_windows(
        self,
        frame: pd.DataFrame,
        cutoffs: Tensor,
        scaler: Scaler,
        *,
        key: Hashable = None,
        known: pd.DataFrame | None = None,
        static: NDArray[np.float32] | None = None,
    ) -> Windows:
        """Windows of one series whose future was observed, with the known covariates of its rows."""
        values, scaled_known = self._scaled(frame, known, scaler, key)
        return self._windows_before(cutoffs, values, scaled_known, static)

    def _windows_before(
        self, cutoffs: Tensor, values: Tensor, known: Tensor | None, static: NDArray[np.float32] | None
    ) -> Windows:
        shape = (self.context_length, self.output_length, len(self.targets))
        return Windows.before(cutoffs, values, *shape, known, None if static is None else torch.from_numpy(static))

    def _scaled(
        self, frame: pd.DataFrame, known: pd.DataFrame | None, scaler: Scaler, key: Hashable
    ) -> tuple[Tensor, Tensor | None]:
        """Series and known covariates as the network sees them; a known covariate without a value gets its mean."""
        of_series = "" if key is None else f" of series {key!r}"
        values = torch.from_numpy(scale_frame(frame, scaler, f"y{of_series}"))
        return values, None if known is None else self._scaled_known(known, f"X{of_series}")

    def _scaled_known(self, known: pd.DataFrame, name: str) -> Tensor:
        parts = []
        if self.known_scaler is not None:
            parts.append(np.nan_to_num(scale_frame(known, self.known_scaler, name)))
        if self.calendar:
            parts.append(calendar_features(known.index, self.calendar))
        return torch.from_numpy(np.concatenate(parts, axis=1))

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


class TrainingSeries(Protocol):
    """Rows of one series, in memory or on the disk, as `learn` reads them."""

    @property
    def index(self) -> pd.Index:
        """The time axis."""
        ...

    def rows(self, rows: slice, columns: list[Hashable]) -> pd.DataFrame:
        """Some of the rows, in memory."""
        ...

    def pieces(self, start: int, stop: int, columns: list[Hashable]) -> Iterator[tuple[slice, pd.DataFrame]]:
        """The rows from `start` to before `stop`, as many at a time as fit into memory."""
        ...

    def scaled(self, columns: list[Hashable], scale: Callable[[pd.DataFrame], NDArray[np.float32]]) -> NDArray:
        """Every row, scaled piece by piece: (n_rows, n_columns)."""
        ...


@dataclass(frozen=True, eq=False)
class FrameSeries:
    """A DataFrame as a `TrainingSeries`: one piece."""

    frame: pd.DataFrame

    @property
    def index(self) -> pd.Index:
        """The time axis."""
        return self.frame.index

    def rows(self, rows: slice, columns: list[Hashable]) -> pd.DataFrame:
        """Some of the rows."""
        return self.frame[columns].iloc[rows]

    def pieces(self, start: int, stop: int, columns: list[Hashable]) -> Iterator[tuple[slice, pd.DataFrame]]:
        """The rows from `start` to before `stop`."""
        yield slice(start, stop), self.frame[columns].iloc[start:stop]

    def scaled(self, columns: list[Hashable], scale: Callable[[pd.DataFrame], NDArray[np.float32]]) -> NDArray:
        """Every row, scaled."""
        return scale(self.frame[columns])


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Checked data of `fit`: series by name, and the covariates beside them.

    Attributes
    ----------
    series : dict
        A `TrainingSeries` by name; a single series has the name None.
    names : dict
        What to call each series in an error.
    known : dict
        The known covariates of every row of every series; frames without columns where the calendar alone is known,
        empty where nothing is.
    static : DataFrame or None
        Covariates constant in time, a row for each series.
    columns, targets, frequency, layout, calendar, known_columns
        See `FittedData`.
    """

    series: Mapping[Hashable, TrainingSeries]
    names: Mapping[Hashable, str]
    columns: list[Hashable]
    targets: list[Hashable]
    frequency: Frequency
    layout: Layout
    calendar: list[str]
    known_columns: list[Hashable]
    known: Mapping[Hashable, pd.DataFrame]
    static: pd.DataFrame | None

    @property
    def lengths(self) -> list[int]:
        """Rows of each series."""
        return [len(series.index) for series in self.series.values()]


def read_training_data(
    y: Any,
    X: Any,
    static: Any,
    targets: Sequence[Hashable] | None,
    calendar: Any,
    scaling: str,
    long: LongTable | None = None,
) -> TrainingData:
    """Check everything that `fit` is given; `long` says where long tables have names and time.

    Raises
    ------
    TypeError, ValueError
        If a column, a row, a series, an index or a covariate is not right; the message names it.
    """
    if isinstance(y, StoredSeries):
        wanted = {"X": X is not None, "static": static is not None, "calendar": bool(calendar)}
        for name in [name for name, is_wanted in wanted.items() if is_wanted]:
            raise ValueError(f"{name} cannot be used with StoredSeries; keep covariates as columns beside the targets")
        if scaling != "standard":
            raise ValueError(f"StoredSeries are scaled in the 'standard' way, not by scaler={scaling!r}")
        chosen, columns = order_columns(y.rows(slice(0, 1)), targets)
        name = str(y.folder)
        return TrainingData({None: y}, {None: name}, columns, chosen, y.frequency(), Layout(), [], [], {}, None)
    panel = read_panel(y, missing=True, long=long)
    warn_of_counting_columns(panel)
    frequency = panel.frequency()
    first = next(iter(panel.frames.values()))
    chosen, columns = order_columns(first, targets)
    features = choose_calendar(calendar, first.index, frequency)
    names = {key: panel.name_of(key) for key in panel.frames}
    known_columns, known = _read_known(X, panel, bool(features))
    if static is not None:
        if panel.layout.kind == "single":
            raise ValueError("static tells the series of a panel apart, and y is a single one")
        static = read_static(static if long is None else long.names_of(static))
        lacking = [key for key in panel.frames if key not in static.index]
        if lacking:
            raise ValueError(f"static lacks the series {lacking}; give a row for each")
    series = {key: FrameSeries(frame) for key, frame in panel.frames.items()}
    return TrainingData(series, names, columns, chosen, frequency, panel.layout, features, known_columns, known, static)


def _read_known(X: Any, panel: Panel, has_calendar: bool) -> tuple[list[Hashable], dict[Hashable, pd.DataFrame]]:
    if X is None:
        return [], {key: frame[[]] for key, frame in panel.frames.items()} if has_calendar else {}
    axes = {key: frame.index for key, frame in panel.frames.items()}
    given = read_panel(X, "X", missing=True, axes=axes, owner=panel.name, long=panel.layout.long).beside(panel)
    lacking = [key for key in panel.frames if key not in given.frames]
    if lacking:
        raise ValueError(f"X lacks the series {lacking}; it has {list(given.frames)}")
    rows = {key: select_rows(given.frames[key], frame.index, given.name_of(key)) for key, frame in panel.frames.items()}
    return given.columns, rows


def learn(
    data: TrainingData,
    n_training: Sequence[int],
    horizon: int,
    lengths: Lengths,
    scaling: str,
    log1p: bool,
    bounds: Bounds,
    cutoffs: Callable[[int, int], Tensor],
) -> tuple[FittedData, Windows]:
    """What a forecaster keeps of its training data, and every window of them, scaled by the training rows.

    Parameters
    ----------
    data : TrainingData
    n_training : sequence of int
        Rows of each series that train; the newer ones are held out.
    horizon, lengths, scaling, log1p, bounds
        See `FittedData`.
    cutoffs : callable
        Rows and training rows of a series to the cutoffs of its windows.

    Raises
    ------
    ValueError
        If a target has no value in the training rows, or a value does not suit the scaling or the bounds; the message
        names it.
    """
    columns, targets = data.columns, data.targets
    known_scaler = static_scaler = None
    if data.known_columns:
        known_rows = [frame[:n].to_numpy() for frame, n in zip(data.known.values(), n_training, strict=True)]
        known_scaler = Scaler.fit(np.concatenate(known_rows), "standard")
    statics: dict[Hashable, NDArray[np.float32]] = {}
    if data.static is not None:
        static_scaler = Scaler.fit(data.static.to_numpy(), "standard")
        scaled = static_scaler.transform(data.static.loc[list(data.series)].to_numpy())
        statics = dict(zip(data.series, scaled, strict=True))
    fitted = FittedData(
        horizon, lengths, scaling, log1p, columns, targets, data.frequency, data.layout, {}, data.calendar,
        data.known_columns, [] if data.static is None else list(data.static.columns), known_scaler, static_scaler,
        bounds,
    )  # fmt: skip
    series: dict[Hashable, FittedSeries] = {}
    parts: list[Windows] = []
    scalers: dict[str, tuple[Scaler, Scaler]] = {}
    for number, ((key, rows), n_rows) in enumerate(zip(data.series.items(), n_training, strict=True)):
        name = data.names[key]
        _check_targets(rows, n_rows, columns, targets, log1p, bounds, name)
        training = partial(_frames, rows, 0, n_rows, columns)
        unbounded = fit_scaler(training, columns, len(targets), scaling, log1p, name)
        held_out = _frames(rows, n_rows, len(rows.index), columns) if scaling != "none" else iter(())
        scaler = unbounded.bounded_by(frame.to_numpy() for frame in held_out)
        scalers[name] = unbounded, scaler
        scale = partial(scale_frame, scaler=scaler, name=name)
        values = torch.from_numpy(rows.scaled(columns, scale))
        known, static = data.known.get(key), statics.get(key)
        scaled_known = None if known is None else fitted._scaled_known(known, f"X{name.removeprefix('y')}")
        at = cutoffs(len(rows.index), n_rows)
        parts.append(fitted._windows_before(at, values, scaled_known, static))
        n_kept = lengths.context + lengths.output
        history = rows.rows(slice(max(0, len(rows.index) - n_kept), len(rows.index)), columns)
        series[key] = fitted.newest(history, known, scaler, static, number)
    warn_of_raised_scales(scalers, columns)
    return replace(fitted, series=series), Windows.join(parts)


def fit_scaler(
    frames: Callable[[], Iterable[pd.DataFrame]],
    columns: Sequence[Hashable],
    n_targets: int,
    scaling: str,
    log1p: bool,
    name: str,
) -> Scaler:
    """The scaling by some rows; where they come in several pieces, only in the "standard" way.

    Raises
    ------
    ValueError
        If nothing is to be scaled, and a column moves too little for a network to see.
    """
    logarithmic = np.array([False] * (len(columns) - n_targets) + [log1p] * n_targets)
    if scaling == "none":
        check_moves(next(iter(frames())).to_numpy(), list(columns), name, "scaler='standard'")
    return Scaler.fit_pieces(lambda: (frame.to_numpy() for frame in frames()), logarithmic, scaling)


def _frames(rows: TrainingSeries, start: int, stop: int, columns: list[Hashable]) -> Iterator[pd.DataFrame]:
    for _, frame in rows.pieces(start, stop, columns):
        yield frame


def _check_targets(
    rows: TrainingSeries,
    n_training: int,
    columns: list[Hashable],
    targets: list[Hashable],
    log1p: bool,
    bounds: Bounds,
    name: str,
) -> None:
    """Refuse a series with a target that has no value in its training rows, leaves its bounds or has no logarithm."""
    observed = np.zeros(len(targets), dtype=bool)
    for frame in _frames(rows, 0, n_training, columns):
        observed |= frame[targets].notna().any().to_numpy()
    if not observed.all():
        empty = targets[int(observed.argmin())]
        raise ValueError(
            f"{name} column {empty!r} has no value in rows {rows.index[0]} to {rows.index[n_training - 1]}"
        )
    if log1p or bounds.is_bounded:
        for frame in _frames(rows, 0, len(rows.index), columns):
            if log1p:
                check_above_minus_one(frame, targets, name)
            bounds.check(frame, targets, name)
