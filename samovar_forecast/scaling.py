"""Scaling of each series, fitted on training rows and undone on output."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NORMAL_IQR = 1.3489795  # interquartile range of a normal distribution with deviation 1


@dataclass(frozen=True)
class Scaler:
    """A map per column: ``(values - center) / scale``, of ``log(1 + values)`` where the column is logarithmic.

    Shape
    -----
    center, scale, logarithmic : (n_columns,)

    Examples
    --------
    >>> scaler = Scaler.fit(np.array([[1.0], [3.0]]), "standard")
    >>> scaler.transform(np.array([[5.0]]))
    array([[3.]], dtype=float32)
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    logarithmic: NDArray[np.bool_]

    @classmethod
    def fit(cls, values: NDArray[np.float64], kind: str, logarithmic: NDArray[np.bool_] | None = None) -> Scaler:
        """Center and scale of each column, over what was observed.

        Mean and standard deviation ("standard"); median and interquartile range, as a multiple of that of the
        normal distribution ("robust"); or the identity ("none"). A column of which more than half is one value
        is scaled by its deviation in the robust way too. A constant column gets the scale 1, a column without
        any observation the identity.
        """
        n_columns = values.shape[1]
        logarithmic = np.zeros(n_columns, dtype=bool) if logarithmic is None else logarithmic
        center, scale = np.zeros(n_columns), np.ones(n_columns)
        if kind == "none":
            return cls(center, scale, logarithmic)
        values = _take_logarithms(values, logarithmic)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of columns without any observation
            center, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
            if kind == "robust":
                low, center, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=0)
                scale = np.where(high > low, (high - low) / _NORMAL_IQR, scale)
        varies = scale > 1e-14 * np.abs(center)  # the deviation of a constant is not always 0 in floating point
        return cls(np.nan_to_num(center), np.where(varies, scale, 1.0), logarithmic)

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scale in double precision, then round to single: (..., n_columns), or only the last of the columns."""
        last = slice(-values.shape[-1], None)
        scaled = (_take_logarithms(values, self.logarithmic[last]) - self.center[last]) / self.scale[last]
        return scaled.astype(np.float32)

    def inverse(self, values: NDArray[np.floating[Any]], n_targets: int) -> NDArray[np.float64]:
        """Back to the data's units, for the last `n_targets` columns: (..., n_targets)."""
        undone = values.astype(np.float64) * self.scale[-n_targets:] + self.center[-n_targets:]
        logarithmic = self.logarithmic[-n_targets:]
        if not logarithmic.any():
            return undone
        return np.where(logarithmic, np.expm1(np.where(logarithmic, undone, 0.0)), undone)


def _take_logarithms(values: NDArray[np.float64], logarithmic: NDArray[np.bool_]) -> NDArray[np.float64]:
    if not logarithmic.any():
        return values
    return np.where(logarithmic, np.log1p(np.where(logarithmic, values, 0.0)), values)
