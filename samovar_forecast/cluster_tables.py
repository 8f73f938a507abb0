"""Forecasts of the long tables of a cluster: one function for Spark, Dask and Ray."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, cast, overload

import numpy as np
import pandas as pd

from samovar_forecast.estimator import Forecaster

ROWS_AT_ONCE = 2**17  # of a partition: enough series for full batches, and little beside what the engine holds

_loading = threading.Lock()  # the threads of a worker share one model


class TableForecast(Protocol):
    """What `forecast_table` returns: a table of histories to a table of forecasts, or many to many."""

    @overload
    def __call__(self, table: pd.DataFrame) -> pd.DataFrame: ...

    @overload
    def __call__(self, table: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]: ...


def forecast_table(
    model_file: str | os.PathLike[str],
    id_column: str | Sequence[str],
    time_column: str,
    horizon: int | None = None,
    quantiles: Sequence[float] = (),
) -> TableForecast:
    """A function from a long table of histories to a long table of forecasts, which any engine can send to its workers.

    The table has a row for each series and point in time, in any order. Beside the name of the series and the time it
    has the columns that the model was trained on, under their names; further columns are not used. A series that
    training has not seen is scaled by its own rows. Static covariates are columns too, with one value for each series.
    Where the model has covariates that are known in the future, the last `horizon` rows of every series are the steps
    to forecast: they hold those covariates and no other value.

    The function takes one DataFrame, or an iterator over the pieces of a partition, in which the rows of a series stand
    together; of those it gives an iterator. It forecasts what it is given, so all rows of a series must come to one
    call. Every worker reads the model once, from a path that all of them see. The function can be pickled.

    Parameters
    ----------
    model_file : path
        What `Forecaster.save` wrote.
    id_column : str or sequence of str
        The column, or the columns, that name the series.
    time_column : str
        The column of dates or whole numbers, as in the index of training.
    horizon : int or None, default None
        Steps to forecast. None: the horizon of training.
    quantiles : sequence of float, default ()
        Levels that are forecast too; see `Forecaster.predict_quantiles`.

    Returns
    -------
    callable
        Its result has the columns of `id_column`, `time_column`, and the targets; for each target and level then a
        column such as ``"load_q0.1"``. Rows are in the order of the series and of time; a table without rows gives one
        without rows.

    Raises
    ------
    ModelFileError, FileNotFoundError
        If the file is no model; here, and from the function where a worker does not see it.
    ValueError
        If a level is not inside (0, 1), or two columns of the result had the same name. From the function: if a column
        is missing, a row has no name or no time, a static covariate changes within a series, or a series is not right;
        the message names it.

    Examples
    --------
    >>> import tempfile
    >>> from samovar_forecast import FixedVARForecaster
    >>> hours = pd.date_range("2024-01-01", periods=60, freq="h")
    >>> shops = {"north": pd.DataFrame({"sold": np.arange(60.0)}, hours), "south": pd.DataFrame({"sold": 1.5}, hours)}
    >>> path = Path(tempfile.mkdtemp(), "shops.model")
    >>> model = FixedVARForecaster(horizon=2, context_length=8, max_steps=1, device="cpu", random_state=0)
    >>> model.fit(shops).save(path)
    >>> table = pd.concat(shops, names=["shop", "date"]).reset_index()
    >>> forecast_table(path, id_column="shop", time_column="date")(table)[["shop", "date"]]
        shop                date
    0  north 2024-01-03 12:00:00
    1  north 2024-01-03 13:00:00
    2  south 2024-01-03 12:00:00
    3  south 2024-01-03 13:00:00
    """
    names = (id_column,) if isinstance(id_column, str) else tuple(id_column)
    levels = tuple(float(level) for level in quantiles)
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"quantiles must be numbers inside (0, 1), got {list(quantiles)}")
    task = _Task(Path(model_file).resolve(), names, time_column, horizon, levels)
    columns = task.result_columns(_read_once(task.model_file))
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise ValueError(f"the table of forecasts would have several columns {twice[0]!r}: {columns}; rename one")
    return cast(TableForecast, partial(_forecast, task))


@dataclass(frozen=True)
class _Task:
    """The arguments of `forecast_table`."""

    model_file: Path
    id_columns: tuple[str, ...]
    time_column: str
    horizon: int | None
    quantiles: tuple[float, ...]

    @property
    def labels(self) -> list[str]:
        """The columns that tell rows apart."""
        return [*self.id_columns, self.time_column]

    def result_columns(self, model: Forecaster) -> list[Hashable]:
        """The columns of the forecasts."""
        of_levels = [f"{target}_q{level:g}" for target in model.targets_ for level in self.quantiles]
        return [*self.labels, *model.targets_, *of_levels]


# Not a method: Spark counts the parameters of what it calls, and takes `self` for one.
def _forecast(task: _Task, table: pd.DataFrame | Iterable[pd.DataFrame]) -> pd.DataFrame | Iterator[pd.DataFrame]:
    if isinstance(table, pd.DataFrame):
        return _forecast_series(task, table)
    return (_forecast_series(task, series) for series in _whole_series(task, table))


def _whole_series(task: _Task, pieces: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The pieces of a partition, cut and joined anew so that no series is in two of them."""
    ids = list(task.id_columns)
    done: set[Hashable] = set()
    waiting: list[pd.DataFrame] = []
    for piece in pieces:
        if piece.empty:
            continue
        _check_columns(ids, piece)
        waiting.append(piece)
        if sum(map(len, waiting)) < ROWS_AT_ONCE:
            continue
        rows = pd.concat(waiting, ignore_index=True)
        of_last = (rows[ids] == rows[ids].iloc[-1]).all(axis=1)
        waiting = [rows[of_last]]
        if not of_last.all():
            yield _first_time(ids, rows[~of_last], done)
    if waiting:
        yield _first_time(ids, pd.concat(waiting, ignore_index=True), done)


