"""Autoformer: a transformer on the points of a window that decomposes as it goes and attends over delays."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.layers.auto_correlation import AutoCorrelation
from samovar_forecast.layers.decomposition import SeasonalNorm, SeriesDecomposition
from samovar_forecast.layers.observed import fill_with_mean
from samovar_forecast.networks.network import Covariates, ForecastNetwork


@hyperparameters
class AutoformerConfig:
    """Hyperparameters of Autoformer.

    Parameters
    ----------
    d_model : int, default 64
        Width of a token; every point in time is one. The paper uses 512.
    n_heads : int, default 8
        Attention heads; must divide `d_model`. Auto-correlation averages over its heads, as published, so their
        number changes nothing.
    n_encoder_layers : int, default 1
        Encoder layers. The paper uses 2.
    n_decoder_layers : int, default 1
        Decoder layers.
    d_ff : int or None, default None
        Hidden width of the feed-forward blocks. None: ``4 * d_model``.
    moving_average : int, default 25
        Points in the moving average that separates trend and season; must be odd.
    label_length : int or None, default None
        Newest points of the context that the decoder starts from. None: half of the context.
    factor : float, default 3
        Auto-correlation uses ``int(factor * ln(length))`` delays. The paper has 1 on ETTm2.
    dropout : float, default 0.05
        Share of activations dropped in training.
    """

    d_model: int = 64
    n_heads: int = 8
    n_encoder_layers: int = 1
    n_decoder_layers: int = 1
    d_ff: int | None = None
    moving_average: int = 25
    label_length: int | None = None
    factor: float = 3
    dropout: float = 0.05


class Autoformer(ForecastNetwork):
    """Encoder and decoder over points in time, with decomposition inside and auto-correlation for attention.

    The encoder distils the seasonal part of the context. The decoder starts from the newest `label_length`
    points of it and zeros for the horizon, refines the seasonal part, and collects the trend that each of its
    decompositions takes out; the forecast is their sum on top of the mean of the window. Windows are not
    normalised, so series should come standardised. Gaps in a series are filled with the mean of what the window
    shows of it, or with 0 if that is nothing.

    Parameters
    ----------
    n_series, n_targets, context_length, horizon, n_outputs : int
        See `ForecastNetwork`.
    config : AutoformerConfig
        Hyperparameters.
    n_known : int, default 0
        Number of covariates known in the future, which are embedded beside the series.

    Shape
    -----
    past : (batch, context_length, n_series)
    output : (batch, horizon, n_targets, n_outputs)

    Raises
    ------
    ValueError
        If a hyperparameter does not fit, or `forward` lacks the known covariates.

    References
    ----------
    Wu, Xu, Wang & Long, "Autoformer: Decomposition Transformers with Auto-Correlation for Long-Term Series
    Forecasting", NeurIPS 2021, arXiv 2106.13008.

    Examples
    --------
    >>> network = Autoformer(n_series=3, n_targets=3, context_length=48, horizon=12, config=AutoformerConfig())
    >>> network(torch.randn(2, 48, 3)).shape
    torch.Size([2, 12, 3, 1])
    """

    windows_interact = True  # the batch shares its delays in training
    interact_by_mean = True

    def __init__(
        self,
        n_series: int,
        n_targets: int,
        context_length: int,
        horizon: int,
        config: AutoformerConfig,
        n_outputs: int = 1,
        n_known: int = 0,
    ) -> None:
        super().__init__(n_series, n_targets, context_length, horizon, n_outputs)
        d_model = config.d_model
        d_ff = config.d_ff if config.d_ff is not None else 4 * d_model
        label_length = config.label_length if config.label_length is not None else context_length // 2
        for name, value in {"d_model": d_model, "n_heads": config.n_heads, "d_ff": d_ff,
                            "n_encoder_layers": config.n_encoder_layers,
                            "n_decoder_layers": config.n_decoder_layers}.items():  # fmt: skip
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if d_model % config.n_heads:
            raise ValueError(f"n_heads must divide d_model, got n_heads={config.n_heads} and {d_model=}")
        if not 0 <= label_length <= context_length:
            raise ValueError(
                f"label_length must be between 0 and context_length={context_length}, got {label_length}: the decoder "
                "starts from the newest label_length points of the context"
            )
        if config.factor <= 0:
            raise ValueError(f"factor must be positive, got {config.factor}")
        if not 0 <= config.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {config.dropout}")
        self.label_length, self.n_known = label_length, n_known

        self.decomposition = SeriesDecomposition(config.moving_average)
        self.encoder_embedding = Embedding(n_series, n_known, d_model, config.dropout)
        self.encoder = nn.ModuleList(
            EncoderLayer(d_model, d_ff, config.factor, config.dropout, self.decomposition)
            for _ in range(config.n_encoder_layers)
        )
        self.encoder_norm = SeasonalNorm(d_model)
        self.decoder_embedding = Embedding(n_series, n_known, d_model, config.dropout)
        self.decoder = nn.ModuleList(
            DecoderLayer(d_model, d_ff, n_targets, config.factor, config.dropout, self.decomposition)
            for _ in range(config.n_decoder_layers)
        )
        self.decoder_norm = SeasonalNorm(d_model)
        self.to_seasonal = nn.Linear(d_model, n_targets * n_outputs)

    @classmethod
    def embeds_known(cls, config: Any) -> bool:
        """True: known covariates are embedded beside the series, `n_known` of them."""
        return True

    def forward(self, past: Tensor, covariates: Covariates | None = None) -> Tensor:
        known_past, known_decoder = self._known(covariates)
        past = fill_with_mean(past, dim=1)
        level = past.mean(1, keepdim=True)
        # Decomposition commutes with a shift; without the level no precision is lost to it.
        seasonal, _ = self.decomposition(past - level)
        start = F.pad(seasonal[:, self.context_length - self.label_length :], (0, 0, 0, self.horizon))

        encoded = self.encoder_embedding(past, known_past)  # (batch, context_length, d_model)
        for encoder_layer in self.encoder:
            encoded = encoder_layer(encoded)
        encoded = self.encoder_norm(encoded)

        decoded = self.decoder_embedding(start, known_decoder)  # (batch, label_length + horizon, d_model)
        trend = level[..., -self.n_targets :]  # over the horizon; that of the label rows is never read
        for decoder_layer in self.decoder:
            decoded, trend_taken_out = decoder_layer(decoded, encoded)
            trend = trend + trend_taken_out[:, -self.horizon :]
        seasonal = self.to_seasonal(self.decoder_norm(decoded)[:, -self.horizon :])
        located = torch.arange(self.n_outputs, device=past.device) < self.n_locations
        return seasonal.unflatten(-1, (self.n_targets, self.n_outputs)) + trend.unsqueeze(-1) * located

    def _known(self, covariates: Covariates | None) -> tuple[Tensor | None, Tensor | None]:
        if not self.n_known:
            return None, None
        if covariates is None or covariates.known_past is None or covariates.known_future is None:
            raise ValueError(
                f"this network was made for {self.n_known} covariates known in the future; give their rows over the "
                "context (known_past) and over the horizon (known_future)"
            )
        label = covariates.known_past[:, self.context_length - self.label_length :]
        return covariates.known_past, torch.cat([label, covariates.known_future], dim=1)


class Embedding(nn.Module):
    """Tokens of points in time: the series at this one and its two neighbours, plus the known covariates.

    Shape
    -----
    series : (batch, length, n_series)
    known : (batch, length, n_known), or None where there are none
    output : (batch, length, d_model)
    """

    def __init__(self, n_series: int, n_known: int, d_model: int, dropout: float) -> None:
        super().__init__()
        self.series = CircularConvolution(n_series, d_model)
        nn.init.kaiming_normal_(self.series.weight, nonlinearity="leaky_relu")
        self.known = nn.Linear(n_known, d_model, bias=False) if n_known else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, series: Tensor, known: Tensor | None) -> Tensor:
        tokens = self.series(series)
        if self.known is not None:
            tokens = tokens + self.known(known)
        return self.dropout(tokens)


class EncoderLayer(nn.Module):
    """Auto-correlation and feed-forward, each with a residual and followed by its seasonal part.

    Shape
    -----
    tokens, output : (batch, context_length, d_model)
    """

    def __init__(self, d_model: int, d_ff: int, factor: float, dropout: float, decomposition: nn.Module) -> None:
        super().__init__()
        self.attention = AutoCorrelation(d_model, factor)
        self.feed_forward = feed_forward(d_model, d_ff, dropout)
        self.dropout = nn.Dropout(dropout)
        self.decomposition = decomposition

    def forward(self, tokens: Tensor) -> Tensor:
        tokens, _ = self.decomposition(tokens + self.dropout(self.attention(tokens, tokens)))
        tokens, _ = self.decomposition(tokens + self.feed_forward(tokens))
        return tokens


class DecoderLayer(nn.Module):
    """Auto-correlation with itself and with the encoder, and feed-forward; the trends taken out are collected.

    Shape
    -----
    tokens : (batch, label_length + horizon, d_model)
    encoded : (batch, context_length, d_model)
    seasonal : as tokens
    trend : (batch, label_length + horizon, n_targets)
    """

    def __init__(
        self, d_model: int, d_ff: int, n_targets: int, factor: float, dropout: float, decomposition: nn.Module
    ) -> None:
        super().__init__()
        self.self_attention = AutoCorrelation(d_model, factor)
        self.cross_attention = AutoCorrelation(d_model, factor)
        self.feed_forward = feed_forward(d_model, d_ff, dropout)
        self.to_trend = CircularConvolution(d_model, n_targets)
        self.dropout = nn.Dropout(dropout)
        self.decomposition = decomposition

    def forward(self, tokens: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
        tokens, trend_1 = self.decomposition(tokens + self.dropout(self.self_attention(tokens, tokens)))
        tokens, trend_2 = self.decomposition(tokens + self.dropout(self.cross_attention(tokens, encoded)))
        tokens, trend_3 = self.decomposition(tokens + self.feed_forward(tokens))
        return tokens, self.to_trend(trend_1 + trend_2 + trend_3)


class CircularConvolution(nn.Conv1d):
    """Bias-free convolution over each row and its two neighbours; the last row is followed by the first.

    One matrix product on whichever side has fewer channels to move.

    Shape
    -----
    input : (batch, length, n_in)
    output : (batch, length, n_out)

    Examples
    --------
    >>> CircularConvolution(3, 8)(torch.randn(2, 5, 3)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, kernel_size=3, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        maps = self.weight.unbind(-1)  # of the row before, the row itself and the row after: (n_out, n_in) each
        if self.in_channels <= self.out_channels:
            neighbours = torch.cat([rows.roll(1, 1), rows, rows.roll(-1, 1)], dim=-1)
            return F.linear(neighbours, torch.cat(maps, dim=1))
        before, same, after = F.linear(rows, torch.cat(maps)).chunk(3, dim=-1)
        return before.roll(1, 1) + same + after.roll(-1, 1)


def feed_forward(d_model: int, d_ff: int, dropout: float) -> nn.Sequential:
    """Two bias-free maps of each token with GELU between them."""
    return nn.Sequential(
        nn.Linear(d_model, d_ff, bias=False),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(d_ff, d_model, bias=False),
        nn.Dropout(dropout),
    )
