"""Which rows of a series a forecasting horizon asks for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sktime.forecasting.base import ForecastingHorizon

from samovar_forecast.data.time_axis import Frequency, continue_index
from samovar_sktime.observed_rows import ObservedRows


class RowsAsked(NamedTuple):
    """The rows to forecast of one series.

    Attributes
    ----------
    labels : Index
        Their labels.
    steps : ndarray
        How many rows after the newest one each lies; 0 is the newest row itself, less is further back.
    """

    labels: pd.Index
    steps: NDArray[np.int64]


def rows_asked(fh: ForecastingHorizon, observed: ObservedRows, frequency: Frequency, name: str) -> RowsAsked:
    """The rows of a series that a forecasting horizon asks for, counted from its own newest row.

    A relative horizon counts rows; of an integer index, and given as durations, it is a difference of labels. An
    absolute one holds labels.

    Parameters
    ----------
    fh : ForecastingHorizon
    observed : ObservedRows
        The series.
    frequency : offset or int
        The step of its index.
    name : str
        What to call the series in an error.

    Raises
    ------
    TypeError
        If the labels are of another kind than the index.
    ValueError
        If a label lies before the first row, or between two rows.

    Examples
    --------
    >>> seen = ObservedRows(pd.DataFrame({"a": range(5)}, index=pd.RangeIndex(10, 15)), None)
    >>> rows_asked(ForecastingHorizon([13, 16], is_relative=False), seen, 1, "y").steps
    array([-1,  2])
    """
    last, asked = observed.cutoff, fh.to_pandas()
    is_number = pd.api.types.is_integer_dtype(last.dtype)
    if fh.is_relative and asked.dtype.kind == "i" and not is_number:
        steps = asked.to_numpy(dtype=np.int64)
        n_seen = max(1, 1 - int(steps.min()))
        seen = observed.newest(n_seen)[0].index
        if len(seen) < n_seen:
            raise ValueError(f"fh reaches back {n_seen - 1} rows before {last[0]}, but {name} begins at {seen[0]}")
        axis = _joined(seen, continue_index(last, frequency, max(0, int(steps.max()))), frequency)
        return RowsAsked(axis.take(steps - 1 + n_seen), steps)
    labels = last[0] + asked if fh.is_relative else asked
    if not is_number and not isinstance(labels, type(last)):
        raise TypeError(f"fh holds labels of {type(labels).__name__}, the index of {name} is a {type(last).__name__}")
    seen = observed.newest(max(1, observed.count_from(labels.min())))[0].index
    axis = _joined(seen, _continued_to(last, labels.max(), frequency), frequency)
    positions = axis.get_indexer(labels)
    if (positions < 0).any():
        label = labels[int((positions < 0).argmax())]
        if label < axis[0]:
            raise ValueError(f"fh reaches back to {label}, but {name} begins at {axis[0]}")
        raise ValueError(f"fh asks for {label}, and {name} has no row there: its index has a step of {frequency}")
    return RowsAsked(axis.take(positions), positions + 1 - len(seen))


def check_covers(X: pd.DataFrame, observed: ObservedRows, n_steps: int, frequency: Frequency) -> None:
    """Refuse known covariates with gaps between the newest row and the last step to forecast.

    sktime's splitters pass the rows of the forecasting horizon only, and forecasts roll through all steps before them.

    Raises
    ------
    ValueError
        With the rows that are missing.
    """
    if n_steps < 1 or len(X) == 0 or type(X.index) is not type(observed.cutoff):
        return
    needed = continue_index(observed.cutoff, frequency, n_steps)
    missing = needed.difference(X.index)
    if 0 < len(missing) < n_steps:
        raise ValueError(
            f"X is needed at steps 1 to {n_steps}, through which the forecast of step {n_steps} rolls, and lacks "
            f"{len(missing)} of them, such as {missing[0]}; with a splitter use fh=range(1, {n_steps + 1})"
        )


def _continued_to(last: pd.Index, label: Any, frequency: Frequency) -> pd.Index:
    """The labels after the last one up to another."""
    n_rows = 1
    while (index := continue_index(last, frequency, n_rows))[-1] < label:
        n_rows *= 2
    return index[: int(index.searchsorted(label, side="right"))]


def _joined(seen: pd.Index, ahead: pd.Index, frequency: Frequency) -> pd.Index:
    """An index and what follows it, with the frequency that pandas drops."""
    if len(ahead) == 0:
        return seen
    axis = seen.append(ahead)
    if isinstance(axis, pd.DatetimeIndex) and not isinstance(frequency, int):
        return pd.DatetimeIndex(axis, freq=frequency)
    return axis
