"""The vector autoregression inside SAMoVAR and FixedVAR, read out of the network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from samovar_forecast.layers.instance_norm import normalise_instance
from samovar_forecast.layers.tokens import split_segments
from samovar_forecast.networks.samovar import SAMoVAR


class VARReading(NamedTuple):
    """A forecast, taken apart; lag 1 is the newest segment, type 0 the context token.

    Shape
    -----
    weights : (n_targets, n_layers, n_heads, n_segments, 2, d_head, d_head), from the features of a token to
        those that the layer adds to the forecast token
    tokens : (n_targets, n_segments, 2, d_model), the input of the attention stack
    added : (n_targets, n_segments, 2, d_model), tokens times weights: what each adds to the forecast token
    forecast_token : (n_targets, d_model), the newest main token plus all of `added`
    contribution : (n_targets, n_segments, 2, horizon), what each token adds to the forecast
    own : (n_targets, horizon), what the newest main token adds without the autoregression
    baseline : (n_targets, horizon), level of the window and bias of the decoder
    """

    weights: Tensor
    tokens: Tensor
    added: Tensor
    forecast_token: Tensor
    contribution: Tensor
    own: Tensor
    baseline: Tensor


@torch.no_grad()
def read_weights(network: SAMoVAR, past: Tensor) -> VARReading:
    """Read the weights and contributions for one window.

    The stack is linear in its tokens for fixed queries and values, so its derivative is the weight
    ``sum over influence paths of prod (v . q)``, exactly. The decoder is linear too once the root mean
    square of the forecast token is known.

    Parameters
    ----------
    network : SAMoVAR
        In evaluation mode.
    past : Tensor
        One window: (1, context_length, n_series).

    References
    ----------
    Lu & Yang, ICML 2025, temporal influence paths.
    """
    z, denormalise = normalise_instance(past, network.segment_length, network.n_targets, network.n_locations)
    tokens = network.transform_tokens(network.embed(split_segments(z, network.segment_length)))
    queries, values = network.weights(tokens)
    by_head = network.split_heads(tokens)  # (1, n_targets, n_heads, n_tokens, d_head)

    def last_features(by_head: Tensor) -> Tensor:
        layers = torch.stack(network.layer_outputs(queries, by_head, values))
        # Neither targets nor heads meet in the stack: one sum over them gives the derivatives of all.
        return network.output_map(layers)[..., -1, :].sum((1, 2, 3))  # (n_layers, d_head)

    derivative = torch.func.jacrev(last_features, chunk_size=1)(by_head)  # (layer, out, 1, target, head, token, in)
    weights = derivative.squeeze(2).permute(2, 0, 3, 4, 5, 1)  # (target, layer, head, token, in, out)
    added = torch.einsum("clhtio,chti->ctho", weights, by_head[0]).flatten(-2)  # (target, token, d_model)
    newest = tokens[0, :, -1]
    forecast_token = newest + added.sum(1)

    gain = _decoder_gain(network, forecast_token)
    decoder = network.to_segment.weight.unflatten(0, (network.horizon, -1))[:, network.point_output]
    bias = network.to_segment.bias.unflatten(0, (network.horizon, -1))[:, network.point_output]

    def in_units(steps: Tensor) -> Tensor:  # normalised (target, horizon) to the scale of the series
        return denormalise(steps.T[None, ..., None])[0, ..., 0].T

    level = in_units(torch.zeros_like(bias).expand(network.n_targets, -1))
    contribution = torch.stack(
        [in_units((gain * token) @ decoder.T) - level for token in added.unbind(1)], dim=1
    )  # (target, token, horizon)

    def by_lag(sequence: Tensor, axis: int) -> Tensor:  # (..., token, ...) to (..., lag, type, ...)
        return sequence.unflatten(axis, (-1, 2)).flip(axis)

    return VARReading(
        weights=by_lag(weights, 3),
        tokens=by_lag(tokens[0], 1),
        added=by_lag(added, 1),
        forecast_token=forecast_token,
        contribution=by_lag(contribution, 1),
        own=in_units((gain * newest) @ decoder.T) - level,
        baseline=in_units(bias.expand(network.n_targets, -1)),
    )


def segment_influence(network: SAMoVAR, past: Tensor) -> Tensor:
    """How strongly each past segment of each series moves the forecast of each target.

    The Frobenius norm of the derivative of the target's forecast with respect to the points of
    the past segment: everything the network does with them, the weights' own dependence on the data included.

    Shape
    -----
    past : (1, context_length, n_series)
    output : (n_targets, n_series, n_segments), the newest segment first
    """
    past = past.detach().requires_grad_()
    forecast = network(past)[0, :, :, network.point_output]  # (horizon, n_targets)
    each_step = torch.eye(len(forecast), dtype=past.dtype, device=past.device)
    norms = []
    for target in forecast.unbind(1):
        (derivative,) = torch.autograd.grad(target, past, each_step, retain_graph=True, is_grads_batched=True)
        segments = split_segments(derivative[:, 0].transpose(1, 2), network.segment_length)
        norms.append(segments.square().sum((0, 3)).sqrt().flip(1))  # over steps and points: (n_series, n_segments)
    return torch.stack(norms)


def _decoder_gain(network: SAMoVAR, tokens: Tensor) -> Tensor:
    """Factors by which the norm before the decoder multiplies the features of a token."""
    norm = network.output_norm
    assert norm.eps is not None
    return norm.weight * (tokens.square().mean(-1, keepdim=True) + norm.eps).rsqrt()
