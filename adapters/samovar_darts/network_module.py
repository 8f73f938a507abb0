"""The Lightning module of darts, once for all networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule, io_processor
from darts.utils.data.torch_datasets.utils import ModuleStage, PLModuleInput, PLModuleOutput, TorchTrainingBatch
from darts.utils.likelihood_models.base import LikelihoodType
from darts.utils.likelihood_models.torch import TorchLikelihood
from darts.utils.torch import MonteCarloDropout
from torch import Tensor, nn

from samovar_darts.affine_scaler import AffineScaler
from samovar_darts.schedule import Schedule
from samovar_forecast.networks.covariate_network import build_network
from samovar_forecast.networks.network import Covariates, ForecastNetwork
from samovar_forecast.training.sharpness import SharpnessAware

_REAL_VALUED = {
    LikelihoodType.Quantile,
    LikelihoodType.Gaussian,
    LikelihoodType.Laplace,
    LikelihoodType.Cauchy,
    LikelihoodType.Gumbel,
}


class NetworkModule(PLForecastingModule):
    """The module behind every model: a network with its covariates, and a scaler that is the identity at first.

    Parameters
    ----------
    network_class : type
        The network.
    hyperparameters : dict
        Its configuration, as plain values that a checkpoint can hold.
    sharpness_rho, sharpness_adaptive
        See `TrainingConfig`.
    **kwargs
        See darts' `PLForecastingModule`.
    """

    lr_scheduler_kwargs: dict[str, Any]

    def __init__(
        self,
        network_class: type[ForecastNetwork],
        hyperparameters: dict[str, Any],
        sharpness_rho: float | None = None,
        sharpness_adaptive: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sharpness_rho, self.sharpness_adaptive = sharpness_rho, sharpness_adaptive

        def shape(name: str) -> tuple[int, ...]:
            return self.train_sample_shape.get(name) or (0, 0)

        n_targets, n_known = shape("past_target")[1], shape("historic_future_covariates")[1]
        n_series = shape("past_covariates")[1] + n_targets
        distribution = self.likelihood is not None and self.likelihood.type is not LikelihoodType.Quantile
        self.network = build_network(
            network_class,
            n_series,
            n_targets,
            self.input_chunk_length,
            self.output_chunk_length,
            SimpleNamespace(**hyperparameters),
            1 if self.likelihood is None else self.likelihood.num_parameters,
            n_locations=1 if distribution else None,
            n_known=n_known,
            n_static=math.prod(shape("static_covariates")),
        )
        _use_monte_carlo_dropout(self.network)
        self.scaler, self.known_scaler = AffineScaler(n_series), AffineScaler(n_known)

    @io_processor  # type: ignore[untyped-decorator]
    def forward(self, x_in: PLModuleInput) -> PLModuleOutput:
        past, precision = x_in.past_target, x_in.past_target.dtype
        if x_in.past_covariates is not None:
            past = torch.cat([x_in.past_covariates, past], dim=2)
        past = self.scaler(past).to(self.dtype)  # float64 series are scaled before they are rounded
        covariates = Covariates(
            self._known(x_in.historic_future_covariates),
            self._known(x_in.future_covariates),
            None if x_in.static_covariates is None else x_in.static_covariates.flatten(1).to(self.dtype),
        )
        if x_in.stage is not ModuleStage.TRAIN:
            return PLModuleOutput(self.scaler.inverse(self.network(past, covariates).to(precision)))
        forecast, own_forecast, own_target = self.network.training_forecast(past, covariates)
        prediction = self.scaler.inverse(forecast.to(precision))
        return TrainingOutput(prediction, own_forecast=own_forecast, own_target=own_target)

    def _known(self, known: Tensor | None) -> Tensor | None:
        return None if known is None else self.known_scaler(known).to(self.dtype)

    def _compute_loss(
        self,
        output: PLModuleOutput,
        target: Tensor,
        criterion: Callable[[Tensor, Tensor], Tensor],
        sample_weight: Tensor | None,
    ) -> Tensor:
        if self.likelihood is None:  # where the core's scaler came along, the loss is the core's: on the scaled series
            scaled = self.scaler(output.prediction.squeeze(-1)).unsqueeze(-1)
            output, target = output.replace(prediction=scaled), self.scaler(target)
        loss = super()._compute_loss(output, target, criterion, sample_weight)
        if not isinstance(output, TrainingOutput) or output.own_forecast is None or output.own_target is None:
            return loss
        if self.output_chunk_shift:  # then the own objective is another forecast than the one asked for
            return loss
        forecast = output.own_forecast.flatten(1, -3)  # (batch, n_steps, n_targets, n_outputs)
        target = output.own_target.flatten(1, -2)
        weight = None if sample_weight is None else sample_weight.mean(1, keepdim=True)
        if self.likelihood is None or _judges_normalised(self.likelihood):
            return loss + super()._compute_loss(PLModuleOutput(forecast), target, criterion, weight)
        errors = F.mse_loss(forecast[..., self.network.point_output], target, reduction="none")
        return loss + (errors if weight is None else errors * weight).mean()

    def loss_of(self, batch: TorchTrainingBatch) -> Tensor:
        """The training loss of a batch, with gradients; nothing is logged."""
        output = self(batch.to_module_input(stage=ModuleStage.TRAIN))
        return self._compute_loss(output, batch.future_target, self.train_criterion, batch.sample_weight)

    def configure_callbacks(self) -> list[pl.Callback]:
        return [] if self.sharpness_rho is None else [SharpnessAware(self.sharpness_rho, self.sharpness_adaptive)]

    def configure_optimizers(self) -> Any:
        if self.lr_scheduler_cls is Schedule:  # only now is the number of steps known
            total = self.trainer.estimated_stepping_batches  # asked first: it lets the trainer count its batches
            per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
            steps = {"total_steps": total, "steps_per_epoch": per_epoch}
            self.lr_scheduler_kwargs = self.lr_scheduler_kwargs | steps
        return super().configure_optimizers()


@dataclass(slots=True)
class TrainingOutput(PLModuleOutput):
    """A forecast with the pair of the network's own objective; see `TrainingForecast`."""

    own_forecast: Tensor | None = None
    own_target: Tensor | None = None


def _judges_normalised(likelihood: TorchLikelihood) -> bool:
    """Whether a likelihood suits normalised series: it takes any real value and has no prior on the data's scale."""
    return likelihood.type in _REAL_VALUED and all(prior is None for prior in likelihood._prior_params or ())


def _use_monte_carlo_dropout(network: nn.Module) -> None:
    """Replace dropout by the kind that darts can keep on in `predict(mc_dropout=True)`."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, MonteCarloDropout(child.p))
