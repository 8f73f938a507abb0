"""The protocol: scaled rows and their split, which every model is given, and the score over all windows of the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samovar_forecast.data.frames import read_frame
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.data.time_axis import continue_index, frequency_of
from samovar_forecast.files import datasets
from samovar_forecast.files.tables import read_table

Forecast = Callable[[pd.DataFrame], NDArray[Any]]

DEFAULT_SHARES = (0.7, 0.1, 0.2)
_NUMBERS_AT_ONCE = 2**24  # forecasts of hundreds of series over every cutoff would not fit into memory


@dataclass(frozen=True)
class Task:
    """The rows of a data set, in standard deviations of its training rows.

    Attributes
    ----------
    train, validation : DataFrame
        Rows that train, and those that choose the epoch.
    test_rows : DataFrame
        Rows that test.
    tests_begin_early : bool
        Whether the first of them are forecast, from the rows before them.
    context_length : int or None
        Rows that a forecast sees. None: what the model chooses.
    horizon : int
        Rows that it is made for.
    scaler : Scaler
        Fitted on the training rows.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test_rows: pd.DataFrame
    tests_begin_early: bool
    context_length: int | None
    horizon: int
    scaler: Scaler

    @property
    def rows_to_fit(self) -> pd.DataFrame:
        """Training rows and the validation rows after them."""
        return pd.concat([self.train, self.validation])

    @property
    def validation_windows(self) -> pd.DataFrame:
        """The validation rows after the context of their first forecast."""
        return pd.concat([self.train.iloc[len(self.train) - self._context :], self.validation])

    @property
    def test(self) -> pd.DataFrame:
        """The test rows, after the context of their first forecast where the protocol begins early."""
        if not self.tests_begin_early:
            return self.test_rows
        before = self.rows_to_fit
        return pd.concat([before.iloc[len(before) - self._context :], self.test_rows])

    @property
    def _context(self) -> int:
        assert self.context_length is not None, "the model has not chosen its context yet"
        return self.context_length


@dataclass(frozen=True)
class Trained:
    """A trained model, of whatever library.

    Attributes
    ----------
    forecast : callable
        Gives the forecasts of every window of a frame: (n_windows, horizon, n_series).
    context_length : int
        Rows that a forecast sees.
    parameters : int
        Trainable ones.
    epochs, best_epoch : int
        Passes over all training windows, and the one whose weights were kept.
    seconds : float
        Of training, with validation, since `resumed_after_epoch`.
    resumed_after_epoch : int
        Epochs of a process before this one, which was killed.
    precision : str or None
        Lightning's name for the arithmetic of the training, where it is known.
    """

    forecast: Forecast
    context_length: int
    parameters: int = 0
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    resumed_after_epoch: int = 0
    precision: str | None = None

    @property
    def seconds_per_epoch(self) -> float:
        return self.seconds / max(self.epochs - self.resumed_after_epoch, 1)


@dataclass(frozen=True)
class Score:
    """Errors over all windows, steps and series, each counted once.

    Attributes
    ----------
    windows : int
        Forecasts made.
    mse, mae : float
        In units of the rows given.
    """

    windows: int
    mse: float
    mae: float


