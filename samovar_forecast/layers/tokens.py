"""Windows as tokens: segments and overlapping patches of a series, and interleaved context and main tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.layers.rms_norm import RMSNorm


def split_segments(series: Tensor, segment_length: int) -> Tensor:
    """Cut series into segments, left-padded with zeros to a whole number of them.

    Shape
    -----
    series : (batch, n_series, length)
    output : (batch, n_series, n_segments, segment_length)

    Examples
    --------
    >>> split_segments(torch.tensor([[[1.0, 2.0, 3.0]]]), 2)
    tensor([[[[0., 1.],
              [2., 3.]]]])
    """
    missing = -series.shape[-1] % segment_length
    return F.pad(series, (missing, 0)).unflatten(-1, (-1, segment_length))


def count_patches(length: int, patch_length: int, stride: int) -> int:
    """Number of patches that `split_patches` cuts.

    Examples
    --------
    >>> count_patches(512, patch_length=16, stride=8), count_patches(512, patch_length=1, stride=1)
    (64, 512)
    """
    return (length + _missing(length, patch_length, stride) - patch_length) // stride + 1


def split_patches(series: Tensor, patch_length: int, stride: int) -> Tensor:
    """Cut series into patches; the last value is repeated at the end so that no value is left out.

    Overlapping patches are padded by `stride` values, as published, so that the newest values lie in the middle of
    a patch too. Patches that do not overlap are padded to a whole number of them.

    Shape
    -----
    series : (..., length)
    output : (..., n_patches, patch_length)

    References
    ----------
    Nie et al., "A Time Series is Worth 64 Words", ICLR 2023 (PatchTST), arXiv 2211.14730.

    Examples
    --------
    >>> split_patches(torch.tensor([1.0, 2, 3, 4, 5]), patch_length=4, stride=2)
    tensor([[1., 2., 3., 4.],
            [3., 4., 5., 5.]])
    """
    missing = _missing(series.shape[-1], patch_length, stride)
    rows = series.reshape(-1, 1, series.shape[-1])
    padded = F.pad(rows, (0, missing), mode="replicate").reshape(*series.shape[:-1], -1)
    return padded.unfold(-1, patch_length, stride)


def _missing(length: int, patch_length: int, stride: int) -> int:
    return stride if stride < patch_length else -length % stride


class ARXTokens(nn.Module):
    """Two tokens per segment of each target: ``[context, main]``.

    The main token embeds the target's own segment; the context token embeds a learned mixture of the
    segments of all series at the same time.

    Parameters
    ----------
    n_series, n_targets : int
        Number of input series, and of the last ones among them that are forecast.
    segment_length : int
        Points per segment.
    d_model : int
        Width of a token.
    univariate : bool
        If True the context tokens are zero: no series sees another.

    Shape
    -----
    segments : (batch, n_series, n_segments, segment_length)
    series : the targets whose tokens to make
    output : (batch, n_targets, 2 * n_segments, d_model), or those of the targets in `series` alone

    References
    ----------
    Lu & Yang, ICML 2025, ARX tokenisation (after the authors' earlier ARMA attention).

    Examples
    --------
    >>> tokens = ARXTokens(n_series=3, n_targets=2, segment_length=4, d_model=8, univariate=False)
    >>> tokens(torch.zeros(5, 3, 6, 4)).shape
    torch.Size([5, 2, 12, 8])
    """

    def __init__(self, n_series: int, n_targets: int, segment_length: int, d_model: int, univariate: bool) -> None:
        super().__init__()
        self.n_targets, self.univariate = n_targets, univariate
        self.main = nn.Linear(segment_length, d_model)
        self.main_norm = RMSNorm(d_model, eps=1e-5)
        if not univariate:
            self.mixture = nn.Linear(n_series, n_targets)
            self.context = nn.Linear(segment_length, d_model)
            self.context_norm = RMSNorm(d_model, eps=1e-5)

    def forward(self, segments: Tensor, series: slice | list[int] = slice(None)) -> Tensor:
        own = segments[:, -self.n_targets :][:, series]
        main = self.main_norm(self.main(own))  # (batch, n_targets, n_segments, d_model)
        if self.univariate:
            context = torch.zeros_like(main)
        else:
            weight, bias = self.mixture.weight[series], self.mixture.bias[series]
            mixture = F.linear(segments.movedim(1, -1), weight, bias).movedim(-1, 1)
            context = self.context_norm(self.context(mixture))
        return torch.stack([context, main], dim=3).flatten(2, 3)
