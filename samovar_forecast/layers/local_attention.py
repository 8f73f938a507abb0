"""Softmax attention inside windows of neighbouring tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalAttention(nn.Module):
    """Softmax attention of each window of tokens to itself and its neighbours; linear in the number of tokens.

    A token sees its own window and the one before, and also the one after it unless `causal`. Windows are counted
    so that the last one is full.

    Parameters
    ----------
    window : int
        Tokens per window.
    causal : bool
        If True a token sees no later one.
    dropout : float
        Share of attention weights dropped in training.

    Shape
    -----
    queries, keys, values : (..., n_tokens, d_head)
    visible : (..., n_tokens), True where a token may be seen; None for all
    output : (..., n_tokens, d_head)

    References
    ----------
    Beltagy et al., "Longformer", 2020, arXiv 2004.05150, for windows beside global attention.

    Examples
    --------
    >>> weightless, values = torch.zeros(1, 6, 1), torch.arange(6.0).reshape(1, 6, 1)
    >>> LocalAttention(window=2, causal=True, dropout=0.0)(weightless, weightless, values).flatten()
    tensor([0.0000, 0.5000, 1.0000, 1.5000, 3.0000, 3.5000])
    """

    def __init__(self, window: int, causal: bool, dropout: float) -> None:
        super().__init__()
        self.window, self.causal = window, causal
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None = None) -> Tensor:
        n_tokens, d_head = queries.shape[-2:]
        missing = -n_tokens % self.window

        def windows(tokens: Tensor) -> Tensor:  # (..., n_windows, window, d_head)
            return F.pad(tokens, (0, 0, missing, 0)).unflatten(-2, (-1, self.window))

        position = torch.arange(missing + n_tokens, device=queries.device).unflatten(0, (-1, self.window))
        shown = position >= missing
        if visible is not None:
            shown = F.pad(visible, (missing, 0)).unflatten(-1, (-1, self.window))
            values = values.masked_fill(~visible.unsqueeze(-1), 0.0)
        seen = self._neighbours(shown.unsqueeze(-1)).transpose(-1, -2)  # (..., n_windows, 1, n_seen)
        if self.causal:
            key_position = self._neighbours(position.unsqueeze(-1)).transpose(-1, -2)
            seen = seen & (key_position <= position.unsqueeze(-1))
        scores = windows(queries) @ self._neighbours(windows(keys)).transpose(-1, -2)
        scores = (scores * d_head**-0.5).masked_fill(~seen, torch.finfo(scores.dtype).min)
        attended = self.dropout(scores.softmax(-1)) @ self._neighbours(windows(values))
        return attended.flatten(-3, -2)[..., missing:, :]

    def _neighbours(self, tokens: Tensor) -> Tensor:
        """Each window with its neighbours, zero (or False) beyond the ends: (..., n_windows, n_seen, d)."""
        n_windows = tokens.shape[-3]
        later = 0 if self.causal else 1
        padded = F.pad(tokens, (0, 0, 0, 0, 1, later))
        return torch.cat([padded[..., i : i + n_windows, :, :] for i in range(2 + later)], dim=-2)
