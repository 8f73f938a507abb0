"""The blocks of the Linear Attention Transformer: how its hyperparameters become layers, and its decoder."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.layers.gated_feed_forward import GatedFeedForward
from samovar_forecast.layers.linformer_attention import LinformerAttention
from samovar_forecast.layers.local_attention import LocalAttention
from samovar_forecast.layers.local_convolution import LocalConvolution
from samovar_forecast.layers.mixed_attention import LinearAttention, MixedAttention
from samovar_forecast.layers.reversible import ResidualSequence, ReversibleSequence
from samovar_forecast.layers.token_shift import shift_tokens
from samovar_forecast.networks.network import normal_parameter


def check_blocks(config: Any) -> None:
    """Raise a ValueError that names the hyperparameter which is out of range or does not go with another one."""
    positive = (
        "d_model", "n_layers", "n_heads", "d_ff", "patch_length", "patch_stride", "linformer_rank", "blindspot",
        "local_window", "feed_forward_chunks", "decoder_patch_length",
    )  # fmt: skip
    for name in positive:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    for name in ("dropout", "attention_dropout", "feed_forward_dropout"):
        value = getattr(config, name)
        if value is not None and not 0 <= value < 1:
            raise ValueError(f"{name} must be in [0, 1), got {value}")
    if config.n_decoder_layers < 0:
        raise ValueError(f"n_decoder_layers must be at least 0, got {config.n_decoder_layers}")
    if config.d_model % config.n_heads:
        raise ValueError(f"n_heads must divide d_model, got n_heads={config.n_heads} and d_model={config.d_model}")
    if not 0 <= config.n_local_heads <= config.n_heads:
        raise ValueError(
            f"n_local_heads must be from 0 to n_heads={config.n_heads}, got n_local_heads={config.n_local_heads}"
        )
    if config.attention not in ("linear", "linformer", "image"):
        raise ValueError(f"attention must be 'linear', 'linformer' or 'image', got {config.attention!r}")
    if config.causal and config.attention != "linear":
        raise ValueError(f"causal=True needs attention='linear', got attention={config.attention!r}")
    if config.blindspot is not None and not config.causal:
        raise ValueError(f"blindspot needs causal=True, got blindspot={config.blindspot} and causal=False")
    if config.n_local_heads == config.n_heads and (config.attention != "linear" or config.blindspot is not None):
        named = f"attention={config.attention!r}" if config.attention != "linear" else f"blindspot={config.blindspot}"
        raise ValueError(f"{named} needs n_local_heads below n_heads={config.n_heads}: all heads are local")
    smallest = 2 if config.causal else 3
    if config.token_shift and config.d_model < smallest:
        raise ValueError(f"token_shift needs a d_model of at least {smallest}, got {config.d_model}")


def attention_blocks(config: Any, n_tokens: int) -> ResidualSequence:
    """The encoder: (batch, n_rows, n_tokens, d_model) to the same shape."""
    pairs = [
        (_self_attention(config, config.attention, config.blindspot, n_tokens), _feed_forward(config))
        for _ in range(config.n_layers)
    ]
    return _sequence(config)(pairs)


class FutureDecoder(nn.Module):
    """Tokens of the steps to forecast attend to each other and to the encoded past, and give what they add.

    A token holds the known covariates of its steps, a learned position, and a learned vector of its series, so
    that the same covariate acts on each series in another way. The readout starts at zero.

    Parameters
    ----------
    config : LinearAttentionConfig
        Hyperparameters.
    n_targets, horizon, n_outputs, n_known : int
        See `LinearAttentionTransformer`.

    Shape
    -----
    encoded : (batch, n_targets, n_tokens, d_model)
    known_future : (batch, horizon, n_known), or None if there are no covariates
    output : (batch, n_targets, horizon, n_outputs)
    """

    def __init__(self, config: Any, n_targets: int, horizon: int, n_outputs: int, n_known: int) -> None:
        super().__init__()
        self.horizon, self.n_outputs = horizon, n_outputs
        self.patch_length = min(config.decoder_patch_length, horizon)
        n_tokens = -(-horizon // self.patch_length)
        self.position = normal_parameter(n_tokens, config.d_model)
        self.series_position = normal_parameter(n_targets, 1, config.d_model)
        self.known_embedding = nn.Linear(self.patch_length * n_known, config.d_model) if n_known else None
        self.dropout = nn.Dropout(config.dropout)
        pairs = []
        for _ in range(config.n_decoder_layers):
            pairs.append((_self_attention(config, "linear", None, n_tokens), _feed_forward(config)))
            pairs.append((_cross_attention(config), _feed_forward(config)))
        self.blocks = _sequence(config)(pairs)
        self.output_norm = nn.LayerNorm(config.d_model)
        self.to_steps = nn.Linear(config.d_model, self.patch_length * n_outputs)
        nn.init.zeros_(self.to_steps.weight)
        nn.init.zeros_(self.to_steps.bias)

    def forward(self, encoded: Tensor, known_future: Tensor | None) -> Tensor:
        tokens = self.position + self.series_position  # (n_targets, n_tokens, d_model)
        if self.known_embedding is not None and known_future is not None:
            missing = -self.horizon % self.patch_length
            padded = F.pad(known_future.transpose(1, 2), (0, missing), mode="replicate")  # (batch, n_known, steps)
            patches = padded.unflatten(-1, (-1, self.patch_length)).transpose(1, 2).flatten(2)
            tokens = self.known_embedding(patches).unsqueeze(1) + tokens
        else:
            tokens = tokens.expand(encoded.shape[0], -1, -1, -1)
        tokens = self.output_norm(self.blocks(self.dropout(tokens), encoded))
        steps = self.to_steps(tokens).flatten(-2).unflatten(-1, (-1, self.n_outputs))
        return steps[..., : self.horizon, :]


class _Sublayer(nn.Module):
    """Normalise, perhaps shift, and apply a layer; the context of a sequence reaches only layers that attend to it."""

    def __init__(self, d_model: int, layer: nn.Module, shift: bool, causal: bool, attends_context: bool) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(d_model), layer
        self.shift, self.causal, self.attends_context = shift, causal, attends_context

    def forward(self, tokens: Tensor, *context: Tensor) -> Tensor:
        tokens = self.norm(tokens)
        if self.shift:
            tokens = shift_tokens(tokens, self.causal)
        return self.layer(tokens, *context) if self.attends_context else self.layer(tokens)


def _sequence(config: Any) -> type[ResidualSequence]:
    return ReversibleSequence if config.reversible else ResidualSequence


def _self_attention(config: Any, form: str, blindspot: int | None, n_tokens: int) -> _Sublayer:
    attention: nn.Module | None = None
    if config.n_local_heads < config.n_heads:
        if form == "linformer":
            rank = min(config.linformer_rank, n_tokens)
            attention = LinformerAttention(n_tokens, rank, config.attention_dropout)
        else:
            attention = LinearAttention(config.causal, blindspot, form == "image", config.attention_dropout)
    local = config.n_local_heads > 0
    mixed = MixedAttention(
        config.d_model,
        config.n_heads,
        attention,
        config.n_local_heads,
        LocalAttention(config.local_window, config.causal, config.attention_dropout) if local else None,
        LocalConvolution(config.d_model, config.causal) if config.local_convolution else None,
        config.gate,
        config.dropout,
    )
    return _Sublayer(config.d_model, mixed, config.token_shift, config.causal, attends_context=False)


def _cross_attention(config: Any) -> _Sublayer:
    everywhere = LinearAttention(causal=False, blindspot=None, image=False, dropout=config.attention_dropout)
    attention = MixedAttention(config.d_model, config.n_heads, everywhere, gate=config.gate, dropout=config.dropout)
    return _Sublayer(config.d_model, attention, shift=False, causal=False, attends_context=True)


def _feed_forward(config: Any) -> _Sublayer:
    d_ff = config.d_ff if config.d_ff is not None else 2 * config.d_model
    dropout = config.feed_forward_dropout if config.feed_forward_dropout is not None else config.dropout
    layer = GatedFeedForward(config.d_model, d_ff, dropout, config.glu, config.feed_forward_chunks)
    return _Sublayer(config.d_model, layer, config.token_shift, config.causal, attends_context=False)
