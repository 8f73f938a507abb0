"""How many windows to run at once: what the backward pass keeps stays small whatever the size of the data."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from samovar_forecast.data.windows import Windows
from samovar_forecast.networks.network import ForecastNetwork

MOST_BYTES = 2**27  # larger steps wait for memory: the C library hands such tensors back and asks for them anew


def count_parts(network: ForecastNetwork, windows: Windows, batch_size: int) -> int:
    """Into how many parts to cut a batch on a CPU, by what the backward pass keeps of one window.

    The gradients of the parts are accumulated, so the step is the same up to rounding; where the network has an
    objective of its own and windows have gaps, that is averaged over a part instead of the batch. The number depends
    on the network and the size of its input alone, so a training can be repeated.
    """
    network = copy.deepcopy(network).eval()  # no random number is drawn
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def weigh(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    past, _, covariates = windows.gather(windows.starts[:1])
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        network.training_forecast(past, covariates)
    most_windows = max(1, MOST_BYTES // max(1, sum(kept.values())))
    n_parts = -(-batch_size // most_windows)
    part_size = -(-batch_size // n_parts)  # as even as can be
    return -(-batch_size // part_size)


def forecast_batch_size(network: ForecastNetwork, device: torch.device) -> int:
    """Windows to forecast at once: enough to keep the device busy, fewer of wide data."""
    most_windows, most_points = (64, 2**22) if device.type == "cpu" else (512, 2**24)
    return max(1, min(most_windows, most_points // (network.context_length * network.n_series)))