def load_task(
    data: str, context_length: int | None, horizon: int, file: str | None = None, shares: Sequence[float] | None = None
) -> Task:
    """Read a data set and split and scale it as its protocol says.

    Parameters
    ----------
    data : str
        One of `datasets.names()`; of no effect if `file` is given.
    context_length : int or None
        Rows that a forecast sees. None: what the model chooses.
    horizon : int
        Rows that it is made for.
    file : path or None
        CSV or Parquet file with a time axis in its first column.
    shares : sequence of three numbers or None
        Training, validation and test rows of a file, as shares of all of them. None: 0.7, 0.1 and 0.2.

    Raises
    ------
    ValueError
        If the data are not valid, or a part holds no window.
    OSError
        If they cannot be read.
    """
    if file is None:
        train, validation, test = datasets.split(data, 0)
        early = len(datasets.split(data, 1)[2]) > len(test)
    else:
        frame = read_frame(read_table(Path(file)), file, missing=True)
        first, second = borders(len(frame), shares or DEFAULT_SHARES)
        train, validation, test = frame.iloc[:first], frame.iloc[first:second], frame.iloc[second:]
        early = True
    context = context_length or 0
    for name, rows, needed in (
        ("training", train, context + horizon),
        ("validation", validation, horizon),
        ("test", test, horizon if early else context + horizon),
    ):
        if len(rows) < needed:
            raise ValueError(
                f"{data} has {len(rows)} {name} rows, and a window with a context of {context} and a horizon of "
                f"{horizon} needs {needed}; lower one of them"
            )
    scaler = Scaler.fit(train.to_numpy(dtype=np.float64), "standard")

    def scaled(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(scaler.transform(rows.to_numpy(dtype=np.float64)), index=rows.index, columns=rows.columns)

    return Task(scaled(train), scaled(validation), scaled(test), early, context_length, horizon, scaler)


def borders(n_rows: int, shares: Sequence[float]) -> tuple[int, int]:
    """The first validation row and the first test row; training and test rows are rounded down, as published.

    Raises
    ------
    ValueError
        If the shares are not three positive numbers that make up the whole.

    Examples
    --------
    >>> borders(966, (0.7, 0.1, 0.2))
    (676, 773)
    """
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(
            f"the shares of training, validation and test rows must be three numbers that add up to 1, got {(*shares,)}"
        )
    return int(shares[0] * n_rows), n_rows - int(shares[2] * n_rows)


def score(forecast: Forecast, rows: pd.DataFrame, context_length: int, horizon: int) -> Score:
    """Errors of the forecasts of every window of the rows; see `scores`.

    Examples
    --------
    >>> rows = pd.DataFrame({"load": [0.0, 1.0, 3.0, 3.0]})
    >>> def repeat_newest(rows):
    ...     return rows.to_numpy()[:-1, None]  # of each window of a context of 1 and a horizon of 1
    >>> score(repeat_newest, rows, context_length=1, horizon=1)
    Score(windows=3, mse=1.6666666666666667, mae=1.0)
    """
    return scores(forecast, rows, context_length, horizon)[horizon]


def scores(
    forecast: Forecast, rows: pd.DataFrame, context_length: int, horizon: int, shorter_horizons: Sequence[int] = ()
) -> dict[int, Score]:
    """Errors of the forecasts of every window of the rows, at the horizon and over the first steps up to shorter ones.

    Each horizon has all of its windows: the forecast after a cutoff near the end reaches beyond the rows, and only
    shorter horizons count it.

    Parameters
    ----------
    forecast : callable
        Gives the forecasts of every window of a frame: (n_windows, horizon, n_series).
    rows : DataFrame
        Begins one context before the first row to forecast. Missing values do not count.
    context_length, horizon : int
        Rows that a forecast sees, and rows that it is made for.
    shorter_horizons : sequence of int, default ()

    Raises
    ------
    ValueError
        If the rows hold no window, or a forecast is missing or of the wrong shape.
    """
    horizons = (*shorter_horizons, horizon)
    n_windows = {steps: len(rows) - context_length - steps + 1 for steps in horizons}
    if n_windows[horizon] < 1:
        raise ValueError(f"{len(rows)} rows hold no window of {context_length} + {horizon} rows")
    rows = _continued(rows, horizon - min(horizons))
    at_once = max(1, _NUMBERS_AT_ONCE // (horizon * rows.shape[1]))
    sums = {steps: np.zeros(3) for steps in horizons}  # squares, absolute errors, how many
    for first in range(0, max(n_windows.values()), at_once):
        last = min(first + at_once, max(n_windows.values()))
        piece = rows.iloc[first : last + context_length + horizon - 1]
        targets = piece.to_numpy(dtype=np.float64)[context_length:]
        actual = np.lib.stride_tricks.sliding_window_view(targets, horizon, axis=0).swapaxes(1, 2)
        forecasts = forecast(piece)
        if forecasts.shape != actual.shape:
            raise ValueError(f"the forecasts have the shape {forecasts.shape}, not {actual.shape}")
        errors = np.where(np.isnan(actual), np.nan, forecasts - actual)
        if not np.isfinite(errors[~np.isnan(actual)]).all():
            raise ValueError("some of the forecasts are no finite numbers")
        for steps in horizons:
            own = errors[: max(n_windows[steps] - first, 0), :steps]
            own = own[~np.isnan(own)]
            sums[steps] += np.array([own @ own, np.abs(own).sum(), own.size])
    return {
        steps: Score(n_windows[steps], float(squares / count), float(absolute / count))
        for steps, (squares, absolute, count) in sums.items()
    }


def _continued(rows: pd.DataFrame, n_more: int) -> pd.DataFrame:
    """The rows and so many after them, where nothing is observed."""
    if n_more == 0:
        return rows
    return rows.reindex(rows.index.append(continue_index(rows.index[-1:], frequency_of(rows.index), n_more)))
