"""Scaling of each series, fitted on training rows and undone on output."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.preprocessing import RobustScaler

from samovar_forecast.data.calendar_features import calendar_features
from samovar_forecast.data.ignored_warnings import warnings_ignored

LARGEST_SCALED = 1e15  # sums of squares of thousands of such values still are single-precision numbers
SMALLEST_DEVIATION = 1e-10  # networks without a scaler before them add 1e-8 and more to the deviation of a window
_LARGEST_LOGARITHM = 700.0  # whose exponential still is a number
# What held-out rows may reach, in scales, before a column gets another scale. Their deviation from their own mean tells
# a column that hardly moved before from one that drifts: of 5,000 random walks, the last fifth held out, 2 reach 3 of
# it, and 8 % reach 3 of the deviation from the center of training, but .4 % reach 5. Straight lines reach .3 and 2.2.
_LARGEST_MOVEMENT, _LARGEST_HELD_OUT = 3.0, 5.0
_LARGEST_RATIO = 3.0  # of the deviation of one part of a column to the scale that another part gives


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
        normal distribution ("robust"); or the identity ("none"). What a robust scale leaves out may still not decide
        the loss: a column of which more than half is one value is scaled by its deviation, and the scale is at least
        a third of what the middle 90 % of the values give. A column that moves by no more than rounding is scaled
        by its size, one that is 0 throughout, or was never observed, not at all.

        Parameters
        ----------
        values : ndarray
            The training rows; NaN where not observed.
        kind : {"standard", "robust", "none"}
        logarithmic : ndarray of bool, optional
            The columns of which ``log(1 + values)`` is scaled.

        Shape
        -----
        values : (n_rows, n_columns)
        logarithmic : (n_columns,)
        """
        return cls.fit_pieces(lambda: [values], logarithmic, kind)

    @classmethod
    def fit_pieces(
        cls,
        pieces: Callable[[], Iterable[NDArray[np.float64]]],
        logarithmic: NDArray[np.bool_] | None = None,
        kind: str = "standard",
    ) -> Scaler:
        """What `fit` gives for rows that do not fit into memory together; they are read twice.

        Shape
        -----
        pieces : each (n_rows, n_columns)

        Raises
        ------
        TypeError
            If the kind is "robust" and there are several pieces, whose quantiles cannot be put together.
        """
        low, high = _extremes(pieces, logarithmic)
        logarithmic = np.zeros(len(low), dtype=bool) if logarithmic is None else logarithmic
        if kind == "none":
            return cls(np.zeros(len(low)), np.ones(len(low)), logarithmic)
        largest = np.maximum(np.abs(low), np.abs(high))
        # A power of two changes no digit, and the squares of what is left neither overflow nor vanish.
        exponent = np.frexp(largest)[1]
        normed = (np.ldexp(_take_logarithms(values, logarithmic), -exponent) for values in pieces())
        with warnings_ignored(category=RuntimeWarning):  # of columns without any observation
            center, scale = _robust(*normed) if kind == "robust" else _standard(normed)
        center, scale = np.ldexp(np.nan_to_num(center), exponent), np.ldexp(np.nan_to_num(scale), exponent)
        # Not by the deviation: that of a constant is far from 0 where many rows have been summed.
        moves = (high / 2 - low / 2) * 2 > 2 * np.spacing(largest)
        return cls(center, np.where(moves, scale, np.where(largest > 0, largest, 1.0)), logarithmic)

    def bounded_by(self, held_out: Iterable[NDArray[np.float64]]) -> Scaler:
        """The same map with scales so large that no column decides a loss on held-out rows.

        Scaled by its deviation, every column has the mean square 1 in the training rows, which is its weight in a
        squared loss. In later rows, the weight of a column that hardly moved before has no bound. A column whose
        held-out rows move by more than 3 scales, as deviation from their own mean, or lie more than 5 scales from the
        center of training,

            ``deviation = sqrt(mean((held_out - center) ** 2))``,

        gets that deviation for a scale, and so the weight 1 there. Trends and random walks, which stay below, are
        scaled as before: networks follow a level, and what they miss of it is far less than its distance from the
        center. It is not for the identity, whose scales mean nothing. Values too far away for single precision, which
        `scale_frame` refuses, do not count.

        Shape
        -----
        held_out : pieces of (n_rows, n_columns)
        """
        sums, squares, counts = np.zeros((3, len(self.scale)))
        for values in held_out:
            scaled = (_take_logarithms(values, self.logarithmic) - self.center) / self.scale
            counted = np.abs(scaled) <= LARGEST_SCALED  # not so for NaN
            scaled = np.where(counted, scaled, 0.0)
            sums += scaled.sum(axis=0)
            squares += np.square(scaled).sum(axis=0)
            counts += counted.sum(axis=0)
        mean, square = (total / np.maximum(counts, 1) for total in (sums, squares))
        raised = (square - mean**2 > _LARGEST_MOVEMENT**2) | (square > _LARGEST_HELD_OUT**2)
        return replace(self, scale=self.scale * np.where(raised, np.sqrt(square), 1.0))

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


