"""Attention over delays instead of over points: series-wise circular correlation."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AutoCorrelation(nn.Module):
    """Add up the values at the delays at which queries and keys correlate most.

    ``R(tau) = sum_t q[(t + tau) mod L] . k[t] / d_model``; the output is ``sum_i w_i v[(t + tau_i) mod L]`` over
    the delays of the ``int(factor * ln L)`` largest correlations, with ``w`` their softmax. In training the batch
    shares the delays (those of its mean correlation), in evaluation every sample has its own, so that no forecast
    depends on the other windows of a batch. Source tokens beyond the length of the queries are cut, missing ones
    are zeros.

    The published layer splits channels into heads and averages the correlation over all of them, so heads do not
    change what it computes; here there are none.

    Parameters
    ----------
    d_model : int
        Width of a token.
    factor : float
        Delays per natural logarithm of the length; at least one delay and at most all are used.

    Shape
    -----
    tokens : (batch, length, d_model), give the queries
    source : (batch, source_length, d_model), gives keys and values
    output : (batch, length, d_model)

    References
    ----------
    Wu et al., "Autoformer", NeurIPS 2021, arXiv 2106.13008, equations 5 to 8. As in the published network, the
    correlation peaks where queries lag behind keys while the values are taken ahead.

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
        batch, length, d_model = tokens.shape
        source = source[:, :length]
        queries, keys, values = self.queries(tokens), self.keys(source), self.values(source)
        if source.shape[1] < length:
            missing = (0, 0, 0, length - source.shape[1])
            keys, values = F.pad(keys, missing), F.pad(values, missing)

        n_delays = number_of_delays(self.factor, length)
        correlation = circular_correlation(queries.detach(), keys.detach())
        if self.training:
            delays = correlation.mean(0).topk(n_delays).indices.expand(batch, -1)
        else:
            delays = correlation.topk(n_delays).indices
        weights = (correlation_at(queries, keys, delays, correlation) / d_model).softmax(-1)
        return self.output_projection(sum_of_rolls(values, delays, weights))


def number_of_delays(factor: float, length: int) -> int:
    """``int(factor * ln(length))``, at least one and at most `length`."""
    return min(length, max(1, int(factor * math.log(length))))


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
    spectra = [torch.fft.rfft(series.to(exact), dim=1) for series in (leading, lagging)]
    return torch.fft.irfft((spectra[0] * spectra[1].conj()).sum(-1), n=leading.shape[1], dim=1)


def sum_of_rolls(values: Tensor, delays: Tensor, weights: Tensor) -> Tensor:
    """``sum_i weights[i] values[(t + delays[i]) mod length]`` for every ``t``, each sample with its own delays.

    Reads the rows at the chosen delays and nothing else; no rolled copy is made.

    Shape
    -----
    values : (batch, length, n_channels)
    delays, weights : (batch, n_delays)
    output : (batch, length, n_channels)

    Examples
    --------
    >>> values = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    >>> sum_of_rolls(values, torch.tensor([[0, 1]]), torch.tensor([[10.0, 1.0]])).flatten()
    tensor([12., 23., 31.])
    """
    return _SumOfRolls.apply(values, delays, weights)


def correlation_at(leading: Tensor, lagging: Tensor, delays: Tensor, correlation: Tensor) -> Tensor:
    """The entries of a `correlation` of both series at `delays`, differentiable in the series.

    The gradient needs the chosen delays alone: it is a sum of rolls, and no transform is differentiated.

    Parameters
    ----------
    leading, lagging : Tensor
        What was correlated.
    delays : Tensor
        Which entries.
    correlation : Tensor
        `circular_correlation` of the detached series.

    Shape
    -----
    leading, lagging : (batch, length, n_channels)
    delays : (batch, n_delays)
    correlation : (batch, length)
    output : (batch, n_delays)

    Examples
    --------
    >>> series, delays = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1).requires_grad_(), torch.tensor([[1]])
    >>> fixed = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1)
    >>> value = correlation_at(series, fixed, delays, circular_correlation(series.detach(), fixed))
    >>> value.sum().backward()
    >>> series.grad.flatten()
    tensor([0., 1., 0.])
    """
    return _CorrelationAt.apply(leading, lagging, delays, correlation)


# Each of the two functions is bilinear, and the gradient of one is made of the other.


class _SumOfRolls(torch.autograd.Function):
    @staticmethod
    def forward(values: Tensor, delays: Tensor, weights: Tensor) -> Tensor:
        batch, length, _ = values.shape
        steps = torch.arange(length, device=values.device).unsqueeze(1)
        first_rows = length * torch.arange(batch, device=values.device).reshape(-1, 1, 1)
        rows = (steps + delays.unsqueeze(1)) % length + first_rows  # (batch, length, n_delays)
        by_row = weights.to(values.dtype).unsqueeze(1).expand_as(rows)
        # The library's fused gather and weighted sum; it knows one table, hence the samples one below the other.
        summed = F.embedding_bag(
            rows.flatten(0, 1), values.flatten(0, 1), mode="sum", per_sample_weights=by_row.flatten(0, 1)
        )
        return summed.unflatten(0, (batch, length))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor]:
        (gradient,), (values, delays, weights) = gradients, ctx.saved_tensors
        correlation = circular_correlation(values.detach(), gradient.detach())
        of_weights = correlation_at(values, gradient, delays, correlation)
        return sum_of_rolls(gradient, -delays, weights), None, of_weights.to(weights.dtype)


class _CorrelationAt(torch.autograd.Function):
    @staticmethod
    def forward(leading: Tensor, lagging: Tensor, delays: Tensor, correlation: Tensor) -> Tensor:
        return correlation.gather(1, delays)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (gradient,), (leading, lagging, delays) = gradients, ctx.saved_tensors
        return sum_of_rolls(lagging, -delays, gradient), sum_of_rolls(leading, delays, gradient), None, None
