"""SAMoVAR: linear attention realigned as an exact vector autoregression with data-dependent weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.layers.dropout import Dropout
from samovar_forecast.layers.feed_forward import FeedForward
from samovar_forecast.layers.invertible_map import InvertibleMap
from samovar_forecast.layers.linear import Linear
from samovar_forecast.layers.linear_attention import linear_attention, tokens_side_by_side
from samovar_forecast.layers.rms_norm import RMSNorm, rms_norm
from samovar_forecast.networks.network import normal_parameter
from samovar_forecast.networks.segment_network import SegmentConfig, SegmentNetwork, main_tokens


@hyperparameters
class SAMoVARConfig(SegmentConfig):
    """Hyperparameters of SAMoVAR: those of `SegmentConfig`."""


class SAMoVAR(SegmentNetwork):
    """Structurally aligned mixture of vector autoregressions.

    All feed-forward blocks come first and act on each token alone; then a stack of linear attention layers
    without residuals in between passes the tokens on as its own keys, while queries and values are made
    once, from the input of the stack. With those fixed the stack is linear in the tokens: a VAR.

    Parameters
    ----------
    n_series, n_targets, context_length, horizon, n_outputs : int
        See `ForecastNetwork`.
    config : SAMoVARConfig
        Hyperparameters.

    Shape
    -----
    past : (batch, context_length, n_series)
    output : (batch, horizon, n_targets, n_outputs)

    References
    ----------
    Lu & Yang, "Linear Transformers as VAR Models: Aligning Autoregressive Attention Mechanisms with
    Autoregressive Forecasting", ICML 2025, arXiv 2502.07244.

    Examples
    --------
    >>> network = SAMoVAR(n_series=3, n_targets=3, context_length=48, horizon=12, config=SAMoVARConfig())
    >>> network(torch.randn(2, 48, 3)).shape
    torch.Size([2, 12, 3, 1])
    """

    def __init__(
        self,
        n_series: int,
        n_targets: int,
        context_length: int,
        horizon: int,
        config: SAMoVARConfig,
        n_outputs: int = 1,
    ) -> None:
        super().__init__(n_series, n_targets, context_length, horizon, config, n_outputs)
        self.segment_position = normal_parameter(self.n_segments, 1, self.d_model)
        self.token_type = normal_parameter(2, self.d_model)
        self.series_position = normal_parameter(n_targets, self.n_tokens, self.d_model)
        self.series_type = normal_parameter(n_targets, 1, 2, self.d_model)
        self.feed_forwards = nn.ModuleList(FeedForward(self.d_model, config.dropout) for _ in range(self.n_layers))
        self.feed_forward_norms = nn.ModuleList(RMSNorm(self.d_model, eps=1e-5) for _ in range(self.n_layers))
        self.stack_norm = RMSNorm(self.d_model, eps=1e-5)
        self.weights = self.make_weights()
        self.attention_dropout = Dropout(config.dropout)
        self.output_map = InvertibleMap(self.n_heads, self.d_head)
        self.initialise()

    def make_weights(self) -> nn.Module:
        """The module that gives the stack its queries and values."""
        return DynamicWeights(self.d_model, self.n_layers, self.n_heads)

    def add_positions(self, tokens: Tensor) -> Tensor:
        by_segment = (self.segment_position + self.token_type + self.series_type).flatten(1, 2)
        return tokens + (by_segment + self.series_position)  # (n_targets, n_tokens, d_model) is summed first

    def backbone(self, tokens: Tensor, series: slice = slice(None)) -> Tensor:
        tokens = self.transform_tokens(tokens)
        # No layer reads the other tokens of the last one.
        queries, values = self.weights(tokens, series, main_last=True)
        *earlier, last = self.layer_outputs(queries, self.split_heads(tokens), values)
        attended = self.output_map(sum(map(main_tokens, earlier), start=last))
        return main_tokens(tokens) + attended.transpose(-2, -3).flatten(-2)

    def transform_tokens(self, tokens: Tensor) -> Tensor:
        """Everything in front of the attention stack; acts on each token alone."""
        for norm, feed_forward in zip(self.feed_forward_norms, self.feed_forwards, strict=True):
            tokens = tokens + feed_forward(norm(tokens))
        return self.stack_norm(tokens)

    def split_heads(self, tokens: Tensor) -> Tensor:
        """(..., n_tokens, d_model) to (..., n_heads, n_tokens, d_head), laid out for the matrix products."""
        heads = tokens.unflatten(-1, (self.n_heads, self.d_head)).transpose(-2, -3)
        return heads.mT.contiguous().mT if tokens_side_by_side(heads) else heads.contiguous()

    def layer_outputs(self, queries: Sequence[Tensor], tokens: Tensor, values: Sequence[Tensor]) -> list[Tensor]:
        """What each layer of the attention stack gives: linear in `tokens` for fixed queries and values.

        Shape
        -----
        queries, values : for each layer (..., n_heads, n_tokens, d_head); the last one may have fewer queries
        tokens : (..., n_heads, n_tokens, d_head)
        output : for each layer the same as its queries
        """
        outputs = []
        for layer_queries, layer_values in zip(queries, values, strict=True):
            tokens = self.attention_dropout(linear_attention(layer_queries, tokens, layer_values))
            outputs.append(tokens)
        return outputs


class DynamicWeights(nn.Module):
    """Queries and values of all layers from the stack's input, in one matrix product.

    Parameters
    ----------
    tokens : Tensor
    series : slice, default all
        Not used: the tokens themselves are of the targets asked for.
    main_last : bool, default False
        If True, the last layer asks for its main tokens alone.

    Shape
    -----
    tokens : (batch, n_targets, n_tokens, d_model)
    output : two lists with a tensor (batch, n_targets, n_heads, n_tokens, d_head) for each layer; the last queries
        (batch, n_targets, n_heads, n_segments, d_head) with `main_last`

    Examples
    --------
    >>> queries, values = DynamicWeights(d_model=8, n_layers=3, n_heads=2)(torch.randn(5, 7, 6, 8))
    >>> len(queries), queries[0].shape
    (3, torch.Size([5, 7, 2, 6, 4]))
    """

    def __init__(self, d_model: int, n_layers: int, n_heads: int) -> None:
        super().__init__()
        self.heads = (n_heads, d_model // n_heads)
        self.projection = Linear(d_model, 2 * n_layers * d_model)
        self.scale = nn.Parameter(torch.ones(2 * n_layers, *self.heads))  # all queries, then all values

    def forward(
        self, tokens: Tensor, series: slice = slice(None), main_last: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        normalised = (
            self._features_first(tokens, main_last)
            if tokens_side_by_side(tokens[..., : self.heads[1]])
            else self._tokens_first(tokens, main_last)
        )
        return normalised[: len(normalised) // 2], normalised[len(normalised) // 2 :]

    def _tokens_first(self, tokens: Tensor, main_last: bool) -> list[Tensor]:
        pieces = self.projection(tokens).unflatten(-1, (-1, *self.heads)).transpose(-4, -2).unbind(-3)
        # One layer at a time: the pieces stay in the cache, which is worth a factor of two on a CPU.
        return [
            rms_norm(piece.contiguous(), scale.unsqueeze(-2), eps=1e-8)
            for piece, scale in zip(_shortened(pieces, -2) if main_last else pieces, self.scale, strict=True)
        ]

    def _features_first(self, tokens: Tensor, main_last: bool) -> list[Tensor]:
        products = self.projection.weight @ tokens.flatten(0, -2).mT  # (all features, all tokens)
        pieces = products.view(len(self.scale), *self.heads, -1, tokens.shape[-2]).unbind(0)
        biases = self.projection.bias.view(-1, *self.heads, 1, 1).unbind(0)
        return [
            rms_norm(piece + bias.to(piece.dtype), scale[..., None, None], eps=1e-8, dim=1)
            .permute(2, 0, 1, 3)
            .contiguous()
            .mT.unflatten(0, tokens.shape[:-2])
            for piece, bias, scale in zip(
                _shortened(pieces, -1) if main_last else pieces, biases, self.scale, strict=True
            )
        ]


def _shortened(pieces: Sequence[Tensor], of_tokens: int) -> list[Tensor]:
    """Queries and values, the last layer's queries of the main tokens alone; tokens lie along `of_tokens`.

    They are cut in front of their norm: its gradient would pass three times over rows of zeros, number by number in a
    compiled network.
    """
    last = len(pieces) // 2 - 1
    return [*pieces[:last], main_tokens(pieces[last], of_tokens), *pieces[last + 1 :]]
