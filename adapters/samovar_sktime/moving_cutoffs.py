"""Windows of sktime's splitters as numbers of rows, for forecasts from many cutoffs at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sktime.split.base import BaseSplitter


def window_ends(cv: BaseSplitter, index: pd.Index) -> NDArray[np.int64] | None:
    """For each window of a splitter, the number of rows up to the window's last one.

    None where a window has a gap, or begins after the rows that the windows so far have shown: its cutoff
    does not know every row before it, so one frame cannot serve all cutoffs.

    Examples
    --------
    >>> from sktime.split import ExpandingWindowSplitter
    >>> window_ends(ExpandingWindowSplitter(fh=[1], initial_window=2, step_length=3), pd.RangeIndex(10))
    array([2, 5, 8])
    """
    ends: list[int] = []
    shown = 0
    for window, _ in cv.split(index):
        if len(window) == 0 or window[0] > shown or (np.diff(window) != 1).any():
            return None
        ends.append(int(window[-1]) + 1)
        shown = max(shown, ends[-1])
    return np.array(ends, dtype=np.int64) if ends else None
