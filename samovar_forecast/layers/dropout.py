"""Dropout."""

from __future__ import annotations

from torch import Tensor, nn

from samovar_forecast.layers.fast.dropout import fast_dropout


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`; on a CPU the share dropped is rounded to a multiple of 1 / 65536.

    Shape
    -----
    input, output : (...)

    Examples
    --------
    >>> import torch
    >>> Dropout(0.25)(torch.ones(100_000)).mean().round(decimals=1)
    tensor(1.)
    """

    def forward(self, activations: Tensor) -> Tensor:
        if self.training and self.p > 0 and activations.device.type == "cpu":
            return fast_dropout(activations, self.p)
        return super().forward(activations)
