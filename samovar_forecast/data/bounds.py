"""Bounds that targets never leave: forecasts are clipped to them, and data are checked against them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.scaling import Scaler

Bound = float | tuple[float | None, ...] | list[float | None] | None  # one for all targets, or one for each


@dataclass(frozen=True, eq=False)
class Bounds:
    """The smallest and the largest value of each target, in the units of the data.

    Attributes
    ----------
    lower, upper : ndarray
        Infinite where there is no bound; without a dimension where it is the same for all targets.

    Shape
    -----
    lower, upper : () or (n_targets,)

    Examples
    --------
    >>> bounds = Bounds.of(0, (None, 10), 2)
    >>> bounds.clip(np.array([[-1.0, 11.0], [7.0, 5.0]]))
    array([[ 0., 10.],
           [ 7.,  5.]])
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @classmethod
    def of(cls, lower: Bound, upper: Bound, n_targets: int) -> Bounds:
        """The bounds of hyperparameters.

        Raises
        ------
        TypeError
            If a bound is no number.
        ValueError
            If a bound is not finite, a lower one not below the upper one, or there are not as many as targets.
        """
        check_bounds(lower, upper)
        for name, bound in (("lower", lower), ("upper", upper)):
            if isinstance(bound, (tuple, list)) and len(bound) != n_targets:
                raise ValueError(f"{name} must be one number or one for each of the {n_targets} targets, got {bound!r}")
        return cls(_values(lower, -np.inf), _values(upper, np.inf))

    @property
    def is_bounded(self) -> bool:
        """Whether any target has a bound."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    def clip(self, forecasts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Clip in place: (..., n_targets)."""
        return np.clip(forecasts, self.lower, self.upper, out=forecasts) if self.is_bounded else forecasts

    def clip_quantiles(self, quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Clip in place: (..., n_targets, n_levels). Coverage is not lost, since values lie inside too."""
        if not self.is_bounded:
            return quantiles
        return np.clip(quantiles, self.lower[..., None], self.upper[..., None], out=quantiles)

    def scaled(self, scaler: Scaler, n_targets: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lower and upper bounds on the scale of the network.

        Shape
        -----
        output : (n_targets,) each
        """
        center, scale = scaler.center[-n_targets:], scaler.scale[-n_targets:]
        low, high = (np.broadcast_to(bound, n_targets) for bound in (self.lower, self.upper))
        with np.errstate(divide="ignore", over="ignore"):
            logarithms = [np.log1p(bound.clip(-1)) for bound in (low, high)]
            lower, upper = (
                ((np.where(scaler.logarithmic[-n_targets:], logarithm, bound) - center) / scale).astype(np.float32)
                for logarithm, bound in zip(logarithms, (low, high), strict=True)
            )
        return lower, upper

    def check(self, frame: pd.DataFrame, targets: Sequence[Hashable], name: str, *, log1p: bool = False) -> None:
        """Refuse values outside the bounds: either they or the bounds are wrong; with `log1p`, also those without one.

        Raises
        ------
        ValueError
            With the column and the row of the first one.
        """
        if log1p:
            _check_above_minus_one(frame, targets, name)
        if not self.is_bounded:
            return
        values = frame[list(targets)].to_numpy()
        below, above = values < self.lower, values > self.upper  # not so for NaN
        for outside, bounds, word in ((below, self.lower, "lower"), (above, self.upper, "upper")):
            if outside.any():
                row, column = np.argwhere(outside)[0]
                bound = np.broadcast_to(bounds, len(targets))[column]
                raise ValueError(
                    f"{name} column {targets[column]!r} is {values[row, column]} at {frame.index[row]}, and "
                    f"{word}={bound:g}: correct it, e.g. df[{targets[column]!r}].clip({word}={bound:g}), replace it by "
                    "NaN if it was not observed, or set another bound"
                )


UNBOUNDED = Bounds(np.array(-np.inf), np.array(np.inf))


def check_bounds(lower: Bound, upper: Bound) -> None:
    """Check what can be judged of bounds without data.

    Raises
    ------
    TypeError
        If a bound is no number.
    ValueError
        If a bound is not finite, or a lower one not below the upper one.

    Examples
    --------
    >>> check_bounds(0, (1, None))
    """
    for name, bound in (("lower", lower), ("upper", upper)):
        for one in bound if isinstance(bound, (tuple, list)) else (bound,):
            if one is not None and (isinstance(one, (bool, np.bool_)) or not isinstance(one, Real)):
                raise TypeError(f"{name} must be a number, a tuple of one for each target, or None, got {bound!r}")
            if one is not None and not np.isfinite(float(one)):
                raise ValueError(f"{name} must be finite, or None where there is no bound, got {bound!r}")
    low, high = _values(lower, -np.inf), _values(upper, np.inf)
    if low.ndim and high.ndim and len(low) != len(high):
        raise ValueError(f"lower and upper must be of as many targets, got {lower!r} and {upper!r}")
    if (low >= high).any():
        raise ValueError(f"lower must be below upper, got {lower!r} and {upper!r}")


def _check_above_minus_one(frame: pd.DataFrame, targets: Sequence[Hashable], name: str) -> None:
    """Refuse values that have no ``log(1 + y)``.

    Raises
    ------
    ValueError
        With the column and the row of the first one.
    """
    wrong = frame[list(targets)].to_numpy() <= -1
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{name} column {targets[column]!r} is {frame[targets[column]].iloc[row]} at {frame.index[row]}; "
            "log1p=True needs values above -1"
        )


def _values(bound: Any, missing: float) -> NDArray[np.float64]:
    if isinstance(bound, (tuple, list)):
        return np.array([missing if one is None else float(one) for one in bound])
    return np.array(missing if bound is None else float(bound))
