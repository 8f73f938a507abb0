"""Token shift: part of each token's features comes from its neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def shift_tokens(tokens: Tensor, causal: bool) -> Tensor:
    """Take a third of the features from the token before, a third from the token after; causal: half from before.

    The features are cut into equal parts; those left over stay. Beyond the ends there are zeros.

    Shape
    -----
    tokens : (..., n_tokens, d_model)
    output : the same

    References
    ----------
    Peng, RWKV-LM, "time-shift".

    Examples
    --------
    >>> shift_tokens(torch.tensor([[1.0, 2, 3], [4, 5, 6]]), causal=False)
    tensor([[0., 2., 6.],
            [1., 5., 0.]])
    >>> shift_tokens(torch.tensor([[1.0, 2, 3], [4, 5, 6]]), causal=True)
    tensor([[0., 2., 3.],
            [1., 5., 6.]])
    """
    if causal:
        width = tokens.shape[-1] // 2
        before, rest = tokens.split([width, tokens.shape[-1] - width], dim=-1)
        return torch.cat([F.pad(before, (0, 0, 1, -1)), rest], dim=-1)
    width = tokens.shape[-1] // 3
    before, same, after, rest = tokens.split([width, width, width, tokens.shape[-1] - 3 * width], dim=-1)
    return torch.cat([F.pad(before, (0, 0, 1, -1)), same, F.pad(after, (0, 0, -1, 1)), rest], dim=-1)
