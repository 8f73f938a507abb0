"""How good forecasts are: metrics, baselines, tests and pictures."""

from samovar_forecast.data.lengths import season_length
from samovar_forecast.evaluation.accuracy import Evaluation, accuracy_table, evaluate
from samovar_forecast.evaluation.baselines import seasonal_naive_backtest
from samovar_forecast.evaluation.comparison import Comparison, compare
from samovar_forecast.evaluation.forecast_tests import diebold_mariano
from samovar_forecast.evaluation.metrics import (
    bias,
    coverage,
    crps,
    mae,
    mase,
    mse,
    pinball,
    rmse,
    rmsse,
    smape,
    weighted_quantile_loss,
    width,
)
from samovar_forecast.evaluation.pictures import plot_forecasts
from samovar_forecast.evaluation.tuning import Tuning, default_space, tune

__all__ = [
    "Comparison",
    "Evaluation",
    "Tuning",
    "accuracy_table",
    "bias",
    "compare",
    "coverage",
    "crps",
    "default_space",
    "diebold_mariano",
    "evaluate",
    "mae",
    "mase",
    "mse",
    "pinball",
    "plot_forecasts",
    "rmse",
    "rmsse",
    "season_length",
    "seasonal_naive_backtest",
    "smape",
    "tune",
    "weighted_quantile_loss",
    "width",
]
