"""What `fit` is given: its data, checked, and what is learnt of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from samovar_forecast.data.bounds import Bounds
from samovar_forecast.data.calendar_features import choose_calendar
from samovar_forecast.data.fitted_data import FittedData, FittedSeries
from samovar_forecast.data.frames import read_static
from samovar_forecast.data.layout import Layout, LongTable
from samovar_forecast.data.lengths import Lengths
from samovar_forecast.data.panel import read_covariates, read_panel, select_rows, warn_of_counting_columns
from samovar_forecast.data.scaling import Scaler, fit_scaler, scale_frame, scale_known, warn_of_raised_scales
from samovar_forecast.data.stored_series import StoredSeries
from samovar_forecast.data.time_axis import Frequency
from samovar_forecast.data.windows import Windows, window_cutoffs


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
    known_columns: list[Hashable] = []
    known: dict[Hashable, pd.DataFrame] = {}
    if X is not None:
        given = read_covariates(X, panel, panel.layout.long)
        lacking = [key for key in panel.frames if key not in given.frames]
        if lacking:
            raise ValueError(f"X lacks the series {lacking}; it has {list(given.frames)}")
        known_columns = given.columns
        for key, frame in panel.frames.items():
            known[key] = select_rows(given.frames[key], frame.index, given.name_of(key))
    elif features:
        known = {key: frame[[]] for key, frame in panel.frames.items()}
    if static is not None:
        if panel.layout.kind == "single":
            raise ValueError("static tells the series of a panel apart, and y is a single one")
        static = read_static(static if long is None else long.names_of(static))
        lacking = [key for key in panel.frames if key not in static.index]
        if lacking:
            raise ValueError(f"static lacks the series {lacking}; give a row for each")
    series = {key: FrameSeries(frame) for key, frame in panel.frames.items()}
    return TrainingData(series, names, columns, chosen, frequency, panel.layout, features, known_columns, known, static)


def order_columns(data: pd.DataFrame, targets: Sequence[Hashable] | None) -> tuple[list[Hashable], list[Hashable]]:
    """The targets, and all columns in the order of the networks: covariates first, targets last.

    Of columns with several levels, a target may be the name of a whole group.

    Raises
    ------
    TypeError
        If `targets` is a single string, or no sequence.
    ValueError
        If a target is no column of the data, is named twice, or there is none.

    Examples
    --------
    >>> order_columns(pd.DataFrame({"a": [1], "b": [2], "c": [3]}), ["a"])
    (['a'], ['b', 'c', 'a'])
    >>> order_columns(pd.DataFrame({("g", "a"): [1], ("h", "b"): [2], ("g", "c"): [3]}), ["g"])[0]
    [('g', 'a'), ('g', 'c')]
    """
    columns: list[Hashable] = list(data.columns)
    if targets is None:
        return columns, columns
    if isinstance(targets, str) or not isinstance(targets, Iterable):
        raise TypeError(f"targets must be a sequence of column names, got {targets!r}; use [{targets!r}]")
    given = list(targets)
    groups = [_group(data.columns, target) for target in given]
    chosen = [column for group in groups for column in group]
    if not all(groups) or not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"targets must name columns of y, each once: got {given}, y has {columns}")
    return chosen, [column for column in columns if column not in chosen] + chosen


def _group(columns: pd.Index, target: Hashable) -> list[Hashable]:
    """The column of a name, or those whose first levels are that name."""
    if target in list(columns) or columns.nlevels == 1:
        return [column for column in columns if column == target]
    first = target if isinstance(target, tuple) else (target,)
    return [column for column in columns if column[: len(first)] == first]


def learn(
    data: TrainingData,
    n_training: Sequence[int],
    horizon: int,
    lengths: Lengths,
    scaling: str,
    log1p: bool,
    bounds: Bounds,
) -> tuple[FittedData, Windows]:
    """What a forecaster keeps of its training data, and every window of them, scaled by the training rows.

    Parameters
    ----------
    data : TrainingData
    n_training : sequence of int
        Rows of each series that train; the newer ones are held out.
    horizon, lengths, scaling, log1p, bounds
        See `FittedData`.

    Raises
    ------
    ValueError
        If a target has no value in the training rows, or a value does not suit the scaling or the bounds; the message
        names it.
    """
    columns, targets = data.columns, data.targets
    given = [(key, data.names[key], rows, n) for (key, rows), n in zip(data.series.items(), n_training, strict=True)]
    for _, name, rows, n in given:
        _check_targets(rows, n, columns, targets, log1p, bounds, name)
    scalers: dict[str, tuple[Scaler, Scaler]] = {}
    values: dict[Hashable, NDArray[np.float32]] = {}
    for key, name, rows, n in given:
        unbounded = fit_scaler(partial(rows.pieces, 0, n, columns), columns, len(targets), scaling, log1p, name)
        held_out = rows.pieces(n, len(rows.index), columns) if scaling != "none" else iter(())
        scaler = unbounded.bounded_by(frame.to_numpy() for _, frame in held_out)
        scalers[name] = unbounded, scaler
        values[key] = rows.scaled(columns, partial(scale_frame, scaler=scaler, name=name))
    warn_of_raised_scales(scalers, columns)
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
    shape = (lengths.context, lengths.output, len(targets))
    for number, (key, name, rows, n) in enumerate(given):
        known, static, scaled_known = data.known.get(key), statics.get(key), None
        if known is not None:
            of_known = f"X{name.removeprefix('y')}"
            scaled_known = torch.from_numpy(scale_known(known, known_scaler, data.calendar, of_known))
        cutoffs = window_cutoffs(len(rows.index), n, lengths.context, lengths.output)
        of_static = None if static is None else torch.from_numpy(static)
        parts.append(Windows.before(cutoffs, torch.from_numpy(values.pop(key)), *shape, scaled_known, of_static))
        n_kept = lengths.context + lengths.output
        history = rows.rows(slice(max(0, len(rows.index) - n_kept), len(rows.index)), columns)
        series[key] = fitted.newest(history, known, scalers[name][1], static, number)
    return replace(fitted, series=series), Windows.join(parts)


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
    for _, frame in rows.pieces(0, n_training, columns):
        observed |= frame[targets].notna().any().to_numpy()
    if not observed.all():
        empty = targets[int(observed.argmin())]
        raise ValueError(
            f"{name} column {empty!r} has no value in rows {rows.index[0]} to {rows.index[n_training - 1]}"
        )
    if log1p or bounds.is_bounded:
        for _, frame in rows.pieces(0, len(rows.index), columns):
            bounds.check(frame, targets, name, log1p=log1p)
