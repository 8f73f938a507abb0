"""Root-mean-square normalisation with a backward pass of few operations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def fast_rms_norm(tokens: Tensor, scale: Tensor, eps: float) -> Tensor:
    """`plain_rms_norm`, whose gradient runs through seven operations on the whole tensor instead of a dozen.

    PyTorch has no kernel of its own for the CPU.

    Shape
    -----
    tokens, output : (..., d)
    scale : broadcasts against `tokens`

    Examples
    --------
    >>> fast_rms_norm(torch.tensor([3.0, 4.0, 0.0, 0.0]), torch.ones(4), eps=0.0)
    tensor([1.2000, 1.6000, 0.0000, 0.0000])
    """
    return _RMSNorm.apply(tokens, scale, eps)


def plain_rms_norm(tokens: Tensor, scale: Tensor, eps: float) -> Tensor:
    """The same by operations of PyTorch."""
    return F.rms_norm(tokens, tokens.shape[-1:], eps=eps) * scale


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, scale: Tensor, eps: float) -> Tensor:
        norm = torch.linalg.vector_norm(tokens, dim=-1, keepdim=True)
        reciprocal = norm.square_().div_(tokens.shape[-1]).add_(eps).rsqrt_()  # of the root mean square
        ctx.save_for_backward(tokens, reciprocal, scale)
        ctx.eps = eps
        return tokens * reciprocal * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        tokens, reciprocal, scale = ctx.saved_tensors
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # the gradient is differentiated itself
            wanted = [source for source in (tokens, scale) if source.requires_grad]
            output = plain_rms_norm(tokens, scale, ctx.eps)
            found = iter(torch.autograd.grad(output, wanted, gradient, create_graph=True))
            return *(next(found) if source.requires_grad else None for source in (tokens, scale)), None  # type: ignore[return-value]
        normalised = tokens * reciprocal
        product = gradient * normalised
        along = (product * scale).mean(-1, keepdim=True)  # what would change the length is taken out
        of_tokens = (gradient * scale).addcmul_(normalised, along, value=-1).mul_(reciprocal)
        return of_tokens, product.sum_to_size(scale.shape), None
