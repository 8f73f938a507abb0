"""Forecasts of a fitted forecaster at any rows of its series, ahead of the newest row and behind it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sktime.split.base import BaseSplitter

from samovar_forecast.data.panel import Panel
from samovar_forecast.data.time_axis import continue_index
from samovar_forecast.forecaster import Forecaster
from samovar_sktime.moving_cutoffs import window_ends
from samovar_sktime.observed_rows import ObservedRows
from samovar_sktime.rows_asked import RowsAsked


def forecast_asked(
    core: Forecaster,
    observed: Mapping[Hashable, ObservedRows],
    asked: Mapping[Hashable, RowsAsked],
    given: Mapping[Hashable, pd.DataFrame],
    levels: Sequence[float] | None = None,
) -> dict[Hashable, NDArray[np.float64]]:
    """Forecast the rows asked for of every series: points, or quantiles.

    Rows ahead are forecast from the newest row, in one batch for all series that reach equally far. Rows that
    were seen are forecast one step ahead, each from the rows in front of it, in one batch per series.

    Parameters
    ----------
    core : Forecaster
        Fitted.
    observed, asked : mapping
        For each series of the forecaster.
    given : mapping
        The known covariates given, for series of the forecaster.
    levels : sequence of float or None
        Levels of the quantiles. None: point forecasts.

    Shape
    -----
    output : (n_asked, n_targets, n_levels) for each series, where points count as one level
    """
    n_levels = 1 if levels is None else len(levels)
    values = {key: np.empty((len(rows.steps), len(core.targets_), n_levels)) for key, rows in asked.items()}
    furthest: dict[int, list[Hashable]] = {}
    for key, (_, steps) in asked.items():
        behind = steps <= 0
        if behind.any():
            values[key][behind] = _one_step_ahead(core, key, observed[key], given.get(key), steps[behind], levels)
        if not behind.all():
            furthest.setdefault(int(steps.max()), []).append(key)
    for n_steps, keys in furthest.items():
        forecasts = _from_newest_row(core, keys, given, n_steps, levels)
        for key, forecast in zip(keys, forecasts, strict=True):
            steps = asked[key].steps
            values[key][steps > 0] = forecast[steps[steps > 0] - 1]
    return values


def _from_newest_row(
    core: Forecaster,
    keys: Sequence[Hashable],
    given: Mapping[Hashable, pd.DataFrame],
    n_steps: int,
    levels: Sequence[float] | None,
) -> NDArray[np.float64]:
    """Forecasts of the next rows of some series: (n_keys, n_steps, n_targets, n_levels)."""
    every = len(keys) == len(core.series_)
    y = None if every else {key: core.series_[key].history for key in keys}
    X: Any = {key: given[key] for key in keys if key in given} or None
    if X is not None and not core.is_panel_:
        X = X[None]
    result = core.predict(y, X, n_steps) if levels is None else core.predict_quantiles(levels, y, X, n_steps)
    parts = result.values() if isinstance(result, dict) else [result]
    rows = np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])
    return rows.reshape(len(keys), n_steps, len(core.targets_), -1)


def _one_step_ahead(
    core: Forecaster,
    key: Hashable,
    observed: ObservedRows,
    given: pd.DataFrame | None,
    steps: NDArray[np.int64],
    levels: Sequence[float] | None,
) -> NDArray[np.float64]:
    """Forecasts of rows that were seen, each from those in front of it: (n_rows, n_targets, n_levels)."""
    frame, known = observed.newest(core.context_length_ + 1 - int(steps.min()))
    if given is not None:
        known = _replaced(known, given[given.index.isin(frame.index)])
    series = core.series_[key]
    contexts = core.row_contexts(frame, known, steps - 1 + len(frame), 1, key, series.static)
    outputs = core.forecast_rows(contexts, 1)
    if levels is None:
        point = outputs[:, 0, :, core.network_.point_output]
        return contexts.scaler.inverse(point, len(core.targets_))[..., None]
    scaled = core.outputs_to_quantiles(outputs, levels, contexts.values, contexts.cutoffs)
    return contexts.scaler.inverse_quantiles(scaled[:, 0])


def forecast_windows(
    core: Forecaster,
    observed: Mapping[Hashable, ObservedRows],
    panel: Panel,
    cv: BaseSplitter,
    given: Mapping[Hashable, pd.DataFrame],
    steps: NDArray[np.int64],
) -> list[tuple[Any, dict[Hashable, pd.DataFrame]]] | None:
    """Forecasts from every window of a splitter, in large batches: the cutoff and a frame for each series.

    None where the windows cannot be served so: where one has a gap, leaves too short a history, or where `panel`
    does not follow the rows that were seen.

    Parameters
    ----------
    core : Forecaster
        Fitted.
    observed : mapping
        The rows seen, for each series of the forecaster.
    panel : Panel
        New rows, split by `cv`.
    cv : BaseSplitter
    given : mapping
        Known covariates for series of the panel.
    steps : ndarray
        The steps to forecast from each window, 1 or greater.
    """
    n_steps = int(steps.max())
    by_series: list[list[tuple[Any, pd.DataFrame]]] = []
    for key, new in panel.frames.items():
        ends = window_ends(cv, new.index)
        if ends is None or key not in observed:
            return None
        new = new.iloc[: ends.max()]
        seen, seen_known = observed[key].newest(core.context_length_, before=new.index[0])
        follows = len(seen) == 0 or continue_index(seen.index, core.frequency_, 1)[0] == new.index[0]
        if not follows or (not core.is_panel_ and len(seen) + ends.min() < core.context_length_):
            return None
        axis = new.index.append(continue_index(new.index, core.frequency_, n_steps))
        if isinstance(axis, pd.DatetimeIndex) and not isinstance(core.frequency_, int):
            axis = pd.DatetimeIndex(axis, freq=core.frequency_)
        contexts = core.row_contexts(
            pd.concat([seen, new]),
            _replaced(seen_known, given.get(key)),
            len(seen) + ends,
            n_steps,
            key,
            core.series_[key].static,
            n_future=int(ends.max() - ends.min()) + n_steps,
        )
        outputs = core.forecast_rows(contexts, n_steps)
        point = outputs[..., core.network_.point_output][:, steps - 1]
        values = contexts.scaler.inverse(point, len(core.targets_))
        by_series.append(
            [
                (axis[end - 1], pd.DataFrame(forecast, index=axis.take(end - 1 + steps), columns=core.targets_))
                for end, forecast in zip(ends, values, strict=True)
            ]
        )
    forecasts = []
    for window in zip(*by_series, strict=False):  # as many windows as the shortest series has
        cutoffs, frames = zip(*window, strict=True)
        forecasts.append((max(cutoffs), dict(zip(panel.frames, frames, strict=True))))
    return forecasts


def _replaced(known: pd.DataFrame | None, given: pd.DataFrame | None) -> pd.DataFrame | None:
    """Known covariates, with rows that are given in place of those that were seen."""
    if known is None or given is None:
        return given if known is None else known
    return pd.concat([known[~known.index.isin(given.index)], given])
