"""From data to a fitted forecaster: learn the data, train a network on their windows, measure its errors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from joblib import delayed
from sklearn.utils import check_random_state

from samovar_forecast.data.bounds import Bounds
from samovar_forecast.data.fitted_data import FittedData
from samovar_forecast.data.layout import LongTable
from samovar_forecast.data.lengths import choose_lengths
from samovar_forecast.data.stored_series import StoredSeries
from samovar_forecast.data.training_data import learn, read_training_data
from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.intervals import calibrate
from samovar_forecast.networks.covariate_network import build_network
from samovar_forecast.networks.ensemble import averaged, members_of
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.networks.segment_network import SegmentConfig
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.devices import resolve_device
from samovar_forecast.training.fine_tuning import only_training, take_weights
from samovar_forecast.training.jobs import results_of
from samovar_forecast.training.random_state import seeded
from samovar_forecast.training.split import split_windows
from samovar_forecast.training.summary import TrainingSummary


def fit(
    network_class: type[ForecastNetwork],
    config: TrainingConfig,
    hyperparameters: Mapping[str, Any],
    y: Any,
    X: Any = None,
    static: Any = None,
    long: LongTable | None = None,
    source: Fitted | None = None,
    freeze: Sequence[str] = (),
) -> Fitted:
    """Train a network on data.

    Parameters
    ----------
    network_class : type
        The network.
    config : TrainingConfig
        Hyperparameters of training and of the network.
    hyperparameters : mapping
        A copy of all of them, which is kept.
    y, X, static
        See `Forecaster.fit`.
    long : LongTable or None
        Where long tables have names and time.
    source : Fitted or None
        Begin with its weights.
    freeze : sequence of str
        Modules of the network that keep their weights.

    Raises
    ------
    TypeError, ValueError
        If the data are not right or hold too few rows, or the weights of `source` do not fit.
    """
    from samovar_forecast.training.engine import starts_processes  # Lightning is slow to import; only training needs it

    training = read_training_data(y, X, static, config.targets, config.calendar, config.scaler, long)
    if starts_processes(config) and any(isinstance(series, StoredSeries) for series in training.series.values()):
        raise ValueError(
            f"devices={config.devices} would send StoredSeries to other processes through memory; start the processes "
            "by torchrun, so that each of them maps the folder"
        )
    lengths, n_training = choose_lengths(
        training.frequency, training.lengths, config.horizon, config.validation_fraction, config.context_length,
        config.output_length, config.segment_length if isinstance(config, SegmentConfig) else None,
        None if source is None else source.data.lengths,
    )  # fmt: skip
    horizon, bounds = int(config.horizon), Bounds.of(config.lower, config.upper, len(training.targets))
    data, every = learn(training, n_training, horizon, lengths, config.scaler, config.log1p, bounds)
    n_held_out = [n_rows - n for n_rows, n in zip(training.lengths, n_training, strict=True)]
    windows, validation = split_windows(every, n_held_out)
    del every  # 8 bytes for each row, which may be many
    first_weights = [] if source is None else members_of(source.network)

    def made(member: int) -> ForecastNetwork:
        network = network_for(network_class, config, data)
        if first_weights:
            take_weights(network, first_weights[member % len(first_weights)])
        return network

    network, summary = _train_members(made, windows, validation, config, freeze, first_weights)
    calibration = None
    if config.quantiles is None:
        calibration = calibrate(network, validation or windows, horizon, held_out=validation is not None)
    if not summary.interrupted:
        _remove_checkpoints(config)
    quantiles = None if config.quantiles is None else tuple(config.quantiles)
    return Fitted(network, data, quantiles, calibration, summary, hyperparameters)


def train_further(
    fitted: Fitted, config: TrainingConfig, windows: Windows, freeze: Sequence[str]
) -> tuple[ForecastNetwork, TrainingSummary]:
    """A copy of the network, trained on windows; a training that fails leaves the old weights."""
    members = members_of(copy.deepcopy(fitted.network))
    config = replace(config, n_members=len(members))
    return _train_members(lambda member: members[member], windows, None, config, freeze)


def _train_members(
    made: Callable[[int], ForecastNetwork],
    windows: Windows,
    validation: Windows | None,
    config: TrainingConfig,
    freeze: Sequence[str],
    first_weights: Sequence[ForecastNetwork] = (),
) -> tuple[ForecastNetwork, TrainingSummary]:
    """Train every member from its own seed, one by one or as joblib is configured; Ctrl-C ends with the newest."""
    draw = check_random_state(config.random_state)
    seeds = [int(draw.randint(np.iinfo(np.int32).max)) for _ in range(config.n_members)]
    one = partial(
        _train_member, made=made, windows=windows, validation=validation, config=config, freeze=freeze,
        first_weights=first_weights,
    )  # fmt: skip
    if len(seeds) == 1:
        return one(0, seeds[0])
    networks, summaries = [], []
    for network, summary in results_of(delayed(one)(*task) for task in enumerate(seeds)):
        networks.append(network)
        summaries.append(summary)
        if summary.interrupted:
            break
    return averaged(networks), TrainingSummary.of_members(summaries)


def _train_member(
    member: int,
    seed: int,
    *,
    made: Callable[[int], ForecastNetwork],
    windows: Windows,
    validation: Windows | None,
    config: TrainingConfig,
    freeze: Sequence[str],
    first_weights: Sequence[ForecastNetwork],
) -> tuple[ForecastNetwork, TrainingSummary]:
    from samovar_forecast.training.engine import train  # Lightning is slow to import; only training needs it

    begun_with = first_weights[member % len(first_weights)] if first_weights else None
    if config.checkpoint_dir is not None:
        config = replace(config, checkpoint_dir=_checkpoint_dirs(config)[member])
    with seeded(resolve_device(config.device), seed):
        network = made(member)
        with only_training(network, freeze):
            return network, train(network, windows, validation, config, seed, begun_with)


def _checkpoint_dirs(config: TrainingConfig) -> list[str]:
    """A folder for each member; that of a single one is the one given."""
    folder = str(config.checkpoint_dir)
    return [folder] if config.n_members == 1 else [str(Path(folder) / f"member_{n}") for n in range(config.n_members)]


def _remove_checkpoints(config: TrainingConfig) -> None:
    from samovar_forecast.training.checkpoints import remove_checkpoint

    if config.checkpoint_dir is not None:
        for folder in _checkpoint_dirs(config):
            remove_checkpoint(folder)


def network_for(network_class: type[ForecastNetwork], config: TrainingConfig, data: FittedData) -> ForecastNetwork:
    """An untrained network, a single member, of the sizes that the data ask for.

    Raises
    ------
    ValueError
        If there is no memory for it.
    """
    if isinstance(config, SegmentConfig):
        config = replace(config, segment_length=data.lengths.segment)  # type: ignore[call-arg]
    try:
        return build_network(
            network_class,
            len(data.columns),
            len(data.targets),
            data.context_length,
            data.output_length,
            config,
            n_outputs=1 if config.quantiles is None else len(config.quantiles),
            n_known=len(data.known) + len(data.calendar),
            n_calendar=len(data.calendar) + (len(data.known) if data.embeds_known else 0),
            n_static=len(data.static),
        )
    except RuntimeError as error:
        if "allocate" not in str(error):
            raise
        raise ValueError(f"there is no memory for so large a network, lower its sizes: {config!r}") from error
