"""Causal linear attention with exponential keys and its normaliser, exact for logits of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def causal_linear_attention(
    queries: Tensor, keys: Tensor, values: Tensor, blindspot: int | None = None, visible: Tensor | None = None
) -> Tensor:
    """Attend to the tokens up to each token by ``out_t = sum_i (q_t . k_i) v_i / sum_i (q_t . k_i)``.

    Queries are a softmax over features and keys an exponential of their logits; the weights of a row sum to one.
    No exponential is taken of a logit itself: the largest logit that a token sees is taken off feature by feature,
    so nothing overflows, and no row loses all its weights to rounding because of a larger key it does not see.

    Time and memory are linear in the number of tokens. Sequences are cut into chunks. What lies before a chunk
    enters through one ``d_head x d_head`` state per chunk; inside it the triangle of weights is put together from
    squares of half, a quarter, ... of the chunk, where all keys lie before all queries and one maximum serves.

    Parameters
    ----------
    queries, keys, values : Tensor
        Logits of the queries and of the keys, and the values.
    blindspot : int or None, default None
        None: a token sees itself and all tokens before it. A number b: tokens are put into blocks of b, counted
        so that the last block is full, and a token sees only the blocks before its own. With the number of tokens
        a multiple of b, token t sees the positions below ``b * floor(t / b)``.
    visible : Tensor or None, default None
        True where a token may be seen by others. Where no token is seen the output is zero.

    Shape
    -----
    queries, keys, values : (..., n_tokens, d_head)
    visible : (..., n_tokens)
    output : (..., n_tokens, d_head)

    Raises
    ------
    ValueError
        If `blindspot` is below one.

    References
    ----------
    Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
    ICML 2020, arXiv 2006.16236.

    Examples
    --------
    >>> weightless = torch.zeros(1, 4, 2)
    >>> values = torch.arange(4.0).reshape(1, 4, 1).expand(1, 4, 2)
    >>> causal_linear_attention(weightless, weightless, values)[0, :, 0]
    tensor([0.0000, 0.5000, 1.0000, 1.5000])
    >>> causal_linear_attention(weightless, weightless, values, blindspot=2)[0, :, 0]
    tensor([0.0000, 0.0000, 0.5000, 0.5000])
    """
    if blindspot is not None and blindspot < 1:
        raise ValueError(f"blindspot must be None or at least 1, got {blindspot}")
    dtype, n_tokens = queries.dtype, queries.shape[-2]
    block = blindspot or 1
    length = _chunk_length(queries.shape[-1], block)
    missing = -n_tokens % length

    # Sums over thousands of tokens and differences of large logits need more digits than half precision has.
    exact = torch.promote_types(dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys, values = (tokens.to(exact) for tokens in (queries, keys, values))
        values = F.pad(values, (0, 1), value=1.0)  # the last column sums the weights
        lowest = torch.finfo(exact).min
        if visible is not None:
            hidden = ~visible.unsqueeze(-1)
            keys, values = keys.masked_fill(hidden, lowest), values.masked_fill(hidden, 0.0)
        queries = F.pad(queries, (0, 0, missing, 0)).unflatten(-2, (-1, length))  # (..., n_chunks, length, d_head)
        keys = F.pad(keys, (0, 0, missing, 0), value=lowest).unflatten(-2, (-1, length))
        values = F.pad(values, (0, 0, missing, 0)).unflatten(-2, (-1, length))

        before, after = _largest_before(keys.detach())
        with torch.no_grad():  # the scale of a row cancels in the ratio
            largest = torch.maximum(_largest_seen(keys.detach(), block, own=blindspot is None), before)
            scale = (queries.detach() + largest).amax(-1, keepdim=True)
        queries = queries - scale

        sums = (queries + before).exp() @ _states_before(keys, values, before, after)
        if blindspot != length:  # a chunk of one block sees nothing of itself
            sums = sums + _weights(queries, keys, block, own=blindspot is None) @ values
        sums, total = sums.flatten(-3, -2)[..., missing:, :].split([values.shape[-1] - 1, 1], dim=-1)
        return (sums / torch.where(total > 0, total, 1.0)).to(dtype)


def _chunk_length(d_head: int, block: int) -> int:
    """Tokens per chunk: blocks times a power of two, at least `d_head`, so that the states are no larger than the keys.

    Examples
    --------
    >>> _chunk_length(d_head=16, block=1), _chunk_length(d_head=16, block=5), _chunk_length(d_head=4, block=50)
    (16, 20, 50)
    """
    length = block
    while length < max(d_head, 16):
        length *= 2
    return length


def _halves(tokens: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Earlier and later halves of all runs of `2 * size` tokens: (..., n_runs, size, d) each."""
    earlier, later = tokens.unflatten(-2, (-1, 2, size)).unbind(-3)
    return earlier, later


def _largest_before(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The largest key logit of all earlier chunks, and with the chunk itself: (..., n_chunks, 1, d_head) each."""
    largest = torch.full_like(keys[..., 0, :1, :], torch.finfo(keys.dtype).min)
    seen = [largest]
    for chunk in keys.amax(-2, keepdim=True).unbind(-3):
        seen.append(torch.maximum(seen[-1], chunk))
    return torch.stack(seen[:-1], dim=-3), torch.stack(seen[1:], dim=-3)


def _largest_seen(keys: Tensor, block: int, own: bool) -> Tensor:
    """The largest key logit that each token sees inside its chunk: (..., n_chunks, length, d_head)."""
    length = keys.shape[-2]
    seen = keys if own else torch.full_like(keys, torch.finfo(keys.dtype).min)
    size = block
    while size < length:
        earlier, later = _halves(seen, size)
        largest = _halves(keys, size)[0].amax(-2, keepdim=True)
        seen = torch.stack([earlier, torch.maximum(later, largest)], dim=-3).flatten(-4, -2)
        size *= 2
    return seen


def _weights(queries: Tensor, keys: Tensor, block: int, own: bool) -> Tensor:
    """The weights inside each chunk, zero where a token is not seen: (..., n_chunks, length, length)."""
    length = keys.shape[-2]
    if own:
        weights = (queries + keys).exp().sum(-1)[..., None, None]  # each token with itself
    else:
        weights = queries.new_zeros(*queries.shape[:-2], length // block, block, block)
    size = block
    while size < length:  # weights: (..., length / size, size, size)
        earlier_keys, later_queries = _halves(keys, size)[0], _halves(queries, size)[1]
        largest = earlier_keys.detach().amax(-2, keepdim=True)
        square = (later_queries + largest).exp() @ (earlier_keys - largest).exp().transpose(-1, -2)
        earlier, later = weights.unflatten(-3, (-1, 2)).unbind(-3)
        weights = torch.cat([F.pad(earlier, (0, size)), torch.cat([square, later], dim=-1)], dim=-2)
        size *= 2
    return weights.squeeze(-3)


def _states_before(keys: Tensor, values: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Sums of ``k v^T`` over all earlier chunks, scaled by their largest key: (..., n_chunks, d_head, d_head + 1)."""
    earlier = slice(None, -1)  # the last chunk comes before none
    scaled_keys = (keys[..., earlier, :, :] - after[..., earlier, :, :]).exp()
    added = scaled_keys.transpose(-1, -2) @ values[..., earlier, :, :]
    kept = (before - after)[..., earlier, :, :].exp().transpose(-1, -2)
    states = [values.new_zeros(*keys.shape[:-3], keys.shape[-1], values.shape[-1])]
    for share, increment in zip(kept.unbind(-3), added.unbind(-3), strict=True):
        states.append(states[-1] * share + increment)
    return torch.stack(states, dim=-3)
