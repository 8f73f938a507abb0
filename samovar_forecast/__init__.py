"""Deep forecasters for multivariate time series, at home in pandas, sktime and darts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samovar_forecast.cluster_tables import forecast_table
    from samovar_forecast.data.stored_series import StoredSeries
    from samovar_forecast.estimator import Forecaster
    from samovar_forecast.files import datasets
    from samovar_forecast.files.model_file import ModelFileError
    from samovar_forecast.forecasters import (
        AutoformerForecaster,
        FixedVARForecaster,
        LinearAttentionForecaster,
        LinTransForecaster,
        PSFAttentionForecaster,
        SAMformerForecaster,
        SAMoVARForecaster,
    )
    from samovar_forecast.networks.network import ForecastNetwork

__all__ = [
    "AutoformerForecaster",
    "FixedVARForecaster",
    "ForecastNetwork",
    "Forecaster",
    "LinTransForecaster",
    "LinearAttentionForecaster",
    "ModelFileError",
    "PSFAttentionForecaster",
    "SAMformerForecaster",
    "SAMoVARForecaster",
    "StoredSeries",
    "datasets",
    "forecast_table",
]
__version__ = "0.1.0"

_HOMES = {
    "ForecastNetwork": "samovar_forecast.networks.network",
    "ModelFileError": "samovar_forecast.files.model_file",
    "StoredSeries": "samovar_forecast.data.stored_series",
    "forecast_table": "samovar_forecast.cluster_tables",
}


def __getattr__(name: str) -> Any:
    """Import PyTorch with the first forecaster: the command line and its help start without it."""
    if name == "datasets":
        return import_module("samovar_forecast.files.datasets")
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "samovar_forecast.forecasters")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
