"""Root-mean-square normalisation."""

from __future__ import annotations

from torch import Tensor, nn

from samovar_forecast.layers.fast.rms_norm import fast_rms_norm


def rms_norm(tokens: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Vectors divided by their root mean square and multiplied by a learned scale.

    Parameters
    ----------
    tokens : Tensor
        Vectors in the last dimension.
    scale : Tensor
        Broadcasts against `tokens`.
    eps : float
        Added to the mean square.

    Shape
    -----
    tokens, output : (..., d)
    scale : (d,), or with leading dimensions, such as (n_heads, d)

    References
    ----------
    Zhang & Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    Examples
    --------
    >>> import torch
    >>> rms_norm(torch.tensor([3.0, 4.0, 0.0, 0.0]), torch.ones(4), eps=0.0)
    tensor([1.2000, 1.6000, 0.0000, 0.0000])
    """
    return fast_rms_norm(tokens, scale, eps)


class RMSNorm(nn.RMSNorm):
    """`torch.nn.RMSNorm` over the last dimension, computed by `rms_norm`.

    Shape
    -----
    input, output : (..., d)

    Examples
    --------
    >>> import torch
    >>> RMSNorm(4, eps=0.0)(torch.tensor([3.0, 4.0, 0.0, 0.0])).tolist()[:2]
    [1.2000000476837158, 1.600000023841858]
    """

    eps: float

    def __init__(self, d: int, eps: float) -> None:
        super().__init__(d, eps=eps)

    def forward(self, tokens: Tensor) -> Tensor:
        return rms_norm(tokens, self.weight, self.eps)
