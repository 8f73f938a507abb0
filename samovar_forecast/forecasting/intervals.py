"""Intervals around point forecasts: conformal calibration, and quantiles beyond the horizon of training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting.activity import N_KINDS, UNOBSERVED, Activity, activity
from samovar_forecast.forecasting.conformal_scores import COVERAGES, LEAST_WINDOWS, curves_of, quantiles_of
from samovar_forecast.forecasting.rolling import forecast
from samovar_forecast.networks.network import ForecastNetwork

MOST_WINDOWS = 2_000  # evenly spaced over the validation rows; more change little and cost a forecast each
MOST_OF_SERIES = 50  # a panel of many series has more windows than that, so that each series has some
MOST_TRAINED = 200  # where nothing is held out: errors on windows that were trained on are too small, however many
MOST_ERRORS = 2**25  # of all windows together, a quarter of a gigabyte: wide data are judged by fewer windows
LEAST_HORIZONS = 4  # rows that the windows of one series must span to be scored apart: windows that overlap agree
N_PAIRS = 4_096  # of rows that are drawn to see how far apart two values of a series are
FLOOR = 0.1  # of the deviation of a series: the smallest scale of an error
ROUNDING = 1e-5  # of the deviation of a series: forecasts differ by as much from one device or batch to another


class AtCoverage(NamedTuple):
    """What a calibration says at one coverage.

    Shape
    -----
    scores : (n_curves, steps)
    normal : (), of a normal distribution with the deviation 1
    unconditional : (n_targets,)
    growth : (steps,), 1 up to the horizon
    """

    scores: NDArray[np.float64]
    normal: float
    unconditional: NDArray[np.float64]
    growth: NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Errors of forecasts per step and target, relative to the deviation of each context.

    Relative errors let intervals widen and narrow with the context. Contexts of different kinds and series with
    enough windows of their own are scored apart (a Mondrian taxonomy), so that those which stand still decide nothing
    about those which move, and one series nothing about another.

    Attributes
    ----------
    scores : ndarray
        Curves: quantiles of the absolute relative errors at coverages evenly spread over [0, 1].
    curve : ndarray
        Number of the curve for each series of a panel in the order of training, kind of context, and target. The
        last row is that of any other series, and the only one where training had a single series.
    unseen : ndarray
        Kinds of contexts that the windows had too few of. Their errors are at least those of normal values with the
        deviation of the context.
    windows : ndarray
        Windows that each curve comes from. They overlap, so they say less than as many independent ones.
    unconditional : ndarray
        Quantiles of the distance between two rows of one series, for contexts without a value.
    deviation : ndarray
        Standard deviation of the targets on the scale of the network, about 1 of standardised series.
    n_windows : int
        All windows together.
    held_out : bool
        Whether the network had not been trained on those windows.

    Shape
    -----
    scores : (n_curves, n_coverages, horizon)
    curve : (n_series + 1 or 1, n_kinds, n_targets)
    unseen : (n_kinds, n_targets)
    windows : (n_curves,)
    unconditional : (n_coverages, n_targets)
    deviation : (n_targets,)

    References
    ----------
    Lei et al., "Distribution-free predictive inference for regression", JASA 2018, section on locally weighted
    conformal inference. Vovk, Gammerman & Shafer, "Algorithmic learning in a random world", 2005, section 4.5 on
    Mondrian conformal predictors. Boström & Johansson, "Mondrian conformal regressors", COPA 2020. Ding et al.,
    "Class-conditional conformal prediction with many classes", NeurIPS 2023, for classes with few members.
    """

    scores: NDArray[np.float32]
    curve: NDArray[np.int64]
    unseen: NDArray[np.bool_]
    windows: NDArray[np.int64]
    unconditional: NDArray[np.float64]
    deviation: NDArray[np.float64]
    n_windows: int
    held_out: bool

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays for a model file, by name."""
        names = ("scores", "curve", "unseen", "windows", "unconditional", "deviation")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        horizon: int,
        n_targets: int,
        n_series: int,
        n_windows: int,
        held_out: bool,
    ) -> Calibration:
        """The calibration of a model file.

        Older files hold one curve per target, `scores` (n_coverages, horizon, n_targets), and `floor` (n_targets,), a
        tenth of the median deviation of the contexts. They do not say how far two rows are apart: the last step's
        error at that deviation stands for it.

        Raises
        ------
        ValueError
            If the arrays are not of the size that horizon, targets and series ask for.
        """
        n_coverages = len(COVERAGES)
        if "curve" not in arrays:
            scores, floor = arrays["scores"], arrays["floor"]
            if scores.shape != (n_coverages, horizon, n_targets) or floor.shape != (n_targets,):
                raise ValueError("scores and floor are not of the size that its columns ask for")
            return cls(
                scores=scores.transpose(2, 0, 1).astype(np.float32),
                curve=np.tile(np.arange(n_targets), (1, N_KINDS, 1)),
                unseen=np.zeros((N_KINDS, n_targets), dtype=bool),
                windows=np.full(n_targets, n_windows),
                unconditional=scores[:, -1].astype(np.float64) * floor / FLOOR,
                deviation=floor / FLOOR,
                n_windows=n_windows,
                held_out=held_out,
            )
        n_curves, n_rows = len(arrays["scores"]), n_series + 1 if n_series > 1 else 1
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            "scores": (np.float32, (n_curves, n_coverages, horizon)),
            "curve": (np.int64, (n_rows, N_KINDS, n_targets)),
            "unseen": (np.bool_, (N_KINDS, n_targets)),
            "windows": (np.int64, (n_curves,)),
            "unconditional": (np.float64, (n_coverages, n_targets)),
            "deviation": (np.float64, (n_targets,)),
        }
        wrong = [name for name, form in expected.items() if (arrays[name].dtype, arrays[name].shape) != form]
        curve = arrays["curve"]
        if wrong or curve.min() < 0 or curve.max() >= n_curves:
            raise ValueError(f"{wrong or ['curve']} are not of the size that its columns and series ask for")
        return cls(**{name: arrays[name] for name in expected}, n_windows=n_windows, held_out=held_out)

    def spread(
        self,
        levels: Sequence[float],
        activity: Activity,
        steps: int,
        series: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Distance of each quantile from the point forecast, on the scale of the network.

        Beyond the horizon the spread of its last step grows with the square root of the step, as a random walk's
        does. A context without a value has the distance between two rows of the series that are drawn at random.

        Parameters
        ----------
        levels : sequence of float
            Levels of the quantiles.
        activity : Activity
            Of the contexts.
        steps : int
            Steps of the forecast.
        series : ndarray or None
            Position of the series of each cutoff among those of training, -1 for a series that training did not see.
            None: -1 for all.

        Shape
        -----
        series : (n_cutoffs,)
        output : (n_cutoffs, steps, n_targets, n_levels), ascending in the levels
        """
        signed = 2 * np.asarray(levels, dtype=np.float64) - 1
        coverage = np.abs(signed)
        n_cutoffs, n_targets = activity.deviation.shape
        series = np.full(n_cutoffs, -1) if series is None or len(self.curve) == 1 else series
        kind = activity.kind(self.deviation)
        curve = self.curve[series[:, None], kind, np.arange(n_targets)]  # (n_cutoffs, n_targets)
        self._warn(coverage, int(self.windows[curve].min()))
        scale = np.maximum(activity.deviation, FLOOR * self.deviation)
        unseen, unobserved = self.unseen[kind, np.arange(n_targets)], kind == UNOBSERVED
        spread = np.empty((n_cutoffs, steps, n_targets, len(coverage)))
        for number, one in enumerate(coverage):
            at = self.at(one, steps)
            distance = at.scores[curve].swapaxes(1, 2)  # (n_cutoffs, steps, n_targets)
            distance = np.where(unseen[:, None], np.maximum(distance, at.normal), distance) * scale[:, None]
            distance = np.where(unobserved[:, None], at.unconditional, distance)
            distance += ROUNDING * self.deviation  # contexts that stand still have errors that are exactly those here
            spread[..., number] = np.sign(signed[number]) * at.growth[:, None] * distance
        return spread

    def at(self, coverage: float, steps: int) -> AtCoverage:
        """The scores at one coverage, for so many steps."""
        horizon = self.scores.shape[2]
        step = np.arange(1, steps + 1)
        return AtCoverage(
            _at_coverage(self.scores, coverage, axis=1)[:, np.minimum(step, horizon) - 1],
            NormalDist().inv_cdf(0.5 + min(coverage, COVERAGES[-2]) / 2),
            _at_coverage(self.unconditional, coverage, axis=0),
            np.sqrt(np.maximum(step, horizon) / horizon),
        )

    def warn_at(self, coverage: float) -> None:
        """Warn as `spread` does, of the worst that any context can meet."""
        self._warn(np.array([coverage]), int(self.windows[self.curve].min()))

    def _warn(self, coverage: NDArray[np.float64], n_windows: int) -> None:
        if not self.held_out:
            warnings.warn(
                "the intervals come from errors on the training windows, because validation_fraction held out no "
                "horizon: they are too narrow; hold out more rows, or train quantiles",
                stacklevel=5,
            )
        elif coverage.max() * (n_windows + 1) > n_windows:
            warnings.warn(
                f"{n_windows} validation windows tell nothing beyond a coverage of "
                f"{n_windows / (n_windows + 1):.3g}: the widest error among them is used",
                stacklevel=5,
            )


