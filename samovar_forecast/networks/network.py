"""The contract between a network and everything that trains or runs it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from samovar_forecast.layers.observed import is_observed


class Covariates(NamedTuple):
    """What is known beside the past of the series; every field may be missing.

    Shape
    -----
    known_past : (batch, context_length, n_known), covariates known in the future, over the context
    known_future : (batch, horizon, n_known), the same over the forecast steps
    static : (batch, n_static), constant in time
    """

    known_past: Tensor | None = None
    known_future: Tensor | None = None
    static: Tensor | None = None


class TrainingForecast(NamedTuple):
    """A forecast and, where the network has a training objective of its own, that objective's pair.

    Shape
    -----
    forecast : (batch, horizon, n_targets, n_outputs)
    own_forecast : (..., n_steps, n_targets, n_outputs) or None, compared with `own_target` by the same loss
    own_target : (..., n_steps, n_targets) or None; NaN where nothing was observed
    """

    forecast: Tensor
    own_forecast: Tensor | None = None
    own_target: Tensor | None = None

    def pairs(self, target: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Forecasts beside their targets: of the windows and, where there is one, of the network's own objective.

        The loss of a training is the sum of the mean losses of these pairs, in every host.

        Shape
        -----
        target : (batch, horizon, n_targets)
        """
        pairs = [(self.forecast, target)]
        if self.own_forecast is not None and self.own_target is not None:
            pairs.append((self.own_forecast, self.own_target))
        return pairs


class ForecastNetwork(nn.Module):
    """Base of all networks: windows of the past to forecasts of the last `n_targets` series.

    The past may have gaps, marked by NaN: single values, all of a series, everything. Each network bases its
    statistics on what was observed and fills the gaps before anything else, so forecasts and gradients are finite.

    Parameters
    ----------
    n_series : int
        Number of input series; the last `n_targets` of them are forecast, the others are past covariates.
    n_targets : int
        Number of series to forecast.
    context_length : int
        Points of history in a window.
    horizon : int
        Steps to forecast.
    n_outputs : int, default 1
        Values per step and series: quantiles in ascending order, or the parameters of a distribution.

    Attributes
    ----------
    n_locations : int
        How many of the first outputs live on the scale of the data: all of them for quantiles, one for the
        parameters of a distribution. Set it before the first forward pass.
    windows_interact : bool
        Whether in training the forecast of a window depends on the other windows of its batch. Such a batch is run as a
        whole.
    separate : bool
        Whether each target is forecast from its own past alone, as `mixes_series` says of the class.
    interact_by_mean : bool
        Whether they depend on each other by `mean_over_batch` alone. Several devices compute it together, so such a
        batch can be divided over them.

    Shape
    -----
    past : (batch, context_length, n_series), NaN where nothing was observed
    output : (batch, horizon, n_targets, n_outputs)
    """

    windows_interact: bool = False
    interact_by_mean: bool = False
    separate: bool = False

    def __init__(self, n_series: int, n_targets: int, context_length: int, horizon: int, n_outputs: int = 1) -> None:
        super().__init__()
        if not 1 <= n_targets <= n_series:
            raise ValueError(f"need 1 <= n_targets <= n_series, got {n_targets=} and {n_series=}")
        self.n_series: int = n_series
        self.n_targets: int = n_targets
        self.context_length: int = context_length
        self.horizon: int = horizon
        self.n_outputs: int = n_outputs
        self.n_locations: int = n_outputs

    @classmethod
    def embeds_known(cls, config: Any) -> bool:
        """Whether the network embeds the features of the calendar itself, and takes their number as `n_known`.

        Every step that it forecasts may then depend on those features at every other step. All other covariates that
        are known in the future work beside the network, step by step; see `CovariateNetwork`. So a forecast of one
        step does not depend on how many steps are requested, nor on covariates of later steps that may not be known.
        """
        return False

    @classmethod
    def mixes_series(cls, config: Any) -> bool:
        """Whether a forecast of one series looks at the others; if not, past covariates are of no use."""
        return True

    @property
    def point_output(self) -> int:
        """Which output is the point forecast: the median of quantiles, the location of a distribution."""
        return (self.n_locations - 1) // 2

    def forward(self, past: Tensor, covariates: Covariates | None = None) -> Tensor:
        """Forecast the steps that follow `past`."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def forecast_of(self, targets: slice | list[int], past: Tensor, covariates: Covariates | None = None) -> Tensor:
        """The forecast of some targets: what `forward` gives of them.

        A network whose targets do not meet after its first layers overrides this, and leaves out the work of the
        others. Readings of wide data go through it.

        Shape
        -----
        output : (batch, horizon, n_chosen, n_outputs)
        """
        forecast: Tensor = self(past, covariates)
        return forecast[:, :, targets]

    def training_forecast(self, past: Tensor, covariates: Covariates | None = None) -> TrainingForecast:
        """Forecast with gradients, together with the network's own training objective if it has one."""
        return TrainingForecast(self(past, covariates))

    def observed_own_targets(self, past: Tensor, covariates: Covariates | None = None) -> Tensor | None:
        """Which targets of the network's own objective were observed: where `own_target` is no NaN.

        A batch that is run in parts needs their number before it runs. Here they are found by a forward pass; a network
        that can tell them from the past does so.
        """
        if type(self).training_forecast is ForecastNetwork.training_forecast:
            return None
        own_target = self.training_forecast(past, covariates).own_target
        return None if own_target is None else is_observed(own_target)


def initialise_normal(module: nn.Module) -> None:
    """Initialise linear maps and embeddings with N(0, 0.02) weights and zero biases; for `nn.Module.apply`."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def normal_parameter(*shape: int) -> nn.Parameter:
    """A parameter drawn from N(0, 0.02)."""
    return nn.Parameter(0.02 * torch.randn(*shape))
