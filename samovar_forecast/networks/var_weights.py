"""The vector autoregression inside SAMoVAR and FixedVAR, read out of the network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from samovar_forecast.layers.instance_norm import normalise_instance
from samovar_forecast.layers.tokens import split_segments
from samovar_forecast.networks.samovar import SAMoVAR


class VARReading(NamedTuple):
    """A forecast, taken apart; segment 1 is the newest, type 0 the context token.

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
def read_weights(network: SAMoVAR, past: Tensor, targets: list[int] | None = None) -> VARReading:
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
    targets : list of int or None
        Positions of the targets to read. None: all.

    References
    ----------
    Lu & Yang, ICML 2025, temporal influence paths.
    """
    chosen = list(range(network.n_targets)) if targets is None else targets
    z, denormalise = normalise_instance(past, network.segment_length, network.n_targets, network.n_locations)
    tokens = network.transform_tokens(network.embed(split_segments(z, network.segment_length), chosen))
    queries, values = network.weights(tokens, chosen)
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

    decoder, baseline = linear_decoder(network, forecast_token, partial(denormalise, targets=chosen))

    def by_segment(sequence: Tensor, axis: int) -> Tensor:  # (..., token, ...) to (..., segment, type, ...)
        return sequence.unflatten(axis, (-1, 2)).flip(axis)

    return VARReading(
        weights=by_segment(weights, 3),
        tokens=by_segment(tokens[0], 1),
        added=by_segment(added, 1),
        forecast_token=forecast_token,
        contribution=by_segment(torch.einsum("ctf,cfs->cts", added, decoder), 1),
        own=torch.einsum("cf,cfs->cs", newest, decoder),
        baseline=baseline,
    )


def linear_decoder(
    network: SAMoVAR, forecast_token: Tensor, denormalise: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The decoder as the linear map that it is once the size of the forecast token is known.

    Of several quantiles it is the map of the middle one, which may be another output at each step: they are sorted.

    Shape
    -----
    forecast_token : (n_targets, d_model)
    map : (n_targets, d_model, horizon), what one unit of each feature of a token adds to the forecast
    baseline : (n_targets, horizon), the forecast of a token of zeros
    """
    weight, bias = (
        part.unflatten(0, (network.horizon, -1)) for part in (network.to_segment.weight, network.to_segment.bias)
    )
    outputs = network.decode(forecast_token)  # (target, step, output)
    middle = torch.full_like(outputs[..., 0], network.point_output, dtype=torch.long)
    if network.n_locations == network.n_outputs:
        middle = outputs.argsort(-1)[..., network.point_output]
    step = torch.arange(network.horizon, device=middle.device)
    norm = network.output_norm
    gain = norm.weight * (forecast_token.square().mean(-1, keepdim=True) + norm.eps).rsqrt()  # (target, feature)

    def in_units(steps: Tensor) -> Tensor:  # normalised (target, step) on the scale of the series
        return denormalise(steps.T[None, ..., None])[0, ..., 0].T

    chosen = bias[step, middle]
    scale = in_units(torch.ones_like(chosen)) - in_units(torch.zeros_like(chosen))
    return torch.einsum("cf,csf,cs->cfs", gain, weight[step, middle], scale), in_units(chosen)
