"""Lag matrices and influence: how the forecast of any network answers to every past value."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.scaling import Scaler
from samovar_forecast.networks.network import Covariates, ForecastNetwork
from samovar_forecast.training.batches import forecast_batch_size
from samovar_forecast.training.losses import ascending

_MOST_POINTS = 2**19  # of the windows that one backward pass goes through


def forecast_jacobian(
    network: ForecastNetwork,
    past: Tensor,
    covariates: Covariates | None = None,
    *,
    targets: Sequence[int] | None = None,
    sources: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> Tensor:
    """The derivative of the point forecast by every past value, through everything that the network does.

    Windows do not meet in evaluation, so a window is put into a batch once for each of its forecast values, and one
    backward pass gives the derivatives of all of these. A network that chooses, as Autoformer does among delays, is
    differentiated with its choice held fixed: the derivative is exact wherever a small change leaves the choice as it
    is. A missing value has the derivative 0.

    Parameters
    ----------
    network : ForecastNetwork
        In evaluation mode.
    past : Tensor
        Windows, NaN where nothing was observed.
    covariates : Covariates or None
        Those of the windows.
    targets, sources, steps : sequence of int or None
        Positions of the targets and steps to differentiate, and of the series by whose past. None: all.

    Shape
    -----
    past : (batch, context_length, n_series)
    output : (batch, n_targets, n_sources, context_length, n_steps); lag 1, the newest row, comes first
    """
    by = slice(None) if sources is None else torch.as_tensor([*sources], device=past.device)
    targets = range(network.n_targets) if targets is None else targets
    steps = range(network.horizon) if steps is None else steps
    wanted = torch.cartesian_prod(torch.arange(len(past)), torch.as_tensor([*targets]), torch.as_tensor([*steps]))
    wanted = wanted.reshape(-1, 3).to(past.device)
    at_once = max(1, min(64, _MOST_POINTS // (network.context_length * network.n_series)))
    gradients = []
    for window, target, step in (part.unbind(1) for part in wanted.split(at_once)):
        copies = past[window].requires_grad_()
        with torch.enable_grad():
            forecast = point_forecast(network, copies, of_windows(covariates, window))
            chosen = forecast[torch.arange(len(window), device=past.device), step, target]
            gradients.append(torch.autograd.grad(chosen.sum(), copies)[0][..., by])
    jacobian = torch.cat(gradients).unflatten(0, (len(past), len(targets), len(steps)))
    return jacobian.permute(0, 1, 4, 3, 2).flip(3)


@torch.no_grad()
def change_of_forecast(
    network: ForecastNetwork,
    past: Tensor,
    covariates: Covariates | None,
    in_units: Callable[[NDArray[np.float32]], NDArray[np.float64]],
    *,
    targets: Sequence[int],
    sources: Sequence[int],
    steps: Sequence[int],
) -> NDArray[np.float64]:
    """By how much the forecast changes when one past value is one scale higher, for every past value in turn.

    A difference of two forecasts and no derivative: the derivative by a series that stands still in the window is that
    of a division by nearly nothing, and says nothing of any change that the series can make.

    Parameters
    ----------
    network, past, covariates
        See `forecast_jacobian`.
    in_units : callable
        Scaled forecasts to the units of the data.
    targets, sources, steps : sequence of int
        Positions of the targets, of the series that change, and of the steps.

    Shape
    -----
    past : (1, context_length, n_series), NaN where nothing was observed
    output : (n_targets, n_sources, context_length), the root mean square over the steps; lag 1 first
    """
    length = past.shape[1]

    def forecast(windows: Tensor, number: Tensor) -> NDArray[np.float64]:  # (batch, n_steps, n_targets)
        points = point_forecast(network, windows, of_windows(covariates, number)).cpu().numpy()
        return in_units(points)[:, steps][:, :, targets]

    undisturbed = forecast(past, torch.zeros(1, dtype=torch.long, device=past.device))
    changed = torch.cartesian_prod(torch.as_tensor([*sources]), torch.arange(length)).to(past.device)
    sizes = []
    for source, row in (part.unbind(1) for part in changed.split(forecast_batch_size(network, past.device))):
        copies = past.repeat(len(row), 1, 1)
        copies[torch.arange(len(row), device=past.device), row, source] += 1
        change = forecast(copies, torch.zeros_like(row)) - undisturbed
        sizes.append(np.sqrt(np.square(change).mean(1)))
    return np.concatenate(sizes).reshape(len(sources), length, -1).transpose(2, 0, 1)[:, :, ::-1]


def point_forecast(network: ForecastNetwork, past: Tensor, covariates: Covariates | None) -> Tensor:
    """What `predict` gives of a window, scaled: (batch, horizon, n_targets)."""
    return ascending(network(past, covariates))[..., network.point_output]


def of_windows(covariates: Covariates | None, number: Tensor) -> Covariates | None:
    """Covariates of a batch that holds the windows of these numbers."""
    if covariates is None:
        return None
    return Covariates(*(None if one is None else one[number] for one in covariates))


def slopes(
    scaler: Scaler, past: NDArray[np.float32], forecast: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The derivatives of past values in the units of the data, scaled, and of scaled forecasts, in these units.

    Both are constant but for logarithmic columns. A value that is missing has the first derivative 0.

    Shape
    -----
    past : (..., context_length, n_series), scaled
    forecast : (..., horizon, n_targets), scaled
    output : the same shapes
    """
    n_targets = forecast.shape[-1]
    log, scale, center = scaler.logarithmic, scaler.scale, scaler.center
    observed = np.nan_to_num(past.astype(np.float64))
    inner = np.where(log, np.exp(-np.where(log, observed * scale + center, 0.0)), 1.0) / scale
    outer = np.where(log[-n_targets:], 1 + scaler.inverse(forecast, n_targets), 1.0) * scale[-n_targets:]
    return np.where(np.isnan(past), 0.0, inner), outer


