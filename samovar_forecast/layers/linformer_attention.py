"""Linformer: softmax attention to a few learned mixtures of the tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinformerAttention(nn.Module):
    """Softmax attention to `rank` learned combinations of the keys and of the values; linear in the tokens.

    Parameters
    ----------
    n_tokens : int
        Number of tokens, fixed because every position has its own weights.
    rank : int
        Number of combinations.
    dropout : float
        Share of attention weights dropped in training.

    Shape
    -----
    queries, keys, values : (..., n_tokens, d_head)
    output : (..., n_tokens, d_head)

    References
    ----------
    Wang et al., "Linformer: Self-Attention with Linear Complexity", 2020, arXiv 2006.04768.

    Examples
    --------
    >>> tokens = torch.zeros(2, 3, 50, 8)
    >>> LinformerAttention(n_tokens=50, rank=4, dropout=0.0)(tokens, tokens, tokens).shape
    torch.Size([2, 3, 50, 8])
    """

    def __init__(self, n_tokens: int, rank: int, dropout: float) -> None:
        super().__init__()
        bound = rank**-0.5
        self.key_mixture = nn.Parameter(torch.empty(n_tokens, rank).uniform_(-bound, bound))
        self.value_mixture = nn.Parameter(torch.empty(n_tokens, rank).uniform_(-bound, bound))
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        keys = self.key_mixture.T @ keys  # (..., rank, d_head)
        values = self.value_mixture.T @ values
        scores = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
        return self.dropout(scores.softmax(-1)) @ values
