"""GELU that computes its derivative along with its value where that is compiled into one pass."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.layers.first_order import first_order


class GELU(nn.GELU):
    """`torch.nn.GELU`, which in a compiled network on a CPU keeps its derivative in place of its input.

    The error function takes longest in it, and is computed once for both passes then.

    Shape
    -----
    input, output : (...)

    References
    ----------
    Hendrycks & Gimpel, "Gaussian error linear units", arXiv 1606.08415.

    Examples
    --------
    >>> GELU()(torch.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    def forward(self, activations: Tensor) -> Tensor:
        if torch.compiler.is_compiling() and activations.device.type == "cpu":
            return _GELU.apply(activations)
        return F.gelu(activations)


class _GELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activations: Tensor) -> Tensor:
        share = (1 + (activations * math.sqrt(0.5)).erf()) / 2  # of the normal distribution below each
        density = (activations.square() * -0.5).exp() / math.sqrt(2 * math.pi)
        ctx.save_for_backward(share + activations * density)
        return activations * share

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (derivative,) = ctx.saved_tensors
        return gradient * derivative
