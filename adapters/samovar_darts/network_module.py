"""The Lightning module of all darts models: a network, its scaler and its losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule, io_processor
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    PLModuleOutput,
    TorchInferenceBatch,
    TorchTrainingBatch,
)
from darts.utils.likelihood_models.base import LikelihoodType
from darts.utils.likelihood_models.torch import TorchLikelihood
from darts.utils.torch import MonteCarloDropout
from torch import Tensor, nn
from torchmetrics import MetricCollection

from samovar_darts.observed_targets import counts, hide_missing, judge
from samovar_darts.outages import ChunkOutages, stand_in
from samovar_darts.recipe import Schedule
from samovar_forecast.data.bounds import Bounds
from samovar_forecast.networks.covariate_network import build_network
from samovar_forecast.networks.network import Covariates, ForecastNetwork, TrainingForecast
from samovar_forecast.training.losses import ascending
from samovar_forecast.training.module import MeanOverObserved
from samovar_forecast.training.sharpness import SharpnessAware

_REAL_VALUED = {
    LikelihoodType.Quantile,
    LikelihoodType.Gaussian,
    LikelihoodType.Laplace,
    LikelihoodType.Cauchy,
    LikelihoodType.Gumbel,
}


class SeriesScaler(nn.Module):
    """The map of the core's `Scaler` per column: the identity, unless a trained core brings its scaler.

    That is ``(values - center) / scale``, of ``log(1 + values)`` where the column is logarithmic. NaN stays NaN. It
    works on tensors in place of arrays: it lies in the module's checkpoint, moves to its device, and gradients pass
    through `inverse`, so the core's arrays in double precision cannot serve. Nothing is fitted here.

    Shape
    -----
    input, output : (..., n_columns), or only the last of the columns
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.center: Tensor
        self.scale: Tensor
        self.logarithmic: Tensor
        self.register_buffer("center", torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(n_columns))
        self.register_buffer("logarithmic", torch.zeros(n_columns, dtype=torch.bool))

    def forward(self, values: Tensor) -> Tensor:
        columns = slice(-values.shape[-1], None)
        values = torch.where(self.logarithmic[columns], torch.log1p(values), values)
        return (values - self.center[columns]) / self.scale[columns]

    def inverse(self, forecast: Tensor) -> Tensor:
        """Back to the units of the data, in the same order: (batch, horizon, n_targets, n_outputs) to that shape."""
        columns = slice(-forecast.shape[-2], None)
        forecast = forecast * self.scale[columns, None] + self.center[columns, None]
        logarithmic = self.logarithmic[columns, None]
        # Filled inside: the exponential of another column could be infinite, and its gradient NaN.
        largest = math.log(torch.finfo(forecast.dtype).max) - 1  # whose exponential still is a number
        logarithms = torch.where(logarithmic, forecast, 0.0).clamp(max=largest)
        return torch.where(logarithmic, torch.expm1(logarithms), forecast)


