"""New rows after the training data: a fitted forecaster that moves on and, where wanted, trains on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import pandas as pd

from samovar_forecast.data.fitted_data import FittedData, Given
from samovar_forecast.data.frames import check_observed, read_frame
from samovar_forecast.data.time_axis import continue_index
from samovar_forecast.data.windows import Windows, window_cutoffs
from samovar_forecast.forecasting.fit import train_further
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.split import split_windows


def update(fitted: Fitted, given: Given, config: TrainingConfig | None, freeze: Sequence[str] = ()) -> Fitted:
    """The forecaster with new rows taken in.

    Parameters
    ----------
    fitted : Fitted
    given : Given
        New rows; those that are known already replace the old ones.
    config : TrainingConfig or None
        How to train on every window with a target among the new rows. None: the weights stay.
    freeze : sequence of str
        Modules of the network that keep their weights.

    Raises
    ------
    ValueError
        If the rows leave a gap after the training data, or replace more rows than are remembered; if a new series
        has no name, or no value of a target.
    """
    data = fitted.data
    parts: list[Windows] = []
    series = {}
    for new in given.series():
        key, name = new.key, given.panel.name_of(new.key)
        frame = _continued(data, key, new.frame, name, trains=config is not None)
        one = new._replace(frame=frame, known=data.known_rows(new.known, frame.index, key))
        scaler = data.scaler_of(key, frame)
        if config is not None:
            cutoffs = window_cutoffs(len(frame), len(frame), data.context_length, data.output_length)
            parts.append(data.training_windows(one, cutoffs, scaler))
        series[key] = data.newest(frame, one.known, scaler, one.static, data.number_of(key))
    network, summary = fitted.network, fitted.summary
    if config is not None:
        n_new = [len(new) for new in given.panel.frames.values()]
        windows, _ = split_windows(Windows.join(parts), [0] * len(parts), n_new)
        network, summary = train_further(fitted, config, windows, freeze)
    return replace(fitted, network=network, summary=summary, data=data.with_series(series))


def _continued(data: FittedData, key: Hashable, new: pd.DataFrame, name: str, *, trains: bool) -> pd.DataFrame:
    """The remembered rows of a series with new ones after or over them."""
    if key not in data.series:
        if not data.is_panel:
            raise ValueError(f"{name} is no series of the training data, which was a single one")
        if key is None:
            raise ValueError("y is a single series, and the training data were a panel; name it: {name: y}")
        levels = data.layout.names
        if len(levels) > 1 and not (isinstance(key, tuple) and len(key) == len(levels)):
            raise ValueError(f"{name} is new, and its name needs {len(levels)} parts: {levels}")
        check_observed(new, data.targets, name)
        return new
    history = data.series[key].history
    expected = continue_index(history.index, data.frequency, 1)[0]
    if new.index[0] > expected:
        raise ValueError(f"{name} leaves a gap: it begins at {new.index[0]}, the training data continue at {expected}")
    rows = pd.concat([history[history.index < new.index[0]], new])
    frame = read_frame(rows, name, missing=True, step=data.frequency)
    complete = len(history) < data.context_length + data.output_length  # then no row of it has been forgotten
    needed = data.context_length + (data.output_length if trains and not data.is_panel else 0)
    if len(frame) < needed and not complete:
        raise ValueError(
            f"{name} begins at {new.index[0]}, so far back that {len(frame)} rows are left up to its end, and "
            f"{needed} are needed; give every row from {history.index[0]} on, or fit again"
        )
    return frame
