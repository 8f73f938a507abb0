"""The core's scaler as a part of a network module."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SeriesScaler(nn.Module):
    """The map of the core's `Scaler` per column: the identity, unless a trained core brings its scaler.

    That is ``(values - center) / scale``, of ``log(1 + values)`` where the column is logarithmic. NaN stays NaN. It
    works on tensors in place of arrays: it lies in the module's checkpoint, moves to its device, and gradients pass
    through `inverse`, so the core's arrays in double precision cannot serve. Nothing is fitted here.

    Shape
    -----
    input, output : (..., n_columns), or only the last of the columns
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.center: Tensor
        self.scale: Tensor
        self.logarithmic: Tensor
        self.register_buffer("center", torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(n_columns))
        self.register_buffer("logarithmic", torch.zeros(n_columns, dtype=torch.bool))

    def forward(self, values: Tensor) -> Tensor:
        columns = slice(-values.shape[-1], None)
        values = torch.where(self.logarithmic[columns], torch.log1p(values), values)
        return (values - self.center[columns]) / self.scale[columns]

    def inverse(self, forecast: Tensor) -> Tensor:
        """Back to the units of the data, in the same order: (batch, horizon, n_targets, n_outputs) to that shape."""
        columns = slice(-forecast.shape[-2], None)
        forecast = forecast * self.scale[columns, None] + self.center[columns, None]
        logarithmic = self.logarithmic[columns, None]
        # Filled inside: the exponential of another column could be infinite, and its gradient NaN.
        largest = math.log(torch.finfo(forecast.dtype).max) - 1  # whose exponential still is a number
        logarithms = torch.where(logarithmic, forecast, 0.0).clamp(max=largest)
        return torch.where(logarithmic, torch.expm1(logarithms), forecast)
