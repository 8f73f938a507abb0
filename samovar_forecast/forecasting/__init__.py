"""What a trained network forecasts: points, quantiles, backtests, updates and readings."""
