"""The position-wise feed-forward block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

from samovar_forecast.layers.dropout import Dropout
from samovar_forecast.layers.first_order import first_order
from samovar_forecast.layers.linear import Linear

_FEATURES_AT_ONCE = 2**20  # 4 MB in single precision
_FEWEST_TOKENS = 512


class FeedForward(nn.Sequential):
    """Linear to four times the width, GELU, Linear back, dropout.

    On a CPU it takes so many tokens at a time that their hidden features stay in the cache, from the first product to
    the last and once more in the backward pass. A hidden feature of all these tokens lies side by side: with rows of a
    power of two, as widths are, the products and their gradients take a tenth longer.

    Parameters
    ----------
    d_model : int
        Width of a token.
    dropout : float
        Share of outputs dropped in training.

    Shape
    -----
    input, output : (..., d_model)

    Examples
    --------
    >>> FeedForward(d_model=8, dropout=0.0)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__(Linear(d_model, 4 * d_model), nn.GELU(), Linear(4 * d_model, d_model), Dropout(dropout))

    @property
    def input_projection(self) -> Linear:
        """The linear map to the hidden features."""
        return self[0]  # type: ignore[return-value]

    @property
    def output_projection(self) -> Linear:
        """The linear map back to the residual stream."""
        return self[2]  # type: ignore[return-value]

    def forward(self, tokens: Tensor) -> Tensor:
        # Mixed precision has products of its own, and what is exported consists of PyTorch's operations alone.
        exported = torch.compiler.is_compiling() and not self.training
        if tokens.device.type != "cpu" or torch.is_autocast_enabled("cpu") or exported:
            return super().forward(tokens)
        widen, narrow = self.input_projection, self.output_projection
        parameters = (widen.weight, widen.bias, narrow.weight, narrow.bias)
        output, *_ = _InPieces.apply(tokens.reshape(-1, tokens.shape[-1]), *parameters, torch.is_grad_enabled())
        return self[3](output.view(tokens.shape))


class _InPieces(torch.autograd.Function):
    @staticmethod
    def forward(
        tokens: Tensor, widen: Tensor, widen_bias: Tensor, narrow: Tensor, narrow_bias: Tensor, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        return _feed_forward(tokens, widen, widen_bias, narrow, narrow_bias, keep)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        tokens, widen, _, narrow, _, _ = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(tokens, widen, narrow, *output[1:])

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        return *_feed_forward_gradients(gradient, *ctx.saved_tensors), None


@torch.library.custom_op("samovar_forecast::feed_forward", mutates_args=())
def _feed_forward(
    tokens: Tensor, widen: Tensor, widen_bias: Tensor, narrow: Tensor, narrow_bias: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, and to `keep` for the backward pass, if so, the hidden features in front of and behind GELU.

    Shape
    -----
    tokens, output : (n_tokens, d_model)
    widen : (d_hidden, d_model)
    narrow : (d_model, d_hidden)
    hidden, activated : (n_tokens * d_hidden,), of each piece (d_hidden, n_tokens of the piece)
    """
    output = tokens.new_empty(tokens.shape)
    hidden, activated = (tokens.new_empty(len(tokens) * len(widen) if keep else 0) for _ in range(2))
    for piece in _pieces(len(tokens), len(widen)):
        features = torch.mm(widen, tokens[piece].mT, out=_features(hidden, piece, tokens) if keep else None)
        features.add_(widen_bias.unsqueeze(-1))
        positive = _features(activated, piece, tokens) if keep else features
        torch.ops.aten.gelu.out(features, out=positive)
        torch.mm(positive.mT, narrow.mT, out=output[piece]).add_(narrow_bias)
    return output, hidden, activated


@_feed_forward.register_fake
def _(
    tokens: Tensor, widen: Tensor, widen_bias: Tensor, narrow: Tensor, narrow_bias: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    hidden, activated = (tokens.new_empty(len(tokens) * len(widen) if keep else 0) for _ in range(2))
    return tokens.new_empty(tokens.shape), hidden, activated


@torch.library.custom_op("samovar_forecast::feed_forward_gradients", mutates_args=())
def _feed_forward_gradients(
    gradient: Tensor, tokens: Tensor, widen: Tensor, narrow: Tensor, hidden: Tensor, activated: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the tokens and of the four parameters."""
    of_tokens, of_widen, of_narrow = tokens.new_empty(tokens.shape), torch.zeros_like(widen), torch.zeros_like(narrow)
    of_widen_bias = widen.new_zeros(len(widen))
    for piece in _pieces(len(tokens), len(widen)):
        of_narrow.addmm_(gradient[piece].mT, _features(activated, piece, tokens).mT)
        of_features = torch.mm(narrow.mT, gradient[piece].mT)
        torch.ops.aten.gelu_backward.grad_input(of_features, _features(hidden, piece, tokens), grad_input=of_features)
        of_widen.addmm_(of_features, tokens[piece])
        of_widen_bias.add_(of_features.sum(1))
        torch.mm(of_features.mT, widen, out=of_tokens[piece])
    return of_tokens, of_widen, of_widen_bias, of_narrow, gradient.sum(0)


@_feed_forward_gradients.register_fake
def _(
    gradient: Tensor, tokens: Tensor, widen: Tensor, narrow: Tensor, hidden: Tensor, activated: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    of_parameters = (widen.new_empty(widen.shape), widen.new_empty(len(widen)), narrow.new_empty(narrow.shape))
    return tokens.new_empty(tokens.shape), *of_parameters, narrow.new_empty(len(narrow))


@register_flop_formula(torch.ops.samovar_forecast.feed_forward)
def _(tokens: torch.Size, widen: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * (2 * tokens.numel() * widen[0])


@register_flop_formula(torch.ops.samovar_forecast.feed_forward_gradients)
def _(gradient: torch.Size, tokens: torch.Size, widen: torch.Size, *_: Any, **__: Any) -> int:
    return 4 * (2 * tokens.numel() * widen[0])


def _pieces(n_tokens: int, d_hidden: int) -> Iterator[slice]:
    """Pieces of nearly the same size, each with enough tokens to be worth a product."""
    n_pieces = -(-n_tokens // max(_FEATURES_AT_ONCE // d_hidden, _FEWEST_TOKENS))
    for number in range(n_pieces):
        yield slice(n_tokens * number // n_pieces, n_tokens * (number + 1) // n_pieces)


def _features(of_all: Tensor, piece: slice, tokens: Tensor) -> Tensor:
    d_hidden = len(of_all) // len(tokens)
    return of_all[piece.start * d_hidden : piece.stop * d_hidden].view(d_hidden, -1)
