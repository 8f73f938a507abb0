"""The position-wise feed-forward block."""

from __future__ import annotations

from torch import Tensor, nn

from samovar_forecast.layers.dropout import Dropout
from samovar_forecast.layers.linear import Linear


class FeedForward(nn.Sequential):
    """Linear to four times the width, GELU, Linear back, dropout.

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
    >>> import torch
    >>> FeedForward(d_model=8, dropout=0.0)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__(Linear(d_model, 4 * d_model), nn.GELU(), Linear(4 * d_model, d_model), Dropout(dropout))

    @property
    def output_projection(self) -> Linear:
        """The linear map back to the residual stream."""
        return self[2]  # type: ignore[return-value]

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens)
