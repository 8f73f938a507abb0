"""FixedVAR: SAMoVAR whose autoregressive weights are free parameters, the same for every window."""

from __future__ import annotations

from torch import Tensor, nn

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.networks.network import normal_parameter
from samovar_forecast.networks.samovar import SAMoVAR
from samovar_forecast.networks.segment_network import SegmentConfig


@hyperparameters
class FixedVARConfig(SegmentConfig):
    """Hyperparameters of FixedVAR: those of `SegmentConfig`."""


class FixedVAR(SAMoVAR):
    """SAMoVAR with queries and values that do not depend on the data.

    Everything else is `SAMoVAR`. The weights belong to a series and a token position, so the model is one
    fixed vector autoregression per series on learned embeddings of the segments.

    Parameters
    ----------
    n_series, n_targets, context_length, horizon, n_outputs : int
        See `ForecastNetwork`.
    config : FixedVARConfig
        Hyperparameters.

    Shape
    -----
    past : (batch, context_length, n_series)
    output : (batch, horizon, n_targets, n_outputs)

    References
    ----------
    Lu & Yang, ICML 2025, arXiv 2502.07244, the fixed-weight ablation.

    Examples
    --------
    >>> import torch
    >>> network = FixedVAR(n_series=3, n_targets=3, context_length=48, horizon=12, config=FixedVARConfig())
    >>> network(torch.randn(2, 48, 3)).shape
    torch.Size([2, 12, 3, 1])
    """

    def make_weights(self) -> nn.Module:
        return FixedWeights(self.n_targets, self.n_tokens, self.n_layers, self.n_heads, self.d_head)


class FixedWeights(nn.Module):
    """Queries and values as parameters, one per layer, series, head and token position.

    Parameters
    ----------
    n_targets, n_tokens, n_layers, n_heads, d_head : int
        Targets, tokens of each, attention layers, heads of each, and width of a head.

    Shape
    -----
    tokens : (batch, n_targets, n_tokens, d_model); without effect
    series : the targets that `tokens` belong to
    output : queries and values, (n_layers, 1, n_targets, n_heads, n_tokens, d_head) each
    """

    def __init__(self, n_targets: int, n_tokens: int, n_layers: int, n_heads: int, d_head: int) -> None:
        super().__init__()
        shape = (n_layers, 1, n_targets, n_heads, n_tokens, d_head)
        self.queries, self.values = normal_parameter(*shape), normal_parameter(*shape)

    def forward(self, tokens: Tensor, series: slice | list[int] = slice(None)) -> tuple[Tensor, Tensor]:
        return self.queries[:, :, series], self.values[:, :, series]
