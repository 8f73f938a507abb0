"""Reversible instance normalisation: each window by its own mean and deviation, with a learned scale and shift."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from samovar_forecast.layers.observed import is_observed, observed_share, observed_std_mean


class RevIN(nn.Module):
    """Normalise each series of each window over time; return the result and the inverse for forecasts.

    The statistics are those of the observed values and carry no gradient. Gaps (NaN) lie at the normalised mean, and
    what was observed is divided by its share of the window, as inverted dropout does: the mean of any linear map of
    the window is the same with gaps as without. A series without an observed value has mean 0. The inverse is a
    closure, so no state of a window hides in the module.

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
        series = past.transpose(1, 2).contiguous()  # sums over neighbours in memory are worth the copy
        observed = is_observed(series)
        spread, mean = observed_std_mean(series.detach(), observed, dim=-1, correction=0)  # (batch, n_series, 1)
        deviation = (spread.square() + 1e-5).sqrt()
        # Filled before the products: the gradient of the learned scale would otherwise be NaN.
        centred = torch.where(observed, series - mean, 0.0)
        share = observed_share(observed, dim=-1).to(series.dtype)
        normalised = centred / (deviation * share) * self.scale.unsqueeze(-1) + self.shift.unsqueeze(-1)

        def denormalise(forecast: Tensor) -> Tensor:
            targets = slice(-self.n_targets, None)
            scale, shift = self.scale[targets].unsqueeze(-1) + 1e-10, self.shift[targets].unsqueeze(-1)
            located = (forecast - shift) / scale * deviation[:, targets].unsqueeze(1) + mean[:, targets].unsqueeze(1)
            on_scale = torch.arange(forecast.shape[-1], device=forecast.device) < n_locations
            return torch.where(on_scale, located, forecast)

        return normalised, denormalise
