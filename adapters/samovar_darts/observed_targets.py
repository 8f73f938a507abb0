"""Missing targets (NaN), kept out of every loss and likelihood of darts.

The core's `sum_over_observed` serves losses that are taken target by target and are 0 for a right forecast. Here losses
may have a mean of their own, sample weights, or a likelihood with a bounded support.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from darts.utils.likelihood_models.base import LikelihoodType
from darts.utils.likelihood_models.torch import TorchLikelihood
from torch import Tensor

from samovar_forecast.layers.observed import is_observed

_INSIDE_UNIT_INTERVAL = {LikelihoodType.Beta, LikelihoodType.ContinuousBernoulli}


class ObservedTargets(NamedTuple):
    """A pair of prediction and target that any loss can judge, and how much each of its places counts.

    Shape
    -----
    prediction : (batch, n_steps, n_targets, n_outputs)
    target, weight : (batch, n_steps, n_targets)
    """

    prediction: Tensor
    target: Tensor
    weight: Tensor


def counts(target: Tensor, likelihood: TorchLikelihood | None = None) -> Tensor:
    """Where a target counts: where it was observed. A likelihood of all components at once needs all of them.

    Shape
    -----
    target, output : (batch, n_steps, n_targets)
    """
    observed = is_observed(target)
    if likelihood is not None and likelihood.type is LikelihoodType.Dirichlet:
        return observed.all(-1, keepdim=True).expand_as(observed)
    return observed


def hide_missing(
    prediction: Tensor, target: Tensor, sample_weight: Tensor | None, likelihood: TorchLikelihood | None
) -> ObservedTargets:
    """Replace missing targets, and what was forecast for them, by constants in the support of every likelihood.

    The weights are zero there. Elsewhere they are such that the mean over all places of ``weight * loss`` is the
    mean of ``sample_weight * loss`` over the observed ones. As the forecast is replaced too, no loss or gradient
    can be infinite where the weight is zero.
    """
    observed = counts(target, likelihood)
    weight = observed.to(target.dtype) * (observed.numel() / observed.sum().clamp(min=1))
    if sample_weight is not None:
        weight = weight * torch.where(observed, sample_weight, 0.0)
    kind = None if likelihood is None else likelihood.type
    inside = 1 / target.shape[-1] if kind is LikelihoodType.Dirichlet else 0.5 if kind in _INSIDE_UNIT_INTERVAL else 1.0
    return ObservedTargets(
        torch.where(observed.unsqueeze(-1), prediction, 1.0), torch.where(observed, target, inside), weight
    )


def judge(criterion: Callable[[Tensor, Tensor], Tensor], pair: ObservedTargets, weighted: bool) -> Tensor:
    """The criterion over observed targets, where there is no likelihood.

    PyTorch's losses have a `reduction` and are taken element by element. Of a loss without one, such as those of
    darts, the mean is rescaled: it counts the replaced places, at which forecast and target are equal, as free of
    error. `weighted` tells whether the user gave sample weights, and the mean is what darts makes of those.
    """
    prediction = pair.prediction.squeeze(-1)
    reduction = getattr(criterion, "reduction", None)
    losses = (
        criterion(prediction, pair.target) if reduction is None else _one_by_one(criterion, prediction, pair.target)
    )
    if losses.shape != pair.target.shape:
        return losses * pair.weight.max()
    if reduction == "sum" and not weighted:
        return (losses * (pair.weight > 0)).sum()
    return (losses * pair.weight).mean()


def _one_by_one(criterion: Callable[[Tensor, Tensor], Tensor], prediction: Tensor, target: Tensor) -> Tensor:
    reduction = criterion.reduction  # type: ignore[attr-defined]
    criterion.reduction = "none"  # type: ignore[attr-defined]
    try:
        return criterion(prediction, target)
    finally:
        criterion.reduction = reduction  # type: ignore[attr-defined]
