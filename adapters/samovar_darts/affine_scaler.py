"""Scaling inside a network module, so that its checkpoint holds it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AffineScaler(nn.Module):
    """``(values - center) / scale`` per column: the identity, unless a trained core brings its scaler.

    Shape
    -----
    input, output : (..., n_columns), or only the last of the columns
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(n_columns))

    def forward(self, values: Tensor) -> Tensor:
        columns = slice(-values.shape[-1], None)
        return (values - self.center[columns]) / self.scale[columns]

    def inverse(self, forecast: Tensor) -> Tensor:
        """Back to the units of the data: (batch, horizon, n_targets, n_outputs) to the same shape."""
        columns = slice(-forecast.shape[-2], None)
        return forecast * self.scale[columns, None] + self.center[columns, None]
