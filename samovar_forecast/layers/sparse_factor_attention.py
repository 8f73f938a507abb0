"""Attention as a product of sparse factors, which are learned functions of the tokens."""

from __future__ import annotations

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.layers.chord import Direction, cache_chunks, chord_product, count_factors
from samovar_forecast.layers.first_order import first_order


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
        rows, device = tokens.flatten(0, -2), tokens.device.type
        inputs = [rows, self.hidden_weight, self.hidden_bias, self.link_weight, self.link_bias]
        if torch.compiler.is_compiling():
            links = _perceptrons(*inputs).unbind()
        elif torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            inputs = [x.to(torch.get_autocast_dtype(device)) for x in inputs]
            with torch.autocast(device, enabled=False):
                links = _Perceptrons.apply(*inputs)
        else:
            links = _Perceptrons.apply(*inputs)
        return tuple(link.unflatten(-1, tokens.shape[:-1]).movedim(0, -1) for link in links)


def _perceptrons(rows: Tensor, hidden_weight: Tensor, hidden_bias: Tensor, out_weight: Tensor, bias: Tensor) -> Tensor:
    """All the perceptrons: rows (n_rows, width) to (n_perceptrons, n_outputs, n_rows), every output one plane."""
    hidden = F.gelu(torch.addmm(hidden_bias.unsqueeze(-1), hidden_weight, rows.T))
    return torch.baddbmm(bias.unsqueeze(-1), out_weight, hidden.unflatten(0, (len(out_weight), -1)))


class _Perceptrons(torch.autograd.Function):
    """`_perceptrons` in chunks whose hidden layers fit the cache; they are computed again in backward, not kept.

    The hidden layers are many times as wide as the tokens. To write and read them back from memory takes longer
    than to compute them twice, and needs four times as much memory.
    """

    @staticmethod
    def forward(ctx, rows, hidden_weight, hidden_bias, out_weight, bias):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(rows, hidden_weight, hidden_bias, out_weight)
        outputs = tuple(rows.new_empty(out_weight.shape[1], len(rows)) for _ in out_weight)
        for part in cache_chunks(len(rows), 2 * len(hidden_weight), rows.device):
            for output, result in zip(
                outputs, _perceptrons(rows[part], hidden_weight, hidden_bias, out_weight, bias), strict=True
            ):
                output[:, part] = result
        return outputs

    @staticmethod
    @first_order
    def backward(ctx, *gradients):  # type: ignore[no-untyped-def]
        rows, hidden_weight, hidden_bias, out_weight = ctx.saved_tensors
        rows_gradient = torch.empty_like(rows)
        exact = torch.promote_types(rows.dtype, torch.float32)  # sums over all tokens do not fit half precision
        shapes = (hidden_weight.shape, hidden_bias.shape, out_weight.shape, out_weight.shape[:2])
        totals = [rows.new_zeros(shape, dtype=exact) for shape in shapes]
        for part in cache_chunks(len(rows), 2 * len(hidden_weight), rows.device):
            received = torch.stack([gradient[:, part] for gradient in gradients])
            before = torch.addmm(hidden_bias.unsqueeze(-1), hidden_weight, rows[part].T)
            hidden = F.gelu(before).unflatten(0, (len(out_weight), -1))
            to_before = torch.ops.aten.gelu_backward((out_weight.mT @ received).flatten(0, 1), before)
            torch.mm(to_before.T, hidden_weight, out=rows_gradient[part])
            shares = (to_before @ rows[part], to_before.sum(-1), received @ hidden.mT, received.sum(-1))
            for total, share in zip(totals, shares, strict=True):
                total += share
        return rows_gradient, *totals


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
