"""Forecasts from many cutoffs at once, rolled forward beyond the network's horizon."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.networks.network import Covariates, ForecastNetwork
from samovar_forecast.training.batches import forecast_batch_size
from samovar_forecast.training.losses import ascending


def forecast_cutoffs(
    network: ForecastNetwork,
    values: Tensor,
    cutoffs: Tensor,
    steps: int,
    known: Tensor | None = None,
    static: Tensor | None = None,
) -> NDArray[np.float32]:
    """Forecast `steps` rows from every cutoff, in one array; see `forecast_batches`.

    Returns
    -------
    ndarray
        Forecasts, scaled; several outputs are quantiles in ascending order.

    Shape
    -----
    output : (n_cutoffs, steps, n_targets, n_outputs)
    """
    forecasts = np.empty((len(cutoffs), steps, network.n_targets, network.n_outputs), dtype=np.float32)
    for rows, outputs in forecast_batches(network, values, cutoffs, steps, known, static):
        forecasts[rows] = outputs
    return forecasts


@torch.inference_mode()
def forecast_batches(
    network: ForecastNetwork,
    values: Tensor,
    cutoffs: Tensor,
    steps: int,
    known: Tensor | None = None,
    static: Tensor | None = None,
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Forecast `steps` rows from every cutoff, batch after batch, each sized to memory.

    Beyond the network's horizon the point forecasts enter the context as if observed; past covariates keep
    their last value.

    Parameters
    ----------
    network : ForecastNetwork
        In evaluation mode.
    values : Tensor
        Scaled series, targets last, NaN where not observed.
    cutoffs : Tensor
        Row number of the first step to forecast; `context_length` rows lie in front of each.
    steps : int
        Steps to forecast from each cutoff.
    known : Tensor or None
        Covariates known in the future, up to the last step forecast.
    static : Tensor or None
        Covariates constant in time, for each cutoff.

    Yields
    ------
    slice, ndarray
        Which of the cutoffs, and their forecasts, scaled; several outputs are quantiles in ascending order.

    Shape
    -----
    values : (n_rows, n_series)
    cutoffs : (n_cutoffs,)
    known : (n_rows or more, n_known)
    static : (n_cutoffs, n_static)
    forecasts : (batch, steps, n_targets, n_outputs)
    """
    device = next(network.parameters()).device
    values, known = values.to(device), None if known is None else known.to(device)
    done = 0
    for batch in cutoffs.to(device).split(forecast_batch_size(network, device)):
        rows = slice(done, done + len(batch))
        of_batch = None if static is None else static[rows].to(device)
        yield rows, _roll_forward(network, values, batch, steps, known, of_batch).float().cpu().numpy()
        done += len(batch)


def _roll_forward(
    network: ForecastNetwork,
    values: Tensor,
    cutoffs: Tensor,
    steps: int,
    known: Tensor | None,
    static: Tensor | None,
) -> Tensor:
    context_length, horizon = network.context_length, network.horizon
    rows = cutoffs.unsqueeze(1) + torch.arange(-context_length, 0, device=values.device)
    past = values[rows]  # (batch, context_length, n_series)
    parts: list[Tensor] = []
    for first in range(0, steps, horizon):
        if parts:
            covariates_kept = past[:, -1:, : -network.n_targets].expand(-1, horizon, -1)
            point = parts[-1][..., network.point_output]
            past = torch.cat([past, torch.cat([covariates_kept, point], dim=2)], dim=1)[:, -context_length:]
        covariates = Covariates(static=static)
        if known is not None:
            known_past, known_future = _known_windows(known, cutoffs + first, context_length, horizon)
            covariates = covariates._replace(known_past=known_past, known_future=known_future)
        parts.append(ascending(network(past, covariates)))
    return torch.cat(parts, dim=1)[:, :steps]


def _known_windows(known: Tensor, cutoffs: Tensor, context_length: int, horizon: int) -> tuple[Tensor, Tensor]:
    rows = cutoffs.unsqueeze(1) + torch.arange(-context_length, horizon, device=known.device)
    window = known[rows.clamp_(max=len(known) - 1)]  # rows past the last one belong to steps that are cut off
    return window[:, :context_length], window[:, context_length:]