def calibrate(network: ForecastNetwork, windows: Windows, steps: int, *, held_out: bool) -> Calibration:
    """Measure the errors of a trained network on windows, not on all of them where there are many.

    The forecasts have `steps` steps, or as many as half of the windows have rows after them: beyond what the network
    forecasts at once they are rolled forward.

    The score of a coverage c is the error with the rank ``ceil(c (n + 1))`` among the n of its category, so that a
    further window of that category is covered with probability c at least, were its windows exchangeable. A category
    is a kind of context of one series; one with few windows shares those of its kind in all series, and where these
    are few too, all windows of the target.
    """
    windows = windows.to(torch.device("cpu"))
    left = windows.rows_left()
    horizon = max(windows.horizon, min(steps, int(left.median())))
    windows = windows.at(windows.starts[left >= horizon])
    n_targets, block = windows.n_targets, windows.block
    n_series = 1 if block is None else int(block.max()) + 1
    most = MOST_WINDOWS if held_out else MOST_TRAINED
    if held_out and n_series > 1:
        most = max(most, MOST_OF_SERIES * n_series)
    most = min(most, max(100, MOST_ERRORS // (horizon * n_targets)))
    n_available, windows = len(windows), windows.at(windows.starts[evenly_spaced(len(windows), most)])
    series, cutoffs = windows.blocks, windows.cutoffs
    outputs = forecast(network, windows, horizon)
    point = outputs[..., network.point_output].astype(np.float64)
    targets = windows.values[:, -n_targets:].numpy()
    rows = (cutoffs.unsqueeze(1) + torch.arange(horizon)).numpy()
    errors = np.abs(targets[rows] - point)  # (n_windows, horizon, n_targets)

    # Of the training rows: a shift among the held-out ones does not change what counts as restless.
    ends = np.full(n_series, len(targets))
    if held_out:
        np.minimum.at(ends, series.numpy(), cutoffs.numpy())
    distances = _distances(targets, np.zeros(len(targets), dtype=int) if block is None else block.numpy(), ends)
    counted = np.isfinite(distances)
    squares = np.where(counted, distances, 0) ** 2
    deviation = np.sqrt(squares.sum(0) / 2 / counted.sum(0).clip(1))  # that of one value is half the mean square
    deviation[deviation == 0] = 1.0
    active = activity(windows.values, cutoffs, windows.context_length, windows.horizon, n_targets)
    errors /= np.maximum(active.deviation, FLOOR * deviation)[:, None]
    kind = active.kind(deviation)
    errors.swapaxes(1, 2)[kind == UNOBSERVED] = np.nan  # they say nothing about contexts with values
    rows_apart = n_available / len(windows)
    least_of_series = max(LEAST_WINDOWS, math.ceil(LEAST_HORIZONS * horizon / rows_apart))
    scores, curve, unseen, of_curve = curves_of(errors, kind, series.numpy(), n_series, least_of_series)
    unconditional = quantiles_of(distances[:, None])[:, 0]
    return Calibration(scores, curve, unseen, of_curve, unconditional, deviation, len(windows), held_out)


def evenly_spaced(n_available: int, n_most: int) -> Tensor:
    """At most so many of the numbers from 0 to `n_available` - 1, with the first and the last, evenly spread.

    Examples
    --------
    >>> evenly_spaced(41, 5), evenly_spaced(3, 5)
    (tensor([ 0, 10, 20, 30, 40]), tensor([0, 1, 2]))
    """
    n_chosen = min(n_available, n_most)
    # In integers: single precision knows no odd number beyond 2^24.
    return torch.arange(n_chosen) * (n_available - 1) // max(n_chosen - 1, 1)


def _distances(targets: NDArray[np.float32], block: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distances between rows of one block before its end, drawn at random from a fixed seed: (N_PAIRS, n_targets).

    Shape
    -----
    targets : (n_rows, n_targets)
    block : (n_rows,), ascending
    ends : (n_blocks,), row numbers
    """
    draw = np.random.default_rng(0)
    drawn = block[draw.integers(len(block), size=N_PAIRS)]  # longer series more often
    low, high = np.searchsorted(block, drawn), np.minimum(np.searchsorted(block, drawn, side="right"), ends[drawn])
    first, second = (targets[draw.integers(low, high)].astype(np.float64) for _ in range(2))
    return np.abs(first - second)


def _at_coverage(scores: NDArray[np.floating], coverage: float, axis: int) -> NDArray[np.float64]:
    """Scores at one coverage, linear between those at hand."""
    position = np.interp(coverage, COVERAGES, np.arange(len(COVERAGES)))
    low = int(position)
    high = min(low + 1, len(COVERAGES) - 1)
    part = position - low
    below, above = (scores.take(number, axis).astype(np.float64) for number in (low, high))
    return np.asarray(below * (1 - part) + above * part)


def interval_levels(coverage: float) -> list[float]:
    """The levels of both bounds of an interval.

    Raises
    ------
    TypeError, ValueError
        If the coverage is no number, or not inside (0, 1).

    Examples
    --------
    >>> interval_levels(0.8)
    [0.1, 0.9]
    """
    if isinstance(coverage, (Sequence, np.ndarray)):
        raise TypeError(f"coverage must be one number, got {coverage!r}; call predict_interval for each of them")
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be a number inside (0, 1), got {coverage}")
    return [round(0.5 - coverage / 2, 12), round(0.5 + coverage / 2, 12)]


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

    After the first horizon every forecast takes the medians before it for observed. The distance of a quantile
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
