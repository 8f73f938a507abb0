"""Losses over observed targets; NaN marks a target that was not observed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from samovar_forecast.layers.observed import is_observed

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": partial(F.mse_loss, reduction="none"),
    "mae": partial(F.l1_loss, reduction="none"),
    "huber": partial(F.huber_loss, reduction="none"),
}


def ascending(forecast: Tensor) -> Tensor:
    """Quantiles in order, so that they never cross: sorted along the last dimension; a single one as it is.

    Shape
    -----
    forecast, output : (..., n_quantiles)

    References
    ----------
    Chernozhukov, Fernandez-Val & Galichon, "Quantile and probability curves without crossing", Econometrica 78, 2010.

    Examples
    --------
    >>> ascending(torch.tensor([1.0, 3.0, 2.0]))
    tensor([1., 2., 3.])
    """
    return forecast if forecast.shape[-1] == 1 else forecast.sort(dim=-1).values


def pinball_loss(forecast: Tensor, target: Tensor, quantiles: Tensor) -> Tensor:
    """Twice the pinball loss, averaged over the quantiles: of the quantile 0.5 alone it is the absolute error.

    Shape
    -----
    forecast : (..., n_quantiles)
    target, output : (...)
    quantiles : (n_quantiles,)

    References
    ----------
    Koenker & Bassett, "Regression quantiles", Econometrica 46, 1978.

    Examples
    --------
    >>> pinball_loss(torch.tensor([[3.0]]), torch.tensor([5.0]), torch.tensor([0.9]))
    tensor([3.6000])
    """
    error = target.unsqueeze(-1) - forecast
    return 2 * torch.maximum(quantiles * error, (quantiles - 1) * error).mean(-1)


def sum_over_observed(
    loss: Callable[[Tensor, Tensor], Tensor], forecast: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """The sum of a loss over observed targets, and their number.

    Without an observed target both are zero, and so is the gradient. The device is never waited for.

    Parameters
    ----------
    loss : callable
        Forecast and target to the loss of every target, which is 0 where the forecast is right: a value of `LOSSES`,
        or `pinball_loss` with its quantiles.
    forecast : Tensor
    target : Tensor
        NaN where not observed.

    Returns
    -------
    total, count : Tensor

    Shape
    -----
    forecast : (...), or (..., n_quantiles) where the loss takes quantiles
    target : (...)
    total, count : ()

    Examples
    --------
    >>> sum_over_observed(LOSSES["mse"], torch.tensor([1.0, 2.0]), torch.tensor([4.0, torch.nan]))
    (tensor(9.), tensor(1))
    """
    observed = is_observed(target)
    chosen = observed if forecast.ndim == target.ndim else observed.unsqueeze(-1)
    # Both sides are filled before the loss, so neither it nor its gradient meets a NaN.
    forecast, target = torch.where(chosen, forecast, 0.0), torch.where(observed, target, 0.0)
    precision = torch.promote_types(target.dtype, torch.float32)  # sums of half-precision numbers would be rough
    return loss(forecast.to(precision), target.to(precision)).sum(), observed.sum()


def mean_over_observed(loss: Callable[[Tensor, Tensor], Tensor], forecast: Tensor, target: Tensor) -> Tensor:
    """The mean of a loss over observed targets, 0 where there is none; see `sum_over_observed`.

    Examples
    --------
    >>> mean_over_observed(LOSSES["mae"], torch.tensor([1.0, 2.0]), torch.tensor([4.0, torch.nan]))
    tensor(3.)
    """
    total, count = sum_over_observed(loss, forecast, target)
    return total / count.clamp(min=1)
