"""Normalisation of each window by its own statistics, undone on the forecast: fixed, and with a learned scale."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from samovar_forecast.layers.observed import is_observed, observed_mean, observed_share, observed_std_mean


def normalise_instance(
    past: Tensor, level_length: int, n_targets: int, n_locations: int
) -> tuple[Tensor, Callable[..., Tensor]]:
    """Normalise each series of each window; return the result and the inverse for forecasts.

    The level is the mean of the newest `level_length` observed points, the scale the unbiased standard deviation
    of all observed points plus 1e-8. Gaps come out as 0, which is the level. A series without an observed point
    has level 0 and scale 1e-8. There is no learned scale. The inverse is a closure, so no state hides in a module.

    Parameters
    ----------
    past : Tensor
        Windows of history, NaN where nothing was observed.
    level_length : int
        Number of newest observed points that define the level.
    n_targets : int
        The last `n_targets` series are the ones to forecast.
    n_locations : int
        The first `n_locations` outputs of a forecast live on the data's scale and get the level back; the
        others (parameters of a distribution) stay as they are.

    Returns
    -------
    normalised : Tensor
        Without NaN.
    denormalise : callable
        Maps a normalised forecast to the scale of the data; of some targets, which a slice as its second argument says.

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
    series = past.transpose(1, 2).contiguous()  # sums over neighbours in memory are worth the copy
    observed = is_observed(series)
    deviation, _ = observed_std_mean(series, observed, dim=-1)
    rank = observed.cumsum(-1, dtype=torch.int32)  # how many points were observed so far
    newest = observed & (rank > rank[..., -1:] - level_length)
    level = observed_mean(series, newest, dim=-1)
    scale = deviation + 1e-8  # (batch, n_series, 1)
    # A gap lies at the level, not at the mean of the window: zero is what stands for a value that is not there
    # everywhere after this, in the padding of the first segment and for past covariates beyond the context. Linear
    # maps of it give nothing. It is filled before the division, whose gradient in the scale would otherwise be NaN.
    centred = torch.where(observed, series - level, 0.0)

    def denormalise(forecast: Tensor, targets: slice | list[int] = slice(None)) -> Tensor:
        level_of, scale_of = (part[:, -n_targets:][:, targets].unsqueeze(1) for part in (level, scale))
        located = torch.arange(forecast.shape[-1], device=forecast.device) < n_locations
        return forecast * torch.where(located, scale_of, 1.0) + level_of * located  # (batch, 1, n_targets, n_outputs)

    return centred / scale, denormalise


class RevIN(nn.Module):
    """Normalise each series of each window over time; return the result and the inverse for forecasts.

    The statistics are those of the observed values. In training they carry no gradient, as published; in evaluation
    they do, so that the derivative of a forecast by its past is complete. Gaps (NaN) lie at the normalised mean, and
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
    denormalise : (batch, horizon, n_targets, n_outputs), of the targets of a slice where one is given, to the same
        shape; the first `n_locations` outputs live
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

    def forward(self, past: Tensor, n_locations: int) -> tuple[Tensor, Callable[..., Tensor]]:
        series = past.transpose(1, 2).contiguous()  # sums over neighbours in memory are worth the copy
        observed = is_observed(series)
        measured = series.detach() if self.training else series
        spread, mean = observed_std_mean(measured, observed, dim=-1, correction=0)  # (batch, n_series, 1)
        deviation = (spread.square() + 1e-5).sqrt()
        # Filled before the products: the gradient of the learned scale would otherwise be NaN.
        centred = torch.where(observed, series - mean, 0.0)
        share = observed_share(observed, dim=-1).to(series.dtype)
        normalised = centred / (deviation * share) * self.scale.unsqueeze(-1) + self.shift.unsqueeze(-1)

        def denormalise(forecast: Tensor, targets: slice | list[int] = slice(None)) -> Tensor:
            scale, shift = (part[-self.n_targets :][targets].unsqueeze(-1) for part in (self.scale, self.shift))
            spread, level = (part[:, -self.n_targets :][:, targets].unsqueeze(1) for part in (deviation, mean))
            located = (forecast - shift) / (scale + 1e-10) * spread + level
            on_scale = torch.arange(forecast.shape[-1], device=forecast.device) < n_locations
            return torch.where(on_scale, located, forecast)

        return normalised, denormalise
