"""Reversible instance normalisation: each window by its own mean and deviation, with a learned scale and shift."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class RevIN(nn.Module):
    """Normalise each series of each window over time; return the result and the inverse for forecasts.

    The statistics carry no gradient. The inverse is a closure, so no state of a window hides in the module.

    Parameters
    ----------
    n_series, n_targets : int
        The last `n_targets` of the `n_series` series are the ones to forecast.

    Shape
    -----
    past : (batch, context_length, n_series)
    normalised : (batch, n_series, context_length)
    denormalise : (batch, horizon, n_targets, n_outputs) to the same shape; the first `n_locations` outputs live
        on the scale of the data, the others (parameters of a distribution) stay as they are

    References
    ----------
    Kim et al., "Reversible instance normalization for accurate time-series forecasting against distribution
    shift", ICLR 2022.

    Examples
    --------
    >>> past = torch.arange(8.0).reshape(1, 8, 1)
    >>> normalised, denormalise = RevIN(n_series=1, n_targets=1)(past, n_locations=1)
    >>> denormalise(normalised[:, :, :3].transpose(1, 2).unsqueeze(-1)).flatten().round()
    tensor([0., 1., 2.], grad_fn=<RoundBackward0>)
    """

    def __init__(self, n_series: int, n_targets: int) -> None:
        super().__init__()
        self.n_targets = n_targets
        self.scale, self.shift = nn.Parameter(torch.ones(n_series)), nn.Parameter(torch.zeros(n_series))

    def forward(self, past: Tensor, n_locations: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        variance, mean = torch.var_mean(past.detach(), dim=1, keepdim=True, correction=0)  # (batch, 1, n_series)
        deviation = (variance + 1e-5).sqrt()
        normalised = (past - mean) / deviation * self.scale + self.shift

        def denormalise(forecast: Tensor) -> Tensor:
            targets = slice(-self.n_targets, None)
            scale, shift = self.scale[targets].unsqueeze(-1) + 1e-10, self.shift[targets].unsqueeze(-1)
            located = (forecast - shift) / scale * deviation[..., targets, None] + mean[..., targets, None]
            on_scale = torch.arange(forecast.shape[-1], device=forecast.device) < n_locations
            return torch.where(on_scale, located, forecast)

        return normalised.transpose(1, 2), denormalise
