"""Backtest and tune SAMoVAR with sktime's own tools, on monthly air passengers 1949-1960, which ship with sktime."""

import logging

import pandas as pd
from sktime.datasets import load_airline
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.forecasting.naive import NaiveForecaster
from sktime.split import ExpandingWindowSplitter
from sktime.transformations.boxcox import LogTransformer

from samovar_sktime import SAMoVARForecaster

logging.captureWarnings(True)  # sktime announces a change of default for each of its own objects that is made


def main() -> None:
    y = load_airline()
    years = ExpandingWindowSplitter(fh=range(1, 13), initial_window=96, step_length=12)  # 1957 to 1960, one by one
    samovar = SAMoVARForecaster(
        horizon=12, context_length=24, d_model=32, n_heads=4, n_layers=1, dropout=0.0, learning_rate=5e-3,
        max_epochs=40, validation_fraction=0.0, random_state=0, device="cpu",
    )  # fmt: skip

    results = {
        "last year again": evaluate(NaiveForecaster("last", sp=12), years, y),
        "SAMoVAR, trained anew each year": evaluate(LogTransformer() * samovar, years, y),
        "SAMoVAR, trained once": evaluate(LogTransformer() * samovar, years, y, strategy="no-update_params"),
    }
    table = pd.DataFrame(
        {
            "mean absolute percentage error": result["test_MeanAbsolutePercentageError"].mean(),
            "seconds": (result["fit_time"] + result["pred_time"]).sum(),
        }
        for result in results.values()
    )
    print(table.set_index(pd.Index(results)).round(3).to_string())

    search = ForecastingGridSearchCV(
        LogTransformer() * samovar,
        cv=ExpandingWindowSplitter(fh=range(1, 13), initial_window=84, step_length=12),
        param_grid={"SAMoVARForecaster__context_length": [24, 36]},
        backend="None",
    ).fit(y[:"1958"])
    forecast = search.predict(fh=range(1, 13))
    error = ((forecast - y["1959"]).abs() / y["1959"]).mean()
    print(f"\nbest of the grid up to 1958: {search.best_params_}; error in 1959: {error:.3f}")


if __name__ == "__main__":
    main()
