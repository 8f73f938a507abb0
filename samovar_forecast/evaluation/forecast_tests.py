"""Tests of equal forecast accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import t as student

Kernel = Literal["bartlett", "rectangular"]


def diebold_mariano(
    first: xr.Dataset,
    second: xr.Dataset,
    *,
    loss: Literal["squared", "absolute"] = "squared",
    dim: str | Iterable[str] = "step",
    stride: int = 1,
    kernel: Kernel = "bartlett",
) -> xr.Dataset:
    """Diebold-Mariano test of equal accuracy, with the small-sample correction of Harvey, Leybourne and Newbold.

    The losses of two backtests at the same cutoffs are compared. Forecasts h steps ahead from neighbouring cutoffs
    share h - 1 steps, so the variance of the mean difference takes in as many autocovariances (HAC).

    Parameters
    ----------
    first, second : Dataset
        Backtests of the same series at the same cutoffs, as `Forecaster.backtest` gives.
    loss : {"squared", "absolute"}, default "squared"
        Loss of an error.
    dim : str or sequence of str, default "step"
        Dimensions over which the losses of a cutoff are averaged first: "step" gives a test for each series, ``()`` one
        for each step of each series, ``("step", "series")`` a single one.
    stride : int, default 1
        Rows between two cutoffs.
    kernel : {"bartlett", "rectangular"}, default "bartlett"
        Weights of the autocovariances: falling to 0, so that the variance is never negative, or all 1 as in the papers.

    Returns
    -------
    Dataset
        `difference`, the mean loss of `first` less that of `second`; `statistic`; and `p_value`, two-sided, of
        Student's t distribution. A statistic without a positive variance is NaN, as where both forecasts are the same.

    Raises
    ------
    ValueError
        If the backtests differ in cutoffs, steps, series or actual values, or have no more cutoffs than overlap.

    References
    ----------
    Diebold & Mariano, "Comparing predictive accuracy", Journal of Business & Economic Statistics, 1995.
    Harvey, Leybourne & Newbold, "Testing the equality of prediction mean squared errors", International Journal of
    Forecasting, 1997.
    """
    if loss not in ("squared", "absolute") or kernel not in ("bartlett", "rectangular"):
        raise ValueError(
            f'loss must be "squared" or "absolute", kernel "bartlett" or "rectangular"; {loss=}, {kernel=}'
        )
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    difference = _losses(first, loss) - _losses(_aligned(second, first), loss)
    averaged = [dim] if isinstance(dim, str) else list(dim)
    difference = difference.mean(averaged)
    if "step" in averaged:
        tested = _test(difference, math.ceil(int(first["step"].max()) / stride) - 1, kernel)
    else:
        steps = [_test(difference.sel(step=[h]), math.ceil(int(h) / stride) - 1, kernel) for h in first["step"].values]
        tested = xr.concat(steps, "step")
    return tested.assign_attrs(first=first.attrs.get("model", "first"), second=second.attrs.get("model", "second"))


def _aligned(second: xr.Dataset, first: xr.Dataset) -> xr.Dataset:
    try:
        second, _ = xr.align(second, first, join="exact")
    except ValueError as error:
        raise ValueError(f"both backtests must have the same cutoffs, steps and series: {error}") from error
    if not np.allclose(first["actual"], second["actual"], equal_nan=True):
        raise ValueError("both backtests must have the same actual values")
    return second


def _losses(backtest: xr.Dataset, loss: str) -> xr.DataArray:
    error = backtest["forecast"] - backtest["actual"]
    return error**2 if loss == "squared" else abs(error)


def _test(difference: xr.DataArray, lags: int, kernel: Kernel) -> xr.Dataset:
    """Test that the mean over the cutoffs is 0, with so many autocovariances."""
    n = difference.notnull().sum("cutoff")
    if int(n.min()) < lags + 2:
        raise ValueError(
            f"{int(n.min())} cutoffs with observed values are too few: forecasts of {lags + 1} neighbouring ones "
            "overlap; backtest more rows, or with a larger stride"
        )
    mean = difference.mean("cutoff")
    weights = 1 - np.arange(lags + 1) / (lags + 1) if kernel == "bartlett" else np.ones(lags + 1)
    centered = (difference - mean).fillna(0)  # a missing one adds nothing to any autocovariance
    variance = xr.apply_ufunc(_long_run_sum, centered, input_core_dims=[["cutoff"]], kwargs={"weights": weights}) / n**2
    horizon = lags + 1
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    statistic = mean / variance.where(variance > 0) ** 0.5 * correction**0.5
    p_value = xr.apply_ufunc(lambda value, freedom: 2 * student.sf(abs(value), freedom), statistic, n - 1)
    return xr.Dataset({"difference": mean, "statistic": statistic, "p_value": p_value})


def _long_run_sum(centered: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted sum of the autocovariances on both sides, times the number of values: (..., cutoff) to (...)."""
    length = centered.shape[-1]
    sums = [(centered[..., lag:] * centered[..., : length - lag]).sum(-1) for lag in range(len(weights))]
    return weights[0] * sums[0] + 2 * sum((w * s for w, s in zip(weights[1:], sums[1:], strict=True)), 0.0)
