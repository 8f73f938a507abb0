"""Scaling of each series, fitted on training rows and undone on output."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LARGEST_SCALED = 1e15  # sums of squares of thousands of such values still are single-precision numbers
SMALLEST_DEVIATION = 1e-10  # networks without a scaler in front add 1e-8 and more to the deviation of a window
_LARGEST_LOGARITHM = 700.0  # whose exponential still is a number
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
        is scaled by its deviation in the robust way too. A column that moves by no more than rounding is scaled by
        its size, one that is 0 throughout, or was never observed, not at all.
        """
        n_columns = values.shape[1]
        logarithmic = np.zeros(n_columns, dtype=bool) if logarithmic is None else logarithmic
        center, scale = np.zeros(n_columns), np.ones(n_columns)
        if kind == "none":
            return cls(center, scale, logarithmic)
        values = _take_logarithms(values, logarithmic)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of columns without any observation
            largest = np.nan_to_num(np.nanmax(np.abs(values), axis=0))
            # Not by the deviation: that of a constant is far from 0 where many rows have been summed.
            spread = np.nan_to_num(np.nanmax(values, axis=0) / 2 - np.nanmin(values, axis=0) / 2) * 2
            # A power of two changes no digit, and the squares of what is left neither overflow nor vanish.
            exponent = np.frexp(largest)[1]
            values = np.ldexp(values, -exponent)
            center, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
            if kind == "robust":
                low, center, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=0)
                scale = np.where(high > low, (high - low) / _NORMAL_IQR, scale)
        center, scale = np.ldexp(np.nan_to_num(center), exponent), np.ldexp(np.nan_to_num(scale), exponent)
        return cls(center, np.where(spread > 2 * np.spacing(largest), scale, _size(largest)), logarithmic)

    @classmethod
    def fit_pieces(cls, pieces: Callable[[], Iterable[NDArray[np.float64]]], logarithmic: NDArray[np.bool_]) -> Scaler:
        """What `fit` of kind "standard" gives for rows that do not fit into memory together; they are read twice.

        Shape
        -----
        pieces : each (n_rows, n_columns)
        """
        counts, sums = np.zeros(len(logarithmic)), np.zeros(len(logarithmic))
        low, high = np.full(len(logarithmic), np.inf), np.full(len(logarithmic), -np.inf)
        for values in pieces():
            values = _take_logarithms(values, logarithmic)
            counts += np.isfinite(values).sum(axis=0)
            sums += np.nansum(values, axis=0)
            low, high = np.fmin(low, np.fmin.reduce(values)), np.fmax(high, np.fmax.reduce(values))
        center = sums / np.maximum(counts, 1)
        squares = np.zeros(len(logarithmic))
        for values in pieces():
            squares += np.nansum((_take_logarithms(values, logarithmic) - center) ** 2, axis=0)
        scale = np.sqrt(squares / np.maximum(counts, 1))
        low, high = np.where(counts > 0, low, 0.0), np.where(counts > 0, high, 0.0)
        largest = np.maximum(np.abs(low), np.abs(high))
        return cls(center, np.where(high - low > 2 * np.spacing(largest), scale, _size(largest)), logarithmic)

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scale in double precision, then round to single: (..., n_columns), or only the last of the columns."""
        last = slice(-values.shape[-1], None)
        scaled = (_take_logarithms(values, self.logarithmic[last]) - self.center[last]) / self.scale[last]
        with np.errstate(over="ignore"):  # see `scale_frame`
            return scaled.astype(np.float32)

    def inverse(self, values: NDArray[np.floating[Any]], n_targets: int) -> NDArray[np.float64]:
        """Back to the data's units, for the last `n_targets` columns: (..., n_targets)."""
        undone = values.astype(np.float64)
        undone *= self.scale[-n_targets:]  # in place: a backtest may be larger than anything else in memory
        undone += self.center[-n_targets:]
        logarithmic = self.logarithmic[-n_targets:]
        if not logarithmic.any():
            return undone
        return np.where(logarithmic, np.expm1(np.where(logarithmic, undone.clip(max=_LARGEST_LOGARITHM), 0.0)), undone)

    def inverse_quantiles(self, quantiles: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Back to the data's units, for the last columns: (..., n_targets, n_levels) to the same shape."""
        by_level = np.moveaxis(quantiles, -1, 0)
        return np.moveaxis(self.inverse(by_level, by_level.shape[-1]), 0, -1)


def _size(largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scale of constants: their size, 1 for zeros and for columns without a value."""
    return np.where((largest > 0) & np.isfinite(largest), largest, 1.0)


def _take_logarithms(values: NDArray[np.float64], logarithmic: NDArray[np.bool_]) -> NDArray[np.float64]:
    if not logarithmic.any():
        return values
    return np.where(logarithmic, np.log1p(np.where(logarithmic, values, 0.0)), values)


def scale_frame(frame: pd.DataFrame, scaler: Scaler, name: str) -> NDArray[np.float32]:
    """Scale a frame for a network.

    Raises
    ------
    ValueError
        If a value is too large for a network to compute with; the message names column and row.
    """
    scaled = scaler.transform(frame.to_numpy())
    wrong = np.abs(scaled) > LARGEST_SCALED
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{name} column {frame.columns[column]!r} is {frame.iloc[row, column]} at {frame.index[row]}, more than "
            f"{LARGEST_SCALED:.0e} scales away from the center of the training rows, and too far for single precision: "
            "mend it, replace it by NaN if it was not observed, or fit again on such values with scaler='standard'"
        )
    return scaled


def check_moves(values: NDArray[np.float64], columns: Sequence[Hashable], name: str, mend: str) -> None:
    """Refuse columns that move too little for a network to see without a scaler.

    Raises
    ------
    ValueError
        With the name of the first such column, and how to mend it.

    Shape
    -----
    values : (n_rows, n_columns)
    """
    scale = Scaler.fit(values, "standard").scale
    small = scale < SMALLEST_DEVIATION
    if small.any():
        column = int(small.argmax())
        raise ValueError(
            f"{name} column {columns[column]!r} has a standard deviation of {scale[column]:.1e}, too small for a "
            f"network to see: scale it, e.g. with {mend}"
        )
