"""A moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from samovar_forecast.networks.network import ForecastNetwork


class AveragedWeights(nn.Module):
    """A copy of a network whose weights are an exponential moving average over the training steps.

    The average first reaches back over about a tenth of the steps so far, later over ``1 / (1 - decay)``, so
    it serves short and long trainings alike. PyTorch's `AveragedModel` counts its steps on the device, which
    makes the host wait at every step; this one counts on the host.

    Parameters
    ----------
    network : ForecastNetwork
        The network to follow; the average begins with its weights.
    decay : float
        Largest weight of the past.

    References
    ----------
    Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    network: ForecastNetwork

    def __init__(self, network: ForecastNetwork, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self, network: ForecastNetwork) -> None:
        """Take in the weights after one more step."""
        decay = min(self.decay, self.steps / (9 + self.steps))
        self.steps += 1
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)  # what a layer has counted or estimated goes with its newest weights

    def get_extra_state(self) -> dict[str, int]:
        """What a checkpoint holds beside the weights."""
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Go on counting from a checkpoint."""
        self.steps = state["steps"]
