"""Scaling of each series, fitted on training rows and undone on output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scaler:
    """An affine map per column: ``(values - center) / scale``.

    Shape
    -----
    center, scale : (n_columns,)

    Examples
    --------
    >>> scaler = Scaler.fit(np.array([[1.0], [3.0]]), "standard")
    >>> scaler.transform(np.array([[5.0]]))
    array([[3.]], dtype=float32)
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, values: NDArray[np.float64], kind: str) -> Scaler:
        """Mean and standard deviation of each column ("standard"), or the identity ("none").

        A constant column gets the scale 1.
        """
        n_columns = values.shape[1]
        if kind == "none":
            return cls(np.zeros(n_columns), np.ones(n_columns))
        deviation = values.std(axis=0)
        return cls(values.mean(axis=0), np.where(deviation > 0, deviation, 1.0))

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scale in double precision, then round to single: (n_rows, n_columns)."""
        return ((values - self.center) / self.scale).astype(np.float32)

    def inverse(self, values: NDArray[np.float32], n_targets: int) -> NDArray[np.float64]:
        """Back to the data's units, for the last `n_targets` columns: (..., n_targets)."""
        return values.astype(np.float64) * self.scale[-n_targets:] + self.center[-n_targets:]
