"""Segments of a multivariate window as interleaved context and main tokens (ARX tokenisation)."""

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
    input : (batch, n_series, n_segments, segment_length)
    output : (batch, n_targets, 2 * n_segments, d_model)

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

    def forward(self, segments: Tensor) -> Tensor:
        main = self.main_norm(self.main(segments[:, -self.n_targets :]))  # (batch, n_targets, n_segments, d_model)
        context = torch.zeros_like(main) if self.univariate else self.context_norm(self.context(self._mix(segments)))
        return torch.stack([context, main], dim=3).flatten(2, 3)

    def _mix(self, segments: Tensor) -> Tensor:
        """The mixture of the series at each time: from the left, so that they need not come last in memory."""
        weight = self.mixture.weight.expand(segments.shape[0], -1, -1)
        mixed = torch.bmm(weight, segments.flatten(2)) + self.mixture.bias.unsqueeze(-1)
        return mixed.unflatten(2, segments.shape[2:])
