"""Covariates for any network: their effect is taken out of the past and added to the future."""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.layers.observed import is_observed, observed_std_mean
from samovar_forecast.networks.network import Covariates, ForecastNetwork, TrainingForecast


class CovariateNetwork(ForecastNetwork):
    """Wrap a network so that it uses known and static covariates.

    A small network ``g`` gives the effect of the known covariates at one time on every target. The wrapped
    network forecasts what is left of the past without that effect, and the effect of the future is added:
    ``forecast = f(past - g(known_past)) + g(known_future)``, a regression with errors that `f` forecasts.
    Static covariates enter twice. They change the effect of the known ones, which may be another one for every
    series of a panel, and they shift every step in proportion to the deviation of the window, so that the forecast
    keeps the units of the past. All the maps start at zero, so training starts at the plain network.

    Gaps in the past stay gaps for the wrapped network. Where the wrapped network embeds the calendar itself, that is
    the last of the known covariates, and reaches no ``g``.

    Parameters
    ----------
    network : ForecastNetwork
        The network to wrap.
    n_known, n_static : int
        Number of covariates known in the future that have an effect here, and of those constant in time.
    n_embedded : int, default 0
        Number of known covariates after those, which the wrapped network takes.
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

    def __init__(
        self, network: ForecastNetwork, n_known: int, n_static: int, n_embedded: int = 0, width: int = 32
    ) -> None:
        super().__init__(
            network.n_series, network.n_targets, network.context_length, network.horizon, network.n_outputs
        )
        self.network, self.n_beside, self.n_embedded = network, n_known, n_embedded
        self.n_locations = network.n_locations
        self.windows_interact, self.interact_by_mean = network.windows_interact, network.interact_by_mean
        self.separate = network.separate
        self.known_effect = KnownEffect(n_known, network.n_targets, width, n_static) if n_known else None
        self.static_effect = nn.Linear(n_static, network.horizon * network.n_targets) if n_static else None
        if self.static_effect is not None:
            start_at_zero(self.static_effect)

    def forward(self, past: Tensor, covariates: Covariates | None = None) -> Tensor:
        rest, added = self.take_out_effects(past, covariates)
        return self._put_back(self.network(rest, self.embedded(covariates)), added)

    def forecast_of(self, targets: slice | list[int], past: Tensor, covariates: Covariates | None = None) -> Tensor:
        rest, added = self.take_out_effects(past, covariates)
        forecast = self.network.forecast_of(targets, rest, self.embedded(covariates))
        return self._put_back(forecast, added[..., targets])

    def training_forecast(self, past: Tensor, covariates: Covariates | None = None) -> TrainingForecast:
        rest, added = self.take_out_effects(past, covariates)
        result = self.network.training_forecast(rest, self.embedded(covariates))
        return result._replace(forecast=self._put_back(result.forecast, added))

    def observed_own_targets(self, past: Tensor, covariates: Covariates | None = None) -> Tensor | None:
        # What is taken out leaves gaps where they are.
        return self.network.observed_own_targets(past, self.embedded(covariates))

    def take_out_effects(self, past: Tensor, covariates: Covariates | None) -> tuple[Tensor, Tensor]:
        """The past without the covariates' effect, and the effect on the forecast.

        Shape
        -----
        past : (batch, context_length, n_series)
        output : (batch, context_length, n_series) and (batch, horizon, n_targets)
        """
        known_past, known_future, static = covariates or Covariates()
        known_past, known_future = (
            None if known is None else known[..., : self.n_beside] for known in (known_past, known_future)
        )
        added = past.new_zeros(past.shape[0], self.horizon, self.n_targets)
        if self.static_effect is not None and static is None:
            raise ValueError("this network was trained with static covariates; give them")
        if self.known_effect is not None:
            if known_past is None or known_future is None:
                raise ValueError("this network was trained with covariates known in the future; give them")
            effect = self.known_effect(known_past, static)
            past = past - F.pad(effect, (self.n_series - self.n_targets, 0))  # the targets are the last series
            added = added + self.known_effect(known_future, static)
        if self.static_effect is not None:
            shift = self.static_effect(static).unflatten(1, (self.horizon, self.n_targets))
            targets = past[:, :, -self.n_targets :]
            deviation, _ = observed_std_mean(targets, is_observed(targets), dim=1)
            added = added + shift * deviation
        return past, added

    def embedded(self, covariates: Covariates | None) -> Covariates | None:
        """The covariates that the wrapped network takes."""
        if covariates is None or covariates.known_past is None or covariates.known_future is None:
            return covariates
        past, future = (known[..., self.n_beside :] for known in (covariates.known_past, covariates.known_future))
        return covariates._replace(known_past=past, known_future=future) if self.n_embedded else None

    def _put_back(self, forecast: Tensor, added: Tensor) -> Tensor:
        located = torch.arange(self.n_outputs, device=forecast.device) < self.n_locations
        return forecast + added.unsqueeze(-1) * located


class KnownEffect(nn.Module):
    """Effect of known covariates on every target at the same time, a linear plus a curved part, zero at first.

    The curved part depends on the static covariates too, so that the same event can act on each series of a panel
    in another way.

    Shape
    -----
    known : (batch, n_rows, n_known)
    static : (batch, n_static), or None where there are none
    output : (batch, n_rows, n_targets)
    """

    def __init__(self, n_known: int, n_targets: int, width: int, n_static: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(n_known, n_targets, bias=False)
        self.hidden, self.curved = nn.Linear(n_known, width), nn.Linear(width, n_targets)
        self.hidden_static = nn.Linear(n_static, width, bias=False) if n_static else None
        start_at_zero(self.linear)
        start_at_zero(self.curved)

    def forward(self, known: Tensor, static: Tensor | None = None) -> Tensor:
        hidden = self.hidden(known)
        if self.hidden_static is not None:
            hidden = hidden + self.hidden_static(static).unsqueeze(1)  # the same at all times
        return self.linear(known) + self.curved(F.gelu(hidden))


def start_at_zero(layer: nn.Linear) -> None:
    """Set weight and bias to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def build_network(
    network_class: type[ForecastNetwork],
    n_series: int,
    n_targets: int,
    context_length: int,
    horizon: int,
    config: Any,
    n_outputs: int = 1,
    *,
    n_locations: int | None = None,
    n_known: int = 0,
    n_calendar: int = 0,
    n_static: int = 0,
) -> ForecastNetwork:
    """A network ready for its covariates: wrapped, unless there are none or it takes them itself.

    Parameters
    ----------
    network_class : type
        The network.
    n_series, n_targets, context_length, horizon, n_outputs : int
        See `ForecastNetwork`.
    config : object
        The network's hyperparameters.
    n_locations : int or None
        See `ForecastNetwork`; None: all outputs live on the scale of the data.
    n_known : int
        Number of covariates known in the future.
    n_calendar : int
        How many of them, the last ones, are features of the calendar.
    n_static : int
        Number of covariates constant in time.
    """
    if n_targets < n_series and not network_class.mixes_series(config):
        warnings.warn(
            f"{network_class.__name__} forecasts each series from itself with these hyperparameters: the "
            f"{n_series - n_targets} columns beside the targets are not used",
            stacklevel=2,
        )
    shape = (n_series, n_targets, context_length, horizon, config, n_outputs)
    embeds = network_class.embeds_known(config)
    n_embedded = n_calendar if embeds else 0
    network: ForecastNetwork = cast(Any, network_class)(*shape, **({"n_known": n_embedded} if embeds else {}))
    network.n_locations = n_outputs if n_locations is None else n_locations
    network.separate = not network_class.mixes_series(config)
    beside = n_known - n_embedded
    return CovariateNetwork(network, beside, n_static, n_embedded) if beside or n_static else network
