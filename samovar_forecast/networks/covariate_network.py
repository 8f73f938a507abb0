"""Covariates for any network: their effect is taken out of the past and added to the future."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samovar_forecast.networks.network import Covariates, ForecastNetwork, TrainingForecast


class CovariateNetwork(ForecastNetwork):
    """Wrap a network so that it uses known and static covariates.

    A small network ``g`` gives the effect of the known covariates at one time on every target. The wrapped
    network forecasts what is left of the past without that effect, and the effect of the future is added:
    ``forecast = f(past - g(known_past)) + g(known_future)``, a regression with errors that `f` forecasts.
    Static covariates shift every step in proportion to the deviation of the window. All the maps start at
    zero, so training starts at the plain network.

    Parameters
    ----------
    network : ForecastNetwork
        The network to wrap.
    n_known, n_static : int
        Number of covariates known in the future, and of those constant in time.
    width : int, default 32
        Hidden width of ``g``.

    Shape
    -----
    past : (batch, context_length, n_series)
    output : (batch, horizon, n_targets, n_outputs)

    Raises
    ------
    ValueError
        If `forward` lacks the covariates that the network was made for.
    """

    def __init__(self, network: ForecastNetwork, n_known: int, n_static: int, width: int = 32) -> None:
        super().__init__(
            network.n_series, network.n_targets, network.context_length, network.horizon, network.n_outputs
        )
        self.network = network
        self.n_locations = network.n_locations
        self.known_effect = self.static_effect = None
        if n_known:
            last = nn.Linear(width, network.n_targets)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            linear = nn.Linear(n_known, network.n_targets, bias=False)
            nn.init.zeros_(linear.weight)
            self.known_effect = nn.ModuleDict(
                {"linear": linear, "curved": nn.Sequential(nn.Linear(n_known, width), nn.GELU(), last)}
            )
        if n_static:
            self.static_effect = nn.Linear(n_static, network.horizon * network.n_targets)
            nn.init.zeros_(self.static_effect.weight)
            nn.init.zeros_(self.static_effect.bias)

    def forward(self, past: Tensor, covariates: Covariates | None = None) -> Tensor:
        return self._with_effects(past, covariates, train=False).forecast

    def training_forecast(self, past: Tensor, covariates: Covariates | None = None) -> TrainingForecast:
        return self._with_effects(past, covariates, train=True)

    def _with_effects(self, past: Tensor, covariates: Covariates | None, train: bool) -> TrainingForecast:
        covariates = covariates or Covariates()
        located = torch.arange(self.n_outputs, device=past.device) < self.n_locations
        added = past.new_zeros(len(past), self.horizon, self.n_targets)
        if self.known_effect is not None:
            if covariates.known_past is None or covariates.known_future is None:
                raise ValueError("this network was trained with covariates known in the future; give them")
            effect = self._known(covariates.known_past)  # (batch, context_length, n_targets)
            others = effect.new_zeros(*effect.shape[:2], self.n_series - self.n_targets)
            past = past - torch.cat([others, effect], dim=2)
            added = added + self._known(covariates.known_future)
        if self.static_effect is not None:
            if covariates.static is None:
                raise ValueError("this network was trained with static covariates; give them")
            shift = self.static_effect(covariates.static).unflatten(1, (self.horizon, self.n_targets))
            added = added + shift * past[:, :, -self.n_targets :].std(1, keepdim=True)
        result = self.network.training_forecast(past, covariates) if train else TrainingForecast(
            self.network(past, covariates)
        )  # fmt: skip
        return result._replace(forecast=result.forecast + added.unsqueeze(-1) * located)

    def _known(self, known: Tensor) -> Tensor:
        assert self.known_effect is not None
        return self.known_effect["linear"](known) + self.known_effect["curved"](known)


def with_covariates(network: ForecastNetwork, n_known: int, n_static: int) -> ForecastNetwork:
    """The network itself where there are no covariates, else the network wrapped to use them."""
    return CovariateNetwork(network, n_known, n_static) if n_known or n_static else network
