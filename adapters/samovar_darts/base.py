"""The bond with darts: whatever touches its internals, which changed in 0.48, lies in this file."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import Field, dataclass, fields
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule, io_processor
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.data.torch_datasets.utils import ModuleStage, PLModuleInput, PLModuleOutput, TorchTrainingSample
from darts.utils.likelihood_models.base import LikelihoodType
from darts.utils.likelihood_models.torch import TorchLikelihood
from darts.utils.torch import MonteCarloDropout, random_method
from torch import Tensor, nn

from samovar_darts.affine_scaler import AffineScaler
from samovar_darts.schedule import Schedule
from samovar_forecast.networks.covariate_network import with_covariates
from samovar_forecast.networks.network import Covariates, ForecastNetwork
from samovar_forecast.training.config import TrainingConfig

_REAL_VALUED = {
    LikelihoodType.Quantile,
    LikelihoodType.Gaussian,
    LikelihoodType.Laplace,
    LikelihoodType.Cauchy,
    LikelihoodType.Gumbel,
}


class DartsModel(MixedCovariatesTorchModel):
    """Base of the darts models: past, future and static covariates, likelihoods and the networks' own defaults.

    A public class inherits from this one and from a network's configuration, and names the network.

    Parameters
    ----------
    input_chunk_length : int
        Points of history that the network sees; the core's `context_length`.
    output_chunk_length : int
        Steps that the network forecasts at once; the core's `horizon`.
    output_chunk_shift : int, default 0
        Steps between the history and the first step forecast.
    use_static_covariates : bool, default True
        Use the static covariates of the series where there are any.
    **kwargs
        The hyperparameters of the network, and those of every darts torch model (`batch_size`, `n_epochs`,
        `likelihood`, `random_state`, `pl_trainer_kwargs`, ...). Where `optimizer_cls` is not given it is AdamW
        with the defaults of `TrainingConfig`, which `optimizer_kwargs` changes one by one; gradients are clipped
        as there unless `pl_trainer_kwargs` has a `gradient_clip_val`.

    Raises
    ------
    ValueError
        If a name in `kwargs` is no hyperparameter; from `fit`, if a value is out of range.
    """

    network_class: ClassVar[Callable[..., ForecastNetwork]]
    trainer: Any  # the Trainer of Lightning, once there is one
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show the network's hyperparameters in `help`; the constructor takes them among its `kwargs`."""
        super().__init_subclass__(**kwargs)
        _, *own, rest = inspect.signature(cls.__init__).parameters.values()
        network = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
            for field in cls.network_fields()
        ]
        cls.__signature__ = inspect.Signature([*own, *network, rest])

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        use_static_covariates: bool = True,
        **kwargs: Any,
    ) -> None:
        chosen = self.model_params  # every argument; what darts makes of them is read from here
        if chosen.get("optimizer_cls") is None:
            defaults = {
                "lr": TrainingConfig.learning_rate,
                "betas": (0.9, 0.95),
                "weight_decay": TrainingConfig.weight_decay,
            }
            chosen["optimizer_cls"] = torch.optim.AdamW
            chosen["optimizer_kwargs"] = defaults | (chosen.get("optimizer_kwargs") or {})
        clipping = {"gradient_clip_val": TrainingConfig.gradient_clip}
        chosen["pl_trainer_kwargs"] = clipping | (chosen.get("pl_trainer_kwargs") or {})
        super().__init__(**self._extract_torch_model_params(**chosen))
        self.pl_module_params = self._extract_pl_module_params(**chosen)
        for field in self.network_fields():
            setattr(self, field.name, chosen.get(field.name, field.default))
        self._considers_static_covariates = use_static_covariates

    @classmethod
    def network_fields(cls) -> tuple[Field, ...]:
        """The hyperparameters of the network."""
        return fields(cls)

    @property
    def supports_static_covariates(self) -> bool:
        """Whether the model can use static covariates: always."""
        return True

    def _create_model(self, train_sample: TorchTrainingSample) -> NetworkModule:
        hyperparameters = {field.name: getattr(self, field.name) for field in self.network_fields()}
        return NetworkModule(self.network_class, hyperparameters, **self.pl_module_params)

    @random_method  # type: ignore[untyped-decorator]
    def adopt(self, n_past: int, n_known: int, state: dict[str, Tensor]) -> Self:
        """Take over trained weights, as if `fit` had seen float32 series of that many components.

        Parameters
        ----------
        n_past, n_known : int
            Components of the past and of the future covariates.
        state : dict
            The state of the `NetworkModule`; `scaler.center` has a value for each covariate and target.
        """
        n_targets = len(state["scaler.center"]) - n_past

        def zeros(length: int, width: int) -> Any:
            return np.zeros((length, width), dtype=np.float32) if width else None

        self.train_sample = TorchTrainingSample(
            past_target=zeros(self.input_chunk_length, n_targets),
            past_covariates=zeros(self.input_chunk_length, n_past),
            historic_future_covariates=zeros(self.input_chunk_length, n_known),
            future_covariates=zeros(self.output_chunk_length, n_known),
            future_target=zeros(self.output_chunk_length, n_targets),
        )
        self.output_dim = n_targets
        self.model = self._init_model()
        self.model.load_state_dict(state)
        self._fit_called = True
        self._update_covariates_use()
        return self

    def save(self, path: str | None = None, clean: bool = False) -> None:
        """Write the model to `path` and its weights to ``path + ".ckpt"``; see darts.

        Parameters
        ----------
        path : str or None
            Where to; None: a name made of the class and the time.
        clean : bool, default False
            Leave out the training series and the arguments of the trainer.
        """
        if self.model is not None and self.trainer is None and not self.load_ckpt_path:
            # darts writes weights through a trainer, which a loaded or adopted model lacks until it forecasts
            self.trainer = self._setup_trainer(None, self.model, epochs=self.n_epochs)
            self.trainer.strategy.connect(self.model)
        super().save(path, clean)


class NetworkModule(PLForecastingModule):
    """The module behind every model: a network with its covariates, and a scaler that is the identity at first.

    Parameters
    ----------
    network_class : type
        The network.
    hyperparameters : dict
        Its configuration, as plain values that a checkpoint can hold.
    **kwargs
        See darts' `PLForecastingModule`.
    """

    lr_scheduler_kwargs: dict[str, Any]

    def __init__(
        self, network_class: Callable[..., ForecastNetwork], hyperparameters: dict[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)

        def shape(name: str) -> tuple[int, ...]:
            return self.train_sample_shape.get(name) or (0, 0)

        n_targets, n_known = shape("past_target")[1], shape("historic_future_covariates")[1]
        n_series = shape("past_covariates")[1] + n_targets
        network = network_class(
            n_series,
            n_targets,
            self.input_chunk_length,
            self.output_chunk_length,
            SimpleNamespace(**hyperparameters),
            1 if self.likelihood is None else self.likelihood.num_parameters,
        )
        if self.likelihood is not None and self.likelihood.type is not LikelihoodType.Quantile:
            network.n_locations = 1
        self.network = with_covariates(network, n_known, math.prod(shape("static_covariates")))
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

    def configure_optimizers(self) -> Any:
        if self.lr_scheduler_cls is Schedule:  # only now is the number of steps known
            steps = {"total_steps": self.trainer.estimated_stepping_batches}
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
