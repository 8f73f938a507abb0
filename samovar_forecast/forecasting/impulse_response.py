"""Impulse responses: what a shock to the newest row does to all forecasts, also of models that are not linear."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.fitted_data import FittedData, OneSeries
from samovar_forecast.data.ignored_warnings import warnings_ignored
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting.backtest import backtest, check_count, cutoff_labels, first_cutoff
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.rolling import roll_forward
from samovar_forecast.training.batches import forecast_batch_size

KINDS = ("unit", "deviation", "cholesky")


def impulse_response(
    fitted: Fitted,
    series: OneSeries,
    shock: str | pd.DataFrame,
    steps: int,
    start: Hashable | None,
    stride: int,
    coverage: float,
    model: str = "",
) -> xr.Dataset:
    """Responses of one series; see `Forecaster.impulse_response`."""
    data, frame = fitted.data, series.frame
    check_count("steps", steps)
    check_count("stride", stride)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be a number inside (0, 1), got {coverage}")
    if start is None:
        cutoffs = np.array([len(frame)])
    else:
        cutoffs = np.arange(first_cutoff(frame.index, start, data.context_length, "y"), len(frame) + 1, stride)
    scaler = data.scaler_of(series.key, frame.iloc[: cutoffs[0]])
    shocks = _shocks(fitted, series, shock, scaler)
    n_future = max(0, int(cutoffs[-1]) + steps - len(frame))
    windows = data.windows(series, cutoffs, steps, scaler, n_future=n_future)
    response = _responses(fitted, windows, scaler, shocks.to_numpy(), steps)
    dims = ("shock", "series", "step")
    units = {"units": "units of the series"}
    with warnings_ignored(category=RuntimeWarning):  # of shocks to values that are missing at all cutoffs
        mean = np.nanmean(response, axis=0)
        lower, upper = np.nanquantile(response, [0.5 - coverage / 2, 0.5 + coverage / 2], axis=0)
    return xr.Dataset(
        {
            "response": (
                ("cutoff", *dims),
                response,
                units | {"meaning": "forecast after the shock minus forecast without it; step 0 is the shock itself"},
            ),
            "mean": (dims, mean, units | {"meaning": "mean over the cutoffs"}),
            "lower": (dims, lower, units | {"meaning": f"quantile {0.5 - coverage / 2:.3g} over the cutoffs"}),
            "upper": (dims, upper, units | {"meaning": f"quantile {0.5 + coverage / 2:.3g} over the cutoffs"}),
            "size": (
                ("shock", "source"),
                shocks.to_numpy().T,
                {"units": "units of the source", "meaning": "what the shock adds to the newest row"},
            ),
        },
        {
            "cutoff": cutoff_labels(frame.index, cutoffs),
            "shock": pd.Index(shocks.columns, tupleize_cols=False),
            "series": pd.Index(data.targets, tupleize_cols=False),
            "source": pd.Index(data.columns, tupleize_cols=False),
            "step": np.arange(steps + 1),
        },
        {"model": model, "shock": shock if isinstance(shock, str) else "own", "coverage": coverage},
    )


@torch.inference_mode()
def _responses(
    fitted: Fitted, windows: Windows, scaler: Scaler, shocks: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """Differences of forecasts: (n_windows, n_shocks, n_targets, steps + 1). NaN where a missing value is shocked."""
    network, n_targets = fitted.network, len(fitted.data.targets)
    windows = windows.to(next(network.parameters()).device)
    responses = np.empty((len(windows), shocks.shape[1], n_targets, steps + 1))
    done = 0
    for starts in windows.starts.split(forecast_batch_size(network, windows.device)):
        rows = slice(done, done + len(starts))
        past = windows.past(starts)

        def forecast(past: Tensor, starts: Tensor = starts) -> NDArray[np.float64]:
            outputs = roll_forward(network, windows, starts, steps, past)[..., network.point_output]
            return scaler.inverse(outputs.cpu().numpy(), n_targets)

        without = forecast(past)
        for number, shock in enumerate(shocks.T):
            newest = past[:, -1].cpu().numpy()
            shocked = past.clone()
            shocked[:, -1] = torch.from_numpy(_shocked(scaler, newest, shock)).to(past)
            change = (forecast(shocked) - without).swapaxes(1, 2)
            responses[rows, number, :, 1:] = change
            responses[rows, number, :, 0] = shock[-n_targets:]
            responses[rows, number][np.isnan(newest[:, shock != 0]).any(1)] = np.nan
        done += len(starts)
    return responses


def _shocked(scaler: Scaler, newest: NDArray[np.float32], shock: NDArray[np.float64]) -> NDArray[np.float64]:
    """The newest rows, scaled, after a shock in the units of the data: (n_windows, n_series)."""
    values = scaler.inverse(newest, newest.shape[-1]) + shock
    if (values[:, scaler.logarithmic] <= -1).any():
        raise ValueError("the shock takes a series of which log(1 + y) is forecast to -1 or below; give a smaller one")
    return np.where(shock == 0, newest, scaler.transform(values))


def _shocks(fitted: Fitted, series: OneSeries, shock: str | pd.DataFrame, scaler: Scaler) -> pd.DataFrame:
    """One shock in each column, in the units of the data, with a row for each column of the data."""
    data = fitted.data
    columns = pd.Index(data.columns, tupleize_cols=False)
    if isinstance(shock, pd.DataFrame):
        unknown = [name for name in shock.index if name not in data.columns]
        if unknown or shock.empty or not np.isfinite(shock.to_numpy(dtype=float)).all():
            raise ValueError(
                f"a matrix of shocks has a row for each series that it moves, of {data.columns}, a column for each "
                f"shock, and numbers; got the rows {list(shock.index)} and the columns {list(shock.columns)}"
            )
        return shock.reindex(columns, fill_value=0.0).astype(float)
    if shock not in KINDS:
        raise ValueError(f"shock must be one of {KINDS} or a DataFrame, got {shock!r}")
    if shock == "unit":
        return pd.DataFrame(np.eye(len(columns)), columns, columns)
    if shock == "deviation":
        return pd.DataFrame(np.diag(_deviations(data, scaler)), columns, columns)
    errors = backtest(fitted, series, None, 1, None)
    residuals = (errors["actual"] - errors["forecast"]).isel(step=0).transpose("cutoff", "series").to_numpy()
    residuals = residuals[~np.isnan(residuals).any(1)]
    if len(residuals) <= len(data.targets):
        raise ValueError(
            f"the covariance of the errors of {len(data.targets)} series needs more than {len(residuals)} cutoffs: "
            "give y with more rows before the newest one"
        )
    factor = np.linalg.cholesky(residuals.T @ residuals / len(residuals))
    targets = pd.Index(data.targets, tupleize_cols=False)
    return pd.DataFrame(factor, targets, targets).reindex(columns, fill_value=0.0)


def _deviations(data: FittedData, scaler: Scaler) -> Any:
    """One scale of each column around its center, in the units of the data."""
    return scaler.inverse((np.ones(len(data.columns))), len(data.columns)) - scaler.inverse(
        np.zeros(len(data.columns)), len(data.columns)
    )
