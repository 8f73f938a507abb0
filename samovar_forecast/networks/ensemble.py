"""Several networks of one kind, whose forecasts are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from samovar_forecast.networks.network import Covariates, ForecastNetwork


class Ensemble(ForecastNetwork):
    """The mean of the outputs of its members: of points, or of quantiles level by level, each member's in order.

    Members are trained one by one; the ensemble forecasts.

    Parameters
    ----------
    members : sequence of ForecastNetwork
        Networks of one class and size.

    Shape
    -----
    past : (batch, context_length, n_series)
    output : (batch, horizon, n_targets, n_outputs)

    References
    ----------
    Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017.
    Averages of quantiles level by level: Lichtendahl et al., "Is it better to average probabilities or quantiles?",
    Management Science 59, 2013.

    Examples
    --------
    >>> from samovar_forecast.networks.samformer import SAMformer, SAMformerConfig
    >>> ensemble = Ensemble([SAMformer(3, 3, 48, 12, SAMformerConfig()) for _ in range(2)])
    >>> ensemble(torch.zeros(5, 48, 3)).shape
    torch.Size([5, 12, 3, 1])
    """

    def __init__(self, members: Sequence[ForecastNetwork]) -> None:
        first = members[0]
        super().__init__(first.n_series, first.n_targets, first.context_length, first.horizon, first.n_outputs)
        self.n_locations, self.separate = first.n_locations, first.separate
        self.members = nn.ModuleList(members)

    def forward(self, past: Tensor, covariates: Covariates | None = None) -> Tensor:
        outputs = torch.stack([member(past, covariates) for member in self.members])
        return outputs.sort(dim=-1).values.mean(0)

    def forecast_of(self, targets: slice | list[int], past: Tensor, covariates: Covariates | None = None) -> Tensor:
        outputs = torch.stack([member.forecast_of(targets, past, covariates) for member in members_of(self)])
        return outputs.sort(dim=-1).values.mean(0)


def members_of(network: ForecastNetwork) -> list[ForecastNetwork]:
    """The members of an ensemble; a network that is none, alone."""
    return list(network.members) if isinstance(network, Ensemble) else [network]  # type: ignore[arg-type]


def averaged(members: Sequence[ForecastNetwork]) -> ForecastNetwork:
    """The ensemble of several networks; a single one stays as it is."""
    return Ensemble(members).eval() if len(members) > 1 else members[0]
