"""Attention over delays instead of over points: series-wise circular correlation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.layers.batch_mean import mean_over_batch
from samovar_forecast.layers.fast.sum_of_rolls import sum_of_rolls


class AutoCorrelation(nn.Module):
    """Multi-head attention's place taken by `auto_correlation`, between linear maps.

    In training the batch shares its delays, in evaluation every sample has its own, so that no forecast depends on
    the other windows of a batch. The published layer splits channels into heads and averages the correlation over
    all of them: heads do not change what it computes, and here there are none.

    Parameters
    ----------
    d_model : int
        Width of a token.
    factor : float
        Delays per natural logarithm of the length; see `number_of_delays`.

    Shape
    -----
    tokens : (batch, length, d_model), give the queries
    source : (batch, source_length, d_model), gives keys and values
    output : (batch, length, d_model)

    References
    ----------
    Wu et al., "Autoformer", NeurIPS 2021, arXiv 2106.13008, section 3.2.

    Examples
    --------
    >>> AutoCorrelation(d_model=8, factor=1)(torch.randn(2, 24, 8), torch.randn(2, 36, 8)).shape
    torch.Size([2, 24, 8])
    """

    def __init__(self, d_model: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.queries, self.keys = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.values, self.output_projection = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def forward(self, tokens: Tensor, source: Tensor) -> Tensor:
        length = tokens.shape[1]
        source = source[:, :length]  # no later row is read
        queries, keys, values = self.queries(tokens), self.keys(source), self.values(source)
        n_delays = number_of_delays(self.factor, length)
        return self.output_projection(auto_correlation(queries, keys, values, n_delays, self.training))


def auto_correlation(
    queries: Tensor, keys: Tensor, values: Tensor, n_delays: int, shared_delays: bool = False
) -> Tensor:
    """Values added up at the delays at which queries and keys correlate most.

    ``R(tau) = mean_c sum_t q[(t + tau) mod L, c] k[t, c]``; the output is ``sum_i w_i v[(t + tau_i) mod L]`` over
    the delays with the largest ``R`` (`strongest_delays`), with ``w`` the softmax of their ``R``.

    Parameters
    ----------
    queries, keys, values : Tensor
        Keys and values beyond the length of the queries are cut, missing ones are zeros.
    n_delays : int
        How many delays enter.
    shared_delays : bool, default False
        Whether all samples use the delays of the batch's mean correlation, each with weights of its own.

    Shape
    -----
    queries : (batch, length, n_channels)
    keys, values : (batch, source_length, n_channels)
    output : (batch, length, n_channels)

    References
    ----------
    Wu et al., "Autoformer", NeurIPS 2021, equations 5 to 8. As in the published network, the correlation peaks
    where queries come later than keys while values come earlier.

    Examples
    --------
    >>> series = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1)
    >>> auto_correlation(series.roll(1, dims=1), series, series, n_delays=1).flatten()
    tensor([2., 3., 4., 1.])
    """
    batch, length, n_channels = queries.shape
    keys, values = fit_length(keys, length), fit_length(values, length)
    correlation = circular_correlation(queries, keys) / n_channels
    found = correlation.detach()
    delays = strongest_delays(mean_over_batch(found) if shared_delays else found, n_delays).expand(batch, -1)
    weights = correlation.gather(1, delays).softmax(-1)
    return sum_of_rolls(values, delays, weights)


def number_of_delays(factor: float, length: int) -> int:
    """``int(factor * ln(length))``, at least one and at most `length`."""
    return min(length, max(1, int(factor * math.log(length))))


def strongest_delays(correlation: Tensor, n_delays: int) -> Tensor:
    """The delays of the largest correlations; of equal ones the shortest.

    Where many rows are alike, as those that stand for the horizon are, whole ranges of delays have one correlation.
    Rounding, which differs between devices and batch sizes, must not choose among them: values count as equal if
    the gaps between them are at most 1e-5 of the largest magnitude.

    Shape
    -----
    correlation : (batch, length)
    output : (batch, n_delays)

    Examples
    --------
    >>> strongest_delays(torch.tensor([[1.0, 2.0, 3.0, 2.0 + 1e-7]]), n_delays=2)
    tensor([[2, 1]])
    """
    ordered, delays = correlation.sort(dim=-1, descending=True)
    equal = 1e-5 * correlation.abs().amax(-1, keepdim=True)
    group = F.pad((ordered[:, :-1] - ordered[:, 1:] > equal).long(), (1, 0)).cumsum(-1)  # counts the gaps so far
    chosen = (group * correlation.shape[-1] + delays).topk(n_delays, largest=False).indices
    return delays.gather(-1, chosen)


def fit_length(series: Tensor, length: int) -> Tensor:
    """The first `length` rows of (batch, rows, n_channels), continued by zeros where there are fewer."""
    missing = length - series.shape[1]
    return F.pad(series, (0, 0, 0, missing)) if missing > 0 else series[:, :length]


def circular_correlation(leading: Tensor, lagging: Tensor) -> Tensor:
    """``sum_t leading[(t + tau) mod length] . lagging[t]`` for every delay ``tau``, by FFT, at least in float32.

    The channels are added up before the inverse transform, which is linear: one of them for each sample.

    Shape
    -----
    leading, lagging : (batch, length, n_channels)
    output : (batch, length), one value per delay

    Examples
    --------
    >>> impulse = torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(1, 4, 1)
    >>> circular_correlation(impulse.roll(3, dims=1), impulse).round().abs()
    tensor([[0., 0., 0., 1.]])
    """
    exact = torch.promote_types(leading.dtype, torch.float32)  # no FFT of bfloat16
    # On a CPU some channels at a time: their spectra stay in the cache.
    width = 64 if leading.is_cpu else leading.shape[-1]
    products = [
        (torch.fft.rfft(x.to(exact), dim=1) * torch.fft.rfft(y.to(exact), dim=1).conj()).sum(-1)
        for x, y in zip(leading.split(width, dim=-1), lagging.split(width, dim=-1), strict=True)
    ]
    return torch.fft.irfft(torch.stack(products).sum(0), n=leading.shape[1], dim=1)
