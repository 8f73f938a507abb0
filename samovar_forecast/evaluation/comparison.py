"""Several models and baselines on one backtest: errors without units, ranks, and tests of the differences."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import xarray as xr
from joblib import delayed
from sklearn.base import clone

from samovar_forecast.data.lengths import season_length
from samovar_forecast.data.panel import PandasPanel, Panel, read_panel
from samovar_forecast.evaluation.baselines import NAIVE, seasonal_naive_backtest
from samovar_forecast.evaluation.forecast_tests import diebold_mariano
from samovar_forecast.evaluation.metrics import mae, mase, rmsse
from samovar_forecast.evaluation.statistical_baselines import STATISTICAL, statistical_backtest
from samovar_forecast.training.jobs import results_of
from samovar_forecast.training.progress import counted

if TYPE_CHECKING:
    from samovar_forecast.estimator import Forecaster

Key = tuple[Hashable, Hashable]  # series of a panel, None for a single one; and column


@dataclass(frozen=True, eq=False)
class Comparison:
    """Errors of models over the same cutoffs.

    Attributes
    ----------
    table : DataFrame
        A row for each model, the best one first. `MASE` and `RMSSE`: means over series and columns, in units of the
        seasonal naive error of the training rows. `rank`: mean over series and columns of the rank by MASE, 1 is best.
        `p_value`: of the Diebold-Mariano test of equal mean absolute scaled error against the best model; NaN for that
        and where the cutoffs are too few for the test. `seconds`: training and forecasting.
    errors : DataFrame
        MAE in units of the data: a row for each series and column, a column for each model.
    scaled_errors : DataFrame
        MASE likewise, which is what is ranked.
    tests : DataFrame
        p-values of each model against the best one, for each series and column.
    backtests : dict
        The backtest of each model, for a panel by series.
    best : str
        Name of the model with the lowest mean MASE.
    """

    table: pd.DataFrame
    errors: pd.DataFrame
    scaled_errors: pd.DataFrame
    tests: pd.DataFrame
    backtests: Mapping[str, Mapping[Hashable, xr.Dataset]]
    best: str


def compare(
    models: Mapping[str, Forecaster] | Sequence[Forecaster],
    y: PandasPanel,
    X: PandasPanel | None = None,
    *,
    test_fraction: float = 0.2,
    test_start: Hashable | None = None,
    stride: int = 1,
    baselines: Sequence[str] = (NAIVE,),
    static: pd.DataFrame | None = None,
    n_jobs: int | None = None,
) -> Comparison:
    """Train models on the rows before a date and compare their forecasts of the rows after it.

    Parameters
    ----------
    models : mapping of names to forecasters, or sequence of forecasters
        Copies are trained. All have the same horizon and targets.
    y : Series, DataFrame or dict
        As in `Forecaster.fit`.
    X : DataFrame, dict or None
        Covariates known in the future.
    test_fraction : float, default 0.2
        Share of the newest rows of each series to test on.
    test_start : label or None
        The first row to test on, for all series; in place of `test_fraction`.
    stride : int, default 1
        Rows from one cutoff to the next.
    baselines : sequence of {"seasonal naive", "AutoETS", "AutoARIMA", "AutoTheta"}
        All but the first come from the extra ``samovar-forecast[baselines]``. Like the models they are fitted once, on
        the training rows, and take in the rows up to each cutoff.
    static : DataFrame or None
        Covariates constant in time, for a panel.
    n_jobs : int or None
        Models side by side, as joblib counts them.

    Raises
    ------
    ValueError
        If there is nothing to compare, the models differ in horizon or targets, or there are no rows to test on.
    ImportError
        If a baseline needs the extra.

    Examples
    --------
    >>> from samovar_forecast import LinTransForecaster
    >>> y = pd.DataFrame({"load": np.sin(np.arange(200) / 4)})
    >>> model = LinTransForecaster(horizon=4, context_length=16, max_steps=20, random_state=0, device="cpu")
    >>> sorted(compare({"LinTrans": model}, y).table.index)
    ['LinTrans', 'seasonal naive']

    References
    ----------
    Diebold & Mariano, "Comparing predictive accuracy", Journal of Business & Economic Statistics, 1995.
    """
    named = _named(models)
    unknown = [name for name in baselines if name not in (NAIVE, *STATISTICAL)]
    if unknown or len(named) + len(baselines) < 2:
        problem = f"there is no baseline {unknown[0]!r}" if unknown else f"there is only {[*named, *baselines]}"
        raise ValueError(f"{problem}; give models, and baselines out of {[NAIVE, *STATISTICAL]}")
    if set(named) & set(baselines):
        raise ValueError(f"{sorted(set(named) & set(baselines))} are models and baselines; name the models otherwise")
    horizon, targets = _common(named)
    panel = read_panel(y, missing=True)
    starts = {
        key: _first_row(frame, test_fraction, test_start, horizon, panel.name_of(key))
        for key, frame in panel.frames.items()
    }
    X_panel = None if X is None else read_panel(X, "X", missing=True).beside(panel)
    columns = panel.columns if targets is None else targets
    season = season_length(panel.frequency())
    jobs = [delayed(_backtests_of)(one, panel, X_panel, static, starts, stride) for one in named.values()]
    jobs += [delayed(_baseline_of)(one, panel, columns, horizon, season, starts, stride) for one in baselines]
    results = list(counted(results_of(jobs, n_jobs), "model", len(jobs)))
    backtests = dict(zip([*named, *baselines], [found for found, _ in results], strict=True))
    seconds = dict(zip(backtests, [taken for _, taken in results], strict=True))
    return _comparison(_at_common_cutoffs(backtests), panel, columns, starts, season, stride, seconds)


def _named(models: Mapping[str, Forecaster] | Sequence[Forecaster]) -> dict[str, Forecaster]:
    if isinstance(models, Mapping):
        return dict(models)
    named: dict[str, Forecaster] = {}
    for model in models:
        name = type(model).__name__.removesuffix("Forecaster")
        number = sum(known == name or known.startswith(f"{name} ") for known in named)
        named[f"{name} {number + 1}" if number else name] = model
    return named


def _common(named: Mapping[str, Forecaster]) -> tuple[int, list[Hashable] | None]:
    horizons = {name: int(model.horizon) for name, model in named.items()}
    targets = {name: model.targets for name, model in named.items()}
    if len(set(horizons.values())) > 1:
        raise ValueError(f"all models must have the same horizon, got {horizons}")
    if len({None if one is None else tuple(one) for one in targets.values()}) > 1:
        raise ValueError(f"all models must have the same targets, got {targets}")
    if not named:
        raise ValueError("there is no model to compare; give at least one forecaster")
    one = next(iter(targets.values()))
    return next(iter(horizons.values())), None if one is None else list(one)


def _first_row(frame: pd.DataFrame, fraction: float, start: Hashable | None, horizon: int, name: str) -> int:
    if not 0 < fraction < 1:
        raise ValueError(f"test_fraction must be between 0 and 1, got {fraction}")
    first = len(frame) - int(fraction * len(frame)) if start is None else int((frame.index < start).sum())
    if not 0 < first <= len(frame) - horizon:
        raise ValueError(
            f"{name} has {len(frame) - first} of {len(frame)} rows to test on, which must be a horizon of {horizon} at "
            "least, with rows to train on before; choose another test_fraction or test_start"
        )
    return first


def _backtests_of(
    model: Forecaster,
    panel: Panel,
    X: Panel | None,
    static: pd.DataFrame | None,
    starts: Mapping[Hashable, int],
    stride: int,
) -> tuple[dict[Hashable, xr.Dataset], float]:
    """The backtests of a copy of a model by series, and the seconds that they took."""
    began = time.perf_counter()
    training = {key: frame.iloc[: starts[key]] for key, frame in panel.frames.items()}
    known = None if X is None else X.layout.assemble(X.frames)
    fitted = clone(model).fit(panel.layout.assemble(training), known, static=static)
    found: dict[Hashable, xr.Dataset] = {}
    for key, frame in panel.frames.items():
        start = frame.index[starts[key]]
        if key is None:
            found[key] = fitted.backtest(frame, known, start, stride)
        else:
            one = None if X is None else {key: X.frames[key]}
            found[key] = fitted.backtest({key: frame}, one, start, stride)[key]
    return found, time.perf_counter() - began


def _baseline_of(
    name: str,
    panel: Panel,
    columns: Sequence[Hashable],
    horizon: int,
    season: int,
    starts: Mapping[Hashable, int],
    stride: int,
) -> tuple[dict[Hashable, xr.Dataset], float]:
    began = time.perf_counter()
    found = {}
    for key, frame in panel.frames.items():
        rows = np.arange(starts[key] - 1, len(frame) - horizon, stride)
        series = frame[list(columns)]
        if name == NAIVE:
            found[key] = seasonal_naive_backtest(series, horizon, season, frame.index[rows])
        else:
            found[key] = statistical_backtest(series, horizon, season, frame.index[rows], name)
    return found, time.perf_counter() - began


def _at_common_cutoffs(
    backtests: dict[str, dict[Hashable, xr.Dataset]],
) -> dict[str, dict[Hashable, xr.Dataset]]:
    """Every backtest at the cutoffs that all models have: those with longer contexts may begin later."""
    keys = list(next(iter(backtests.values())))
    aligned = {
        key: dict(zip(backtests, xr.align(*(one[key] for one in backtests.values()), join="inner"), strict=True))
        for key in keys
    }
    return {name: {key: aligned[key][name] for key in keys} for name in backtests}


def _comparison(
    backtests: dict[str, dict[Hashable, xr.Dataset]],
    panel: Panel,
    columns: Sequence[Hashable],
    starts: Mapping[Hashable, int],
    season: int,
    stride: int,
    seconds: Mapping[str, float],
) -> Comparison:
    names, keys = list(backtests), list(panel.frames)
    labels: list[Key] = [(key, column) for key in keys for column in columns]
    training = {key: panel.frames[key][list(columns)].iloc[: starts[key]] for key in keys}

    def errors(measure: Literal["MAE", "MASE", "RMSSE"]) -> pd.DataFrame:
        made = {}
        for name in names:
            values: list[float] = []
            for key in keys:
                one = backtests[name][key]
                found = {"MAE": mae, "MASE": mase, "RMSSE": rmsse}[measure]
                options = {} if measure == "MAE" else {"training": training[key], "season": season}
                values += found(one, **options).sel(series=list(columns)).values.tolist()  # type: ignore[operator]
            made[name] = values
        index = [column for _, column in labels] if keys == [None] else pd.MultiIndex.from_tuples(labels)
        return pd.DataFrame(made, index=index)

    scaled = errors("MASE")
    mean = scaled.mean(skipna=True)
    best = str(mean.idxmin())
    tests = {name: _tests(backtests[name], backtests[best], keys, columns, stride) for name in names if name != best}
    joint = {
        name: _joint(backtests[name], backtests[best], keys, training, season, stride) for name in names if name != best
    }
    table = pd.DataFrame(
        {
            "MASE": mean,
            "RMSSE": errors("RMSSE").mean(skipna=True),
            "rank": scaled.rank(axis=1).mean(),
            "p_value": pd.Series(joint, dtype=float).reindex(names),
            "seconds": pd.Series(seconds),
        }
    ).sort_values("MASE")
    return Comparison(table, errors("MAE"), scaled, pd.DataFrame(tests, index=scaled.index), backtests, best)


def _tests(
    one: Mapping[Hashable, xr.Dataset],
    best: Mapping[Hashable, xr.Dataset],
    keys: Sequence[Hashable],
    columns: Sequence[Hashable],
    stride: int,
) -> list[float]:
    """The p-value of each series and column."""
    found: list[float] = []
    for key in keys:
        try:
            tested = diebold_mariano(one[key], best[key], loss="absolute", stride=stride)
        except ValueError:  # too few cutoffs for the steps that they share
            found += [np.nan] * len(columns)
        else:
            found += tested["p_value"].sel(series=list(columns)).values.tolist()
    return found


def _joint(
    one: Mapping[Hashable, xr.Dataset],
    best: Mapping[Hashable, xr.Dataset],
    keys: Sequence[Hashable],
    training: Mapping[Hashable, pd.DataFrame],
    season: int,
    stride: int,
) -> float:
    """The p-value over all columns of a single series, each scaled as the MASE is; NaN for a panel."""
    if list(keys) != [None]:
        return float("nan")
    values = training[None].to_numpy()
    scale = np.nanmean(np.abs(values[season:] - values[:-season]), axis=0) if len(values) > season else np.array([])
    usable = [name for name, size in zip(training[None].columns, scale, strict=False) if size > 0]
    if not usable:
        return float("nan")
    by_series = xr.DataArray(scale[scale > 0], dims="series", coords={"series": pd.Index(usable, tupleize_cols=False)})
    first, second = ((found[None].sel(series=usable) / by_series) for found in (one, best))
    try:
        tested = diebold_mariano(first, second, loss="absolute", dim=("step", "series"), stride=stride)
    except ValueError:
        return float("nan")
    return float(tested["p_value"])