class NetworkModule(PLForecastingModule):
    """The module of every model: a network with its covariates, and a scaler that is the identity at first.

    The past may hold NaN, which the network takes as not observed, and so may targets: losses, likelihoods and the
    logged ``val_loss`` are means over observed targets. A window without one contributes nothing. Metrics
    (`torch_metrics`) see the steps at which all components were observed. Quantiles are forecast, and validated, in
    ascending order.

    Parameters
    ----------
    network_class : type
        The network.
    hyperparameters : dict
        Its configuration, as plain values that a checkpoint can hold.
    sharpness_rho, sharpness_adaptive, lower, upper
        See `TrainingConfig`.
    n_calendar : int or None, default None
        How many of the future covariates, the last ones, are features of the calendar; see
        `ForecastNetwork.embeds_known`. None: a network that embeds those embeds all of them, as in older files.
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
        lower: Any = None,
        upper: Any = None,
        n_calendar: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sharpness_rho, self.sharpness_adaptive = sharpness_rho, sharpness_adaptive

        def shape(name: str) -> tuple[int, ...]:
            return self.train_sample_shape.get(name) or (0, 0)

        n_targets, n_known = shape("past_target")[1], shape("historic_future_covariates")[1]
        n_series = shape("past_covariates")[1] + n_targets
        self._forecasts_quantiles = self.likelihood is not None and self.likelihood.type is LikelihoodType.Quantile
        distribution = self.likelihood is not None and not self._forecasts_quantiles
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
            n_calendar=n_known if n_calendar is None else n_calendar,
            n_static=math.prod(shape("static_covariates")),
        )
        _use_monte_carlo_dropout(self.network)
        self.scaler, self.known_scaler = SeriesScaler(n_series), SeriesScaler(n_known)
        self.val_loss = MeanOverObserved()
        self.bounds = Bounds.of(lower, upper, n_targets)
        self.outages: ChunkOutages | None = None
        self._n_predicted = 0

    def forward(self, x_in: PLModuleInput) -> PLModuleOutput:
        output = self._forecast(x_in)
        if self.rin is None or x_in.stage is ModuleStage.TRAIN:
            return output
        # A learned scale below zero in darts' normalisation of windows turns the order of the quantiles round.
        return output.replace(prediction=self._ordered(output.prediction))

    @io_processor  # type: ignore[untyped-decorator]
    def _forecast(self, x_in: PLModuleInput) -> PLModuleOutput:
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
            result = TrainingForecast(self._ordered(self.network(past, covariates)))
        else:  # every output learns its own quantile, as in the core: unordered
            result = self.network.training_forecast(past, covariates)
        result = result._replace(forecast=result.forecast.to(precision))
        return JudgedOutput(self.scaler.inverse(result.forecast), scaled=result)

    def _known(self, known: Tensor | None) -> Tensor | None:
        return None if known is None else self.known_scaler(known).to(self.dtype)

    def _ordered(self, forecast: Tensor) -> Tensor:
        return ascending(forecast) if self._forecasts_quantiles else forecast

    def _compute_loss(
        self,
        output: JudgedOutput,
        target: Tensor,
        criterion: Callable[[Tensor, Tensor], Tensor],
        sample_weight: Tensor | None,
    ) -> Tensor:
        # Where the core's scaler came along, the loss is the core's: on the scaled series, whose quantiles are the
        # scaled quantiles. Distributions live on the scale of the data.
        scaled = self.rin is None and (self.likelihood is None or self._forecasts_quantiles)
        result, unit_target = (output.scaled, self.scaler(target)) if scaled else (output.in_units, target)
        pair, *own = result.pairs(unit_target)
        loss = self._loss_over_observed(*pair, criterion, sample_weight)
        if not own or self.output_chunk_shift:  # shifted, the own objective forecasts other steps than the model does
            return loss
        unseen = target.isnan().all(2, keepdim=True).all(1, keepdim=True)
        weight = None if sample_weight is None else sample_weight.mean(1, keepdim=True)
        for own_forecast, own_target in own:
            own_forecast = own_forecast.flatten(1, -3)  # (batch, n_steps, n_targets, n_outputs)
            own_target = own_target.flatten(1, -2).masked_fill(unseen, torch.nan)
            loss = loss + self._own_loss(own_forecast, own_target, criterion, weight)
        return loss

    def _own_loss(
        self, forecast: Tensor, target: Tensor, criterion: Callable[[Tensor, Tensor], Tensor], weight: Tensor | None
    ) -> Tensor:
        """The loss of the network's own objective: that of the forecast, where it suits normalised series."""
        if self.likelihood is None or _judges_normalised(self.likelihood):
            return self._loss_over_observed(forecast, target, criterion, weight)
        point = self.network.point_output
        pair = hide_missing(forecast[..., point : point + 1], target, weight, None)
        return judge(nn.MSELoss(), pair, weight is not None)

    def _loss_over_observed(
        self,
        prediction: Tensor,
        target: Tensor,
        criterion: Callable[[Tensor, Tensor], Tensor],
        sample_weight: Tensor | None,
    ) -> Tensor:
        pair = hide_missing(prediction, target, sample_weight, self.likelihood)
        if self.likelihood is None:
            return judge(criterion, pair, sample_weight is not None)
        joint = self.likelihood.type is LikelihoodType.Dirichlet  # then one likelihood for all components
        weight = pair.weight.mean(-1) if joint else pair.weight
        return super()._compute_loss(PLModuleOutput(pair.prediction), pair.target, criterion, weight)

    def _produce_predict_output(self, x: PLModuleInput) -> PLModuleOutput:
        output = super()._produce_predict_output(x)
        return output.replace(prediction=self._inside_bounds(output.prediction))

    def _inside_bounds(self, prediction: Tensor) -> Tensor:
        """Points, samples or quantiles of each component inside its bounds: (..., n_components * n_outputs)."""
        if not self.bounds.is_bounded or (self.predict_likelihood_parameters and not self._forecasts_quantiles):
            return prediction
        by_component = prediction.unflatten(-1, (self.n_targets, -1))
        lower, upper = (
            torch.as_tensor(bound).to(prediction).expand(self.n_targets).unsqueeze(-1)
            for bound in (self.bounds.lower, self.bounds.upper)
        )
        return by_component.clamp(lower, upper).flatten(-2)

    def _get_batch_prediction(self, n: int, input_batch: TorchInferenceBatch, roll_size: int) -> Tensor:
        """Forecasts in whole output chunks, so that a step has the same forecast whatever `n` is, as in the core.

        darts itself lets the last chunk end at step `n`, and so begin within the one before it.
        """
        length = self.output_chunk_length
        whole = -(-n // length) * length
        future, past = input_batch.future_covariates, input_batch.future_past_covariates
        known = (future is None or future.shape[1] >= whole) and (past is None or past.shape[1] >= whole - length)
        if n <= length or roll_size < length or not known:  # the last of datasets that are not this model's own
            return super()._get_batch_prediction(n, input_batch, roll_size)
        return super()._get_batch_prediction(whole, input_batch, roll_size)[:, :n]

    def on_predict_start(self) -> None:
        super().on_predict_start()
        self._n_predicted = 0

    def on_predict_end(self) -> None:
        super().on_predict_end()
        self.outages = None

    def predict_step(self, batch: TorchInferenceBatch, batch_idx: int, dataloader_idx: int | None = None) -> Any:
        """Forecasts of a batch, with the last known level of components that have no value in their input chunk."""
        prediction, *rest = super().predict_step(batch, batch_idx, dataloader_idx)
        if self.outages is not None:
            rows = slice(self._n_predicted, self._n_predicted + prediction.shape[1])
            self._n_predicted = rows.stop
            of_batch = replace(self.outages, dead=self.outages.dead[rows], level=self.outages.level[rows])
            parameters = self.predict_likelihood_parameters
            prediction = stand_in(prediction, of_batch, self.scaler, self.likelihood, parameters)
            prediction = self._inside_bounds(prediction)
        return prediction, *rest

    def validation_step(self, val_batch: TorchTrainingBatch, batch_idx: int) -> Tensor:
        """The loss of a batch; what is logged is the mean over the observed targets of all batches."""
        output = self(val_batch.to_module_input(stage=ModuleStage.VALIDATE))
        target = val_batch.future_target
        loss = self._compute_loss(output, target, self.val_criterion, val_batch.sample_weight)
        count = counts(target, self.likelihood).sum()
        self.val_loss.update(loss * count, count)
        self.log("val_loss", self.val_loss, prog_bar=True, batch_size=len(target))
        self._update_metrics(output, target, self.val_metrics)
        return loss

    def _update_metrics(self, output: PLModuleOutput, target: Tensor, metrics: MetricCollection) -> None:
        if not len(metrics):
            return
        complete = ~target.isnan().any(-1)  # (batch, horizon)
        prediction, target = output.prediction[complete].unsqueeze(0), target[complete].unsqueeze(0)
        if target.numel():
            super()._update_metrics(output.replace(prediction=prediction), target, metrics)

    def training_step(self, train_batch: TorchTrainingBatch, batch_idx: int) -> Tensor:
        """The loss of a batch; darts logs it."""
        loss: Tensor = super().training_step(train_batch, batch_idx)
        return loss * self._weight_in_step(batch_idx)

    def loss_of(self, batch: TorchTrainingBatch, batch_index: int = 0) -> Tensor:
        """The loss of `training_step`, with gradients; nothing is logged."""
        output = self(batch.to_module_input(stage=ModuleStage.TRAIN))
        loss = self._compute_loss(output, batch.future_target, self.train_criterion, batch.sample_weight)
        return loss * self._weight_in_step(batch_index)

    def _weight_in_step(self, batch_index: int) -> float:
        """1, and more for the last batches of an epoch that are fewer than ``accumulate_grad_batches``.

        Lightning divides their losses by the full number.
        """
        n_batches, per_step = self.trainer.num_training_batches, self.trainer.accumulate_grad_batches
        rest = int(n_batches % per_step) if math.isfinite(n_batches) else 0
        return per_step / rest if rest and batch_index >= n_batches - rest else 1.0

    def configure_callbacks(self) -> list[pl.Callback]:
        return [] if self.sharpness_rho is None else [SharpnessAware(self.sharpness_rho, self.sharpness_adaptive)]

    def configure_optimizers(self) -> Any:
        if self.lr_scheduler_cls is Schedule:  # only now is the number of steps known
            total = self.trainer.estimated_stepping_batches  # asked first: it lets the trainer count its batches
            per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
            steps = {"total_steps": total, "steps_per_epoch": per_epoch}
            self.lr_scheduler_kwargs = self.lr_scheduler_kwargs | steps
        return super().configure_optimizers()


@dataclass(slots=True, kw_only=True)
class JudgedOutput(PLModuleOutput):
    """A forecast in the units of the data, and what the network gave: the same scaled, and its own objective's pair."""

    scaled: TrainingForecast

    @property
    def in_units(self) -> TrainingForecast:
        """The forecast in the units of the data, beside the own objective's pair, which has none."""
        return self.scaled._replace(forecast=self.prediction)


def _judges_normalised(likelihood: TorchLikelihood) -> bool:
    """Whether a likelihood suits normalised series: it takes any real value and has no prior on the data's scale."""
    return likelihood.type in _REAL_VALUED and all(prior is None for prior in likelihood._prior_params or ())


def _use_monte_carlo_dropout(network: nn.Module) -> None:
    """Replace dropout by the kind that darts can keep on in `predict(mc_dropout=True)`."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, MonteCarloDropout(child.p))
