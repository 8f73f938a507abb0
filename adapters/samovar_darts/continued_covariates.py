"""Covariates that go on to the end of the last output chunk, whose last steps a forecast cuts off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from darts import TimeSeries

from samovar_forecast.data.calendar_features import calendar_features


def continued(
    covariates: TimeSeries, series: TimeSeries, n_needed: int, n_whole: int, calendar: Sequence[str] = ()
) -> TimeSeries | None:
    """Covariates with as many rows as whole output chunks take; None without those that the requested steps need.

    The calendar goes on, other covariates keep their last value, as in the core. No requested step reads those
    rows: a network mixes no steps but of the calendar.

    Parameters
    ----------
    covariates, series : TimeSeries
    n_needed, n_whole : int
        Rows from the start of the series on that the requested steps, and whole chunks, need.
    calendar : sequence of str
        Names of the features that are the last components.
    """
    newest, needed, whole = (
        covariates.end_time(),
        *(series.start_time() + (n - 1) * series.freq for n in (n_needed, n_whole)),
    )
    if newest < needed or covariates.freq != series.freq:
        return None  # darts says so
    if newest >= whole:
        return covariates
    missing = (
        (whole - newest) // series.freq
        if series.has_range_index
        else len(pd.date_range(newest, whole, freq=series.freq)) - 1
    )
    extended = covariates.append_values(np.repeat(covariates.all_values(copy=False)[-1:], missing, axis=0))
    if not calendar:
        return extended
    values = extended.all_values()
    features = calendar_features(extended.time_index[len(covariates) :], calendar)
    values[len(covariates) :, -len(calendar) :] = features[:, :, None]
    return extended.with_values(values)
