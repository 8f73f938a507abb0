"""Causal linear attention without feature map, scale or normaliser, in three forms of one function."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Form = Literal["auto", "naive", "masked", "chunked"]


def linear_attention(queries: Tensor, keys: Tensor, values: Tensor, form: Form = "auto") -> Tensor:
    """Causal linear attention ``out_t = sum_{i <= t} (q_t . k_i) v_i``.

    No form builds a ``d x d`` state for every token. ``"naive"`` reads the formula row by row,
    ``"masked"`` is ``tril(Q K^T) V``, quadratic in the number of tokens, and ``"chunked"`` carries one
    ``d x d`` state from chunk to chunk, linear in the number of tokens. ``"auto"`` takes the cheaper of
    the last two.

    Parameters
    ----------
    queries, keys, values : Tensor
        Leading dimensions broadcast against each other, as in `torch.matmul`.
    form : {"auto", "naive", "masked", "chunked"}
        How to compute it; the result is the same up to rounding.

    Shape
    -----
    queries, keys, values, output : (..., n_tokens, d_head)

    Raises
    ------
    ValueError
        If `form` is unknown.

    References
    ----------
    Katharopoulos et al., "Transformers are RNNs", ICML 2020, equation 8 without its normaliser;
    Lu & Yang, "Linear Transformers as VAR Models", ICML 2025.

    Examples
    --------
    >>> q = k = v = torch.ones(1, 3, 2)
    >>> linear_attention(q, k, v)[0, :, 0]
    tensor([2., 4., 6.])
    """
    n_tokens, d_head = keys.shape[-2:]
    if form == "auto":
        form = "masked" if n_tokens <= _masked_limit(d_head) else "chunked"
    if form == "naive":
        return _naive(queries, keys, values)
    if form == "masked":
        return _masked(queries, keys, values)
    if form == "chunked":
        return _chunked(queries, keys, values, chunk_length(d_head))
    raise ValueError(f"unknown form of linear attention: {form=}; choose 'auto', 'naive', 'masked' or 'chunked'")


def chunk_length(d_head: int) -> int:
    """Tokens per chunk: at least `d_head`, so that the states need no more memory than the keys."""
    return max(d_head, 32)


def _masked_limit(d_head: int) -> int:
    # By count of products both forms cost the same at n = c + d. Small products are slow and padding is copied, so that
    # on a CPU the masked form is the faster one up to two chunks, and the slower one at three.
    return 2 * chunk_length(d_head)


def _naive(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    rows = []
    for t in range(queries.shape[-2]):
        seen = slice(0, t + 1)
        scores = queries[..., t : t + 1, :] @ keys[..., seen, :].mT  # (..., 1, n_seen)
        rows.append(scores @ values[..., seen, :])
    return torch.cat(rows, dim=-2)


def _masked(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return (queries @ keys.mT).tril() @ values


def _chunked(queries: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
    n_tokens = queries.shape[-2]
    missing = -n_tokens % length
    queries, keys, values = (  # (..., n_chunks, length, d_head); zero keys and values add nothing
        F.pad(tokens, (0, 0, 0, missing)).unflatten(-2, (-1, length)) for tokens in (queries, keys, values)
    )
    within = _masked(queries, keys, values)
    states = keys.mT @ values  # (..., n_chunks, d_head, d_head)
    before = states.cumsum(-3) - states  # sum over the chunks that came earlier
    return (within + queries @ before).flatten(-3, -2)[..., :n_tokens, :]
