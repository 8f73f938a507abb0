"""Causal linear attention without feature map, scale or normaliser, in three forms of one function."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from samovar_forecast.layers.first_order import first_order

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
        Leading dimensions broadcast against each other, as in `torch.matmul`. There may be one query for every group of
        tokens, all of a size: it is that of the last token in its group.
    form : {"auto", "naive", "masked", "chunked"}
        How to compute it; the result is the same up to rounding.

    Returns
    -------
    Tensor
        One vector per query.

    Shape
    -----
    queries : (..., n_queries, d_head)
    keys, values : (..., n_tokens, d_head)
    output : (..., n_queries, d_head)

    Raises
    ------
    ValueError
        If `form` is unknown, or the tokens fall into no groups of a size.

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
    if n_tokens % queries.shape[-2]:
        raise ValueError(f"{n_tokens} tokens cannot be cut into a group for each of {queries.shape[-2]} queries")
    if form == "auto":
        form = "masked" if n_tokens <= _masked_limit(d_head) else "chunked"
    if form == "naive":
        return _naive(queries, keys, values)
    if form == "masked":
        return _masked(queries, keys, values)
    if form == "chunked":
        return _chunked(queries, keys, values, chunk_length(d_head))
    raise ValueError(f"unknown form of linear attention: {form=}; choose 'auto', 'naive', 'masked' or 'chunked'")


def tokens_side_by_side(heads: Tensor) -> bool:
    """Whether heads lie transposed in memory, with a feature of all tokens side by side.

    Narrow ones do, in a compiled network on a CPU: rows of ``d_head`` numbers fill no vector register. Uncompiled, each
    operation of a mixed layout takes longer than what that saves.

    Shape
    -----
    heads : (..., n_tokens, d_head)
    """
    return torch.compiler.is_compiling() and _is_narrow(heads)


def chunk_length(d_head: int) -> int:
    """Tokens per chunk: at least `d_head`, so that the states need no more memory than the keys."""
    return max(d_head, 32)


def _masked_limit(d_head: int) -> int:
    # Per token and head the masked form costs 2 n d products, the chunked form 2 c d inside its chunk and
    # 2 d^2 for the state: equal at n = c + d.
    return chunk_length(d_head) + d_head


def _naive(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    rows, group = [], keys.shape[-2] // queries.shape[-2]
    for number in range(queries.shape[-2]):
        seen = slice(0, (number + 1) * group)
        scores = queries[..., number : number + 1, :] @ keys[..., seen, :].transpose(-1, -2)  # (..., 1, n_seen)
        rows.append(scores @ values[..., seen, :])
    return torch.cat(rows, dim=-2)


def _masked(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    if torch.is_autocast_enabled(queries.device.type):  # which casts what it sees, and inside a function sees nothing
        return _hide_later(queries @ keys.mT) @ values
    leading = torch.broadcast_shapes(queries.shape[:-2], keys.shape[:-2], values.shape[:-2])
    inputs = [part.expand(*leading, *part.shape[-2:]).flatten(0, -3) for part in (queries, keys, values)]
    output, _ = _MaskedAttention.apply(*inputs)
    return output.reshape(*leading, *output.shape[-2:])


class _MaskedAttention(torch.autograd.Function):
    """``tril(Q K^T) V`` of (batch, n_tokens, d_head), masked in place in both passes."""

    @staticmethod
    def forward(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        scores = _hide_later(torch.bmm(queries, keys.mT))
        return _weigh(scores, values, _is_narrow(keys)), scores

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values, scores = ctx.saved_tensors
        of_scores = _hide_later(torch.bmm(gradient, values.mT))
        narrow = _is_narrow(keys)
        of_queries, of_values = _weigh(of_scores, keys, narrow), _weigh(scores.mT, gradient, narrow)
        if not tokens_side_by_side(keys):
            of_queries, of_values = of_queries.contiguous(), of_values.contiguous()
        return of_queries, _weigh(of_scores.mT, queries, narrow), of_values


def _hide_later(scores: Tensor) -> Tensor:
    """Scores with zeros, in place, where a token comes behind the one that asks: (..., n_queries, n_tokens)."""
    n_queries, n_tokens = scores.shape[-2:]
    if n_queries == n_tokens:
        return scores.tril_()
    group = n_tokens // n_queries
    return scores.mul_(scores.new_ones(n_tokens, n_tokens).tril_()[group - 1 :: group])


def _weigh(weights: Tensor, tokens: Tensor, narrow: bool) -> Tensor:
    """``weights @ tokens``; of narrow heads transposed, and so is the memory of the result."""
    return torch.bmm(tokens.mT, weights.mT).mT if narrow else torch.bmm(weights, tokens)


def _is_narrow(heads: Tensor) -> bool:
    """Whether heads are so narrow, on a CPU, that the features of a token fill no vector register."""
    return heads.device.type == "cpu" and heads.shape[-1] < 16 <= heads.shape[-2]


def _chunked(queries: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
    n_queries, group = queries.shape[-2], keys.shape[-2] // queries.shape[-2]
    queries_of_chunk = -(-length // group)

    def chunks(tokens: Tensor, length: int) -> Tensor:  # zero keys and values add nothing
        missing = -tokens.shape[-2] % length
        return F.pad(tokens, (0, 0, 0, missing)).unflatten(-2, (-1, length))  # (..., n_chunks, length, d_head)

    queries = chunks(queries, queries_of_chunk)
    keys, values = (chunks(tokens, queries_of_chunk * group) for tokens in (keys, values))
    within = _masked(queries, keys, values)
    states = keys.transpose(-1, -2) @ values  # (..., n_chunks, d_head, d_head)
    before = states.cumsum(-3) - states  # sum over the chunks that came earlier
    return (within + queries @ before).flatten(-3, -2)[..., :n_queries, :]
