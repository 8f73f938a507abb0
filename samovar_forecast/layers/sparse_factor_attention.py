"""Attention as a product of sparse factors, which are learned functions of the tokens."""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Direction = Literal["past", "circular"]
Piece = tuple[slice, slice]  # rows of the output, and the rows of the values that they read

_ROWS_AT_ONCE = 8192


class SparseFactorAttention(nn.Module):
    """Attention as a product of sparse factors that are made from the tokens, signed and unnormalised.

    ``V_0 = MLP(X)``, then ``V_m = W_m(X) V_{m-1} (+ V_0)`` for every factor ``W_m``, see `chord_product`: with
    ``ceil(log2(n_tokens))`` factors every token reaches every other one (in the past), in O(n_tokens log^2 n_tokens)
    time and memory.

    Parameters
    ----------
    d_model : int
        Width of a token.
    n_tokens : int
        Number of tokens.
    value_width : int, default 8
        Width of the values that the factors mix.
    direction : {"past", "circular"}, default "past"
        Whether a token reads itself and older ones, or as published the following ones and round to the oldest.
    n_factors : int or None, default None
        Number of factors. None: ``ceil(log2(n_tokens))``.
    residual : bool, default True
        Whether the first values are added after every factor.

    Shape
    -----
    input : (n_sequences, n_tokens, d_model)
    output : (n_sequences, n_tokens, value_width)

    Raises
    ------
    ValueError
        If `direction` is unknown or a size is not positive.

    References
    ----------
    Khalitov, Yu, Cheng & Yang, "Sparse factorization of square matrices with application to neural attention
    modeling", Neural Networks 152, 2022, arXiv 2109.08184.

    Examples
    --------
    >>> SparseFactorAttention(d_model=32, n_tokens=100)(torch.randn(5, 100, 32)).shape
    torch.Size([5, 100, 8])
    """

    def __init__(
        self,
        d_model: int,
        n_tokens: int,
        value_width: int = 8,
        direction: Direction = "past",
        n_factors: int | None = None,
        residual: bool = True,
    ) -> None:
        super().__init__()
        n_factors = count_factors(n_tokens) if n_factors is None else n_factors
        for name, value in {"value_width": value_width, "n_factors": n_factors}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if direction not in get_args(Direction):
            raise ValueError(f'direction must be "past" or "circular", got {direction!r}')
        self.direction, self.residual = direction, residual
        hidden, out = nn.Linear(d_model, d_model), nn.Linear(d_model, value_width)
        for layer, second_moment in ((hidden, 1.0), (out, 0.425)):  # of standard normal numbers, and of their GELU
            nn.init.normal_(layer.weight, std=(second_moment * d_model) ** -0.5)
            nn.init.zeros_(layer.bias)
        self.values = nn.Sequential(hidden, nn.GELU(), out)
        self.weights = FactorWeights(d_model, n_factors, n_links=1 + int(n_tokens - 1).bit_length())
        self._initialise(n_tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        first = self.values(tokens)
        dtype, exact = first.dtype, torch.promote_types(first.dtype, torch.float32)  # so many factors in full precision
        first = first.to(exact).movedim(-1, 0).contiguous().movedim(0, -1)
        values, added = first, first if self.residual else None
        for weights in self.weights(tokens):
            values = chord_product(weights, values, self.direction, added)
        return values.to(dtype)

    @torch.no_grad()
    def _initialise(self, n_tokens: int) -> None:
        """Draw weights under which values keep their scale through all the layers and factors, whatever their number.

        Links are random with mean zero; half of their variance is on the link of a token to itself, since the oldest
        tokens have hardly any other into the past. Then every factor in turn is scaled by what it does to values of
        random tokens: it keeps their variance, or gives half of it to be added to the first values.
        """
        _, n_links, d_model = self.weights.link_weight.shape
        deviation = torch.full((n_links, 1), max(1, n_links - 1) ** -0.5)
        deviation[0] = 1.0
        self.weights.link_weight.normal_().mul_(deviation)

        tokens = F.layer_norm(torch.randn(4, n_tokens, d_model), (d_model,))
        values = first = self.values(tokens)
        wanted = first.square().mean() * (0.5 if self.residual else 1.0)
        for link_weight, weights in zip(self.weights.link_weight, self.weights(tokens), strict=True):
            mixed = chord_product(weights, values, self.direction)
            gain = (wanted / mixed.square().mean()).sqrt()
            link_weight *= gain
            values = mixed * gain + first if self.residual else mixed * gain


class FactorWeights(nn.Module):
    """The entries of all the sparse factors from the tokens: one small perceptron (Linear, GELU, Linear) per factor.

    Parameters
    ----------
    d_model : int
        Width of a token and of the hidden layers.
    n_factors, n_links : int
        Number of factors, and of links of a token in each.

    Shape
    -----
    tokens : (n_sequences, n_tokens, d_model)
    output : for each factor (n_sequences, n_tokens, n_links)

    Examples
    --------
    >>> weights = FactorWeights(d_model=8, n_factors=3, n_links=4)(torch.randn(2, 6, 8))
    >>> len(weights), weights[0].shape
    (3, torch.Size([2, 6, 4]))
    """

    def __init__(self, d_model: int, n_factors: int, n_links: int) -> None:
        super().__init__()
        self.hidden_weight = nn.Parameter(torch.randn(n_factors * d_model, d_model) / d_model**0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(n_factors * d_model))
        self.link_weight = nn.Parameter(torch.zeros(n_factors, n_links, d_model))
        self.link_bias = nn.Parameter(torch.zeros(n_factors, n_links))

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        rows = tokens.flatten(0, -2)
        weights = (self.hidden_weight, self.hidden_bias, self.link_weight, self.link_bias)
        if torch.compiler.is_compiling():
            links = _perceptrons(rows, *weights)
        else:
            # The hidden layers are many times as wide as the tokens: of a few rows at a time, and not kept.
            run = _perceptrons
            if torch.is_grad_enabled():
                run = partial(checkpoint, _perceptrons, use_reentrant=False, preserve_rng_state=False)
            links = torch.cat([run(some_rows, *weights) for some_rows in rows.split(_ROWS_AT_ONCE)], dim=-1)
        return tuple(link.unflatten(-1, tokens.shape[:-1]).movedim(0, -1) for link in links)


def _perceptrons(rows: Tensor, hidden_weight: Tensor, hidden_bias: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """All the perceptrons: (n_rows, d_model) to (n_factors, n_links, n_rows)."""
    hidden = F.gelu(torch.addmm(hidden_bias.unsqueeze(-1), hidden_weight, rows.T))
    return torch.baddbmm(bias.unsqueeze(-1), weight, hidden.unflatten(0, (len(weight), -1)))


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
    direction ``"past"`` reads ``values[i - o_j]`` instead and drops the links that reach before the first token:
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
    product = links[0] * planes if base is None else torch.addcmul(base, links[0], planes)
    for link, offset in zip(links[1:], chord_offsets(len(links))[1:], strict=True):
        for to, source in _pieces(planes.shape[-1], offset, direction):
            product[..., to].addcmul_(link[..., to], planes[..., source])
    return product.movedim(0, -1)


def _pieces(n_tokens: int, offset: int, direction: Direction) -> list[Piece]:
    """Contiguous runs of tokens that a link of this offset joins: one, or two where it wraps round."""
    if direction == "past":
        return [(slice(offset, None), slice(None, n_tokens - offset))] if offset < n_tokens else []
    offset %= n_tokens
    if offset == 0:
        return [(slice(None), slice(None))]
    return [(slice(None, -offset), slice(offset, None)), (slice(-offset, None), slice(None, offset))]
