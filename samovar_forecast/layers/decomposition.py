"""A series as a smooth trend plus the rest, and the norm that goes with it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SeriesDecomposition(nn.Module):
    """Split series into a centred moving average and what is left; the ends repeat their outermost point.

    Parameters
    ----------
    moving_average : int
        Rows in the moving average; odd, so that it is centred. It may exceed the length of a series.

    Shape
    -----
    series : (batch, length, n_channels)
    seasonal, trend : the same; they add up to `series`

    Raises
    ------
    ValueError
        If `moving_average` is even or not positive.

    References
    ----------
    Wu et al., "Autoformer", NeurIPS 2021, arXiv 2106.13008, equation 1.

    Examples
    --------
    >>> seasonal, trend = SeriesDecomposition(moving_average=3)(torch.arange(5.0).reshape(1, 5, 1))
    >>> trend.flatten()
    tensor([0.3333, 1.0000, 2.0000, 3.0000, 3.6667])
    """

    def __init__(self, moving_average: int) -> None:
        super().__init__()
        if moving_average < 1 or moving_average % 2 == 0:
            raise ValueError(
                f"moving_average must be odd and positive, got {moving_average}: an average over "
                f"{max(1, moving_average - 1)} or {max(1, moving_average + 1)} rows is centred on one of them"
            )
        self.moving_average = moving_average

    def forward(self, series: Tensor) -> tuple[Tensor, Tensor]:
        reach = self.moving_average // 2
        before, after = series[:, :1].expand(-1, reach, -1), series[:, -1:].expand(-1, reach, -1)
        padded = torch.cat([before, series, after], dim=1).transpose(1, 2)
        trend = F.avg_pool1d(padded, self.moving_average, stride=1).transpose(1, 2)
        return series - trend, trend


class SeasonalNorm(nn.Module):
    """Layer norm minus its own mean over time: a seasonal part has no level.

    There is no shift: it would be constant in time, and the mean takes it out.

    Parameters
    ----------
    d_model : int
        Width of a token.

    Shape
    -----
    input, output : (batch, length, d_model)

    References
    ----------
    Wu et al., "Autoformer", NeurIPS 2021, the published network's last norm of encoder and decoder.

    Examples
    --------
    >>> bool(SeasonalNorm(d_model=8)(torch.randn(2, 5, 8)).mean(1).abs().max() < 1e-6)
    True
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        normalised = self.norm(tokens)
        return normalised - normalised.mean(1, keepdim=True)
