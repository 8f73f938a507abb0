"""Sigma-reparametrisation: a linear map whose largest singular value is a learned scalar."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpectralLinear(nn.Linear):
    """A linear map with the matrix ``gamma W / sigma(W)``, sigma the largest singular value and gamma from 1.

    Sigma comes from power iteration: exact at the start, then one step per forward pass in training, which
    follows a slowly moving matrix. PyTorch's `spectral_norm` has no gamma, and modules with its parametrisations
    cannot be pickled.

    Parameters
    ----------
    in_features, out_features : int
        Width of input and output.

    Shape
    -----
    input : (..., in_features)
    output : (..., out_features)

    References
    ----------
    Zhai et al., "Stabilizing Transformer Training by Preventing Attention Entropy Collapse", ICML 2023, equation 4.

    Examples
    --------
    >>> layer = SpectralLinear(6, 4)
    >>> torch.linalg.matrix_norm(layer.scaled_weight(), ord=2).detach().round(decimals=4)
    tensor(1.)
    """

    left: Tensor
    right: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.gamma = nn.Parameter(torch.ones(()))
        left, _, right = torch.linalg.svd(self.weight.detach(), full_matrices=False)
        self.register_buffer("left", left[:, 0].clone())
        self.register_buffer("right", right[0].clone())

    def scaled_weight(self) -> Tensor:
        """The matrix in effect, differentiable in `weight` and `gamma`."""
        return self.gamma / (self.left @ self.weight @ self.right) * self.weight

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            if self.training:
                with torch.no_grad():
                    self.left = F.normalize(self.weight @ self.right, dim=0)
                    self.right = F.normalize(self.weight.T @ self.left, dim=0)
            weight = self.scaled_weight()
        return F.linear(features, weight, self.bias)
