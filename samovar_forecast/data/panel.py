"""Many series with the same columns, each with its own time axis; one series is a panel of one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from narwhals.typing import IntoDataFrame

from samovar_forecast.data.frames import match_axis, read_frame
from samovar_forecast.data.layout import Layout, LongTable, take_apart
from samovar_forecast.data.time_axis import Frequency, frequency_of

PandasPanel = pd.Series | pd.DataFrame | Mapping[Hashable, pd.Series | pd.DataFrame] | IntoDataFrame

PARTS_OF_DATES = ("year", "month", "day", "hour", "minute", "second")
_SHORTEST = 20  # rows, below which a column may count by chance


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

    def check_form(self, series: Panel) -> None:
        """Refuse covariates of one series beside a panel, and those of a panel beside one series.

        Raises
        ------
        ValueError
        """
        if (self.layout.kind == "single") != (series.layout.kind == "single"):
            raise ValueError(
                f"{self.name} must come in the form of {series.name}: one frame for one series; for a panel a frame "
                f"for each, e.g. {{name: {self.name} for name in {series.name}}}"
            )

    def beside(self, series: Panel) -> Panel:
        """These covariates on the time axes of their series.

        Raises
        ------
        ValueError
            If they are those of one series and `series` a panel, or the reverse, or if their time axis is of another
            kind.
        """
        self.check_form(series)
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
    given = take_apart(data, name, long)
    panel = Panel({}, given.layout, name)
    frames: dict[Hashable, pd.DataFrame] = {}
    for key, part in given.series.items():
        axis, called = _axis_of(key, axes or {}), panel.name_of(key)
        frame = read_frame(part, called, missing=missing, step=step, axis=axis, owner=owner)
        columns = list(next(iter(frames.values()), frame).columns)
        frames[key] = frame if given.layout.kind == "single" else align_columns(frame, columns, called, exact=True)
    return replace(panel, frames=frames)


def read_covariates(X: Any, series: Panel, long: LongTable | None, step: Frequency | None = None) -> Panel:
    """The known covariates of series, each frame in the time zone of its series.

    Raises
    ------
    TypeError, ValueError
        See `read_panel`; and if one of X and the series is a panel, and the other is not.
    """
    axes = {key: frame.index for key, frame in series.frames.items()}
    given = read_panel(X, "X", missing=True, step=step, axes=axes, owner=series.name, long=long)
    given.check_form(series)
    return given


def align_columns(data: pd.DataFrame, columns: Sequence[Hashable], name: str, *, exact: bool = False) -> pd.DataFrame:
    """The columns seen in `fit`, in their order; others are left out with a warning.

    Parameters
    ----------
    data : DataFrame
    columns : sequence
        Names of the columns.
    name : str
        What to call the data in an error.
    exact : bool, default False
        Whether other columns are an error.

    Raises
    ------
    ValueError
        If a column is missing, or with `exact` if there is another one.

    Examples
    --------
    >>> align_columns(pd.DataFrame({"a": [1], "b": [2]}), ["b", "a"], "y").columns.tolist()
    ['b', 'a']
    """
    given, wanted = list(data.columns), set(columns)
    missing = [column for column in columns if column not in given]
    extra = [column for column in given if column not in wanted]
    if missing or (extra and exact):
        parts = [f"lacks {missing}"] * bool(missing) + [f"has unknown {extra}"] * bool(extra)
        raise ValueError(f"{name} {' and '.join(parts)}; it must have the columns of fit: {list(columns)}")
    if extra:
        warnings.warn(f"{name} has the columns {extra} that fit did not see; they are not used", stacklevel=3)
    return data[list(columns)]


def select_rows(data: pd.DataFrame, index: pd.Index, name: str) -> pd.DataFrame:
    """The rows of a frame at the given labels.

    Raises
    ------
    ValueError
        If a label is missing; the message names the first of them.
    """
    missing = index.difference(data.index)
    if len(missing):
        extent = f"; it goes from {data.index[0]} to {data.index[-1]}" if len(data) else ""
        raise ValueError(
            f"{name} lacks {len(missing)} of the {len(index)} rows that are needed, the first of them {missing[0]}"
            + extent
        )
    return data.loc[index]


def warn_of_counting_columns(panel: Panel) -> None:
    """Warn of columns that are no series: parts of dates beside an index without dates, and numbers of the rows.

    Warns
    -----
    UserWarning
        With the columns, and code that makes an index of them or leaves them out.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_of_counting_columns(read_panel(pd.DataFrame({"No": range(1, 31), "load": 2.0})))
    >>> print(caught[0].message)
    y column 'No' counts the rows; if it is no series, leave it out: df.drop(columns=['No'])
    """
    if len(panel.columns) < 2:
        return
    frames = list(panel.frames.values())
    parts = {str(column).strip().lower(): column for column in panel.columns if isinstance(column, str)}
    dated = [parts[part] for part in PARTS_OF_DATES if part in parts]
    if "year" in parts and len(dated) > 1 and pd.api.types.is_integer_dtype(frames[0].index.dtype):
        warnings.warn(
            f"{panel.name} has the columns {dated} and an index of whole numbers; if they are its time, make dates of "
            f"them: df.set_index(pd.to_datetime(df[{dated}]))",
            stacklevel=2,
        )
    counting = [
        column
        for column in panel.columns
        if all((np.diff(frame[column].to_numpy()) == 1).all() for frame in frames)
        and max(map(len, frames)) >= _SHORTEST
    ]
    if counting and len(counting) < len(panel.columns):
        counts = f"column {counting[0]!r} counts" if len(counting) == 1 else f"columns {counting} count"
        it_is, it = ("it is no series", "it") if len(counting) == 1 else ("they are no series", "them")
        warnings.warn(
            f"{panel.name} {counts} the rows; if {it_is}, leave {it} out: df.drop(columns={counting})", stacklevel=2
        )
