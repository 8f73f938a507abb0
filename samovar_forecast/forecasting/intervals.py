"""Intervals around point forecasts: conformal calibration, and quantiles beyond the horizon of training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting.rolling import forecast
from samovar_forecast.networks.network import ForecastNetwork

MOST_WINDOWS = 2_000  # evenly spaced over the validation rows; more change little and cost a forecast each
MOST_TRAINED = 200  # where nothing is held out: errors on windows that were trained on are too small, however many
MOST_ERRORS = 2**25  # of all windows together, a quarter of a gigabyte: wide data are judged by fewer windows
_COVERAGES = np.linspace(0, 1, 201)


@dataclass(frozen=True)
class Calibration:
    """How far forecasts were off, per step and target, as multiples of each window's own `activity`.

    The intervals widen and narrow with how much the context moves, so they travel between months that are easier
    and harder than those of the calibration.

    Attributes
    ----------
    scores : ndarray
        Quantiles of the absolute errors, as multiples of the activity, at coverages evenly spread over [0, 1].
    floor : ndarray
        Smallest activity that counts, so that a constant context has an interval too.
    n_windows : int
        Windows behind the scores. They overlap, so they say less than as many independent ones.
    held_out : bool
        Whether the network had not been trained on those windows.

    Shape
    -----
    scores : (n_coverages, horizon, n_targets)
    floor : (n_targets,)

    References
    ----------
    Lei et al., "Distribution-free predictive inference for regression", JASA 2018, section on locally weighted
    conformal inference.
    """

    scores: NDArray[np.float64]
    floor: NDArray[np.float64]
    n_windows: int
    held_out: bool

    def spread(self, levels: Sequence[float], activity: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
        """Distance of each quantile from the point forecast, on the scale of the network.

        Beyond the horizon the spread of its last step grows with the square root of the step, as a random
        walk's does.

        Shape
        -----
        activity : (n_cutoffs, n_targets)
        output : (n_cutoffs, steps, n_targets, n_levels), ascending in the levels
        """
        signed = 2 * np.asarray(levels, dtype=np.float64) - 1
        coverage = np.abs(signed)
        if not self.held_out:
            warnings.warn(
                "the intervals come from errors on the training windows, because validation_fraction held out no "
                "horizon: they are too narrow; hold out more rows, or train quantiles",
                stacklevel=4,
            )
        elif coverage.max() * (self.n_windows + 1) > self.n_windows:
            warnings.warn(
                f"{self.n_windows} validation windows tell nothing beyond a coverage of "
                f"{self.n_windows / (self.n_windows + 1):.3g}: the widest error among them is used",
                stacklevel=4,
            )
        horizon = self.scores.shape[1]
        position = np.interp(coverage, _COVERAGES, np.arange(len(_COVERAGES)))
        low = position.astype(int)
        high = np.minimum(low + 1, len(_COVERAGES) - 1)
        part = (position - low)[:, None, None]
        scores = self.scores[low] * (1 - part) + self.scores[high] * part  # (n_levels, horizon, n_targets)
        step = np.arange(1, steps + 1)
        growth = np.sqrt(np.maximum(step, horizon) / horizon)
        scores = scores[:, np.minimum(step, horizon) - 1] * growth[:, None] * np.sign(signed)[:, None, None]
        return scores.transpose(1, 2, 0) * np.maximum(activity, self.floor)[:, None, :, None]


def calibrate(network: ForecastNetwork, windows: Windows, *, held_out: bool) -> Calibration:
    """Measure the errors of a trained network on windows, not on all of them where there are many.

    That of a coverage c is the error with the rank ``ceil(c (n + 1))`` among n, so that a further window is
    covered with probability c at least, were the windows exchangeable.
    """
    starts = windows.starts.cpu()
    most = MOST_WINDOWS if held_out else MOST_TRAINED
    n_windows = min(len(starts), most, max(100, MOST_ERRORS // (windows.horizon * windows.n_targets)))
    windows = windows.to(torch.device("cpu")).at(starts[torch.linspace(0, len(starts) - 1, n_windows).long()])
    n_targets, horizon, cutoffs = windows.n_targets, windows.horizon, windows.cutoffs
    outputs = forecast(network, windows, horizon)
    point = outputs[..., network.point_output].astype(np.float64)
    rows = (cutoffs.unsqueeze(1) + torch.arange(horizon)).numpy()
    errors = np.abs(windows.values[:, -n_targets:].numpy()[rows] - point)  # (n_windows, horizon, n_targets)
    active = activity(windows.values, cutoffs, windows.context_length, horizon, n_targets)
    floor = np.maximum(0.1 * np.median(active, axis=0), 1e-12)
    errors = errors / np.maximum(active, floor)[:, None, :]
    return Calibration(_quantiles(errors), floor, n_windows, held_out)


def activity(values: Tensor, cutoffs: Tensor, context_length: int, horizon: int, n_targets: int) -> NDArray[np.float64]:
    """How much each target moved in front of each cutoff: a deviation to which the newest rows contribute most.

    A quarter of the variance is that of the whole context, three quarters that of its newest `horizon` rows, over
    what was observed; where that is less than two of the newest rows, all of it is that of the context. Of the
    scales that were tried (docs/intervals.md) this one travels best.

    Shape
    -----
    values : (n_rows, n_series)
    cutoffs : (n_cutoffs,)
    output : (n_cutoffs, n_targets)

    Examples
    --------
    >>> activity(torch.tensor([[0.0], [torch.nan], [2.0], [9.0]]), torch.tensor([3]), 3, 3, 1)
    array([[1.]])
    """
    contexts = np.lib.stride_tricks.sliding_window_view(values[:, -n_targets:].numpy(), context_length, axis=0)
    variances = np.empty((len(cutoffs), n_targets))
    for number, cutoff in enumerate(cutoffs.tolist()):  # one by one: all contexts together may not fit in memory
        context = contexts[cutoff - context_length].astype(np.float64)  # (n_targets, context_length)
        whole, newest = _variance(context), context[:, -horizon:]
        moving = np.where((~np.isnan(newest)).sum(1) > 1, _variance(newest), whole)
        variances[number] = 0.25 * whole + 0.75 * moving
    return np.sqrt(variances)


def _variance(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of what was observed in each row, 0 of fewer than two points."""
    observed = ~np.isnan(rows)
    count = observed.sum(1, keepdims=True).clip(1)
    mean = np.where(observed, rows, 0).sum(1, keepdims=True) / count
    return (np.where(observed, rows - mean, 0) ** 2).sum(1) / count[:, 0]


