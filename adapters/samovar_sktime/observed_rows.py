"""The rows a forecaster has seen, kept so that taking in new ones costs the same at any length of history."""

from __future__ import annotations

from typing import Any

import pandas as pd


class ObservedRows:
    """One series, and the known covariates beside it, in the parts in which they arrived.

    Adding a part copies none of the others; they are joined only where a forecast needs them.

    Parameters
    ----------
    y : DataFrame
        The series, rows are time.
    known : DataFrame or None
        The known covariates with the index of `y`.

    Examples
    --------
    >>> rows = ObservedRows(pd.DataFrame({"a": [0.0, 1.0, 2.0]}), None)
    >>> rows.replace_from(pd.DataFrame({"a": [20.0, 30.0]}, index=[2, 3]), None)
    >>> rows.newest(3)[0]["a"].tolist(), rows.count_from(1)
    ([1.0, 20.0, 30.0], 3)
    """

    def __init__(self, y: pd.DataFrame, known: pd.DataFrame | None) -> None:
        self._parts = [(y, known)]

    @property
    def cutoff(self) -> pd.Index:
        """The label of the newest row, as an index of one."""
        return self._parts[-1][0].index[-1:]

    def replace_from(self, y: pd.DataFrame, known: pd.DataFrame | None) -> None:
        """Add rows; those seen before at the first label of `y` and after it are dropped."""
        while self._parts and self._parts[-1][0].index[-1] >= y.index[0]:
            part = self._parts.pop()
            n_kept = int(part[0].index.searchsorted(y.index[0]))
            if n_kept:
                self._parts.append(_rows(part, 0, n_kept))
        self._parts.append((y, known))

    def count_from(self, label: Any) -> int:
        """How many rows there are from a label on."""
        n_rows = 0
        for part in reversed(self._parts):
            position = int(part[0].index.searchsorted(label))
            n_rows += len(part[0]) - position
            if position:
                break
        return n_rows

    def newest(self, n_rows: int, before: Any = None) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """The `n_rows` newest rows, or as many as there are; only those before the label `before` if given."""
        found: list[tuple[pd.DataFrame, pd.DataFrame | None]] = []
        missing = n_rows
        for part in reversed(self._parts):
            end = len(part[0]) if before is None else int(part[0].index.searchsorted(before))
            found.append(_rows(part, max(0, end - missing), end))
            missing -= len(found[-1][0])
            if not missing:
                break
        if len(found) == 1:
            return found[0]
        y, known = zip(*reversed(found), strict=True)
        return pd.concat(y), None if known[0] is None else pd.concat(known)


def _rows(part: tuple[pd.DataFrame, pd.DataFrame | None], start: int, end: int) -> tuple[Any, Any]:
    y, known = part
    return y.iloc[start:end], None if known is None else known.iloc[start:end]
