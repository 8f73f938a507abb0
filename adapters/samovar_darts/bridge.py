"""From a core forecaster to the darts model of the same network."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any

import torch
from darts.utils.likelihood_models.torch import QuantileRegression
from darts.utils.serialization import add_safe_globals
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor, nn

from samovar_darts.base import DartsModel
from samovar_darts.recipe import Schedule
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.estimator import Forecaster
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.hyperparameters import description_of
from samovar_forecast.networks.segment_network import SegmentConfig
from samovar_forecast.training.batches import USUAL_BATCH_SIZE
from samovar_forecast.training.config import TrainingConfig, check_training_config
from samovar_forecast.training.devices import count_devices, resolve_device

_LOSSES = {"mse": nn.MSELoss, "mae": nn.L1Loss, "huber": nn.HuberLoss}


def from_core(core: Forecaster) -> DartsModel:
    """The darts model with the hyperparameters of a core forecaster and, when that is fitted, its weights.

    A fitted forecaster brings its scaler along, so the darts model takes series in the units of the data. In
    darts the `targets` are the series, in that order, the other columns of `y` the past covariates, in the order
    of the frame, and the columns of `X` the future covariates. `quantiles` become `QuantileRegression`. darts has its
    own validation series, scaling of unfitted models and logging in place of `validation_fraction`, `scaler`, `log1p`,
    `logger` and `checkpoint_dir`, and nothing in place of `sampling`. `windows_per_epoch` limits the batches of a
    training epoch; each is validated on the whole validation series.

    Parameters
    ----------
    core : Forecaster
        Fitted or not.

    Returns
    -------
    DartsModel
        Ready to forecast if `core` is fitted: ``predict(n, series=...)``.

    Raises
    ------
    ValueError
        If a hyperparameter is out of range, an unfitted `core` has no `context_length`, or a fitted one learned from a
        panel, whose series have a scaler each.

    Examples
    --------
    >>> from samovar_forecast import SAMoVARForecaster
    >>> from_core(SAMoVARForecaster(horizon=12, context_length=48)).output_chunk_length
    12
    """
    fitted = core.fitted_ if hasattr(core, "fitted_") else None
    if fitted is not None:
        core = type(core)(**fitted.hyperparameters)
    check_training_config(core)
    model_class = model_class_for(type(core))
    if fitted is not None and fitted.data.is_panel:
        raise ValueError(
            f"a darts model holds one scaler, and this {type(core).__name__} learned from a panel with one for each "
            f"series: make the darts model of an unfitted {type(core).__name__} and fit that on a list of series"
        )
    if core.n_members > 1:
        raise ValueError(
            f"a darts model holds one network, and n_members={core.n_members}: make the darts model of a forecaster "
            "with n_members=1, and average several of them by darts' NaiveEnsembleModel"
        )
    context_length = core.context_length if fitted is None else fitted.data.context_length
    if context_length is None:
        raise ValueError(
            "darts needs context_length before it has seen data, and it is None: set it, e.g. "
            f"{type(core).__name__}(horizon={core.horizon}, context_length={10 * core.horizon}), or fit first"
        )
    output_length = core.output_length or core.horizon
    if fitted is not None:
        output_length = fitted.data.output_length
        if isinstance(core, SegmentConfig):
            core.set_params(segment_length=fitted.data.lengths.segment)
    model = model_class(
        input_chunk_length=context_length,
        output_chunk_length=output_length,
        batch_size=_batch_size(core),
        n_epochs=core.max_epochs,
        optimizer_kwargs={"lr": core.learning_rate, "weight_decay": core.weight_decay, "betas": core.adam_betas},
        lr_scheduler_cls=Schedule,
        lr_scheduler_kwargs={"kind": core.schedule, "interval": "step"},
        loss_fn=_LOSSES[core.loss](),
        likelihood=None if core.quantiles is None else QuantileRegression(list(core.quantiles)),
        random_state=core.random_state,
        pl_trainer_kwargs=_trainer_arguments(core),
        **{
            field.name: getattr(core, field.name)
            for field in (*model_class.network_fields(), *model_class.training_fields())
        },
    )
    return model if fitted is None else _with_weights(model, fitted)


def model_class_for(core_class: type[Forecaster]) -> type[DartsModel]:
    """The darts class of a forecaster class: the one of its network, else one made from it.

    A model of a class that was made is loaded where this function has been called before.

    Parameters
    ----------
    core_class : type
        A forecaster of samovar-forecast, or a subclass of `Forecaster` of your own.
    """
    waiting = list(DartsModel.__subclasses__())
    while waiting:
        cls = waiting.pop()
        if cls.network_class is core_class.network_class:
            return cls
        waiting += cls.__subclasses__()
    configs = (cls for cls in core_class.__mro__ if is_dataclass(cls) and not issubclass(cls, Forecaster))
    bases = tuple(cls for cls in configs if not issubclass(cls, TrainingConfig))
    recipe = next(
        cls for cls in core_class.__mro__ if issubclass(cls, TrainingConfig) and not issubclass(cls, Forecaster)
    )
    stem = core_class.__name__.removesuffix("Forecaster")
    name = f"{core_class.__module__}.{stem}Model".replace(".", "_")  # of this module, where pickle finds it
    namespace = {
        "__doc__": description_of(core_class),
        "__module__": __name__,
        "__qualname__": name,
        "network_class": core_class.network_class,
        "recipe": recipe,
    }
    made = type(name, (DartsModel, *bases), namespace)
    globals()[name] = made
    add_safe_globals([made, core_class.network_class])
    return made


def _with_weights(model: DartsModel, fitted: Fitted) -> DartsModel:
    data = fitted.data
    state = {f"network.{name}": value for name, value in fitted.network.state_dict().items()}
    state |= _scaler_state("scaler", data.series[None].scaler)
    state |= _scaler_state("known_scaler", data.known_scaler, len(data.calendar))
    past = data.columns[: -len(data.targets)]
    seen = {
        "step": [str(data.frequency)],
        "series": list(map(str, data.targets)),
        "past_covariates": list(map(str, past)) or None,
        "future_covariates": None if data.calendar else list(map(str, data.known)) or None,
    }
    return model.adopt(len(past), len(data.known), data.calendar, state, seen)


def _batch_size(core: Forecaster) -> int:
    return core.batch_size or USUAL_BATCH_SIZE  # darts knows no windows before fit


def _trainer_arguments(core: Forecaster) -> dict[str, Any]:
    device = resolve_device(core.device)
    arguments: dict[str, Any] = {
        "accelerator": "auto" if core.device == "auto" else {"cuda": "gpu"}.get(device.type, device.type),
        "devices": [device.index] if core.device != "auto" and device.type == "cuda" else 1,
        "gradient_clip_val": core.gradient_clip,
        "accumulate_grad_batches": core.accumulate_batches,
        "enable_progress_bar": core.verbose == 1,
        "enable_model_summary": core.verbose == 1,
    }
    n_devices = count_devices(core.devices, device)
    n_processes = n_devices * core.num_nodes
    if n_processes > 1:
        strategy = "ddp" if core.strategy == "auto" else core.strategy
        arguments |= {"devices": n_devices, "num_nodes": core.num_nodes, "strategy": strategy}
    if core.max_steps is not None:
        arguments["max_steps"] = core.max_steps
    if core.windows_per_epoch is not None:
        arguments["limit_train_batches"] = max(1, core.windows_per_epoch // (n_processes * _batch_size(core)))
    if core.precision != "auto":
        arguments["precision"] = core.precision
    if core.patience is not None:  # takes part where `fit` gets a `val_series`
        stopping = EarlyStopping("val_loss", patience=int(core.patience), check_on_train_epoch_end=False)
        arguments["callbacks"] = [stopping]
    return arguments


def _scaler_state(name: str, scaler: Scaler | None, n_unscaled: int = 0) -> dict[str, Tensor]:
    state = {"center": torch.zeros(n_unscaled), "scale": torch.ones(n_unscaled), "logarithmic": torch.zeros(n_unscaled)}
    if scaler is not None:
        state = {part: torch.cat([torch.from_numpy(getattr(scaler, part)), state[part]]) for part in state}
    return {f"{name}.{part}": values for part, values in state.items()}
