"""Temporal influence paths of SAMoVAR and FixedVAR: through which layers and tokens the past reaches the forecast."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count, islice
from typing import NamedTuple

import torch
from torch import Tensor

from samovar_forecast.layers.instance_norm import normalise_instance
from samovar_forecast.layers.tokens import split_segments
from samovar_forecast.networks.samovar import SAMoVAR
from samovar_forecast.networks.var_weights import linear_decoder, read_weights


class InfluencePath(NamedTuple):
    """One way from a past token through the attention stack to the forecast token.

    Attributes
    ----------
    head : int
        The attention head.
    tokens : tuple of int
        The token that the path starts from and the one that it stands at after each layer, the newest main token last:
        one more than the layers it passes. Tokens are numbered from the oldest, context and main in turn.
    weight : Tensor
        What the path makes of the features of its first token: (d_head, d_head), in and out.
    contribution : Tensor
        What that adds to the forecast: (n_steps,), on the scale of the series.
    """

    head: int
    tokens: tuple[int, ...]
    weight: Tensor
    contribution: Tensor


@torch.no_grad()
def influence_paths(
    network: SAMoVAR, past: Tensor, target: int, n_paths: int | None = 10, source: list[int] | None = None
) -> list[InfluencePath]:
    """The paths of the strongest contributions to the forecast of a target in one window, strongest first.

    Layer l adds up ``v_i q_t . o_i`` over the tokens i up to t, o being the outputs of layer l - 1. So a path
    ``j = i_0 <= i_1 <= ... <= i_l = newest`` has the weight

        ``q1[i_1]  (q2[i_2] . v1[i_0])  (q3[i_3] . v2[i_1])  ...  vl[i_(l-1)]  S``,

    and all paths from j together have the weights of `read_weights`. A factor joins tokens two layers apart; the
    strongest way on from a pair of neighbouring tokens follows by dynamic programming from the last layer back. With
    that as a bound, which some path attains, a best-first search leaves out everything else: it never looks at all
    paths, of which there are as many as tokens to the power of the layers.

    Parameters
    ----------
    network : SAMoVAR
        In evaluation mode.
    past : Tensor
        One window: (1, context_length, n_series).
    target : int
        Position of the target.
    n_paths : int or None
        How many paths; None: all, which only small networks have time for.
    source : list of int or None
        Tokens that paths may start from. None: all.

    References
    ----------
    Lu & Yang, ICML 2025, temporal influence paths.
    """
    reading = read_weights(network, past, [target])
    z, denormalise = normalise_instance(past, network.segment_length, network.n_targets, network.n_locations)
    tokens = network.transform_tokens(network.embed(split_segments(z, network.segment_length), [target]))
    queries, values = (part[:, 0, 0] for part in network.weights(tokens, [target]))  # (layer, head, token, d_head)
    by_head = network.split_heads(tokens)[0, 0]  # (head, token, d_head)
    decoder, _ = linear_decoder(network, reading.forecast_token, partial(denormalise, targets=[target]))
    by_feature = decoder[0].unflatten(0, (network.n_heads, -1))  # (head, d_head, step)
    outputs = network.output_map(values)  # what each layer's values add to the forecast token
    effects = torch.einsum("lhtd,hds->lhts", outputs, by_feature)

    # link[k][h, a, b]: the factor that joins the token a to the token b; those of the first layer with its inputs.
    links = [(by_head @ queries[0].mT).triu()]
    links += [(before @ after.mT).triu() for before, after in zip(values[:-1], queries[1:], strict=True)]
    ends = effects.square().mean(-1).sqrt()  # (layer, head, token)
    found = []
    for head, path in islice(_strongest(links, ends, n_paths, source), n_paths):
        n_layers = len(path) - 1
        pairs = [(path[0], path[1]), *((path[k - 2], path[k]) for k in range(2, n_layers + 1))]
        factors = [link[head, a, b] for link, (a, b) in zip(links, pairs, strict=False)]
        end = n_layers - 1
        strength = torch.stack(factors).prod()
        inner = torch.stack([strength.new_ones(()), *factors[1:]]).prod()
        weight = inner * torch.outer(queries[0][head, path[1]], outputs[end][head, path[-2]])
        found.append(InfluencePath(head, path, weight, strength * effects[end, head, path[-2]]))
    return found


def _strongest(
    links: list[Tensor], ends: Tensor, n_paths: int | None, source: list[int] | None
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Heads and tokens of the paths of all lengths in the order of their strength, the product of all factors."""
    sizes = [link.abs() for link in links]
    newest = sizes[0].shape[-1] - 1
    serial = count()  # of equal paths the first found comes first
    queue: list[tuple[float, int, float, int, int, tuple[int, ...]]] = []
    completions = [_completions(sizes[1 : n_layers + 1], ends[n_layers]) for n_layers in range(len(links))]
    for last, by_layer in enumerate(completions):
        start = sizes[0] * by_layer[0]  # (head, first token, second token)
        if source is not None:
            start = torch.zeros_like(start).index_copy_(1, torch.as_tensor(source), start[:, source])
        for strength, place in _largest(start, n_paths):
            head, first, second = (int(part) for part in torch.unravel_index(torch.tensor(place), start.shape))
            so_far = float(sizes[0][head, first, second])
            queue.append((-strength, next(serial), so_far, last, head, (first, second)))
    heapify(queue)
    while queue:
        _, _, so_far, last, head, path = heappop(queue)
        if len(path) == last + 2:
            assert path[-1] == newest
            yield head, path
            continue
        layer = len(path) - 1
        onward = sizes[layer][head, path[-2]] * completions[last][layer][head, path[-1]]
        for bound, token in _largest(onward, n_paths):
            strength = so_far * float(sizes[layer][head, path[-2], token])
            heappush(queue, (-so_far * bound, next(serial), strength, last, head, (*path, token)))


def _completions(sizes: list[Tensor], ends: Tensor) -> list[Tensor]:
    """For each layer the strongest way on from a pair of tokens, those before and after it: (head, token, token)."""
    n_tokens = ends.shape[-1]
    after_last = ends.new_zeros(*ends.shape, n_tokens)
    after_last[..., -1] = ends  # a path ends at the newest token
    found = [after_last.triu()]
    for size in reversed(sizes):
        rows = [  # over the third token c: link from a to c, and on from (b, c)
            (size * found[0][:, b].unsqueeze(-2)).amax(-1) for b in range(n_tokens)
        ]
        found.insert(0, torch.stack(rows, dim=-1).triu())
    return found


def _largest(strengths: Tensor, n_paths: int | None) -> list[tuple[float, int]]:
    """The largest positive values with their places in the flattened tensor."""
    flat = strengths.flatten()
    value, place = flat.topk(min(len(flat), len(flat) if n_paths is None else n_paths))
    return [(one, at) for one, at in zip(value.tolist(), place.tolist(), strict=True) if one > 0]
