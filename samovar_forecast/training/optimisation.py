"""How the weights move: the learning rate over time, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import nn

from samovar_forecast.networks.network import ForecastNetwork


def multiplier(schedule: str, total_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """The factor on the peak learning rate at a step.

    "onecycle" is linear from 1/10 to 1 over the first 5 % of the steps, then linear to nearly zero, as SAMoVAR was
    published. "cosine" warms up over the same share and decays along half a cosine. "cosine_restarts" is
    SAMformer's: half a cosine from 1 to 1/1000 over five epochs, then again; "halving" is Autoformer's: 1 for two
    epochs, then half of it, a quarter and so on. Both change between epochs only. "constant" is 1.

    Parameters
    ----------
    schedule : {"onecycle", "cosine", "cosine_restarts", "halving", "constant"}
    total_steps : int
        Optimizer steps of the whole training.
    steps_per_epoch : int
        Optimizer steps of one epoch.

    Examples
    --------
    >>> rate = multiplier("onecycle", total_steps=100, steps_per_epoch=10)
    >>> [round(rate(step), 2) for step in (0, 5, 100)]
    [0.1, 1.0, 0.0]
    >>> rate = multiplier("halving", total_steps=40, steps_per_epoch=10)
    >>> [rate(step) for step in (0, 19, 20, 39)]
    [1.0, 1.0, 0.5, 0.25]
    """
    warm_up = max(1, round(0.05 * total_steps))

    def factor(step: int) -> float:
        epoch = step // steps_per_epoch
        if schedule == "constant":
            return 1.0
        if schedule == "cosine_restarts":
            return 0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * (epoch % 5) / 5))
        if schedule == "halving":
            return 0.5 ** max(0, epoch - 1)
        if step < warm_up:
            return 0.1 + 0.9 * step / warm_up
        done = min(1.0, (step - warm_up) / max(1, total_steps - warm_up))
        return 1 - done if schedule == "onecycle" else 0.5 * (1 + math.cos(math.pi * done))

    return factor


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
