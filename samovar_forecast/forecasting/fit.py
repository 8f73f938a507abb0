"""From data to a fitted forecaster: learn the data, train a network on their windows, measure its errors."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from samovar_forecast.data.fitted_data import FittedData, TrainingData, learn
from samovar_forecast.data.lengths import Lengths, choose_context, choose_output, choose_segment
from samovar_forecast.data.season import season_length
from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.intervals import calibrate
from samovar_forecast.networks.covariate_network import build_network
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.networks.segment_network import SegmentConfig
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.devices import resolve_device
from samovar_forecast.training.fine_tuning import only_training, take_weights
from samovar_forecast.training.random_state import seeded
from samovar_forecast.training.split import check_enough_rows, split_windows, training_rows, window_cutoffs
from samovar_forecast.training.summary import TrainingSummary


def fit(
    network_class: type[ForecastNetwork],
    config: TrainingConfig,
    hyperparameters: Mapping[str, Any],
    training: TrainingData,
    source: Fitted | None = None,
    freeze: Sequence[str] = (),
) -> Fitted:
    """Train a network on checked data.

    Parameters
    ----------
    network_class : type
        The network.
    config : TrainingConfig
        Hyperparameters of training and of the network.
    hyperparameters : mapping
        A copy of all of them, which is kept.
    training : TrainingData
    source : Fitted or None
        Begin with its weights.
    freeze : sequence of str
        Modules of the network that keep their weights.

    Raises
    ------
    ValueError
        If the data hold too few rows, or the weights of `source` do not fit.
    """
    # Lightning is slow to import; only training needs it.
    from samovar_forecast.training.checkpoints import remove_checkpoint
    from samovar_forecast.training.engine import train

    lengths, n_training = _lengths_and_training_rows(training, config, source)
    cutoffs = partial(window_cutoffs, context_length=lengths.context, horizon=lengths.output)
    data, every = learn(training, n_training, int(config.horizon), lengths, config.scaler, config.log1p, cutoffs)
    n_held_out = [n_rows - n for n_rows, n in zip(training.lengths, n_training, strict=True)]
    windows, validation = split_windows(every, n_held_out)
    with seeded_by(config) as seed:
        network = network_for(network_class, config, data)
        begun_with = None
        if source is not None:
            begun_with = source.network
            take_weights(network, begun_with)
        with only_training(network, freeze):
            summary = train(network, windows, validation, config, seed, begun_with)
    calibration = None
    if config.quantiles is None:
        calibration = calibrate(network, validation or windows, data.horizon, held_out=validation is not None)
    if config.checkpoint_dir is not None and not summary.interrupted:
        remove_checkpoint(config.checkpoint_dir)
    quantiles = None if config.quantiles is None else tuple(config.quantiles)
    return Fitted(network, data, quantiles, calibration, summary, hyperparameters)


def train_further(
    fitted: Fitted, config: TrainingConfig, windows: Windows, freeze: Sequence[str]
) -> tuple[ForecastNetwork, TrainingSummary]:
    """A copy of the network, trained on windows; a training that fails leaves the old weights."""
    from samovar_forecast.training.engine import train

    network = copy.deepcopy(fitted.network)
    with seeded_by(config) as seed, only_training(network, freeze):
        return network, train(network, windows, None, config, seed)


def _lengths_and_training_rows(
    training: TrainingData, config: TrainingConfig, source: Fitted | None
) -> tuple[Lengths, list[int]]:
    """What is given, else what the source has, else what the data decide; and the rows of each series that train."""
    season = season_length(training.frequency)
    known = None if source is None else source.data.lengths
    output = config.output_length or (known.output if known else choose_output(config.horizon, season))
    n_training = training_rows(training.lengths, output, config.validation_fraction)
    context = config.context_length or (known.context if known else choose_context(output, season, max(n_training)))
    segment = config.segment_length if isinstance(config, SegmentConfig) else None
    segment = segment or (known.segment if known else choose_segment(context, output, season))
    lengths = Lengths(int(context), int(output), int(segment))
    check_enough_rows(max(n_training), lengths, config.validation_fraction)
    return lengths, n_training


def network_for(network_class: type[ForecastNetwork], config: TrainingConfig, data: FittedData) -> ForecastNetwork:
    """An untrained network of the sizes that the data ask for.

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
            n_static=len(data.static),
        )
    except RuntimeError as error:
        if "allocate" not in str(error):
            raise
        raise ValueError(f"there is no memory for so large a network, lower its sizes: {config!r}") from error


@contextmanager
def seeded_by(config: TrainingConfig) -> Iterator[int]:
    """Draw a seed from `random_state` and run under it; the caller's random state comes back afterwards."""
    seed = int(check_random_state(config.random_state).randint(np.iinfo(np.int32).max))
    with seeded(resolve_device(config.device), seed):
        yield seed
