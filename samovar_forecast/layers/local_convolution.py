"""A short convolution over neighbouring tokens, feature by feature."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalConvolution(nn.Module):
    """Mix each feature of three neighbouring tokens by learned weights that start at the token itself.

    Parameters
    ----------
    d_model : int
        Width of a token.
    causal : bool
        If True the three tokens are the token and the two before it, otherwise one before and one after it.

    Shape
    -----
    input, output : (..., n_tokens, d_model)

    Examples
    --------
    >>> tokens = torch.arange(6.0).reshape(3, 2)
    >>> torch.equal(LocalConvolution(d_model=2, causal=True)(tokens), tokens)
    True
    """

    def __init__(self, d_model: int, causal: bool) -> None:
        super().__init__()
        self.padding = (2, 0) if causal else (1, 1)
        self.convolution = nn.Conv1d(d_model, d_model, kernel_size=3, groups=d_model, bias=False)
        with torch.no_grad():
            self.convolution.weight.zero_()
            self.convolution.weight[:, :, self.padding[0]] = 1.0

    def forward(self, tokens: Tensor) -> Tensor:
        features = tokens.transpose(-1, -2).reshape(-1, tokens.shape[-1], tokens.shape[-2])
        return self.convolution(F.pad(features, self.padding)).transpose(-1, -2).reshape(tokens.shape)
