"""The position-wise feed-forward block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samovar_forecast.layers.dropout import Dropout
from samovar_forecast.layers.linear import Linear


class FeedForward(nn.Sequential):
    """Linear to four times the width, GELU, Linear back, dropout.

    On a CPU a hidden feature of all tokens lies side by side: with rows of a power of two, as widths are, both products
    take a tenth longer, and so do their gradients.

    Parameters
    ----------
    d_model : int
        Width of a token.
    dropout : float
        Share of outputs dropped in training.

    Shape
    -----
    input, output : (..., d_model)

    Examples
    --------
    >>> FeedForward(d_model=8, dropout=0.0)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__(Linear(d_model, 4 * d_model), nn.GELU(), Linear(4 * d_model, d_model), Dropout(dropout))

    @property
    def input_projection(self) -> Linear:
        """The linear map to the hidden features."""
        return self[0]  # type: ignore[return-value]

    @property
    def output_projection(self) -> Linear:
        """The linear map back to the residual stream."""
        return self[2]  # type: ignore[return-value]

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.device.type != "cpu" or torch.is_autocast_enabled("cpu"):  # mixed precision has products of its own
            return super().forward(tokens)
        widen, narrow = self.input_projection, self.output_projection
        by_token = tokens.reshape(-1, tokens.shape[-1])
        hidden = self[1]((widen.weight @ by_token.mT).add_(widen.bias.unsqueeze(-1)))  # (4 d_model, all tokens)
        return self[3]((hidden.mT @ narrow.weight.mT).view(tokens.shape).add_(narrow.bias))
