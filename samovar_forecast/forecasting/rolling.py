"""Forecasts of a network from windows, batch after batch, rolled forward beyond its horizon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.windows import Windows
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.batches import forecast_batch_size
from samovar_forecast.training.losses import ascending


def forecast(network: ForecastNetwork, windows: Windows, steps: int) -> NDArray[np.float32]:
    """Forecast `steps` rows after every window, in one array; see `forecast_batches`.

    Returns
    -------
    ndarray
        Forecasts, scaled; several outputs are quantiles in ascending order.

    Shape
    -----
    output : (n_windows, steps, n_targets, n_outputs)
    """
    forecasts = np.empty((len(windows), steps, network.n_targets, network.n_outputs), dtype=np.float32)
    for rows, outputs in forecast_batches(network, windows, steps):
        forecasts[rows] = outputs
    return forecasts


@torch.inference_mode()
def forecast_batches(
    network: ForecastNetwork, windows: Windows, steps: int, bounds: tuple[Tensor, Tensor] | None = None
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Forecast `steps` rows after every window, batch after batch, each sized to memory.

    Beyond the network's horizon the point forecasts enter the context as if observed; past covariates keep
    their last value.

    Parameters
    ----------
    network : ForecastNetwork
        In evaluation mode.
    windows : Windows
        Scaled series; known covariates reach up to the last step forecast.
    steps : int
        Steps to forecast after each window.
    bounds : tuple of Tensor or None
        The least and the largest point forecasts that enter the context, scaled, for each block of the windows.

    Yields
    ------
    slice, ndarray
        Which of the windows, and their forecasts, scaled; several outputs are quantiles in ascending order.

    Shape
    -----
    bounds : (n_blocks, n_targets) each
    forecasts : (batch, steps, n_targets, n_outputs)
    """
    device = next(network.parameters()).device
    windows = windows.to(device)
    done = 0
    for starts in windows.starts.split(forecast_batch_size(network, device)):
        rows = slice(done, done + len(starts))
        of_windows = None
        if bounds is not None:
            blocks = windows.at(starts).blocks.cpu()
            of_windows = [bound[blocks].unsqueeze(1).to(device) for bound in bounds]
        yield rows, roll_forward(network, windows, starts, steps, bounds=of_windows).float().cpu().numpy()
        done += len(starts)


def roll_forward(
    network: ForecastNetwork,
    windows: Windows,
    starts: Tensor,
    steps: int,
    past: Tensor | None = None,
    bounds: Sequence[Tensor] | None = None,
) -> Tensor:
    """Forecast `steps` rows after the windows that begin at `starts`, or after other contexts at their places.

    Points are clipped to the bounds before they enter the context.

    Shape
    -----
    starts : (batch,)
    past : (batch, context_length, n_series), in place of the contexts of the windows
    bounds : (batch, 1, n_targets) each, the lower and the upper one
    output : (batch, steps, n_targets, n_outputs)
    """
    observed = windows.past(starts)
    covariates_kept = observed[:, -1:, : -network.n_targets].expand(-1, network.horizon, -1)
    past = observed if past is None else past
    parts: list[Tensor] = []
    for first_step in range(0, steps, network.horizon):
        if parts:
            point = parts[-1][..., network.point_output]
            if bounds is not None:
                point = point.clamp(*bounds)
            past = torch.cat([past, torch.cat([covariates_kept, point], dim=2)], dim=1)[:, -network.context_length :]
        parts.append(ascending(network(past, windows.covariates(starts, first_step))))
    return torch.cat(parts, dim=1)[:, :steps]
