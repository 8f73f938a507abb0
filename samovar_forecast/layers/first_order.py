"""Backward passes that are not to be differentiated themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a second derivative of an autograd function whose backward pass is written by hand.

    `torch.autograd.function.once_differentiable` refuses it in `Tensor.backward` alone; `torch.autograd.grad` and what
    is made of it, such as Hessian-vector products, would leave the term out without a word.

    Raises
    ------
    RuntimeError
        From the backward pass, if it is recorded, as ``create_graph=True`` asks for.

    Examples
    --------
    >>> class Square(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...
    ...     @staticmethod
    ...     @first_order
    ...     def backward(ctx, gradient):
    ...         return 2 * ctx.saved_tensors[0] * gradient
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> torch.autograd.grad(Square.apply(x), x)
    (tensor(6.),)
    """

    @wraps(backward)
    def checked(ctx: Any, *gradients: Any) -> Any:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                f"{type(ctx).__name__.removesuffix('Backward')} has no second derivative; gradients of gradients "
                "(create_graph=True) take finite differences of first ones"
            )
        return backward(ctx, *gradients)

    return checked
