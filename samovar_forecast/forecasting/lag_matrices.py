"""Lag matrices and influence: how the forecast of any network answers to every past value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.scaling import Scaler
from samovar_forecast.networks.network import Covariates, ForecastNetwork
from samovar_forecast.training.batches import forecast_batch_size, kept_bytes
from samovar_forecast.training.losses import ascending

_MOST_WINDOWS, _MOST_BYTES = 64, 2**26  # of a backward pass: its windows, and what it keeps of them


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

    Windows do not meet in evaluation, so a window is put into a batch once for each of the steps of a target, and one
    backward pass gives the derivatives of all of these. Targets come one after the other, since of wide data a network
    does next to nothing for one of them; all at once where they do not meet at all.

    A network that chooses, as Autoformer does among delays, is differentiated with its choice held fixed: the
    derivative is exact wherever a small change leaves the choice as it is. A missing value has the derivative 0.

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
    output : (batch, n_targets, n_sources, context_length, n_steps) in double precision on the CPU; lag 1, the newest
        row, comes first
    """
    chosen = [*range(network.n_targets)] if targets is None else [*targets]
    by = [*range(past.shape[-1])] if sources is None else [*sources]
    steps = range(network.horizon) if steps is None else steps
    wanted = torch.cartesian_prod(torch.arange(len(past)), torch.as_tensor([*steps])).reshape(-1, 2).to(past.device)
    # Filled batch by batch: lists of gradients, and copies in another precision, would be as large once more.
    jacobian = torch.zeros(len(chosen), len(wanted), len(by), past.shape[1], dtype=torch.float64)

    def forecast(copies: Tensor, window: Tensor, targets: list[int]) -> Tensor:
        return point_forecast(network, copies, of_windows(covariates, window), targets)

    def gradient(window: Tensor, step: Tensor, targets: list[int]) -> Tensor:  # (batch, context_length, n_series)
        copies = past[window].requires_grad_()
        with torch.enable_grad():
            values = forecast(copies, window, targets)[torch.arange(len(window), device=past.device), step]
            return torch.autograd.grad(values.sum(), copies)[0].flip(1)

    together = [chosen] if network.separate else [[target] for target in chosen]
    first = wanted[:1, 0]
    kept = kept_bytes(network, lambda: forecast(past[first].requires_grad_(), first, together[0]))
    at_once = max(1, min(_MOST_WINDOWS, _MOST_BYTES // max(1, kept)))
    places = _own_places(network, chosen, by)
    for number, targets in enumerate(together):
        for begin in range(0, len(wanted), at_once):
            part = slice(begin, begin + at_once)
            found = gradient(wanted[part, 0], wanted[part, 1], targets)
            if network.separate:
                for row, column in places:
                    jacobian[row, part, column].copy_(found[..., by[column]])
            else:
                jacobian[number, part].copy_(found[..., by].transpose(1, 2))
            del found  # before the next one is made
    return jacobian.unflatten(1, (len(past), len(steps))).permute(1, 0, 3, 4, 2)


@torch.no_grad()
def change_of_forecast(
    network: ForecastNetwork,
    past: Tensor,
    covariates: Covariates | None,
    scaler: Scaler,
    *,
    targets: Sequence[int],
    sources: Sequence[int],
    steps: Sequence[int],
) -> NDArray[np.float64]:
    """By how much the forecast changes when one past value is one scale higher, for every past value in turn.

    Of some targets the network forecasts these alone, where it can.

    A difference of two forecasts and no derivative: the derivative by a series that stands still in the window is that
    of a division by nearly nothing, and says nothing of any change that the series can make.

    Parameters
    ----------
    network, past, covariates
        See `forecast_jacobian`.
    scaler : Scaler
        Of the columns, to bring forecasts to the units of the data.
    targets, sources, steps : sequence of int
        Positions of the targets, of the series that change, and of the steps.

    Shape
    -----
    past : (1, context_length, n_series), NaN where nothing was observed
    output : (n_targets, n_sources, context_length), the root mean square over the steps; lag 1 first
    """
    length = past.shape[1]
    columns = [network.n_series - network.n_targets + target for target in targets]  # the targets are the last series
    chosen = Scaler(scaler.center[columns], scaler.scale[columns], scaler.logarithmic[columns])

    def forecast(windows: Tensor, number: Tensor) -> NDArray[np.float64]:  # (batch, n_steps, n_targets)
        points = point_forecast(network, windows, of_windows(covariates, number), [*targets])
        return chosen.inverse(points.cpu().numpy()[:, [*steps]], len(targets))

    undisturbed = forecast(past, torch.zeros(1, dtype=torch.long, device=past.device))
    rows = torch.arange(length, device=past.device)
    changed = rows[:, None] if network.separate else torch.cartesian_prod(rows, torch.as_tensor([*sources]).to(rows))
    sizes = np.empty((len(changed), len(targets)))
    at_once = forecast_batch_size(network, past.device)
    for first in range(0, len(changed), at_once):
        row, *source = changed[first : first + at_once].unbind(1)  # without a source all of them change
        copies = past.repeat(len(row), 1, 1)
        copies[(torch.arange(len(row), device=past.device), row, *source)] += 1
        change = forecast(copies, torch.zeros_like(row)) - undisturbed
        sizes[first : first + at_once] = np.sqrt(np.square(change).mean(1))
    if not network.separate:
        return sizes.reshape(length, len(sources), -1).transpose(2, 1, 0)[:, :, ::-1]
    result = np.zeros((len(targets), len(sources), length))
    for target, column in _own_places(network, targets, sources):
        result[target, column] = sizes[::-1, target]
    return result


def _own_places(network: ForecastNetwork, targets: Sequence[int], sources: Sequence[int]) -> list[tuple[int, int]]:
    """Where a target is its own source, as places in both."""
    first = network.n_series - network.n_targets  # the targets are the last series
    return [
        (row, column) for row, one in enumerate(targets) for column, source in enumerate(sources)
        if source == first + one
    ]  # fmt: skip


def point_forecast(
    network: ForecastNetwork, past: Tensor, covariates: Covariates | None, targets: slice | list[int] = slice(None)
) -> Tensor:
    """What `predict` gives of a window, scaled, of some targets: (batch, horizon, n_targets)."""
    every = targets in (slice(None), [*range(network.n_targets)])
    outputs = network(past, covariates) if every else network.forecast_of(targets, past, covariates)
    return ascending(outputs)[..., network.point_output]


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
