"""How contexts move before their cutoffs, and the kinds that this sorts them into."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

LEVELS = (0.5, 2.0)  # of the deviation of a series: below the first a context is calm, from the second on restless

# Kinds of contexts: moving and calm, usual or restless; intermittent and the same; still; without a value.
KIND_CLASSES: tuple[tuple[int, ...], ...] = ((0, 1, 2), (3, 4, 5), (6,))
MOVING, INTERMITTENT, STILL, UNOBSERVED = 0, 3, 6, 7
N_KINDS = 8


class Activity(NamedTuple):
    """How contexts moved before their cutoffs.

    Attributes
    ----------
    deviation : ndarray
        Standard deviation of a context, to which its newest rows contribute most.
    still : ndarray
        Share of the steps between observed values that do not change the value: 1 of a constant context or a
        single value, NaN where nothing was observed.

    Shape
    -----
    deviation, still : (n_cutoffs, n_targets)
    """

    deviation: NDArray[np.float64]
    still: NDArray[np.float64]

    def kind(self, unit: NDArray[np.float64]) -> NDArray[np.int64]:
        """Kind of each context: without a value, still, or its level of deviation and whether most steps are still."""
        kind = np.digitize(self.deviation / unit, LEVELS) + np.where(self.still > 0.5, INTERMITTENT, MOVING)
        kind = np.where(self.still == 1, STILL, kind)
        return np.where(np.isnan(self.still), UNOBSERVED, kind)


def activity(values: Tensor, cutoffs: Tensor, context_length: int, horizon: int, n_targets: int) -> Activity:
    """How much each target moved before each cutoff.

    A quarter of the variance is that of the whole context, three quarters that of its newest `horizon` rows, over
    what was observed; where that is less than two of the newest rows, all of it is that of the context. Of the
    scales that were tried (docs/evidence/coverage.md) this one travels best.

    Shape
    -----
    values : (n_rows, n_series)
    cutoffs : (n_cutoffs,)

    Examples
    --------
    >>> import torch
    >>> activity(torch.tensor([[0.0], [torch.nan], [2.0], [2.0], [9.0]]), torch.tensor([4]), 4, 2, 1)
    Activity(deviation=array([[0.47140452]]), still=array([[0.5]]))
    """
    contexts = np.lib.stride_tricks.sliding_window_view(values[:, -n_targets:].numpy(), context_length, axis=0)
    variances, still = np.empty((2, len(cutoffs), n_targets))
    for number, cutoff in enumerate(cutoffs.tolist()):  # one by one: all contexts together may not fit in memory
        context = contexts[cutoff - context_length].astype(np.float64)  # (n_targets, context_length)
        whole, newest = _variance(context), context[:, -horizon:]
        moving = np.where((~np.isnan(newest)).sum(1) > 1, _variance(newest), whole)
        variances[number] = 0.25 * whole + 0.75 * moving
        still[number] = _share_still(context)
    return Activity(np.sqrt(variances), still)


def _variance(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of what was observed in each row, 0 of fewer than two points."""
    observed = ~np.isnan(rows)
    count = observed.sum(1, keepdims=True).clip(1)
    mean = np.where(observed, rows, 0).sum(1, keepdims=True) / count
    return (np.where(observed, rows - mean, 0) ** 2).sum(1) / count[:, 0]


def _share_still(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of equal neighbours among what was observed in each row: 1 of a single value, NaN of none."""
    observed = ~np.isnan(rows)
    newest = np.maximum.accumulate(np.where(observed, np.arange(rows.shape[1]), 0), axis=1)
    held = np.take_along_axis(rows, newest, axis=1)  # the newest value observed so far
    moves = (observed[:, 1:] & ~np.isnan(held[:, :-1]) & (held[:, 1:] != held[:, :-1])).sum(1)
    count = observed.sum(1)
    return np.where(count > 0, 1 - moves / (count - 1).clip(1), np.nan)
