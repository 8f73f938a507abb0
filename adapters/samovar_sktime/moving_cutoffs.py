"""Forecasts from many cutoffs over one frame, in large batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sktime.split.base import BaseSplitter
from torch import Tensor

from samovar_forecast.forecaster import Forecaster
from samovar_forecast.rolling import forecast_cutoffs


def window_ends(cv: BaseSplitter, y: Any) -> NDArray[np.int64] | None:
    """For each window of a splitter, the number of rows of `y` up to the window's last one.

    None where a window has a gap, or begins behind the rows that the windows so far have shown: its cutoff
    does not know every row in front of it, so one frame cannot serve all cutoffs.

    Examples
    --------
    >>> from sktime.split import ExpandingWindowSplitter
    >>> window_ends(ExpandingWindowSplitter(fh=[1], initial_window=2, step_length=3), pd.RangeIndex(10))
    array([2, 5, 8])
    """
    ends: list[int] = []
    shown = 0
    for window, _ in cv.split(y):
        if len(window) == 0 or window[0] > shown or (np.diff(window) != 1).any():
            return None
        ends.append(int(window[-1]) + 1)
        shown = max(shown, ends[-1])
    return np.array(ends, dtype=np.int64) if ends else None


def forecast_behind(
    core: Forecaster, rows: pd.DataFrame, known: pd.DataFrame | None, ends: NDArray[np.int64], steps: int
) -> NDArray[np.float64]:
    """Forecast `steps` rows behind the first `end` rows of a frame, for each of the ends, in large batches.

    A context that reaches back beyond the first row is padded by repeating that row.

    Parameters
    ----------
    core : Forecaster
        Fitted.
    rows : DataFrame
        The series, in the order of `core.columns_`.
    known : DataFrame or None
        The known covariates beside `rows`.
    ends : ndarray
        Rows in front of each forecast.
    steps : int
        Rows to forecast from each end.

    Shape
    -----
    rows : (n_rows, n_series)
    ends : (n_cutoffs,)
    output : (n_cutoffs, steps, n_targets)
    """

    def padded(values: Tensor) -> Tensor:
        return torch.cat([values[:1].expand(core.context_length_, -1), values])

    values, scaled_known = core._scaled(rows, known)
    cutoffs = torch.from_numpy(ends) + core.context_length_
    forecast = forecast_cutoffs(
        core.network_, padded(values), cutoffs, steps, None if scaled_known is None else padded(scaled_known)
    )
    return core.scaler_.inverse(forecast, len(core.targets_))
