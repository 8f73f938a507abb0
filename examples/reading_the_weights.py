"""Read the vector autoregression inside a trained SAMoVAR: which past drives the forecast."""

import numpy as np
import pandas as pd

from samovar_forecast import SAMoVARForecaster

# Demand follows its own day, and the temperature of twelve hours ago.
rng = np.random.default_rng(0)
index = pd.date_range("2024-01-01", periods=1000, freq="h")
temperature = pd.Series(rng.normal(size=1000)).rolling(24, min_periods=1).mean().to_numpy()
daily = np.sin(2 * np.pi * np.arange(1000) / 24)
demand = 100 + 10 * daily + 30 * np.roll(temperature, 12) + rng.normal(size=1000)
y = pd.DataFrame({"temperature": temperature, "demand": demand}, index=index)

forecaster = SAMoVARForecaster(
    horizon=12, context_length=96, targets=["demand"], d_model=32, n_heads=4, n_layers=1, max_epochs=6,
    learning_rate=5e-3, device="cpu", random_state=0,
).fit(y)  # fmt: skip
reading = forecaster.explain()

print("The forecast, taken apart (first three steps, units of demand):")
parts = pd.DataFrame(
    {
        "level and bias": reading.baseline.sel(series="demand"),
        "newest segment itself": reading.own.sel(series="demand"),
        **{
            f"segment {number}": reading.contribution.sel(series="demand", segment=number).sum("token")
            for number in reading.segment.values[:3]
        },
        "older segments": reading.contribution.sel(series="demand", segment=slice(4, None)).sum(["segment", "token"]),
        "sum": reading.forecast.sel(series="demand"),
        "predict()": forecaster.predict()["demand"].to_numpy(),
    }
)
print(parts.head(3).round(2).T.to_string(header=False))

print("\nBy how much the forecast changes if a past value were one deviation higher (lag 1 = the newest hour):")
influence = reading.influence.sel(series="demand", lag=slice(1, 16)).to_pandas()
print(influence.round(2).to_string())
