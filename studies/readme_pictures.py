"""The two pictures of the README: a forecast with its interval, and what its weights say.

python studies/readme_pictures.py      writes docs/evidence/figures/readme_forecast.png and readme_reading.png
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from samovar_forecast import SAMoVARForecaster, datasets

FIGURES = Path(__file__).parents[1] / "docs" / "evidence" / "figures"
SERIES = "sea_celsius"
TEST = 24  # months held out


def main() -> None:
    y = datasets.load_demo()
    train = y.iloc[:-TEST]
    forecaster = SAMoVARForecaster(
        horizon=12, context_length=60, max_epochs=20, learning_rate=3e-3, random_state=0, device="cpu"
    ).fit(train)
    draw_forecast(y, forecaster)
    draw_reading(forecaster)


def draw_forecast(y: pd.DataFrame, forecaster: SAMoVARForecaster) -> None:
    forecast, interval = (
        forecaster.predict(horizon=TEST)[SERIES],
        forecaster.predict_interval(0.8, horizon=TEST)[SERIES],
    )
    figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
    axis.plot(y[SERIES].iloc[-96:], color="0.35", label="observed")
    axis.plot(forecast, color="C0", label="forecast")
    axis.fill_between(
        forecast.index, interval["lower"], interval["upper"], color="C0", alpha=0.25, label="80 % interval"
    )
    axis.set(ylabel="sea temperature, °C", ylim=(14, 33))
    axis.legend(loc="upper left", ncols=3, frameon=False)
    figure.savefig(FIGURES / "readme_forecast.png", dpi=130)


def draw_reading(forecaster: SAMoVARForecaster) -> None:
    influence = (
        forecaster.explain(lag_matrices=False).influence.sel(series=SERIES).transpose("lag", "source").to_pandas()
    )
    by_year = (influence**2).groupby((influence.index - 1) // 12 + 1).sum() ** 0.5  # changes of independent months
    figure, axis = plt.subplots(figsize=(7, 2.2), layout="constrained")
    by_year.plot.bar(ax=axis, rot=0)
    axis.set(xlabel="years back", ylabel="°C per deviation")
    axis.legend(frameon=False)
    figure.savefig(FIGURES / "readme_reading.png", dpi=130)


if __name__ == "__main__":
    main()
