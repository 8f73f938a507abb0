"""Columns that tell the time or count the rows, where series are expected."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from samovar_forecast.data.panel import Panel

PARTS_OF_DATES = ("year", "month", "day", "hour", "minute", "second")
_SHORTEST = 20  # rows, below which a column may count by chance


def warn_of_counting_columns(panel: Panel) -> None:
    """Warn of columns that are no series: parts of dates beside an index without dates, and numbers of the rows.

    Warns
    -----
    UserWarning
        With the columns, and code that makes an index of them or leaves them out.

    Examples
    --------
    >>> from samovar_forecast.data.panel import read_panel
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
