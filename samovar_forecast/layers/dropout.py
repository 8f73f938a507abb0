"""Dropout whose random numbers cost little on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, on a CPU with four decisions from each random number of 64 bits.

    There the share dropped is rounded to a multiple of 1 / 65536; the expected output stays the input. Drawing a
    number for every activation takes as long as the attention that the activations come from.

    Shape
    -----
    input, output : (...)

    Examples
    --------
    >>> Dropout(0.25)(torch.ones(100_000)).mean().round(decimals=1)
    tensor(1.)
    """

    def forward(self, activations: Tensor) -> Tensor:
        if not self.training or self.p == 0 or activations.device.type != "cpu":
            return super().forward(activations)
        n_levels = 2**16
        dropped = round(self.p * n_levels)
        if dropped == n_levels:
            return activations * 0.0
        if activations.dim() > 1 and activations.mT.is_contiguous() and not activations.is_contiguous():
            return self(activations.mT).mT  # decided in the order of memory
        numbers = torch.randint(-(2**63), 2**63 - 1, (-(-activations.numel() // 4),))
        levels = numbers.view(torch.int16)[: activations.numel()].view(activations.shape)
        # Written as numbers at once: PyTorch writes truth values, and reads them again, one by one.
        kept = torch.empty_like(activations)
        torch.ge(levels, dropped - n_levels // 2, out=kept)  # the levels begin at -32768
        return activations * kept.mul_(n_levels / (n_levels - dropped))
