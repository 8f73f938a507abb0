"""Deep forecasters for multivariate time series, at home in pandas, sktime and darts."""

from samovar_forecast.forecasters import FixedVARForecaster, LinTransForecaster, SAMoVARForecaster

__all__ = ["FixedVARForecaster", "LinTransForecaster", "SAMoVARForecaster"]
__version__ = "0.1.0"
