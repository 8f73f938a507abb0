"""A learned linear map per head that stays invertible."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InvertibleMap(nn.Module):
    """Per-head linear map ``x -> x S`` with ``S = L U``, which has an inverse for every parameter value.

    ``L`` is unit lower triangular and ``U`` upper triangular with a softplus diagonal; both are packed in
    one square parameter.

    Parameters
    ----------
    n_heads : int
        Number of heads, each with its own map.
    d_head : int
        Width of a head.

    Shape
    -----
    input, output : (..., n_heads, n_tokens, d_head)

    References
    ----------
    Lu & Yang, ICML 2025: the output map of the aligned attention stack.

    Examples
    --------
    >>> InvertibleMap(n_heads=2, d_head=4)(torch.zeros(3, 2, 5, 4)).shape
    torch.Size([3, 2, 5, 4])
    """

    def __init__(self, n_heads: int, d_head: int) -> None:
        super().__init__()
        self.packed = nn.Parameter(torch.randn(n_heads, d_head, d_head) * (0.02 / d_head**0.5) ** 0.5)

    def matrix(self) -> Tensor:
        """The matrices ``S``: (n_heads, d_head, d_head)."""
        diagonal = self.packed.diagonal(dim1=-2, dim2=-1)
        identity = torch.eye(self.packed.shape[-1], dtype=self.packed.dtype, device=self.packed.device)
        lower = self.packed.tril(-1) + identity
        upper = self.packed.triu(1) + torch.diag_embed(F.softplus(diagonal))
        return lower @ upper

    def forward(self, tokens: Tensor) -> Tensor:
        # One product for each head, of the tokens of all sequences.
        return torch.einsum("...htd,hde->...hte", tokens, self.matrix())
