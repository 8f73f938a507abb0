"""Linear Attention Transformer: patches of each series as tokens, attention at a cost linear in their number."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.layers.feed_forward import GatedFeedForward
from samovar_forecast.layers.instance_norm import RevIN
from samovar_forecast.layers.linformer_attention import LinformerAttention
from samovar_forecast.layers.local_attention import LocalAttention
from samovar_forecast.layers.mixed_attention import LinearAttention, LocalConvolution, MixedAttention
from samovar_forecast.layers.reversible import ResidualSequence, ReversibleSequence
from samovar_forecast.layers.tokens import count_patches, split_patches
from samovar_forecast.networks.network import Covariates, ForecastNetwork, normal_parameter


@hyperparameters
class LinearAttentionConfig:
    """Hyperparameters of the Linear Attention Transformer.

    Parameters
    ----------
    d_model : int, default 16
        Width of a token.
    n_layers : int, default 2
        Blocks of attention and feed-forward.
    n_heads : int, default 4
        Attention heads; must divide `d_model`.
    d_ff : int or None, default None
        Width of the hidden layer of the feed-forward blocks. None: twice `d_model`.
    dropout : float, default 0.3
        Share of activations dropped in training: of the tokens and of what the blocks add to them.
    attention_dropout : float, default 0.0
        Share of attention weights dropped in training; of whole keys where linear attention forms no weights.
    feed_forward_dropout : float or None, default None
        Share of the outputs of the feed-forward blocks dropped in training. None: `dropout`.
    patch_length : int, default 16
        Points per token; at most the context is used.
    patch_stride : int, default 8
        Points from one token to the next. 1, with `patch_length` 1, makes every step a token.
    head : {"flatten", "pooled"}, default "flatten"
        What the forecast is read from: all tokens side by side, or their mean and the newest one. The second has
        as many parameters for a long context as for a short one.
    attention : {"linear", "linformer", "image"}, default "linear"
        How the heads that see everything do so: by linear attention, by softmax attention to `linformer_rank`
        learned mixtures of the tokens, or by linear attention over the map of all series and times. Only the last
        lets the series see each other and uses past covariates.
    linformer_rank : int, default 32
        Mixtures of tokens that Linformer attention attends to; at most the number of tokens is used.
    causal : bool, default False
        If True no token sees a later one.
    blindspot : int or None, default None
        Number b of tokens in a block of which causal attention sees only the earlier blocks. None: a token sees
        itself and all before it.
    n_local_heads : int, default 0
        How many of the heads are softmax attention to the neighbourhood instead.
    local_window : int, default 8
        Tokens per window of the local heads, which see their own window and its neighbours.
    gate : bool, default True
        If True a learned gate, between 0 and 1, multiplies what attention gives.
    local_convolution : bool, default True
        If True a short convolution mixes the values of neighbouring tokens before they are attended to.
    glu : bool, default False
        If True the feed-forward blocks are gated.
    feed_forward_chunks : int, default 1
        Parts in which tokens pass the feed-forward blocks, one after the other, to need less memory in inference.
    token_shift : bool, default False
        If True a part of the features of each token is taken from its neighbours before every block.
    reversible : bool, default False
        If True the blocks are reversible: training needs the memory of one block, and more time.
    n_decoder_layers : int, default 0
        Blocks of a decoder whose tokens are the steps to forecast, with the known covariates of these steps. It
        attends to the encoded past and adds to the forecast. 0: no decoder.
    decoder_patch_length : int, default 8
        Steps to forecast per token of the decoder; at most the horizon is used.
    """

    d_model: int = 16
    n_layers: int = 2
    n_heads: int = 4
    d_ff: int | None = None
    dropout: float = 0.3
    attention_dropout: float = 0.0
    feed_forward_dropout: float | None = None
    patch_length: int = 16
    patch_stride: int = 8
    head: Literal["flatten", "pooled"] = "flatten"
    attention: Literal["linear", "linformer", "image"] = "linear"
    linformer_rank: int = 32
    causal: bool = False
    blindspot: int | None = None
    n_local_heads: int = 0
    local_window: int = 8
    gate: bool = True
    local_convolution: bool = True
    glu: bool = False
    feed_forward_chunks: int = 1
    token_shift: bool = False
    reversible: bool = False
    n_decoder_layers: int = 0
    decoder_patch_length: int = 8


class LinearAttentionTransformer(ForecastNetwork):
    """Normalise, cut each series into patches, mix them by linear attention, read the forecast from the tokens.

    The series pass one by one through the same network; covariates of the past are not used. With
    ``attention="image"`` all series attend to each other. Covariates known in the future enter through the decoder:
    as part of the tokens of the past, and as its own tokens.

    Parameters
    ----------
    n_series, n_targets, context_length, horizon, n_outputs : int
        See `ForecastNetwork`.
    config : LinearAttentionConfig
        Hyperparameters.
    n_known : int, default 0
        Number of covariates known in the future; needs a decoder.

    Shape
    -----
    past : (batch, context_length, n_series)
    output : (batch, horizon, n_targets, n_outputs)

    Raises
    ------
    ValueError
        If a hyperparameter is out of range or does not go with another one, or if `forward` lacks the covariates
        that the network was made for.

    References
    ----------
    Katharopoulos et al., "Transformers are RNNs", ICML 2020, arXiv 2006.16236; Shen et al., "Efficient Attention",
    WACV 2021, arXiv 1812.01243; Nie et al., "A Time Series is Worth 64 Words", ICLR 2023, arXiv 2211.14730.

    Examples
    --------
    >>> network = LinearAttentionTransformer(
    ...     n_series=3, n_targets=3, context_length=48, horizon=12, config=LinearAttentionConfig()
    ... )
    >>> network(torch.randn(2, 48, 3)).shape
    torch.Size([2, 12, 3, 1])
    """

    def __init__(
        self,
        n_series: int,
        n_targets: int,
        context_length: int,
        horizon: int,
        config: LinearAttentionConfig,
        n_outputs: int = 1,
        n_known: int = 0,
    ) -> None:
        super().__init__(n_series, n_targets, context_length, horizon, n_outputs)
        check_blocks(config)
        if context_length < 2:
            raise ValueError(
                f"context_length must be at least 2, got {context_length}: a window is normalised by its deviation"
            )
        if config.head not in ("flatten", "pooled"):
            raise ValueError(f"head must be 'flatten' or 'pooled', got {config.head!r}")
        if config.patch_stride > config.patch_length:
            raise ValueError(
                f"patch_stride must be at most patch_length, or points would be left out, got "
                f"patch_stride={config.patch_stride} and patch_length={config.patch_length}"
            )
        if n_known and not config.n_decoder_layers:
            raise ValueError(f"covariates known in the future need n_decoder_layers of at least 1, got {n_known=}")
        self.patch_length = min(config.patch_length, context_length)
        self.patch_stride = min(config.patch_stride, self.patch_length)
        self.n_tokens = count_patches(context_length, self.patch_length, self.patch_stride)
        if config.blindspot is not None and config.blindspot >= self.n_tokens:
            raise ValueError(
                f"blindspot must be below the number of tokens of the context, {self.n_tokens}, or no token sees "
                f"another, got blindspot={config.blindspot}"
            )
        self.n_known = n_known
        d_model, image = config.d_model, config.attention == "image"
        self.n_rows = n_series if image else n_targets  # series that become tokens

        self.norm = RevIN(self.n_rows, n_targets)
        self.patch_embedding = nn.Linear(self.patch_length, d_model)
        self.position = normal_parameter(self.n_tokens, d_model)
        self.series_position = normal_parameter(n_series, 1, d_model) if image else None
        self.known_embedding = nn.Linear(self.patch_length * n_known, d_model, bias=False) if n_known else None
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = attention_blocks(config, self.n_tokens)
        self.output_norm = nn.LayerNorm(d_model)
        self.pooled = config.head == "pooled"
        n_read = 2 if self.pooled else self.n_tokens
        self.to_forecast = nn.Linear(n_read * d_model, horizon * n_outputs)
        self.decoder = (
            FutureDecoder(config, n_targets, horizon, n_outputs, n_known) if config.n_decoder_layers else None
        )
        if self.known_embedding is not None:  # covariates have no effect at first
            nn.init.zeros_(self.known_embedding.weight)

    @classmethod
    def embeds_known(cls, config: Any) -> bool:
        """True if the network itself uses covariates known in the future: if it has a decoder."""
        return config.n_decoder_layers > 0

    @classmethod
    def mixes_series(cls, config: Any) -> bool:
        """True for the attention to the map of all series and times."""
        return config.attention == "image"

    def forward(self, past: Tensor, covariates: Covariates | None = None) -> Tensor:
        known_past, known_future = self._known(covariates or Covariates())
        normalised, denormalise = self.norm(past[..., -self.n_rows :], self.n_locations)
        tokens = self.encode(normalised, known_past)[:, -self.n_targets :]
        forecast = self.to_forecast(self._read(tokens)).unflatten(-1, (self.horizon, self.n_outputs))
        if self.decoder is not None:
            forecast = forecast + self.decoder(tokens, known_future)
        return denormalise(forecast.transpose(1, 2))

    def forecast_of(self, targets: slice | list[int], past: Tensor, covariates: Covariates | None = None) -> Tensor:
        if self.series_position is not None or self.decoder is not None:  # series meet, or have vectors of their own
            return super().forecast_of(targets, past, covariates)
        normalised, denormalise = self.norm(past[..., -self.n_rows :], self.n_locations)
        tokens = self.encode(normalised[:, targets])
        forecast = self.to_forecast(self._read(tokens)).unflatten(-1, (self.horizon, self.n_outputs))
        return denormalise(forecast.transpose(1, 2), targets)

    def encode(self, series: Tensor, known_past: Tensor | None = None) -> Tensor:
        """Tokens of normalised series, after all blocks.

        Shape
        -----
        series : (batch, n_rows, context_length)
        known_past : (batch, context_length, n_known)
        output : (batch, n_rows, n_tokens, d_model)
        """
        tokens = self.patch_embedding(split_patches(series, self.patch_length, self.patch_stride))
        position = self.position if self.series_position is None else self.position + self.series_position
        tokens = tokens + position
        if self.known_embedding is not None and known_past is not None:
            patches = split_patches(known_past.transpose(1, 2), self.patch_length, self.patch_stride)
            by_token = patches.transpose(1, 2).flatten(2)  # (batch, n_tokens, n_known * patch_length)
            tokens = tokens + self.known_embedding(by_token).unsqueeze(1)
        return self.output_norm(self.encoder(self.dropout(tokens)))

    def _read(self, tokens: Tensor) -> Tensor:
        if self.pooled:
            return torch.cat([tokens.mean(-2), tokens[..., -1, :]], dim=-1)
        return tokens.flatten(-2)

    def _known(self, covariates: Covariates) -> tuple[Tensor | None, Tensor | None]:
        if not self.n_known:
            return None, None
        if covariates.known_past is None or covariates.known_future is None:
            raise ValueError(
                f"this network was made for n_known={self.n_known} covariates known in the future; "
                "give known_past and known_future"
            )
        return covariates.known_past, covariates.known_future


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

    def __init__(
        self, config: LinearAttentionConfig, n_targets: int, horizon: int, n_outputs: int, n_known: int
    ) -> None:
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


def attention_blocks(config: LinearAttentionConfig, n_tokens: int) -> ResidualSequence:
    """The encoder: (batch, n_rows, n_tokens, d_model) to the same shape."""
    pairs = [
        (_self_attention(config, config.attention, config.blindspot, n_tokens), _feed_forward(config))
        for _ in range(config.n_layers)
    ]
    return _sequence(config)(pairs)


class Sublayer(nn.Module):
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


def _sequence(config: LinearAttentionConfig) -> type[ResidualSequence]:
    return ReversibleSequence if config.reversible else ResidualSequence


def _self_attention(config: LinearAttentionConfig, form: str, blindspot: int | None, n_tokens: int) -> Sublayer:
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
    return Sublayer(config.d_model, mixed, config.token_shift, config.causal, attends_context=False)


def _cross_attention(config: LinearAttentionConfig) -> Sublayer:
    everywhere = LinearAttention(causal=False, blindspot=None, image=False, dropout=config.attention_dropout)
    attention = MixedAttention(config.d_model, config.n_heads, everywhere, gate=config.gate, dropout=config.dropout)
    return Sublayer(config.d_model, attention, shift=False, causal=False, attends_context=True)


def _feed_forward(config: LinearAttentionConfig) -> Sublayer:
    d_ff = config.d_ff if config.d_ff is not None else 2 * config.d_model
    dropout = config.feed_forward_dropout if config.feed_forward_dropout is not None else config.dropout
    layer = GatedFeedForward(config.d_model, d_ff, dropout, config.glu, config.feed_forward_chunks)
    return Sublayer(config.d_model, layer, config.token_shift, config.causal, attends_context=False)


def shift_tokens(tokens: Tensor, causal: bool) -> Tensor:
    """Take a third of the features from the token before, a third from the token after; causal: half from before.

    The features are cut into equal parts; those left over stay. Beyond the ends there are zeros.

    Shape
    -----
    tokens : (..., n_tokens, d_model)
    output : the same

    References
    ----------
    Peng, RWKV-LM, "time-shift".

    Examples
    --------
    >>> shift_tokens(torch.tensor([[1.0, 2, 3], [4, 5, 6]]), causal=False)
    tensor([[0., 2., 6.],
            [1., 5., 0.]])
    >>> shift_tokens(torch.tensor([[1.0, 2, 3], [4, 5, 6]]), causal=True)
    tensor([[0., 2., 3.],
            [1., 5., 6.]])
    """
    if causal:
        width = tokens.shape[-1] // 2
        before, rest = tokens.split([width, tokens.shape[-1] - width], dim=-1)
        return torch.cat([F.pad(before, (0, 0, 1, -1)), rest], dim=-1)
    width = tokens.shape[-1] // 3
    before, same, after, rest = tokens.split([width, width, width, tokens.shape[-1] - 3 * width], dim=-1)
    return torch.cat([F.pad(before, (0, 0, 1, -1)), same, F.pad(after, (0, 0, -1, 1)), rest], dim=-1)


def check_blocks(config: LinearAttentionConfig) -> None:
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
