"""A linear map whose bias costs no pass of its own over memory in a compiled network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """`torch.nn.Linear` with a bias, added behind the matrix product on a CPU.

    There PyTorch copies the bias into every row of the output before the product, which nothing can be fused with. What
    is added behind it takes as long by itself, and nothing where the compiler makes it part of the next operation.

    Shape
    -----
    input : (..., in_features)
    output : (..., out_features)

    Examples
    --------
    >>> import torch
    >>> Linear(3, 2)(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.device.type != "cpu":
            return super().forward(tokens)
        return F.linear(tokens, self.weight).add_(self.bias)
