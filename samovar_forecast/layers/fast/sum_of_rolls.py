"""A weighted sum of rolled series whose gradient in the series is such a sum itself, without scattering."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def sum_of_rolls(values: Tensor, delays: Tensor, weights: Tensor) -> Tensor:
    """``sum_i weights[i] values[(t + delays[i]) mod length]`` for every ``t``, each sample with its own delays.

    Reads the rows at the chosen delays and nothing else; no rolled copy is made.

    Shape
    -----
    values : (batch, length, n_channels)
    delays, weights : (batch, n_delays)
    output : (batch, length, n_channels)

    Examples
    --------
    >>> values = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    >>> sum_of_rolls(values, torch.tensor([[0, 1]]), torch.tensor([[10.0, 1.0]])).flatten()
    tensor([12., 23., 31.])
    """
    batch, length, _ = values.shape
    steps = torch.arange(length, device=values.device).unsqueeze(1)
    rows = steps + (delays % length).unsqueeze(1)  # (batch, length, n_delays), below 2 * length
    # The library's fused gather and weighted sum; it knows one table, hence the samples one below the other.
    first_rows = length * torch.arange(batch, device=values.device).reshape(-1, 1, 1)
    summed = F.embedding_bag(
        (torch.where(rows < length, rows, rows - length) + first_rows).flatten(0, 1),
        values.detach().flatten(0, 1),
        per_sample_weights=weights.to(values.dtype).unsqueeze(1).expand_as(rows).flatten(0, 1),
        mode="sum",
    )
    return _ValuesGradient.apply(summed.unflatten(0, (batch, length)), values, delays, weights.detach())


class _ValuesGradient(torch.autograd.Function):
    """The sum of rolls as it is; its gradient in the values is a sum of rolls the other way, no scattering."""

    @staticmethod
    def forward(summed: Tensor, values: Tensor, delays: Tensor, weights: Tensor) -> Tensor:
        return summed

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (gradient,), (delays, weights) = gradients, ctx.saved_tensors
        return gradient, sum_of_rolls(gradient, -delays, weights), None, None
