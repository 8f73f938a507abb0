"""PSF-Attn: tokens of one series at a time, mixed by a product of sparse factors that are made from the tokens."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.layers.feed_forward import FeedForward
from samovar_forecast.layers.instance_norm import RevIN
from samovar_forecast.layers.sparse_factor_attention import SparseFactorAttention
from samovar_forecast.layers.tokens import split_segments
from samovar_forecast.networks.network import Covariates, ForecastNetwork, normal_parameter


@hyperparameters
class PSFAttentionConfig:
    """Hyperparameters of PSF-Attn.

    Parameters
    ----------
    d_model : int, default 32
        Width of a token and of the perceptrons that make the factors.
    n_layers : int, default 1
        Number of attention blocks.
    value_width : int, default 8
        Width of the values that the factors mix; the head reads that many numbers per token.
    patch_length : int, default 4
        Steps per token, at most the context. One, as published, resolves every step and costs most.
    direction : {"past", "circular"}, default "past"
        Whether a token reads itself and older ones, or as published the following ones and round to the oldest.
    n_factors : int or None, default None
        Sparse factors per block. None: as many as link every token with every other, ``ceil(log2(n_tokens))``.
    residual : bool, default True
        Whether a block adds its first values again after every factor.
    layer_norm : bool, default True
        Whether tokens are normalised at the entrance of attention and feed-forward.
    feed_forward : bool, default False
        Whether a feed-forward block follows each attention.
    dropout : float, default 0.1
        Share of activations dropped in training.
    """

    d_model: int = 32
    n_layers: int = 1
    value_width: int = 8
    patch_length: int = 4
    direction: Literal["past", "circular"] = "past"
    n_factors: int | None = None
    residual: bool = True
    layer_norm: bool = True
    feed_forward: bool = False
    dropout: float = 0.1


class PSFAttention(ForecastNetwork):
    """Attention by a product of sparse factors (PSF) over the steps of one series at a time.

    Every target series passes through the same weights and sees no other one: past covariates are not used.

    Parameters
    ----------
    n_series, n_targets, context_length, horizon, n_outputs : int
        See `ForecastNetwork`.
    config : PSFAttentionConfig
        Hyperparameters.

    Shape
    -----
    past : (batch, context_length, n_series)
    output : (batch, horizon, n_targets, n_outputs)

    Raises
    ------
    ValueError
        If a size is not positive, `direction` is unknown or `dropout` is no share.

    References
    ----------
    Khalitov, Yu, Cheng & Yang, "Sparse factorization of square matrices with application to neural attention
    modeling", Neural Networks 152, 2022, arXiv 2109.08184.

    Examples
    --------
    >>> import torch
    >>> network = PSFAttention(n_series=3, n_targets=3, context_length=48, horizon=12, config=PSFAttentionConfig())
    >>> network(torch.randn(2, 48, 3)).shape
    torch.Size([2, 12, 3, 1])
    """

    def __init__(
        self,
        n_series: int,
        n_targets: int,
        context_length: int,
        horizon: int,
        config: PSFAttentionConfig,
        n_outputs: int = 1,
    ) -> None:
        super().__init__(n_series, n_targets, context_length, horizon, n_outputs)
        for name in ("d_model", "n_layers", "value_width", "patch_length"):
            if getattr(config, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")
        if not 0 <= config.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {config.dropout}")
        self.patch_length = min(config.patch_length, context_length)
        n_tokens = -(-context_length // self.patch_length)
        self.norm = RevIN(n_targets, n_targets)
        self.embedding = nn.Linear(self.patch_length, config.d_model)
        self.position = normal_parameter(n_tokens, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.Sequential(*(Block(n_tokens, config) for _ in range(config.n_layers)))
        self.to_values = nn.Linear(config.d_model, config.value_width)
        self.to_forecast = nn.Linear(n_tokens * config.value_width, horizon * n_outputs)

    @classmethod
    def mixes_series(cls, config: PSFAttentionConfig) -> bool:
        return False

    def forward(self, past: Tensor, covariates: Covariates | None = None) -> Tensor:
        return self.forecast_of(slice(None), past)

    def forecast_of(self, targets: slice | list[int], past: Tensor, covariates: Covariates | None = None) -> Tensor:
        series, denormalise = self.norm(past[..., -self.n_targets :], self.n_locations)
        patches = split_segments(series[:, targets], self.patch_length)  # (batch, n_chosen, n_tokens, patch_length)
        tokens = self.dropout(self.embedding(patches) + self.position).flatten(0, 1)
        values = self.to_values(self.blocks(tokens)).flatten(1)
        forecast = self.to_forecast(values).unflatten(0, (-1, patches.shape[1]))
        return denormalise(forecast.unflatten(-1, (self.horizon, self.n_outputs)).transpose(1, 2), targets)


class Block(nn.Module):
    """``x += project(attention(norm(x)))``, then perhaps ``x += feed_forward(norm(x))``.

    Shape
    -----
    input, output : (n_sequences, n_tokens, d_model)
    """

    def __init__(self, n_tokens: int, config: PSFAttentionConfig) -> None:
        super().__init__()
        d_model, width = config.d_model, config.value_width

        def norm() -> nn.Module:
            return nn.LayerNorm(d_model) if config.layer_norm else nn.Identity()

        self.attention_norm = norm()
        self.attention = SparseFactorAttention(
            d_model, n_tokens, width, config.direction, config.n_factors, config.residual
        )
        self.projection = nn.Linear(width, d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.feed_forward = nn.Sequential(norm(), FeedForward(d_model, config.dropout)) if config.feed_forward else None

    def forward(self, tokens: Tensor) -> Tensor:
        attended = self.attention(self.attention_norm(tokens))
        tokens = tokens + self.projection(self.dropout(attended))
        return tokens if self.feed_forward is None else tokens + self.feed_forward(tokens)
