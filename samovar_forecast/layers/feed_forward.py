"""Position-wise feed-forward blocks: the plain one, and one that can be gated and run a few tokens at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.layers.dropout import Dropout


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
    >>> FeedForward(d_model=8, dropout=0.0)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, d_model: int, dropout: float) -> None:
        widen, narrow = nn.Linear(d_model, 4 * d_model), nn.Linear(4 * d_model, d_model)
        super().__init__(widen, nn.GELU(), narrow, Dropout(dropout))

    @property
    def output_projection(self) -> nn.Module:
        """The linear map back to the residual stream."""
        return self[2]


class GatedFeedForward(nn.Module):
    """Linear, GELU, Linear, dropout; with `glu` a second linear map multiplies what comes out of the GELU.

    Parameters
    ----------
    d_model, d_ff : int
        Width of a token and of the hidden layer.
    dropout : float
        Share of outputs dropped in training.
    glu : bool
        If True the hidden layer is ``gelu(a) * b`` with two linear maps a and b of the token.
    n_chunks : int, default 1
        Parts of the sequence that pass one after the other, so that in inference the hidden layer of only one
        of them is in memory.

    Shape
    -----
    input, output : (..., n_tokens, d_model)

    References
    ----------
    Shazeer, "GLU Variants Improve Transformer", 2020, arXiv 2002.05202; Kitaev et al., "Reformer", ICLR 2020,
    for the chunks.

    Examples
    --------
    >>> GatedFeedForward(d_model=8, d_ff=16, dropout=0.0, glu=True, n_chunks=2)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, d_ff: int, dropout: float, glu: bool, n_chunks: int = 1) -> None:
        super().__init__()
        self.glu, self.n_chunks = glu, n_chunks
        self.hidden = nn.Linear(d_model, 2 * d_ff if glu else d_ff)
        self.output_projection = nn.Linear(d_ff, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.n_chunks == 1:
            return self._transform(tokens)
        return torch.cat([self._transform(chunk) for chunk in tokens.chunk(self.n_chunks, dim=-2)], dim=-2)

    def _transform(self, tokens: Tensor) -> Tensor:
        hidden = self.hidden(tokens)
        if self.glu:
            opened, gate = hidden.chunk(2, dim=-1)
            hidden = F.gelu(opened) * gate
        else:
            hidden = F.gelu(hidden)
        return self.dropout(self.output_projection(hidden))
