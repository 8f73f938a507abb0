"""How good forecasts are: errors, baselines and pictures."""
