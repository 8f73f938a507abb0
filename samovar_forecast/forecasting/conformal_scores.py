"""The scores of a calibration: which of the errors seen so far covers the next one, in each category of contexts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar_forecast.forecasting.activity import KIND_CLASSES, N_KINDS, UNOBSERVED

COVERAGES = np.linspace(0, 1, 201)
LEAST_WINDOWS = 20  # from which on a category is scored apart: the widest error among 20 has a coverage of 0.95
MOST_SCORES = 2**24  # of all curves together, 64 megabytes in memory and in a model file
_NUMBERS_AT_ONCE = 2**21  # transformed together, some hundred megabytes


def curves_of(
    errors: NDArray[np.float64],
    kind: NDArray[np.int64],
    series: NDArray[np.int64],
    n_series: int,
    least_of_series: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Scores of every category with enough windows, which curve is whose, and windows per curve; see `Calibration`.

    Shape
    -----
    errors : (n_windows, horizon, n_targets)
    kind : (n_windows, n_targets)
    series : (n_windows,)
    """
    horizon, n_targets = errors.shape[1:]
    of_all = quantiles_of(errors).transpose(2, 0, 1)
    scores = [one.astype(np.float32) for one in of_all]
    windows = (kind != UNOBSERVED).sum(0).tolist()
    curve = np.tile(np.arange(n_targets), (n_series + 1, N_KINDS, 1))
    unseen = np.zeros((N_KINDS, n_targets), dtype=bool)
    most_curves = max(n_targets, MOST_SCORES // (len(COVERAGES) * horizon))
    counts = np.zeros((n_series, N_KINDS, n_targets), dtype=np.int64)
    np.add.at(counts, (series[:, None], kind, np.arange(n_targets)), 1)

    def split(slot: tuple[Any, Any, int], chosen: NDArray[np.bool_]) -> None:
        """Give the windows of a category a curve of their own."""
        if len(scores) < most_curves and chosen.sum() < windows[curve[slot].flat[0]]:
            target = slot[-1]
            own = quantiles_of(errors[chosen, :, target, None])[..., 0]
            curve[slot] = len(scores)
            scores.append(np.where(np.isnan(own), of_all[target], own).astype(np.float32))
            windows.append(int(chosen.sum()))

    everywhere = slice(None)
    # Calm and usual contexts of one series differ less than relative errors allow for; those of many series may not.
    levels = (slice(0, 2), slice(2, 3)) if n_series == 1 else (slice(0, 1), slice(1, 2), slice(2, 3))
    for target in range(n_targets):
        for kinds in KIND_CLASSES:
            chosen = np.isin(kind[:, target], kinds)
            if chosen.sum() < min(LEAST_WINDOWS, windows[target]):
                unseen[list(kinds), target] = True
                continue
            split((everywhere, list(kinds), target), chosen)
            for level in levels:
                chosen = np.isin(kind[:, target], kinds[level])
                if chosen.sum() >= LEAST_WINDOWS:
                    split((everywhere, list(kinds[level]), target), chosen)
    for owner, one, target in np.argwhere(counts >= least_of_series).tolist():
        if n_series > 1 and one != UNOBSERVED:
            split((owner, one, target), (kind[:, target] == one) & (series == owner))
    return np.stack(scores), curve[-1:] if n_series == 1 else curve, unseen, np.array(windows)


def quantiles_of(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of the observed errors at every coverage: (n_coverages, horizon, n_targets).

    A step of a target that no window observes gets those of all its steps; a target that none observes, those of all
    targets.
    """
    found = _ranked(errors)
    for pooled in (errors.reshape(-1, 1, errors.shape[2]), errors.reshape(-1, 1, 1)):
        if np.isnan(found).any():
            found = np.where(np.isnan(found), _ranked(pooled), found)
    return found


def _ranked(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The error of every coverage, NaN where none is observed: (n, ...) to (n_coverages, ...).

    The rank of a coverage c among n exchangeable errors is ``ceil(c (n + 1))``. Errors that follow each other closely
    agree: n of them are worth m independent ones. Then the rank is ``ceil(c n (1 + 1 / (2 m)))``, if that is higher.
    A new error that resembled none of them would ask for 1 / m; those to come resemble the newest ones
    (docs/evidence/coverage.md).
    """
    count = (~np.isnan(errors)).sum(axis=0)
    worth = (2 * independent_errors(errors)).clip(1, count.clip(1))
    rank = np.ceil(np.multiply.outer(COVERAGES, count * (1 + 1 / worth)) - 1e-9)  # 0.8 * 100 is a little more than 80
    return np.take_along_axis(np.sort(errors, axis=0), rank.clip(1, count.clip(1)).astype(int) - 1, axis=0)


def independent_errors(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many independent errors those of a row are worth: fewer, where neighbours resemble each other.

    Their number over the integrated time of their autocorrelation, which is summed while the sum of two neighbouring
    lags is positive, over half of the rows at most.

    Shape
    -----
    errors : (n, ...), in the order of time; NaN where nothing was observed
    output : (...)

    References
    ----------
    Geyer, "Practical Markov chain Monte Carlo", Statistical Science 1992, section 3.3.

    Examples
    --------
    >>> float(independent_errors(np.array([1.0, 4.0, 2.0, 3.0, 1.0, 4.0, 2.0, 3.0])))
    8.0
    >>> float(independent_errors(np.arange(100.0)).round(1))
    2.9
    """
    observed = ~np.isnan(errors)
    count = observed.sum(axis=0)
    mean = np.where(observed, errors, 0).sum(axis=0) / count.clip(1)
    rows = np.where(observed, errors - mean, 0).reshape(len(errors), -1)
    rows = rows[-_NUMBERS_AT_ONCE:]  # of the errors of all steps and targets in one row, the newest tell the time
    n_pairs = len(rows) // 4
    time = np.ones(rows.shape[1])
    for some in np.array_split(np.arange(rows.shape[1]), max(1, -(-rows.size // _NUMBERS_AT_ONCE))):
        spectrum = np.fft.rfft(rows[:, some], 2 * len(rows), axis=0)
        covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[: 2 * n_pairs]
        variance = (rows[:, some] ** 2).sum(axis=0)
        correlation = covariance / np.where(variance > 0, variance, 1)
        pairs = correlation[::2] + correlation[1::2]
        before_the_first_negative = np.logical_and.accumulate(pairs > 0, axis=0)
        time[some] = 2 * np.where(before_the_first_negative, pairs, 0).sum(axis=0) - 1
    return count / time.clip(1).reshape(count.shape)
