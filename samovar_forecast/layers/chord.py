"""The product of values with one sparse factor, whose links span the powers of two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor

from samovar_forecast.layers.first_order import first_order

Direction = Literal["past", "circular"]
Piece = tuple[slice, slice]  # rows of the output, and the rows of the values that they read


def count_factors(n_tokens: int) -> int:
    """Number of factors whose product links every token with every other: ``ceil(log2(n_tokens))``, at least one.

    Examples
    --------
    >>> count_factors(128), count_factors(100), count_factors(1)
    (7, 7, 1)
    """
    return max(1, int(n_tokens - 1).bit_length())


def chord_offsets(n_links: int) -> list[int]:
    """Distances that the links of one token span: to itself, then the powers of two.

    Examples
    --------
    >>> chord_offsets(5)
    [0, 1, 2, 4, 8]
    """
    return [0, *(2**k for k in range(n_links - 1))]


def chord_product(weights: Tensor, values: Tensor, direction: Direction, added: Tensor | None = None) -> Tensor:
    """Multiply the values of all tokens by one sparse factor.

    With offsets ``o = 0, 1, 2, 4, ...`` the direction ``"circular"`` gives
    ``out_i = sum_j weights[i, j] values[(i + o_j) mod n_tokens]``, a sum of rolls; links that meet add up. The
    direction ``"past"`` reads ``values[i - o_j]`` instead and drops the links that reach behind the first token:
    a lower triangular, causal factor.

    Parameters
    ----------
    weights : Tensor
        What a token takes over each of its links.
    values : Tensor
        One vector per token.
    direction : {"past", "circular"}
        Where the links of a token lead.
    added : Tensor, optional
        Added to the product.

    Returns
    -------
    Tensor
        One vector per token. It is laid out with its width first in memory, `values` and `weights` are read
        fastest when they are as well (``tensor.movedim(0, -1)`` of a contiguous one).

    Shape
    -----
    weights : (n_sequences, n_tokens, n_links)
    values, added, output : (n_sequences, n_tokens, width)

    Raises
    ------
    ValueError
        If `direction` is unknown.

    References
    ----------
    Khalitov, Yu, Cheng & Yang, "Sparse factorization of square matrices with application to neural attention
    modeling", Neural Networks 152, 2022, arXiv 2109.08184.

    Examples
    --------
    >>> values = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1)
    >>> weights = torch.tensor([1.0, 10.0, 100.0]).expand(1, 4, 3)  # this token, one step and two steps off
    >>> chord_product(weights, values, "past").flatten()
    tensor([  1.,  12., 123., 234.])
    >>> chord_product(weights, values, "circular").flatten()
    tensor([321., 432., 143., 214.])
    """
    if direction not in get_args(Direction):
        raise ValueError(f'direction must be "past" or "circular", got {direction!r}')
    links, planes = weights.movedim(-1, 0), values.movedim(-1, 0)
    base = None if added is None else added.movedim(-1, 0)
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        product = _multiply(links, planes, base, direction)
    else:
        product = _ChordProduct.apply(links, planes, base, direction)
    return product.movedim(0, -1)


def _pieces(n_tokens: int, offset: int, direction: Direction) -> list[Piece]:
    """Contiguous runs of tokens that a link of this offset joins: one, or two where it wraps round."""
    if direction == "past":
        return [(slice(offset, None), slice(None, n_tokens - offset))] if offset < n_tokens else []
    offset %= n_tokens
    if offset == 0:
        return [(slice(None), slice(None))]
    return [(slice(None, -offset), slice(offset, None)), (slice(-offset, None), slice(None, offset))]


def cache_chunks(n_rows: int, floats_per_row: int, device: torch.device) -> Iterator[slice]:
    """Runs of rows that are worked on together: as many as a CPU's cache holds, or a share of an accelerator."""
    floats = 2**19 if device.type == "cpu" else 2**28
    length = max(1, floats // floats_per_row)
    return (slice(start, start + length) for start in range(0, n_rows, length))


def _multiply(links: Tensor, planes: Tensor, base: Tensor | None, direction: Direction) -> Tensor:
    """The product in the layout (width, n_sequences, n_tokens), where every link is one contiguous plane."""
    product = links[0] * planes if base is None else torch.addcmul(base, links[0], planes)
    for link, offset in zip(links[1:], chord_offsets(len(links))[1:], strict=True):
        for to, source in _pieces(planes.shape[-1], offset, direction):
            product[..., to].addcmul_(link[..., to], planes[..., source])
    return product


class _ChordProduct(torch.autograd.Function):
    """`_multiply` that keeps nothing but its inputs for backward: four times as fast on a CPU as its recorded steps."""

    @staticmethod
    def forward(ctx, links, planes, base, direction):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(links, planes)
        ctx.direction = direction
        return _multiply(links, planes, base, direction)

    @staticmethod
    @first_order
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        links, planes = ctx.saved_tensors
        (width, n_sequences, n_tokens), offsets = planes.shape, chord_offsets(len(links))
        links_gradient = torch.zeros_like(links, dtype=gradient.dtype)  # under autocast wider than the links
        planes_gradient = torch.empty_like(planes, dtype=gradient.dtype)
        for rows in cache_chunks(n_sequences, (4 * width + len(links)) * n_tokens, planes.device):
            link, plane, received = links[:, rows], planes[:, rows], gradient[:, rows]
            to_link, to_plane = links_gradient[:, rows], planes_gradient[:, rows]
            torch.mul(link[0], received, out=to_plane)
            torch.sum(received * plane, 0, out=to_link[0])
            for j, offset in enumerate(offsets[1:], start=1):
                for to, source in _pieces(n_tokens, offset, ctx.direction):
                    to_plane[..., source].addcmul_(link[j][..., to], received[..., to])
                    torch.sum(received[..., to] * plane[..., source], 0, out=to_link[j][..., to])
        return links_gradient, planes_gradient, gradient if ctx.needs_input_grad[2] else None, None