def _extremes(
    pieces: Callable[[], Iterable[NDArray[np.float64]]], logarithmic: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the largest value of each column; 0 where there is none."""
    low: Any = np.inf
    high: Any = -np.inf
    for values in pieces():
        values = values if logarithmic is None else _take_logarithms(values, logarithmic)
        low = np.fmin(low, np.fmin.reduce(values, axis=0, initial=np.inf))
        high = np.fmax(high, np.fmax.reduce(values, axis=0, initial=-np.inf))
    seen = low <= high
    return np.where(seen, low, 0.0), np.where(seen, high, 0.0)


def _standard(pieces: Iterable[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of what was observed.

    Not by `sklearn.preprocessing.StandardScaler.partial_fit`: its variance is NaN from the first piece on in which a
    column has no value.

    References
    ----------
    T. F. Chan, G. H. Golub and R. J. LeVeque (1983). Algorithms for computing the sample variance: analysis and
    recommendations. The American Statistician 37(3), 242-247.
    """
    count: Any = 0
    center: Any = 0.0
    squares: Any = 0.0
    for values in pieces:
        new = np.isfinite(values).sum(axis=0)
        mean = np.nanmean(values, axis=0)
        squares = squares + np.nansum((values - mean) ** 2, axis=0)
        share = new / np.maximum(count + new, 1)
        shift = np.nan_to_num(mean - center)
        center, squares = center + share * shift, squares + share * count * shift**2
        count = count + new
    return center, np.sqrt(squares / np.maximum(count, 1))


def _robust(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and normal interquartile range of what was observed; see `Scaler.fit` for what bounds it from below."""
    middle = RobustScaler(unit_variance=True).fit(values)
    outer = RobustScaler(unit_variance=True, quantile_range=(5.0, 95.0)).fit(values)
    # scikit-learn has 1 in place of a range of 0.
    quantiles = np.nanquantile(values, (0.05, 0.25, 0.75, 0.95), axis=0)
    scale = np.where(quantiles[2] > quantiles[1], middle.scale_, _standard([values])[1])
    floor = np.where(quantiles[3] > quantiles[0], outer.scale_ / _LARGEST_RATIO, 0.0)
    return middle.center_, np.maximum(scale, floor)


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
            "correct it, replace it by NaN if it was not observed, or fit again on such values with scaler='standard'"
        )
    return scaled


def scale_known(known: pd.DataFrame, scaler: Scaler | None, calendar: Sequence[str], name: str) -> NDArray[np.float32]:
    """Known covariates, then features of the calendar, as a network sees them; one without a value gets its mean.

    Raises
    ------
    ValueError
        See `scale_frame`.
    """
    parts = [] if scaler is None else [np.nan_to_num(scale_frame(known, scaler, name))]
    if calendar:
        parts.append(calendar_features(known.index, calendar))
    return np.concatenate(parts, axis=1)


def warn_of_raised_scales(scalers: Mapping[str, tuple[Scaler, Scaler]], columns: Sequence[Hashable]) -> None:
    """One warning that names the columns whose scales `Scaler.bounded_by` has raised, the most raised one first.

    Parameters
    ----------
    scalers : mapping
        What to call a series, to its scaler and the bounded one.
    columns : sequence
        Names of the columns.

    Examples
    --------
    >>> still = Scaler.fit(np.array([[0.0], [0.01]]), "standard")
    >>> bounded = still.bounded_by([np.array([[8.0], [8.0]])])
    >>> with warnings.catch_warnings(record=True, action="always") as told:
    ...     warn_of_raised_scales({"y": (still, bounded)}, ["rain"])
    >>> bounded.scale.round(2), str(told[0].message)[:21]
    (array([8.]), "y column 'rain' moves")
    """
    raised = {
        (name, column): float(bounded.scale[column] / scaler.scale[column])
        for name, (scaler, bounded) in scalers.items()
        for column in range(len(columns))
        if bounded.scale[column] > scaler.scale[column]
    }
    if not raised:
        return
    first, *others = sorted(raised, key=lambda one: -raised[one])
    scaler, bounded = scalers[first[0]]
    named = [f"{name} column {columns[column]!r}" for name, column in others]
    too = f" (raised too: {', '.join(named[:5])}{', ...' * (len(named) > 5)})" if named else ""
    warnings.warn(
        f"{first[0]} column {columns[first[1]]!r} moves {raised[first]:.3g} times as far in the validation rows as its "
        f"scale in the training rows, {scaler.scale[first[1]]:.3g}; its scale becomes {bounded.scale[first[1]]:.3g}, "
        f"so that it does not decide the loss{too}",
        stacklevel=3,
    )


def check_moves(values: NDArray[np.float64], columns: Sequence[Hashable], name: str, cure: str) -> None:
    """Refuse columns that move too little for a network to see without a scaler.

    Raises
    ------
    ValueError
        With the name of the first such column, and how to fix it.

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
            f"network to see: scale it, e.g. with {cure}"
        )


def fit_scaler(
    pieces: Callable[[], Iterable[tuple[slice, pd.DataFrame]]],
    columns: Sequence[Hashable],
    n_targets: int,
    scaling: str,
    log1p: bool,
    name: str,
) -> Scaler:
    """The scaling by some rows; where they come in several pieces, only in the "standard" way.

    Raises
    ------
    ValueError
        If nothing is to be scaled, and a column moves too little for a network to see.
    """
    logarithmic = np.array([False] * (len(columns) - n_targets) + [log1p] * n_targets)
    if scaling == "none":
        check_moves(next(iter(pieces()))[1].to_numpy(), list(columns), name, "scaler='standard'")
    return Scaler.fit_pieces(lambda: (frame.to_numpy() for _, frame in pieces()), logarithmic, scaling)