def trace_of_segments(lag_matrix: xr.DataArray, length: int) -> xr.DataArray:
    """Mean coefficient at whole segments before each step: lag matrices of a vector autoregression on segments.

    The point i of the forecast segment and the point i of a past segment lie a whole number of segments apart. Of the
    matrix between both segments this is the trace divided by `length`: the coefficient of the same point 1, 2, ...
    segments earlier. With ``length=1`` it is the lag matrix of the first step.

    Parameters
    ----------
    lag_matrix : DataArray
        Of `Forecaster.explain`, with the steps 1 to at least `length`.
    length : int
        Rows in a segment: a season, say.

    Returns
    -------
    DataArray
        Dimensions series, source and segment; segment 1 is the newest.

    Raises
    ------
    ValueError
        If there are fewer than `length` steps or lags.

    Examples
    --------
    >>> matrix = xr.DataArray(np.zeros((1, 1, 4, 2)), dims=("series", "source", "lag", "step"),
    ...                       coords={"lag": [1, 2, 3, 4], "step": [1, 2]})
    >>> matrix.loc[{"step": 1, "lag": 2}], matrix.loc[{"step": 2, "lag": 1}] = 0.5, 0.7  # two rows before the step
    >>> trace_of_segments(matrix, length=2).values
    array([[[0.6, 0. ]]])
    """
    n_segments = lag_matrix.sizes["lag"] // max(1, length)
    if length < 1 or n_segments < 1 or lag_matrix.sizes["step"] < length:
        raise ValueError(
            f"length must be from 1 to the {lag_matrix.sizes['step']} steps and {lag_matrix.sizes['lag']} lags, "
            f"got {length}"
        )
    steps = xr.DataArray(np.arange(1, length + 1), dims="point")
    segments = xr.DataArray(np.arange(1, n_segments + 1), dims="segment", coords={"segment": range(1, n_segments + 1)})
    found = lag_matrix.sel(step=steps, lag=segments * length - steps + 1).mean("point")
    return found.drop_vars(["lag", "step"], errors="ignore").transpose("series", "source", "segment")


def per_deviation(reading: xr.Dataset) -> xr.DataArray:
    """Lag matrices per standard deviation of the source in training: `lag_matrix` times its scale.

    Parameters
    ----------
    reading : Dataset
        Of `Forecaster.explain`.
    """
    return (reading["lag_matrix"] * reading["scale"]).assign_attrs(
        units="units of the series", meaning="change of the forecast per standard deviation of the source in training"
    )
