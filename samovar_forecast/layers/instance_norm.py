"""Normalisation of each window by its own statistics, undone on the forecast."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def normalise_instance(
    past: Tensor, level_length: int, n_targets: int, n_locations: int
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Normalise each series of each window; return the result and the inverse for forecasts.

    The level is the mean of the last `level_length` points, the scale the unbiased standard deviation of
    all points plus 1e-8. There is no learned scale. The inverse is a closure, so no state hides in a module.

    Parameters
    ----------
    past : Tensor
        Windows of history.
    level_length : int
        Number of newest points that define the level.
    n_targets : int
        The last `n_targets` series are the ones to forecast.
    n_locations : int
        The first `n_locations` outputs of a forecast live on the data's scale and get the level back; the
        others (parameters of a distribution) stay as they are.

    Returns
    -------
    normalised : Tensor
    denormalise : callable
        Maps a normalised forecast to the scale of the data.

    Shape
    -----
    past : (batch, context_length, n_series)
    normalised : (batch, n_series, context_length)
    denormalise : (batch, horizon, n_targets, n_outputs) to the same shape

    References
    ----------
    Lu & Yang, ICML 2025, section on data processing, and the authors' published network.

    Examples
    --------
    >>> past = torch.arange(8.0).reshape(1, 8, 1)
    >>> z, denormalise = normalise_instance(past, level_length=2, n_targets=1, n_locations=1)
    >>> denormalise(z[:, :, -2:].transpose(1, 2).unsqueeze(-1)).flatten()
    tensor([6., 7.])
    """
    series = past.transpose(1, 2)
    level = series[..., -level_length:].mean(-1, keepdim=True)
    scale = series.std(-1, keepdim=True) + 1e-8  # (batch, n_series, 1)

    def denormalise(forecast: Tensor) -> Tensor:
        by_target = (slice(None), slice(-n_targets, None))
        located = torch.arange(forecast.shape[-1], device=forecast.device) < n_locations
        scales = torch.where(located, scale[by_target].unsqueeze(1), 1.0)  # (batch, 1, n_targets, n_outputs)
        return forecast * scales + level[by_target].unsqueeze(1) * located

    return (series - level) / scale, denormalise
