"""Many series with the same columns, each with its own time axis; one series is a panel of one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd
from narwhals.typing import IntoDataFrame

from samovar_forecast.data.frames import align_columns, read_frame
from samovar_forecast.data.long_tables import LongTable, as_pandas, hint_at_columns, library_of
from samovar_forecast.data.time_axis import Frequency, frequency_of, match_axis

PandasPanel = pd.Series | pd.DataFrame | Mapping[Hashable, pd.Series | pd.DataFrame] | IntoDataFrame


@dataclass(frozen=True)
class Layout:
    """The form in which series come and forecasts go.

    Attributes
    ----------
    kind : {"single", "dict", "multiindex"}
        A single series, a mapping from names to series, or an index whose last level is time.
    is_series : bool
        Whether a series is a pandas Series, not a DataFrame.
    names : tuple
        Names of the levels of a MultiIndex before the time.
    column_names : tuple
        Names of the levels of the columns.
    is_named : bool
        Whether a Series has a name.
    long : LongTable or None
        The columns of names and time of a long table.
    """

    kind: Literal["single", "dict", "multiindex"] = "single"
    is_series: bool = False
    names: tuple[Hashable, ...] = ()
    column_names: tuple[Hashable, ...] = (None,)
    is_named: bool = True
    long: LongTable | None = None

    def labelled_as(self, data: Any) -> Layout:
        """The same form, with the labels that a series or frame has for its columns."""
        if isinstance(data, pd.DataFrame):
            return replace(self, column_names=tuple(data.columns.names))
        return replace(self, is_named=not isinstance(data, pd.Series) or data.name is not None)

    def columns(self, labels: Sequence[Hashable]) -> pd.Index:
        """An index of columns with these labels."""
        if len(self.column_names) > 1:
            return pd.MultiIndex.from_tuples(labels, names=self.column_names)  # type: ignore[arg-type]
        return pd.Index(list(labels), name=self.column_names[0], tupleize_cols=False)

    def assemble(self, frames: Mapping[Hashable, pd.DataFrame]) -> Any:
        """Give frames by key back in this form."""
        parts: dict[Hashable, Any] = dict(frames)
        if self.is_series and all(frame.shape[1] == 1 for frame in frames.values()):
            parts = {key: frame.iloc[:, 0] for key, frame in frames.items()}
            if not self.is_named:
                parts = {key: part.rename(None) for key, part in parts.items()}
        if self.kind == "dict":
            return parts
        first = next(iter(parts.values()))
        frame = first if self.kind == "single" else pd.concat(parts, names=[*self.names, first.index.name])
        return frame if self.long is None else self.long.write(frame)


@dataclass(frozen=True)
class Panel:
    """Frames by key, with the same columns in the same order.

    The key of a single series is None.

    Attributes
    ----------
    frames : dict
    layout : Layout
    name : str
        What to call the data in an error.
    """

    frames: dict[Hashable, pd.DataFrame]
    layout: Layout
    name: str

    @property
    def columns(self) -> list[Hashable]:
        """Names of the columns, which all frames share."""
        return list(next(iter(self.frames.values())).columns)

    def name_of(self, key: Hashable) -> str:
        """What to call the series of a key in an error."""
        return self.name if self.layout.kind == "single" else f"{self.name} of series {key!r}"

    def map(self, change: Callable[[pd.DataFrame, str], pd.DataFrame]) -> Panel:
        """Replace every frame by what a function of the frame and its name gives."""
        return replace(self, frames={key: change(frame, self.name_of(key)) for key, frame in self.frames.items()})

    def align(self, columns: Sequence[Hashable]) -> Panel:
        """Every frame with these columns, in this order, others left out with one warning; see `align_columns`."""
        key, first = next(iter(self.frames.items()))
        name = self.name_of(key) if len(self.frames) == 1 else self.name
        used = align_columns(first.iloc[:0], columns, name).columns
        return self if used.equals(first.columns) else self.map(lambda frame, _: frame[list(used)])

    def beside(self, series: Panel) -> Panel:
        """These covariates on the time axes of their series.

        Raises
        ------
        ValueError
            If they are those of one series and `series` a panel, or the reverse, or if their time axis is of another
            kind.
        """
        if (self.layout.kind == "single") != (series.layout.kind == "single"):
            raise ValueError(
                f"{self.name} must come in the form of {series.name}: one frame for one series; for a panel a frame "
                f"for each, e.g. {{name: {self.name} for name in {series.name}}}"
            )
        return self.on_axes({key: frame.index for key, frame in series.frames.items()}, series.name)

    def on_axes(self, axes: Mapping[Hashable, pd.Index], owner: str) -> Panel:
        """Every frame in the time zone of its series; see `match_axis`.

        A series without a time axis here takes the zone that all others share; where they have several, it keeps its
        own.
        """
        frames = {}
        for key, frame in self.frames.items():
            axis = _axis_of(key, axes)
            index = frame.index if axis is None else match_axis(frame.index, axis, self.name_of(key), owner)
            frames[key] = frame if index is frame.index else frame.set_axis(index, axis=0)
        return replace(self, frames=frames)

    def frequency(self, default: Frequency | None = None) -> Frequency:
        """The step that the time axes share.

        That of the longest one, or where its few labels allow several, one that leads along all of them.

        Raises
        ------
        ValueError
            If a series has another step than the longest one.
        """
        longest = max(self.frames, key=lambda key: len(self.frames[key]))
        common = frequency_of(self.frames[longest].index, self.name_of(longest), default)
        for key in self.frames:
            own = self._step_of(key, common)
            if own == common:
                continue
            if all(self._step_of(other, own) == own for other in self.frames):
                return own
            raise ValueError(f"{self.name_of(key)} has a step of {own}, {self.name_of(longest)} one of {common}")
        return common

    def _step_of(self, key: Hashable, default: Frequency) -> Frequency:
        return frequency_of(self.frames[key].index, self.name_of(key), default=default)


def _axis_of(key: Hashable, axes: Mapping[Hashable, pd.Index]) -> pd.Index | None:
    """The time axis of a series, or for one without, any one of those that are all in one zone."""
    if key in axes or not axes:
        return axes.get(key)
    first, *others = axes.values()
    zone = getattr(first, "tz", None)
    alike = all(type(axis) is type(first) and getattr(axis, "tz", None) == zone for axis in others)
    return first if alike else None


def read_panel(
    data: Any,
    name: str = "y",
    *,
    missing: bool = False,
    step: Frequency | None = None,
    axes: Mapping[Hashable, pd.Index] | None = None,
    owner: str = "the training data",
    long: LongTable | None = None,
) -> Panel:
    """Check series in any of their forms and return them as float64 frames by key.

    Parameters
    ----------
    data : Series, DataFrame or mapping from names to them
        One series, with a time index; or many, as a mapping, or with a MultiIndex whose last level is time and
        whose other levels name the series.
    name, missing, step, owner
        See `read_frame`.
    axes : mapping from names to Index, or None
        Time axes whose zones the series take, that of one series under None; see `Panel.on_axes`.
    long : LongTable or None
        Where a long table has names and time; data in another form are read as they are.

    Raises
    ------
    TypeError, ValueError
        See `read_frame`; and if a series has other columns than the first. The message names the series.

    Examples
    --------
    >>> panel = read_panel({"a": pd.Series([1.0, 2.0]), "b": pd.Series([3.0, 4.0, 5.0])})
    >>> list(panel.frames), panel.columns
    (['a', 'b'], ['y'])
    """
    table = None if long is None else long.read(data, name)
    if long is not None and table is not None:
        panel = read_panel(table, name, missing=missing, step=step, axes=axes, owner=owner)
        return replace(panel, layout=replace(panel.layout, long=replace(long, library=library_of(data))))
    if isinstance(data, Mapping):
        parts: dict[Hashable, Any] = dict(data)
        layout = Layout("dict", bool(parts) and all(isinstance(part, pd.Series) for part in parts.values()))
        first = next(iter(parts.values()), None)
    elif isinstance(data, (pd.Series, pd.DataFrame)) and isinstance(data.index, pd.MultiIndex):
        levels: list[Any] = list(range(data.index.nlevels - 1))
        if not levels:
            raise TypeError(f"{name} has a MultiIndex of one level; it needs the names of the series, then time")
        layout = Layout("multiindex", isinstance(data, pd.Series), tuple(data.index.names[:-1]))
        first = data
        for level in levels:
            unnamed = data.index.get_level_values(level).isna()
            if unnamed.any():
                raise ValueError(f"{name} has a row without the name of its series: row {int(unnamed.argmax())}")
        groups = data.groupby(level=levels if len(levels) > 1 else 0, sort=False, observed=True)
        parts = {key: part.droplevel(levels) for key, part in groups}
    else:
        _check_is_wide(data, name)
        layout = Layout("single", isinstance(data, pd.Series)).labelled_as(data)
        axis = _axis_of(None, axes or {})
        frame = read_frame(data, name, missing=missing, step=step, axis=axis, owner=owner)
        return Panel({None: frame}, layout, name)
    if not parts:
        raise ValueError(f"{name} is empty: it holds no series")
    if layout.is_series:
        given = {part.name for part in parts.values()}
        common = given.pop() if len(given) == 1 else None
        parts = {key: part.rename(name if common is None else common) for key, part in parts.items()}
    panel = Panel(parts, layout.labelled_as(first), name)
    frames: dict[Hashable, pd.DataFrame] = {}
    for key, part in parts.items():
        axis, called = _axis_of(key, axes or {}), panel.name_of(key)
        frame = read_frame(part, called, missing=missing, step=step, axis=axis, owner=owner)
        columns = list(next(iter(frames.values()), frame).columns)
        frames[key] = align_columns(frame, columns, called, exact=True)
    return replace(panel, frames=frames)


def _check_is_wide(data: Any, name: str) -> None:
    """Refuse a long table whose columns were not named, with the names that it probably has."""
    if isinstance(data, pd.Series) or as_pandas(data) is None:
        return
    hint = hint_at_columns(data)
    if hint and (not isinstance(data, pd.DataFrame) or "id_column" in hint):
        raise TypeError(
            f"{name} has its time in a column, and no index; name the columns of time and of the names of series: "
            f"{hint}"
        )
