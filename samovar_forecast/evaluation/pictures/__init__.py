"""Pictures of forecasts, errors and readings, in one style; each returns a figure, and most draw into given axes."""

from samovar_forecast.evaluation.pictures.errors import plot_calibration, plot_errors_by_step, plot_losses
from samovar_forecast.evaluation.pictures.forecasts import MOST_FORECASTS, plot_forecast, plot_forecasts
from samovar_forecast.evaluation.pictures.readings import (
    plot_attention,
    plot_contributions,
    plot_impulse_responses,
    plot_influence_paths,
    plot_lag_matrices,
)
from samovar_forecast.evaluation.pictures.style import COLORS, MOST_PANELS

__all__ = [
    "COLORS",
    "MOST_FORECASTS",
    "MOST_PANELS",
    "plot_attention",
    "plot_calibration",
    "plot_contributions",
    "plot_errors_by_step",
    "plot_forecast",
    "plot_forecasts",
    "plot_impulse_responses",
    "plot_influence_paths",
    "plot_lag_matrices",
    "plot_losses",
]
