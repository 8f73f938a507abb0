"""Backtests that train anew as time goes on, each fold on the rows in front of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from joblib import Parallel, delayed
from sklearn.base import clone

from samovar_forecast.data.panel import read_panel


def backtest_refitting(
    forecaster: Any,
    y: Any,
    X: Any,
    start: Hashable | None,
    stride: int,
    refit_every: int,
    warm_start: bool,
    n_jobs: int,
    quantiles: Sequence[float] | None,
) -> xr.Dataset:
    """Backtest a lone series with a fresh training every `refit_every` rows; see `Forecaster.backtest`.

    Raises
    ------
    ValueError
        If `y` is a panel, `start` is missing, the counts do not fit together, or folds that begin with the weights of
        the fold before are to run side by side.
    """
    if read_panel(y, missing=True).layout.kind != "single":
        raise ValueError("refit_every takes one series or frame, not a panel; backtest its series one by one")
    for name, count in (("stride", stride), ("refit_every", refit_every)):
        if isinstance(count, bool) or not hasattr(count, "__index__") or count < 1:
            raise ValueError(f"{name} must be a positive integer, got {count!r}")
    if refit_every % stride:
        raise ValueError(f"refit_every must be a multiple of stride, got {refit_every} and {stride}")
    if warm_start and n_jobs != 1:
        raise ValueError(f"with warm_start every fold waits for the one before it, so n_jobs={n_jobs} must be 1")
    if start is None:
        raise ValueError("refit_every needs start, the first row to be forecast: the rows in front of it train")
    first, last = len(y) - len(y.index[y.index >= start]), len(y) - forecaster.horizon
    if first > last:
        raise ValueError(f"y is too short: there are not {forecaster.horizon} rows, a horizon, from start={start} on")
    # Every row of a fold's forecasts is given to it, and of the rows behind them none.
    folds = [(cutoff, min(cutoff + refit_every - 1, last)) for cutoff in range(first, last + 1, refit_every)]
    if not warm_start:
        tasks = (delayed(_run)(forecaster, y, X, fold, stride, quantiles) for fold in folds)
        parts = Parallel(n_jobs=n_jobs)(tasks)
        return xr.concat([result for result, _ in parts], "cutoff")
    results, before = [], None
    for fold in folds:
        result, before = _run(forecaster, y, X, fold, stride, quantiles, before)
        results.append(result)
    return xr.concat(results, "cutoff")


def _run(
    forecaster: Any,
    y: Any,
    X: Any,
    fold: tuple[int, int],
    stride: int,
    quantiles: Sequence[float] | None,
    before: Any = None,
) -> tuple[xr.Dataset, Any]:
    first, last = fold
    if forecaster.checkpoint_dir is not None:  # which serves one training
        forecaster = clone(forecaster).set_params(checkpoint_dir=str(Path(forecaster.checkpoint_dir) / str(first)))
    fitted = clone(forecaster).fit(y.iloc[:first], X, init_from=before)
    rows = slice(max(0, first - fitted.context_length_), last + fitted.horizon)
    result = fitted.backtest(y.iloc[rows], X, y.index[first], stride, quantiles=quantiles)
    trained_until = result["cutoff"].to_numpy()[[0] * result.sizes["cutoff"]]
    return result.assign_coords(trained_until=("cutoff", trained_until)), fitted