def _quantiles(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of the observed errors at every coverage: (n_coverages, horizon, n_targets).

    A step of a target that no window observes gets those of all its steps; a target that none observes, those of all
    targets.
    """
    found = _ranked(errors)
    for pooled in (errors.reshape(-1, 1, errors.shape[2]), errors.reshape(-1, 1, 1)):
        found = np.where(np.isnan(found), _ranked(pooled), found)
    return found


def _ranked(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The error of every coverage, NaN where none is observed: (n, ...) to (n_coverages, ...)."""
    count = (~np.isnan(errors)).sum(axis=0)
    rank = np.ceil(np.multiply.outer(_COVERAGES, count + 1) - 1e-9)  # 0.8 * 100 is a little more than 80
    return np.take_along_axis(np.sort(errors, axis=0), rank.clip(1, count.clip(1)).astype(int) - 1, axis=0)


def interpolate_levels(
    outputs: NDArray[np.float32], trained: Sequence[float], wanted: Sequence[float]
) -> NDArray[np.float64]:
    """Quantiles at the wanted levels, linear between those that were trained.

    Raises
    ------
    ValueError
        If a level lies outside the trained ones.

    Shape
    -----
    outputs : (..., n_trained)
    output : (..., n_wanted)

    Examples
    --------
    >>> interpolate_levels(np.array([1.0, 2.0, 4.0]), (0.1, 0.5, 0.9), (0.3, 0.9)).round(6)
    array([1.5, 4. ])
    """
    # 0.5 - 0.8 / 2 is a little less than 0.1
    outside = [level for level in wanted if not trained[0] - 1e-9 <= level <= trained[-1] + 1e-9]
    if outside:
        raise ValueError(
            f"quantiles {outside} lie outside those that were trained, {tuple(trained)}; train them: quantiles=(...)"
        )
    weights = np.stack([np.interp(wanted, trained, row) for row in np.eye(len(trained))])  # (n_trained, n_wanted)
    return outputs.astype(np.float64) @ weights


def widen_beyond_horizon(outputs: NDArray[np.float32], horizon: int, point_output: int) -> NDArray[np.float32]:
    """Quantiles of forecasts that rolled forward on their own medians, widened by what those leave out.

    Behind the first horizon every forecast takes the medians before it for observed. The distance of a quantile
    from the median is combined with that of the last step of the block before, as deviations of independent
    errors are.

    Shape
    -----
    outputs, output : (n_cutoffs, steps, n_targets, n_outputs)
    """
    if outputs.shape[1] <= horizon or outputs.shape[3] == 1:
        return outputs
    point = outputs[..., point_output : point_output + 1]
    distance = outputs - point
    for first in range(horizon, outputs.shape[1], horizon):
        block = distance[:, first : first + horizon]
        before = distance[:, first - 1 : first]
        distance[:, first : first + horizon] = np.sign(block + before) * np.sqrt(block**2 + before**2)
    return point + distance
