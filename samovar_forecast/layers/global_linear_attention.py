"""Global linear attention: every token sees all tokens, at a cost linear in their number."""

from __future__ import annotations

import torch
from torch import Tensor


def global_linear_attention(queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None = None) -> Tensor:
    """Attend to all tokens by ``q (k^T v)`` with ``q`` a softmax over features and ``k`` one over positions.

    The implied weights ``q k^T`` are positive and every row sums to ``d_head^-1/2``, the scale of the queries.

    Parameters
    ----------
    queries, keys, values : Tensor
        Logits of the queries and of the keys, and the values. There may be more or fewer queries than keys.
    visible : Tensor or None, default None
        True where a key may be seen. Where no key may be seen the output is zero.

    Shape
    -----
    queries : (..., n_queries, d_head)
    keys, values : (..., n_tokens, d_head)
    visible : (..., n_tokens)
    output : (..., n_queries, d_head)

    References
    ----------
    Shen et al., "Efficient Attention: Attention with Linear Complexities", WACV 2021, arXiv 1812.01243.

    Examples
    --------
    >>> weightless = torch.zeros(1, 3, 4)
    >>> global_linear_attention(weightless, weightless, torch.ones(1, 3, 4))[0, 0]
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    if visible is not None:
        hidden = ~visible.unsqueeze(-1)
        keys = keys.masked_fill(hidden, torch.finfo(keys.dtype).min)
        values = values.masked_fill(hidden, 0.0)
    state = keys.softmax(-2).transpose(-1, -2) @ values  # (..., d_head, d_head)
    return queries.softmax(-1) @ (state * queries.shape[-1] ** -0.5)


def image_linear_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend to all positions of a map of rows and columns, here series and time, in linear time.

    Every position sees every other one, so the series see each other. Queries and keys are both scaled by
    ``d_head^-1/4`` before their softmax, which runs over the features and over the whole map; the implied weights
    sum to one.

    Shape
    -----
    queries, keys, values : (..., n_rows, n_heads, n_columns, d_head)
    output : the same

    References
    ----------
    Shen et al., "Efficient Attention: Attention with Linear Complexities", WACV 2021, arXiv 1812.01243.

    Examples
    --------
    >>> weightless = torch.zeros(3, 1, 5, 4)
    >>> values = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 5, 4)
    >>> image_linear_attention(weightless, weightless, values)[0, 0, 0]
    tensor([1., 1., 1., 1.])
    """
    n_rows, d_head = queries.shape[-4], queries.shape[-1]

    def flat(tokens: Tensor) -> Tensor:  # (..., n_heads, n_rows * n_columns, d_head)
        return tokens.movedim(-4, -3).flatten(-3, -2)

    attended = global_linear_attention(flat(queries) * d_head**-0.25, flat(keys) * d_head**-0.25, flat(values))
    return (attended * d_head**0.5).unflatten(-2, (n_rows, -1)).movedim(-3, -4)
