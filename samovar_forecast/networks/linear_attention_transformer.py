"""Linear Attention Transformer: patches of each series as tokens, attention at a cost linear in their number."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.layers.patches import count_patches, split_patches
from samovar_forecast.layers.revin import RevIN
from samovar_forecast.networks.linear_attention_blocks import FutureDecoder, attention_blocks, check_blocks
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
