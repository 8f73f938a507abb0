"""What a model cannot take in its series, named by component and time before anything is trained or forecast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from numpy.typing import NDArray

from samovar_darts.network_module import SeriesScaler
from samovar_forecast.data.bounds import UNBOUNDED, Bounds
from samovar_forecast.data.scaling import LARGEST_SCALED, check_moves


class SeriesChecks:
    """Checks of the rows that a model reads: the past may have gaps (NaN), what is known in the future may not.

    Parameters
    ----------
    window_norm : bool
        Whether darts normalises the windows, which spreads a gap over all of its window.
    scaler : SeriesScaler or None
        The scaler of the past covariates and targets, in this order, where the model has one yet.
    static : bool
        Whether the model reads static covariates.
    bounds : Bounds
        Which values targets can have.
    """

    def __init__(
        self, window_norm: bool, scaler: SeriesScaler | None, static: bool, bounds: Bounds = UNBOUNDED
    ) -> None:
        self.window_norm, self.scaler, self.static, self.bounds = window_norm, scaler, static, bounds

    def check(
        self,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        spans: Sequence[tuple[int, int]],
    ) -> None:
        """Check the rows of each span of positions in its series; the end counts and may lie after the series.

        Raises
        ------
        ValueError
            If a value is infinite, or too large for the precision of the series; if a future or static covariate is
            missing, or a target that darts is to normalise; if a logarithm does not exist, or a target leaves its
            bounds.
        """
        for number, (target, (first, last)) in enumerate(zip(series, spans, strict=True)):
            start, end = (target.start_time() + position * target.freq for position in (first, last))
            self._check_past(f"series[{number}]", target, start, end, slice(-target.n_components, None))
            lower, upper = (np.atleast_1d(bound)[:, None] for bound in (self.bounds.lower, self.bounds.upper))

            def outside(
                rows: NDArray[Any], low: NDArray[np.float64] = lower, high: NDArray[np.float64] = upper
            ) -> NDArray[np.bool_]:
                return (rows < low) | (rows > high)

            _refuse(
                f"series[{number}]", target, start, end,
                outside,
                "lies outside the bounds lower and upper: correct it, e.g. by series.map, replace it by NaN if it was "
                "not observed, or set other bounds",
            )  # fmt: skip
            if self.window_norm:
                _refuse(
                    f"series[{number}]", target, start, end, np.isnan,
                    "is missing, and use_reversible_instance_norm spreads that over the whole window: leave it off, "
                    "since the network knows how to normalise what was observed",
                )  # fmt: skip
            if past_covariates is not None:
                past = past_covariates[number]
                self._check_past(f"past_covariates[{number}]", past, start, end, slice(past.n_components))
            if future_covariates is not None:
                _refuse(
                    f"future_covariates[{number}]", future_covariates[number], start, end, _not_finite,
                    "is missing or infinite: fill it, what is known in the future has a value at every step",
                )  # fmt: skip
                self._check_size(f"future_covariates[{number}]", future_covariates[number], start, end, None)
            if self.static and target.static_covariates is not None:
                holes = ~np.isfinite(target.static_covariates_values(copy=False))
                if holes.any():
                    name = target.static_covariates.columns[holes.any(axis=0)][0]
                    raise ValueError(f"static covariate {name!r} of series[{number}] is missing or infinite: fill it")

    def check_moves(self, series: Sequence[TimeSeries], past_covariates: Sequence[TimeSeries] | None) -> None:
        """Check that training series have values, and move enough for a network to see without a scaler.

        Raises
        ------
        ValueError
            With the name of the first component that does not.
        """
        scaled = self.scaler is not None and not (self.scaler.scale == 1).all()
        for role, given in (("series", series), ("past_covariates", past_covariates or ())):
            for number, one in enumerate(given):
                values = one.all_values(copy=False)[:, :, 0].astype(np.float64)
                empty = np.isnan(values).all(axis=0)
                if role == "series" and empty.any():
                    raise ValueError(
                        f"{role}[{number}]: component {one.components[empty.argmax()]!r} has no value at all"
                    )
                cure = "darts.dataprocessing.transformers.Scaler"
                if not scaled:
                    check_moves(values, list(one.components), f"{role}[{number}]", cure)

    def _check_past(self, name: str, values: TimeSeries, start: Any, end: Any, columns: slice) -> None:
        """Check values that lie in some columns of the scaler."""
        _refuse(name, values, start, end, np.isinf, "is infinite: replace it, by NaN if it was not observed")
        self._check_size(name, values, start, end, columns)
        if self.scaler is not None and self.scaler.logarithmic[columns].any():
            chosen = self.scaler.logarithmic[columns].cpu().numpy()[:, None]
            _refuse(
                name, values, start, end, lambda rows: (rows <= -1) & chosen,
                "is not above -1, and the model takes log(1 + y) of it",
            )  # fmt: skip

    def _check_size(self, name: str, values: TimeSeries, start: Any, end: Any, columns: slice | None) -> None:
        limit = LARGEST_SCALED if values.dtype == np.float32 else LARGEST_SCALED**10
        center, scale = np.zeros((1, 1)), np.ones((1, 1))
        if self.scaler is not None and columns is not None:
            parts = (self.scaler.center, self.scaler.scale)
            center, scale = (part[columns].double().cpu().numpy()[:, None] for part in parts)
        _refuse(
            name, values, start, end, lambda rows: np.abs(rows - center) > limit * scale,
            f"is too large for {values.dtype} numbers: scale the series, e.g. with "
            "darts.dataprocessing.transformers.Scaler, or fix it",
        )  # fmt: skip


def _not_finite(rows: NDArray[Any]) -> NDArray[np.bool_]:
    return ~np.isfinite(rows)


def _refuse(
    name: str,
    series: TimeSeries,
    start: Any,
    end: Any,
    wrong: Callable[[NDArray[Any]], NDArray[np.bool_]],
    reason: str,
) -> None:
    index = series.time_index
    first, last = index.searchsorted(start, side="left"), index.searchsorted(end, side="right")
    places = np.argwhere(wrong(series.all_values(copy=False)[first:last]))  # (time, component, sample)
    if len(places):
        row, column, _ = places[0]
        raise ValueError(f"{name}: component {series.components[column]!r} at {index[first + row]} {reason}")


def check_gaps_cost_nothing(series: Sequence[TimeSeries], criterion: Callable[[Any, Any], Any]) -> None:
    """Check that a loss lets missing targets be left out.

    Raises
    ------
    ValueError
        If a series has gaps, and the loss can neither be taken element by element nor is 0 for equal values.
    """
    if hasattr(criterion, "reduction") or not any(np.isnan(one.all_values(copy=False)).any() for one in series):
        return
    ones = torch.ones(2, 2, 2)
    if float(criterion(ones, ones)) != 0:
        raise ValueError(
            f"loss_fn {type(criterion).__name__} cannot leave out the missing values (NaN) of the series: it has no "
            f"`reduction` to switch off, and is not 0 for a right forecast; fill the gaps or choose another loss"
        )
