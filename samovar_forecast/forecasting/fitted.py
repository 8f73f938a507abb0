"""A fitted forecaster: a trained network, what was learnt of its data, and the settings it was learnt with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samovar_forecast.data.fitted_data import FittedData
from samovar_forecast.forecasting.intervals import Calibration
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.summary import TrainingSummary


@dataclass(frozen=True, eq=False)
class Fitted:
    """Everything that `fit` makes, complete at once and never changed afterwards.

    Attributes
    ----------
    network : ForecastNetwork
        The trained network, in evaluation mode.
    data : FittedData
        Names, scaling, time axes and newest rows of the series.
    quantiles : tuple of float or None
        The quantiles that the network forecasts; None: point forecasts.
    calibration : Calibration or None
        Errors on the validation windows; None where quantiles were trained.
    summary : TrainingSummary
        Epochs, errors and time of the last training.
    hyperparameters : mapping
        Every hyperparameter as it was in `fit`.
    """

    network: ForecastNetwork
    data: FittedData
    quantiles: tuple[float, ...] | None
    calibration: Calibration | None
    summary: TrainingSummary
    hyperparameters: Mapping[str, Any]
