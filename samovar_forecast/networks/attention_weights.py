"""What each network attends to in one window, read out of a forward pass."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from samovar_forecast.layers.auto_correlation import (
    AutoCorrelation,
    circular_correlation,
    fit_length,
    number_of_delays,
    strongest_delays,
)
from samovar_forecast.layers.mixed_attention import LinearAttention, MixedAttention
from samovar_forecast.layers.sparse_factor_attention import SparseFactorAttention, chord_product
from samovar_forecast.networks.autoformer import Autoformer
from samovar_forecast.networks.linear_attention_transformer import LinearAttentionTransformer
from samovar_forecast.networks.lintrans import Attention, LinTrans
from samovar_forecast.networks.network import Covariates, ForecastNetwork
from samovar_forecast.networks.psf_attention import PSFAttention
from samovar_forecast.networks.samformer import SAMformer


class Part(NamedTuple):
    """One variable of a reading: its values, the names of their dimensions, what they mean, and their unit."""

    values: Tensor
    dims: tuple[str, ...]
    meaning: str
    units: str = "1"


class AttentionReading(NamedTuple):
    """What a network attends to in one window: variables by name, and labels of their dimensions."""

    parts: dict[str, Part]
    labels: dict[str, Any]


@torch.no_grad()
def read_attention(network: ForecastNetwork, past: Tensor, covariates: Covariates | None = None) -> AttentionReading:
    """What the network attends to in one window; nothing for a network that is not known here.

    ========================== ==========================================================================
    SAMformer                  `attention` (series, source): how much a target attends to each series
    LinTrans                   `attention` (series, layer, head, segment, token): how the newest token
                               weighs the tokens of each segment, segment 1 being the newest
    LinearAttentionTransformer `attention` (series, layer, head, patch), with ``attention="image"``
                               (series, layer, head, source, patch): how the newest token weighs all tokens
    PSFAttention               `attention` (series, layer, patch): the newest row of the product of factors
    Autoformer                 `delay` and `delay_weight` (layer, rank): the delays chosen and their weights
    ========================== ==========================================================================

    Attention weights say what a layer reads, not what comes of it: residual paths pass the attention by. Patch 1 is the
    newest; the labels `newest_lag` and `oldest_lag` of a patch say which rows it holds.

    Parameters
    ----------
    network : ForecastNetwork
        In evaluation mode, without a wrapper for covariates.
    past : Tensor
        One window: (1, context_length, n_series).
    covariates : Covariates or None
        Those of the window.
    """
    return _read(network, past, covariates)


@singledispatch
def _read(network: Any, past: Tensor, covariates: Covariates | None) -> AttentionReading:
    return AttentionReading({}, {})


@_read.register
def _(network: SAMformer, past: Tensor, covariates: Covariates | None) -> AttentionReading:
    series, _ = network.norm(past, network.n_locations)
    weights = network.attention(series[:, -network.n_targets :], series)[0]
    meaning = "share of each series in what the target attends to; adds up to 1 over the sources"
    return AttentionReading({"attention": Part(weights, ("series", "source"), meaning)}, {})


@_read.register
def _(network: LinTrans, past: Tensor, covariates: Covariates | None) -> AttentionReading:
    layers = []
    for attention, (tokens,) in _inputs(network, Attention, past, covariates):
        queries, keys = (
            linear(tokens[0]).unflatten(-1, (attention.n_heads, -1)).transpose(-2, -3)
            for linear in (attention.queries, attention.keys)
        )  # (n_targets, n_heads, n_tokens, d_head)
        layers.append((queries[..., -1:, :] @ keys.mT).squeeze(-2))
    weights = torch.stack(layers, dim=1).unflatten(-1, (-1, 2)).flip(-2)
    meaning = "how the newest token weighs the values of every token: the product of its query and their keys"
    dims = ("series", "layer", "head", "segment", "token")
    labels = {
        "layer": _counted(weights, 1),
        "head": _counted(weights, 2),
        "segment": _counted(weights, 3),
        "token": ["context", "main"],
    }
    return AttentionReading({"attention": Part(weights, dims, meaning)}, labels)


@_read.register
def _(network: PSFAttention, past: Tensor, covariates: Covariates | None) -> AttentionReading:
    layers = []
    for attention, (tokens,) in _inputs(network, SparseFactorAttention, past, covariates):
        first = torch.eye(tokens.shape[1], dtype=tokens.dtype, device=tokens.device).expand(len(tokens), -1, -1)
        product = first
        for weights in attention.weights(tokens):
            product = chord_product(weights, product, attention.direction, first if attention.residual else None)
        layers.append(product[:, -1])
    weights = torch.stack(layers, dim=1).flip(-1)  # (n_targets, layer, patch)
    meaning = "how the newest token weighs the values of every token: its row of the product of all factors, signed"
    labels = {"layer": _counted(weights, 1)} | _patches(
        weights.shape[-1], network.context_length, network.patch_length, network.patch_length, padded_before=True
    )
    return AttentionReading({"attention": Part(weights, ("series", "layer", "patch"), meaning)}, labels)


@_read.register
def _(network: LinearAttentionTransformer, past: Tensor, covariates: Covariates | None) -> AttentionReading:
    found = _inputs(network, MixedAttention, past, covariates, within="encoder")
    layers = [_newest_weights(attention, tokens) for attention, (tokens,) in found]
    weights = torch.stack(layers, dim=1)[-network.n_targets :].flip(-1)
    dims: tuple[str, ...] = ("series", "layer", "head", "source", "patch")
    if weights.shape[-2] == 1:
        weights, dims = weights.squeeze(-2), ("series", "layer", "head", "patch")
    meaning = "how the newest token weighs the values of every token, before the gate"
    labels = {"layer": _counted(weights, 1), "head": _counted(weights, 2)} | _patches(
        network.n_tokens, network.context_length, network.patch_length, network.patch_stride, padded_before=False
    )
    return AttentionReading({"attention": Part(weights, dims, meaning)}, labels)


@_read.register
def _(network: Autoformer, past: Tensor, covariates: Covariates | None) -> AttentionReading:
    found = [_delays(attention, *inputs) for attention, inputs in _inputs(network, AutoCorrelation, past, covariates)]
    most = max(len(delays) for delays, _ in found)
    delays, weights = (
        torch.stack([torch.cat([one, one.new_full((most - len(one),), torch.nan)]) for one in column])
        for column in zip(*found, strict=True)
    )
    names = [f"encoder {number}" for number in range(1, len(network.encoder) + 1)]
    names += [f"decoder {number} {kind}" for number in range(1, len(network.decoder) + 1) for kind in ("self", "cross")]
    labels = {"layer": names, "rank": range(1, most + 1)}
    meaning = "delay at which queries and keys of the layer correlate most; NaN where it uses fewer of them"
    parts = {
        "delay": Part(delays, ("layer", "rank"), meaning, "rows"),
        "delay_weight": Part(weights, ("layer", "rank"), "share of the delay in the layer's output; adds up to 1"),
    }
    return AttentionReading(parts, labels)


def _inputs(
    network: ForecastNetwork, kind: type[nn.Module], past: Tensor, covariates: Covariates | None, within: str = ""
) -> list[tuple[Any, tuple[Any, ...]]]:
    """The modules of a kind, within a part of the network, with the inputs of their first calls, in that order.

    A copy of the network runs: the fitted one may be in use elsewhere.
    """
    network = copy.deepcopy(network)
    if hasattr(network, "series_at_once"):
        network.series_at_once = None  # type: ignore[assignment]
    calls: dict[nn.Module, tuple[Any, ...]] = {}
    for module in network.get_submodule(within).modules():
        if isinstance(module, kind):
            module.register_forward_pre_hook(lambda one, inputs: calls.setdefault(one, inputs) and None)
    network(past, covariates)
    return list(calls.items())


def _newest_weights(attention: MixedAttention, tokens: Tensor) -> Tensor:
    """How the newest token of each row weighs the values of all: (n_rows, n_heads, n_sources, n_tokens).

    Attention is linear in its values, so values that are 1 for one token and 0 for the others give its weights.
    """
    _, n_rows, n_tokens, _ = tokens.shape
    queries, keys = (
        linear(tokens).unflatten(-1, (attention.n_heads, -1)).transpose(-2, -3)
        for linear in (attention.queries, attention.keys)
    )  # (1, n_rows, n_heads, n_tokens, d_head)
    each = torch.eye(n_tokens, dtype=tokens.dtype, device=tokens.device).expand(*queries.shape[:-1], -1)
    everywhere = attention.global_attention
    image = isinstance(everywhere, LinearAttention) and everywhere.image
    if not image:
        return attention.attend(queries, keys, each)[0, :, :, -1].unsqueeze(2)
    by_source = []
    for source in range(n_rows):
        of_source = torch.zeros_like(each)
        of_source[:, source] = each[:, source]
        by_source.append(attention.attend(queries, keys, of_source)[0, :, :, -1])
    return torch.stack(by_source, dim=2)


def _delays(attention: AutoCorrelation, tokens: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """The delays that a layer of Autoformer chooses for one window, and their weights: (n_delays,) each."""
    length = tokens.shape[1]
    queries, keys = attention.queries(tokens), fit_length(attention.keys(source[:, :length]), length)
    correlation = circular_correlation(queries, keys)
    delays = strongest_delays(correlation, number_of_delays(attention.factor, length))
    weights = (correlation.gather(1, delays) / queries.shape[-1]).softmax(-1)
    order = weights[0].argsort(descending=True, stable=True)
    return delays[0, order].to(weights.dtype), weights[0, order]


def _patches(count: int, context_length: int, length: int, stride: int, padded_before: bool) -> dict[str, Any]:
    """Labels of patches, the newest first: their number, and the lags of their newest and oldest rows."""
    missing = count * length - context_length if padded_before else 0
    first = [stride * number - missing for number in range(count)][::-1]
    lags = [(context_length - min(row + length, context_length) + 1, context_length - max(row, 0)) for row in first]
    newest, oldest = zip(*lags, strict=True)
    return {"patch": range(1, count + 1), "newest_lag": ("patch", [*newest]), "oldest_lag": ("patch", [*oldest])}


def _counted(values: Tensor, dim: int) -> Sequence[int]:
    return range(1, values.shape[dim] + 1)
