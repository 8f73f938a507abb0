"""Accuracy of a backtest beside that of the seasonal naive forecast."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from sklearn.utils.validation import check_is_fitted

from samovar_forecast.data.frames import read_frame
from samovar_forecast.data.lengths import season_length
from samovar_forecast.data.time_axis import frequency_of
from samovar_forecast.evaluation.baselines import NAIVE, seasonal_naive_backtest
from samovar_forecast.evaluation.metrics import coverage, mae, mase, mse, pinball, width

if TYPE_CHECKING:
    from samovar_forecast.estimator import Forecaster


def accuracy_table(
    backtest: xr.Dataset, naive: xr.Dataset, training: pd.Series | pd.DataFrame, season: int | None = None
) -> pd.DataFrame:
    """MSE, MAE and MASE of a model beside those of the seasonal naive forecast.

    Parameters
    ----------
    backtest, naive : Dataset
        Backtests of the same series at the same cutoffs.
    training : Series or DataFrame
        The training rows, which scale the MASE.
    season : int or None
        Rows in a season; None: `season_length` of the index.

    Returns
    -------
    DataFrame
        A row for each series and their mean; columns (forecast, measure). MSE and MAE are in units of the
        data: their mean says something only where the series share a unit. MASE has no unit.

    Raises
    ------
    ValueError
        If the two backtests differ in cutoffs, steps or series.
    """
    try:
        xr.align(backtest, naive, join="exact")
    except ValueError as error:
        raise ValueError(f"both backtests must have the same cutoffs, steps and series: {error}") from error
    columns = {
        (name, measure): values.to_series()
        for name, one in ((backtest.attrs.get("model", "model"), backtest), (NAIVE, naive))
        for measure, values in (("MSE", mse(one)), ("MAE", mae(one)), ("MASE", mase(one, training, season=season)))
    }
    table = pd.DataFrame(columns, index=pd.Index(backtest["series"].values.tolist(), dtype=object, name="series"))
    return pd.concat([table, table.mean(skipna=False).to_frame("mean").T])


@dataclass(frozen=True)
class Evaluation:
    """A backtest, the one of the seasonal naive forecast at the same cutoffs, and the table of both.

    Attributes
    ----------
    backtest, naive : Dataset
        Forecasts and actual values.
    table : DataFrame
        See `accuracy_table`.
    season : int
        Rows in the season of the naive forecast.
    """

    backtest: xr.Dataset
    naive: xr.Dataset
    table: pd.DataFrame
    season: int

    def intervals(self) -> pd.DataFrame | None:
        """Coverage and width of the widest interval, its nominal coverage, and the pinball loss over all quantiles.

        A row for each series; None without quantiles.
        """
        if "quantiles" not in self.backtest:
            return None
        levels = self.backtest["quantile"].values
        columns = {"pinball": pinball(self.backtest).mean("quantile")}
        if len(levels) > 1 and np.isclose(levels[0] + levels[-1], 1):
            nominal = float(levels[-1] - levels[0])
            columns = {
                "nominal": xr.full_like(columns["pinball"], nominal),
                "coverage": coverage(self.backtest, nominal=nominal),
                "width": width(self.backtest, nominal=nominal),
            } | columns
        return pd.DataFrame({name: values.to_series() for name, values in columns.items()}, index=self.table.index[:-1])

    def to_dict(self) -> dict[str, Any]:
        """Errors by series and forecast, as `json.dumps` takes them; None stands for a MASE without scale."""
        cells = self.table.astype(object).where(self.table.notna(), None)
        errors = [{name: row[name].to_dict() for name in cells.columns.unique(0)} for _, row in cells.iterrows()]
        intervals = self.intervals()
        measured = (
            {}
            if intervals is None
            else {
                "intervals": dict(
                    zip(map(str, intervals.index), intervals.astype(float).to_dict("records"), strict=True)
                )
            }
        )
        return measured | {
            "horizon": self.backtest.sizes["step"],
            "cutoffs": self.backtest.sizes["cutoff"],
            "season": self.season,
            "mean": errors[-1],
            "series": dict(zip(map(str, cells.index[:-1]), errors[:-1], strict=True)),
        }


def evaluate(
    forecaster: Forecaster,
    y: pd.Series | pd.DataFrame,
    test_start: Hashable,
    stride: int = 1,
    *,
    X: pd.DataFrame | None = None,
    key: Hashable = None,
    quantiles: Sequence[float] | None = None,
    refit_every: int | None = None,
) -> Evaluation:
    """Backtest of a fitted forecaster on the newest rows, beside that of the seasonal naive forecast.

    Parameters
    ----------
    forecaster : Forecaster
        Fitted on rows before the test rows.
    y : Series or DataFrame
        Training and test rows.
    test_start : int or label
        The first test row: its number, or its label where the index has dates or periods. The rows before it scale the
        MASE.
    stride : int, default 1
        Rows from one cutoff to the next.
    X : DataFrame or None
        The known covariates over the index of `y`.
    key : hashable or None
        Name of the series, if the forecaster was fitted on a panel.
    quantiles : sequence of float or None
        Also forecast these quantiles, for `Evaluation.intervals`.
    refit_every : int or None
        Train anew after so many rows; see `Forecaster.backtest`. The forecaster itself need not be fitted then.

    Raises
    ------
    NotFittedError
        If the forecaster is not fitted.
    TypeError
        If `test_start` is neither a row number nor a label such as those of the index.
    ValueError
        If the test rows hold no horizon, or the rows before them no season and context.
    """
    if refit_every is None:
        check_is_fitted(forecaster)
    frame = read_frame(y, missing=True)
    first = _row_number(test_start, frame.index)
    start = frame.index[first]
    if refit_every is not None:
        season, targets = season_length(frequency_of(frame.index)), frame
        if forecaster.targets is not None:
            targets = frame[list(forecaster.targets)]
        backtest = forecaster.backtest(frame, X, start, stride, quantiles=quantiles, refit_every=refit_every)
    else:
        season, targets = season_length(forecaster.frequency_), frame[forecaster.targets_]
        given: Any = frame if key is None else {key: frame}
        known: Any = X if key is None or X is None else {key: X}
        found: Any = forecaster.backtest(given, known, start, stride, quantiles=quantiles)
        backtest = found if key is None else found[key]
    newest = first - 1 + stride * np.arange(backtest.sizes["cutoff"])
    naive = seasonal_naive_backtest(targets, backtest.sizes["step"], season, frame.index[newest])
    return Evaluation(backtest, naive, accuracy_table(backtest, naive, targets.iloc[:first], season), season)


def _row_number(test_start: Any, index: pd.Index) -> int:
    """The number of the first test row, given as such or as a label."""
    try:
        row = operator.index(test_start)
    except TypeError:
        try:
            row = int((index < test_start).sum())  # pandas compares a string with dates as it does in df.loc
        except TypeError as error:
            raise TypeError(
                f"test_start={test_start!r} must be a row number, or a label such as {index[0]!r}, where y begins"
            ) from error
    if not 0 < row < len(index):
        raise ValueError(f"test_start must be a row between 1 and {len(index) - 1}, got {test_start}")
    return row