def _first_time(ids: list[str], rows: pd.DataFrame, done: set[Hashable]) -> pd.DataFrame:
    names = set(rows[ids].drop_duplicates().itertuples(index=False, name=None))
    again = names & done
    if again:
        raise ValueError(
            f"the rows of series {sorted(again, key=str)[0]!r} do not stand together in their partition: sort every "
            f"partition by {ids} before it is forecast"
        )
    done |= names
    return rows


def _forecast_series(task: _Task, table: pd.DataFrame) -> pd.DataFrame:
    model = _read_once(task.model_file)
    used = [*model.columns_, *model.known_, *model.static_]
    _check_columns([*task.labels, *used], table)
    for column in task.labels:
        missing = table[column].isna()
        if missing.any():
            raise ValueError(f"the table has no value in column {column!r} of row {int(missing.argmax())}")
    ids, steps = list(task.id_columns), model.fitted_.data.horizon if task.horizon is None else task.horizon
    rows = table[[*task.labels, *used]]
    if pd.api.types.is_object_dtype(rows[task.time_column]):  # dates of Python, which Spark gives
        rows = rows.assign(**{task.time_column: pd.to_datetime(rows[task.time_column])})
    rows = rows.sort_values(task.labels, kind="stable", ignore_index=True)
    history, known, static = rows, None, None
    if model.static_:
        static = _constants(rows, ids, model.static_)
    if model.known_:
        is_future = rows.groupby(ids, observed=True).cumcount(ascending=False) < steps
        _check_future(rows, is_future, ids, model.columns_, steps)
        history, known = rows[~is_future], _by_series(rows, task.labels, model.known_)
    result: dict[Hashable, Any] = {column: rows[column].iloc[:0] for column in task.labels}
    n_targets = len(model.targets_)
    points, by_level = np.empty((0, n_targets)), np.empty((0, n_targets, len(task.quantiles)))
    if len(rows):
        series = _by_series(history, task.labels, model.columns_)
        _, forecasts = model._forecast_newest(series, known, steps, static, task.quantiles)
        names = [key if len(ids) > 1 else (key,) for key in forecasts for _ in range(steps)]
        for column, of_rows in zip(ids, zip(*names, strict=True), strict=True):
            result[column] = pd.Series(of_rows, dtype=rows[column].dtype)
        first, *others = (index for index, _, _ in forecasts.values())
        result[task.time_column] = pd.Series(first.append(others), dtype=rows[task.time_column].dtype)
        points = np.concatenate([of_series for _, of_series, _ in forecasts.values()])
        by_level = np.concatenate([of_series for _, _, of_series in forecasts.values()])
    values = np.concatenate([points, by_level.reshape(len(points), n_targets * len(task.quantiles))], axis=1)
    columns = task.result_columns(model)
    result |= {column: values[:, number] for number, column in enumerate(columns[len(result) :])}
    return pd.DataFrame(result, columns=pd.Index(columns, tupleize_cols=False))


def _check_columns(columns: Sequence[Hashable], table: pd.DataFrame) -> None:
    lacking = [column for column in columns if column not in table.columns]
    if lacking:
        raise ValueError(f"the table lacks the columns {lacking}; it has {list(table.columns)}")


def _by_series(rows: pd.DataFrame, labels: list[str], columns: list[Hashable]) -> pd.DataFrame:
    return rows[columns].set_index(pd.MultiIndex.from_frame(rows[labels]))


def _constants(rows: pd.DataFrame, ids: list[str], columns: list[Hashable]) -> pd.DataFrame:
    """Static covariates, a row for each series."""
    groups = rows.groupby(ids if len(ids) > 1 else ids[0], sort=False, observed=True)[columns]
    changes = groups.nunique(dropna=False) > 1
    if changes.to_numpy().any():
        row, column = np.argwhere(changes.to_numpy())[0]
        raise ValueError(f"static covariate {columns[column]!r} has several values in series {changes.index[row]!r}")
    return groups.first()


def _check_future(
    rows: pd.DataFrame, is_future: pd.Series, ids: list[str], columns: list[Hashable], steps: int
) -> None:
    """Refuse series whose last rows are no steps to forecast, and those without another row."""
    has_value = rows.loc[is_future, columns].notna()
    if has_value.to_numpy().any():
        row, column = np.argwhere(has_value.to_numpy())[0]
        name = tuple(rows.loc[has_value.index[row], ids])
        raise ValueError(
            f"series {name if len(ids) > 1 else name[0]!r} has a value of {columns[column]!r} in its last {steps} "
            "rows; the model has covariates known in the future, so those rows are the steps to forecast"
        )
    names = pd.MultiIndex.from_frame(rows[ids])
    without = names[is_future.to_numpy()].difference(names[~is_future.to_numpy()])
    if len(without):
        name = without[0]
        raise ValueError(
            f"series {name if len(ids) > 1 else name[0]!r} has no history: only its {steps} steps to forecast"
        )


def _read_once(path: Path) -> Forecaster:
    """The model of a file; it is read again where the file has changed."""
    status = path.stat()
    with _loading:
        return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, *state: int) -> Forecaster:
    return Forecaster.load(path)
