"""What `fit` is given: its data, checked, and what is learnt of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.bounds import Bounds
from samovar_forecast.data.calendar_features import choose_calendar
from samovar_forecast.data.counting_columns import warn_of_counting_columns
from samovar_forecast.data.fitted_data import FittedData, FittedSeries
from samovar_forecast.data.frames import check_above_minus_one, order_columns, read_static, select_rows
from samovar_forecast.data.lengths import Lengths
from samovar_forecast.data.long_tables import LongTable
from samovar_forecast.data.panel import Layout, Panel, read_panel
from samovar_forecast.data.scaling import Scaler, fit_scaler, scale_frame, warn_of_raised_scales
from samovar_forecast.data.stored_series import StoredSeries
from samovar_forecast.data.time_axis import Frequency
from samovar_forecast.data.windows import Windows


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
        scaled_known = None if known is None else fitted.scaled_known(known, f"X{name.removeprefix('y')}")
        at = cutoffs(len(rows.index), n_rows)
        parts.append(fitted.windows_before(at, values, scaled_known, static))
        n_kept = lengths.context + lengths.output
        history = rows.rows(slice(max(0, len(rows.index) - n_kept), len(rows.index)), columns)
        series[key] = fitted.newest(history, known, scaler, static, number)
    warn_of_raised_scales(scalers, columns)
    return replace(fitted, series=series), Windows.join(parts)


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
