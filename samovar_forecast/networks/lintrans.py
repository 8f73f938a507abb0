"""LinTrans: a decoder-only transformer with plain linear attention on the same tokens as SAMoVAR."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.layers.dropout import Dropout
from samovar_forecast.layers.feed_forward import FeedForward
from samovar_forecast.layers.linear_attention import linear_attention
from samovar_forecast.layers.rms_norm import RMSNorm
from samovar_forecast.networks.network import normal_parameter
from samovar_forecast.networks.segment_network import SegmentConfig, SegmentNetwork, main_tokens


@hyperparameters
class LinTransConfig(SegmentConfig):
    """Hyperparameters of LinTrans: those of `SegmentConfig`."""


class LinTrans(SegmentNetwork):
    """Linear transformer: pre-norm blocks of linear attention and feed-forward with residuals.

    Parameters
    ----------
    n_series, n_targets, context_length, horizon, n_outputs : int
        See `ForecastNetwork`.
    config : LinTransConfig
        Hyperparameters.

    Shape
    -----
    past : (batch, context_length, n_series)
    output : (batch, horizon, n_targets, n_outputs)

    References
    ----------
    Lu & Yang, ICML 2025, arXiv 2502.07244, the unaligned baseline.

    Examples
    --------
    >>> import torch
    >>> network = LinTrans(n_series=3, n_targets=3, context_length=48, horizon=12, config=LinTransConfig())
    >>> network(torch.randn(2, 48, 3)).shape
    torch.Size([2, 12, 3, 1])
    """

    def __init__(
        self,
        n_series: int,
        n_targets: int,
        context_length: int,
        horizon: int,
        config: LinTransConfig,
        n_outputs: int = 1,
    ) -> None:
        super().__init__(n_series, n_targets, context_length, horizon, config, n_outputs)
        self.token_position = normal_parameter(self.n_tokens, self.d_model)
        self.series_position = normal_parameter(n_targets, self.n_tokens, self.d_model)
        self.blocks = nn.ModuleList(Block(self.d_model, self.n_heads, config.dropout) for _ in range(self.n_layers))
        self.initialise()

    def add_positions(self, tokens: Tensor, series: slice | list[int] = slice(None)) -> Tensor:
        return tokens + (self.token_position + self.series_position[series])

    def backbone(self, tokens: Tensor, series: slice | list[int] = slice(None)) -> Tensor:
        *others, last = cast("list[Block]", list(self.blocks))
        for block in others:
            tokens = block.transform(block.attend(tokens))
        return last.transform(main_tokens(last.attend(tokens)))


class Block(nn.Module):
    """``x += attention(norm(x))`` and ``x += feed_forward(norm(x))``.

    Shape
    -----
    tokens, output : (..., n_tokens, d_model)
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(d_model, eps=1e-5)
        self.attention = Attention(d_model, n_heads, dropout)
        self.feed_forward_norm = RMSNorm(d_model, eps=1e-5)
        self.feed_forward = FeedForward(d_model, dropout)

    def attend(self, tokens: Tensor) -> Tensor:
        """The first half, which mixes the tokens."""
        return tokens + self.attention(self.attention_norm(tokens))

    def transform(self, tokens: Tensor) -> Tensor:
        """The second half, on each token alone."""
        return tokens + self.feed_forward(self.feed_forward_norm(tokens))


class Attention(nn.Module):
    """Linear attention with learned queries, keys and values; dropout on the keys' input and the output.

    Shape
    -----
    tokens, output : (..., n_tokens, d_model)
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.queries, self.keys, self.values = (nn.Linear(d_model, d_model) for _ in range(3))
        self.output_projection = nn.Linear(d_model, d_model)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        def split_heads(x: Tensor) -> Tensor:  # (..., n_tokens, d_model) to (..., n_heads, n_tokens, d_head)
            return x.unflatten(-1, (self.n_heads, -1)).transpose(-2, -3)

        queries, values = split_heads(self.queries(tokens)), split_heads(self.values(tokens))
        keys = split_heads(self.keys(self.dropout(tokens)))
        attended = linear_attention(queries, keys, values).transpose(-2, -3).flatten(-2)
        return self.dropout(self.output_projection(attended))
