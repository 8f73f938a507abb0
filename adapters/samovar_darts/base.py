"""The model class of darts, once for all networks.

Together with `network_module` it is the bond with darts: whatever touches its internals, which changed in 0.48.
"""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from darts import TimeSeries
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel, TorchForecastingModel
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.torch import random_method
from darts.utils.ts_utils import get_single_series
from numpy.typing import NDArray
from torch import Tensor

from samovar_darts import saved_files
from samovar_darts.continued_covariates import continued
from samovar_darts.network_module import NetworkModule
from samovar_darts.outages import find_outages
from samovar_darts.recipe import Schedule, with_calendar
from samovar_darts.seen_series import Seen, check_seen, seen_of
from samovar_darts.series_checks import SeriesChecks, check_gaps_cost_nothing
from samovar_forecast.data.bounds import Bounds
from samovar_forecast.data.calendar_features import choose_calendar
from samovar_forecast.data.lengths import choose_segment, season_length
from samovar_forecast.hyperparameters import (
    check_types,
    cite,
    documented_hyperparameters,
    entries_of,
    list_parameters,
    parameters_of,
    plain_numbers,
)
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.config import TrainingConfig


class DartsModel(MixedCovariatesTorchModel):
    """Base of the darts models: past, future and static covariates, likelihoods and the networks' own defaults.

    A public class inherits from this one and from a network's configuration, and names the network.

    Series and past covariates may have gaps (NaN): forecasts are finite all the same, and no loss counts them. The
    quantiles of `QuantileRegression` never cross.

    Parameters
    ----------
    input_chunk_length : int
        Points of history that the network sees; the core's `context_length`.
    output_chunk_length : int
        Steps that the network forecasts at once; the core's `output_length`.
    output_chunk_shift : int, default 0
        Steps between the history and the first step forecast.
    use_static_covariates : bool, default True
        Use the static covariates of the series where there are any.
    **kwargs
        The hyperparameters of every darts torch model (`batch_size`, `n_epochs`, `likelihood`, `random_state`,
        `pl_trainer_kwargs`, ...). Where `optimizer_cls` is not given it is AdamW with the defaults of the model's
        `recipe`, which `optimizer_kwargs` changes one by one, and with the recipe's schedule where
        `lr_scheduler_cls` is not given either; gradients are clipped as there unless `pl_trainer_kwargs` has a
        `gradient_clip_val`.

    Raises
    ------
    ValueError
        If a name in `kwargs` is no hyperparameter; from `fit`, if a value is out of range; from `fit` and forecasts, if
        a series holds infinite values, a future or static covariate has gaps, or a target has and
        `use_reversible_instance_norm` is on.
    """

    network_class: ClassVar[type[ForecastNetwork]]
    recipe: ClassVar[type[TrainingConfig]] = TrainingConfig
    add_encoders: dict[str, Any] | None
    seen: Seen | None = None
    lower: Any = None
    upper: Any = None
    trainer: Any  # the Trainer of Lightning, once there is one
    model: NetworkModule | None  # the network in training, once there is one
    calendar_: Sequence[str] = ()  # read from the index of the series, where there is one
    season_: int = 1  # rows in a season of the index
    pl_module_params: dict[str, Any]
    encoders: Any  # those of darts
    train_sample: TorchTrainingSample | None
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show what the network has in `help`: its references, and the hyperparameters among `kwargs`."""
        super().__init_subclass__(**kwargs)
        shared, of_training = entries_of(parameters_of(DartsModel)), documented_hyperparameters(cls.recipe)
        others = shared.pop("**kwargs")
        training = [of_training[field.name] for field in cls.training_fields()]
        list_parameters(cls, [*shared.values(), *documented_hyperparameters(cls).values(), *training, others])
        if hasattr(cls, "network_class"):
            cite(cls, cls.network_class)
        _, *own, rest = inspect.signature(cls.__init__).parameters.values()
        network = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
            for field in (*cls.network_fields(), *cls.training_fields())
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
        for name, value in (("input_chunk_length", input_chunk_length), ("output_chunk_length", output_chunk_length)):
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise TypeError(f"{name} must be an integer, got {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        chosen = self.model_params  # every argument; what darts makes of them is read from here
        chosen |= plain_numbers(dict(chosen))
        if chosen.get("optimizer_cls") is None:
            defaults = {
                "lr": self.recipe.learning_rate,
                "betas": self.recipe.adam_betas,
                "weight_decay": self.recipe.weight_decay,
            }
            chosen["optimizer_cls"] = torch.optim.AdamW
            chosen["optimizer_kwargs"] = defaults | (chosen.get("optimizer_kwargs") or {})
            if chosen.get("lr_scheduler_cls") is None and self.recipe.schedule != "constant":
                chosen["lr_scheduler_cls"] = Schedule
                chosen["lr_scheduler_kwargs"] = {"kind": self.recipe.schedule, "interval": "step"}
        clipping = {"gradient_clip_val": self.recipe.gradient_clip}
        chosen["pl_trainer_kwargs"] = clipping | (chosen.get("pl_trainer_kwargs") or {})
        super().__init__(**self._extract_torch_model_params(**chosen))
        self.pl_module_params = self._extract_pl_module_params(**chosen)
        for field in (*self.network_fields(), *self.training_fields()):
            setattr(self, field.name, chosen.get(field.name, field.default))
        self._given_encoders = self.add_encoders
        self._considers_static_covariates = use_static_covariates

    @classmethod
    def network_fields(cls) -> tuple[Field[Any], ...]:
        """The hyperparameters of the network."""
        return fields(cls)

    @classmethod
    def training_fields(cls) -> tuple[Field[Any], ...]:
        """The hyperparameters of training that darts has no name for."""
        names = ("sharpness_rho", "sharpness_adaptive", "calendar", "lower", "upper")
        return tuple(field for field in fields(cls.recipe) if field.name in names)

    @classmethod
    def _validate_model_params(cls, **kwargs: Any) -> None:
        of_training = {field.name for field in cls.training_fields()}  # darts knows only constructors in the MRO
        super()._validate_model_params(**{name: value for name, value in kwargs.items() if name not in of_training})

    @property
    def supports_static_covariates(self) -> bool:
        """Whether the model can use static covariates: always."""
        return True

    def _create_model(self, train_sample: TorchTrainingSample) -> NetworkModule:
        check_types(self, (*self.network_fields(), *self.training_fields()))
        hyperparameters = {field.name: getattr(self, field.name) for field in self.network_fields()}
        if "segment_length" in hyperparameters and self.segment_length is None:
            lengths = self.input_chunk_length, self.output_chunk_length
            hyperparameters["segment_length"] = choose_segment(*lengths, self.season_)
        return NetworkModule(
            self.network_class,
            hyperparameters,
            sharpness_rho=self.sharpness_rho,
            sharpness_adaptive=self.sharpness_adaptive,
            lower=self.lower,
            upper=self.upper,
            n_calendar=len(self.calendar_),
            **self.pl_module_params,
        )

    def _build_train_dataset(
        self, series: Sequence[TimeSeries], past_covariates: Any, future_covariates: Any, *args: Any, **kwargs: Any
    ) -> Any:
        spans = [(0, len(one) - 1) for one in series]
        self.seen = seen_of(series=series, past_covariates=past_covariates, future_covariates=future_covariates)
        checks = self._checks(series[0].n_components)
        checks.check(series, past_covariates, future_covariates, spans)
        checks.check_moves(series, past_covariates)
        if self.likelihood is None:
            check_gaps_cost_nothing(series, self.pl_module_params.get("loss_fn") or torch.nn.MSELoss())
        return super()._build_train_dataset(series, past_covariates, future_covariates, *args, **kwargs)

    def _build_inference_dataset(
        self,
        n: int,
        series: Sequence[TimeSeries],
        past_covariates: Any,
        future_covariates: Any,
        stride: int = 0,
        bounds: NDArray[np.int64] | None = None,
    ) -> Any:
        roles = {"series": series, "past_covariates": past_covariates, "future_covariates": future_covariates}
        if self.seen is not None:
            check_seen(self.seen, **roles)
        whole = -(-n // self.output_chunk_length) * self.output_chunk_length
        # Only what the forecasts read, so that a loop of forecasts does not go over all of the past each time.
        cutoffs = [(len(one), len(one)) for one in series] if bounds is None else bounds
        beyond = max(n, self.output_chunk_length) + self.output_chunk_shift - 1
        spans = [(max(0, int(first) - self.input_chunk_length), int(last) + beyond) for first, last in cutoffs]
        self._checks(series[0].n_components).check(series, past_covariates, future_covariates, spans)
        ends = [int(last) for _, last in cutoffs]
        past: Any = past_covariates
        future: Any = future_covariates
        if future is not None:
            first = self.output_chunk_shift
            future = [
                continued(known, one, end + first + n, end + first + whole, self.calendar_)
                for known, one, end in zip(future, series, ends, strict=True)
            ]
        if past is not None and n > self.output_chunk_length:
            first = -self.output_chunk_length
            past = [
                continued(known, one, end + first + n, end + first + whole)
                for known, one, end in zip(past, series, ends, strict=True)
            ]
        if None in (*(past or ()), *(future or ())):  # darts names what is missing
            whole, past, future = n, past_covariates, future_covariates
        dataset = super()._build_inference_dataset(whole, series, past, future, stride, bounds)
        dataset.outages = find_outages(series, _cutoffs(dataset), self.input_chunk_length, self.seen or {})
        return dataset

    def _setup_for_predict(self, n: int, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        assert self.model is not None  # darts forecasts with a model that has been made
        self.model.outages = getattr(dataset, "outages", None)  # of a dataset of one's own none are known
        return super()._setup_for_predict(n, dataset, *args, **kwargs)

    def _checks(self, n_targets: int) -> SeriesChecks:
        return SeriesChecks(
            window_norm=bool(self.pl_module_params.get("use_reversible_instance_norm")),
            scaler=None if self.model is None else self.model.scaler,
            static=self.uses_static_covariates,
            bounds=Bounds.of(self.lower, self.upper, n_targets),
        )

    def _setup_for_fit_from_dataset(self, series: Any, *args: Any, **kwargs: Any) -> Any:
        time = get_single_series(series)
        self.calendar_ = choose_calendar(self.calendar, time.time_index, time.freq)
        self.season_ = season_length(time.freq)
        self.add_encoders = with_calendar(self._given_encoders, self.calendar_)
        return super()._setup_for_fit_from_dataset(series, *args, **kwargs)

    @random_method  # type: ignore[untyped-decorator]
    def adopt(self, n_past: int, n_known: int, calendar: list[str], state: dict[str, Tensor], seen: Seen) -> Self:
        """Take over trained weights, as if `fit` had seen float32 series of that many components.

        Parameters
        ----------
        n_past, n_known : int
            Components of the past and of the future covariates.
        calendar : list of str
            Names of the calendar features.
        state : dict
            The state of the `NetworkModule`; `scaler.center` has a value for each covariate and target.
        seen : dict
            See `seen_of`.
        """
        self.seen = seen
        n_targets = len(state["scaler.center"]) - n_past
        n_known += len(calendar)
        self.calendar_, self.add_encoders = calendar, with_calendar(self._given_encoders, calendar)
        self.encoders = self.initialize_encoders()

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
        """Write the model to `path`, its weights to ``path + ".ckpt"`` and checksums to ``path + ".sha256"``.

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
        if path is None:
            super().save(path, clean)
            return
        # darts writes into the old files; a full disk or a kill on the way would leave no model at all.
        target = Path(path)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:64]}.") as folder:
            super().save(str(Path(folder) / target.name), clean)
            saved_files.announce(target, Path(folder))
            for name in saved_files.names_of(target):
                if (Path(folder) / name).exists():  # before the first step there are no weights
                    os.replace(Path(folder) / name, target.with_name(name))
        saved_files.settle(target)

    @staticmethod
    def load(
        path: str, pl_trainer_kwargs: dict[str, Any] | None = None, trusted: bool = False, **kwargs: Any
    ) -> TorchForecastingModel:
        """Read a model that `save` wrote; see darts.

        Raises
        ------
        ModelFileError
            If a file is missing, or does not match its checksum. Without checksums darts reads what it finds.
        """
        saved_files.check(Path(path))
        return MixedCovariatesTorchModel.load(path, pl_trainer_kwargs, trusted, **kwargs)


def _cutoffs(dataset: Any) -> list[NDArray[np.int64]]:
    """The rows of each series at which the forecasts of a dataset begin, in its order."""
    if dataset.bounds is None:
        return [np.array([len(one)]) for one in dataset.series]
    counts = np.diff(dataset.cum_lengths, prepend=0)
    firsts = dataset.bounds[:, 0]
    return [first + dataset.stride * np.arange(count) for first, count in zip(firsts, counts, strict=True)]
