"""SAMformer: one layer of attention over the series, made to be trained with sharpness-aware minimisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.layers.instance_norm import RevIN
from samovar_forecast.networks.network import Covariates, ForecastNetwork


@hyperparameters
class SAMformerConfig:
    """Hyperparameters of SAMformer.

    Parameters
    ----------
    d_model : int, default 16
        Width of the queries and keys.
    value_rank : int or None, default None
        Rank of the value map, which then passes through that many features as in the authors' TensorFlow model.
        None: a full map, as in their PyTorch model.
    sigma_reparam : bool, default False
        Hold the largest singular value of every weight matrix in a learned scalar: another remedy for the sharp
        minima, which the paper compares with.
    """

    d_model: int = 16
    value_rank: int | None = None
    sigma_reparam: bool = False


class SAMformer(ForecastNetwork):
    """Attention over series: ``forecast = W_o (x + softmax(q k^T / sqrt(d)) v)``, every series one token.

    Queries, keys and values are linear maps of the whole normalised context of a series. There is one head, one
    layer, no feed-forward, no position and no dropout.

    Parameters
    ----------
    n_series, n_targets, context_length, horizon, n_outputs : int
        See `ForecastNetwork`.
    config : SAMformerConfig
        Hyperparameters.

    Raises
    ------
    ValueError
        If `d_model` or `value_rank` is less than 1.

    Shape
    -----
    past : (batch, context_length, n_series)
    output : (batch, horizon, n_targets, n_outputs)

    References
    ----------
    Ilbert et al., "SAMformer: Unlocking the Potential of Transformers in Time Series Forecasting with
    Sharpness-Aware Minimization and Channel-Wise Attention", ICML 2024, arXiv 2402.10198.

    Examples
    --------
    >>> network = SAMformer(n_series=3, n_targets=3, context_length=48, horizon=12, config=SAMformerConfig())
    >>> network(torch.randn(2, 48, 3)).shape
    torch.Size([2, 12, 3, 1])
    """

    def __init__(
        self,
        n_series: int,
        n_targets: int,
        context_length: int,
        horizon: int,
        config: SAMformerConfig,
        n_outputs: int = 1,
    ) -> None:
        super().__init__(n_series, n_targets, context_length, horizon, n_outputs)
        for name, value in {"d_model": config.d_model, "value_rank": config.value_rank}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        linear = SpectralLinear if config.sigma_reparam else nn.Linear
        self.norm = RevIN(n_series, n_targets)
        self.queries, self.keys = (linear(context_length, config.d_model) for _ in range(2))
        if config.value_rank is None:
            self.values: nn.Module = linear(context_length, context_length)
        else:
            self.values = nn.Sequential(
                linear(context_length, config.value_rank), linear(config.value_rank, context_length)
            )
        self.to_forecast = linear(context_length, horizon * n_outputs)

    def forward(self, past: Tensor, covariates: Covariates | None = None) -> Tensor:
        series, denormalise = self.norm(past, self.n_locations)  # (batch, n_series, context_length)
        targets = series[:, -self.n_targets :]
        mixed = targets + self.attention(targets, series) @ self.values(series)
        forecast = self.to_forecast(mixed).unflatten(-1, (self.horizon, self.n_outputs))
        return denormalise(forecast.transpose(1, 2))

    def forecast_of(self, targets: slice | list[int], past: Tensor, covariates: Covariates | None = None) -> Tensor:
        series, denormalise = self.norm(past, self.n_locations)
        chosen = series[:, -self.n_targets :][:, targets]
        # Weights that add up to 1 give the same before the affine map of the values as after it.
        mixed = chosen + self.values(self.attention(chosen, series) @ series)
        forecast = self.to_forecast(mixed).unflatten(-1, (self.horizon, self.n_outputs))
        return denormalise(forecast.transpose(1, 2), targets)

    def attention(self, targets: Tensor, series: Tensor) -> Tensor:
        """How much each target attends to each series: (batch, n_targets, n_series), rows that sum to 1."""
        queries, keys = self.queries(targets), self.keys(series)
        return (queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5).softmax(-1)


class SpectralLinear(nn.Linear):
    """A linear map with the matrix ``gamma W / sigma(W)``, sigma the largest singular value and gamma from 1.

    Sigma comes from power iteration: exact at the start, then one step per forward pass in training, which
    follows a slowly moving matrix. PyTorch's `spectral_norm` has no gamma, and modules with its parametrisations
    cannot be pickled.

    Parameters
    ----------
    in_features, out_features : int
        Width of input and output.

    Shape
    -----
    input : (..., in_features)
    output : (..., out_features)

    References
    ----------
    Zhai et al., "Stabilizing Transformer Training by Preventing Attention Entropy Collapse", ICML 2023, equation 4.

    Examples
    --------
    >>> layer = SpectralLinear(6, 4)
    >>> torch.linalg.matrix_norm(layer.scaled_weight(), ord=2).detach().round(decimals=4)
    tensor(1.)
    """

    left: Tensor
    right: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.gamma = nn.Parameter(torch.ones(()))
        left, _, right = torch.linalg.svd(self.weight.detach(), full_matrices=False)
        self.register_buffer("left", left[:, 0].clone())
        self.register_buffer("right", right[0].clone())

    def scaled_weight(self) -> Tensor:
        """The matrix in effect, differentiable in `weight` and `gamma`."""
        return self.gamma / (self.left @ self.weight @ self.right) * self.weight

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            if self.training:
                with torch.no_grad():
                    self.left = F.normalize(self.weight @ self.right, dim=0)
                    self.right = F.normalize(self.weight.T @ self.left, dim=0)
            weight = self.scaled_weight()
        return F.linear(features, weight, self.bias)
