"""Forecast sea surface temperature a year ahead, from every half year of a test period, beside darts' own baseline.

The monthly series of the El Niño region (1950 to 2010) comes with statsmodels.
"""

import logging

import pandas as pd
from darts import TimeSeries
from darts.metrics import mae, rmse
from darts.models import NaiveSeasonal
from statsmodels.datasets import elnino

from samovar_darts import FixedVARModel, LinTransModel, SAMoVARModel

TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


def main():
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    by_year = elnino.load_pandas().data.set_index("YEAR")
    months = pd.date_range("1950-01", periods=by_year.size, freq="MS")
    series = TimeSeries.from_times_and_values(months, by_year.to_numpy(dtype="float32").ravel(), columns=["degrees C"])
    train, test = series.split_before(0.75)

    rows = {}
    for model_class in (SAMoVARModel, LinTransModel, FixedVARModel):
        model = model_class(
            input_chunk_length=72, output_chunk_length=12, d_model=32, n_heads=4, n_layers=1, n_epochs=10,
            optimizer_kwargs={"lr": 2e-3}, random_state=0, pl_trainer_kwargs=TRAINER,
        ).fit(train)  # fmt: skip
        rows[model_class.__name__] = errors(model, series, test, retrain=False)  # all cutoffs in a few batches
    rows["NaiveSeasonal"] = errors(NaiveSeasonal(12), series, test, retrain=True)
    table = pd.DataFrame(rows, index=["MAE", "RMSE"]).T
    print(table.sort_values("MAE").round(3).to_string())
    return table


def errors(model, series, test, retrain):
    """Mean absolute and root mean squared error over all forecasts of the test period."""
    forecasts = model.historical_forecasts(
        series, start=test.start_time(), forecast_horizon=12, stride=6, retrain=retrain, last_points_only=False
    )
    return model.backtest(series, historical_forecasts=forecasts, last_points_only=False, metric=[mae, rmse])


if __name__ == "__main__":
    main()
