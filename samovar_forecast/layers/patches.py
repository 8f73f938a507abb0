"""Overlapping patches of a series, as tokens of one series at a time."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


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
    >>> import torch
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
