"""SAMoVAR: linear attention realigned as an exact vector autoregression with data-dependent weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.layers.dropout import Dropout
from samovar_forecast.layers.feed_forward import FeedForward
from samovar_forecast.layers.linear_attention import linear_attention
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

    def add_positions(self, tokens: Tensor, series: slice | list[int] = slice(None)) -> Tensor:
        by_segment = (self.segment_position + self.token_type + self.series_type[series]).flatten(1, 2)
        return tokens + (by_segment + self.series_position[series])  # (n_targets, n_tokens, d_model) is summed first

    def backbone(self, tokens: Tensor, series: slice | list[int] = slice(None)) -> Tensor:
        tokens = self.transform_tokens(tokens)
        queries, values = self.weights(tokens, series)
        first, *others = self.layer_outputs(queries, self.split_heads(tokens), values)
        attended = self.output_map(main_tokens(sum(others, start=first)))  # (..., n_heads, n_segments, d_head)
        attended = attended.transpose(-2, -3).flatten(-2)
        return main_tokens(tokens) + attended

    def transform_tokens(self, tokens: Tensor) -> Tensor:
        """Tokens as the attention stack reads them: all feed-forward blocks and a norm, on each token alone."""
        for norm, feed_forward in zip(self.feed_forward_norms, self.feed_forwards, strict=True):
            tokens = tokens + feed_forward(norm(tokens))
        return self.stack_norm(tokens)

    def split_heads(self, tokens: Tensor) -> Tensor:
        """(..., n_tokens, d_model) to (..., n_heads, n_tokens, d_head)."""
        return tokens.unflatten(-1, (self.n_heads, self.d_head)).transpose(-2, -3)

    def layer_outputs(self, queries: Tensor, tokens: Tensor, values: Tensor) -> list[Tensor]:
        """What each layer of the attention stack gives: linear in `tokens` for fixed queries and values.

        Shape
        -----
        queries, values : (n_layers, ..., n_heads, n_tokens, d_head)
        tokens : (..., n_heads, n_tokens, d_head)
        output : for each layer the same as `tokens`
        """
        outputs = []
        for layer_queries, layer_values in zip(queries, values, strict=True):
            tokens = self.attention_dropout(linear_attention(layer_queries, tokens, layer_values))
            outputs.append(tokens)
        return outputs


class DynamicWeights(nn.Module):
    """Queries and values of all layers, made from the input of the stack.

    Parameters
    ----------
    d_model, n_layers, n_heads : int
        Width of a token, attention layers, and heads of each.

    Shape
    -----
    tokens : (batch, n_targets, n_tokens, d_model)
    series : the targets that `tokens` belong to; without effect
    output : queries and values, (n_layers, batch, n_targets, n_heads, n_tokens, d_head) each

    Examples
    --------
    >>> queries, values = DynamicWeights(d_model=8, n_layers=3, n_heads=2)(torch.randn(5, 7, 6, 8))
    >>> queries.shape
    torch.Size([3, 5, 7, 2, 6, 4])
    """

    def __init__(self, d_model: int, n_layers: int, n_heads: int) -> None:
        super().__init__()
        self.heads = (n_heads, d_model // n_heads)
        self.projection = nn.Linear(d_model, 2 * n_layers * d_model)
        self.scale = nn.Parameter(torch.ones(2 * n_layers, *self.heads))  # all queries, then all values

    def forward(self, tokens: Tensor, series: slice | list[int] = slice(None)) -> tuple[Tensor, Tensor]:
        heads = self.projection(tokens).unflatten(-1, (-1, *self.heads))  # (..., n_tokens, 2 n_layers, n_heads, d_head)
        heads = rms_norm(heads, self.scale, eps=1e-8)
        queries, values = heads.movedim(-3, 0).transpose(-2, -3).chunk(2)
        return queries, values


class InvertibleMap(nn.Module):
    """Per-head linear map ``x -> x S`` with ``S = L U``, which has an inverse for every parameter value.

    ``L`` is unit lower triangular and ``U`` upper triangular with a softplus diagonal; both are packed in
    one square parameter.

    Parameters
    ----------
    n_heads : int
        Number of heads, each with its own map.
    d_head : int
        Width of a head.

    Shape
    -----
    input, output : (..., n_heads, n_tokens, d_head)

    References
    ----------
    Lu & Yang, ICML 2025: the output map of the aligned attention stack.

    Examples
    --------
    >>> InvertibleMap(n_heads=2, d_head=4)(torch.zeros(3, 2, 5, 4)).shape
    torch.Size([3, 2, 5, 4])
    """

    def __init__(self, n_heads: int, d_head: int) -> None:
        super().__init__()
        self.packed = nn.Parameter(torch.randn(n_heads, d_head, d_head) * (0.02 / d_head**0.5) ** 0.5)

    def matrix(self) -> Tensor:
        """The matrices ``S``: (n_heads, d_head, d_head)."""
        diagonal = self.packed.diagonal(dim1=-2, dim2=-1)
        identity = torch.eye(self.packed.shape[-1], dtype=self.packed.dtype, device=self.packed.device)
        lower = self.packed.tril(-1) + identity
        upper = self.packed.triu(1) + torch.diag_embed(F.softplus(diagonal))
        return lower @ upper

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.einsum("...htd,hde->...hte", tokens, self.matrix())
