"""The season that the step of an index suggests, and the lengths that data decide: of windows and of training rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from samovar_forecast.data.time_axis import Frequency

LONGEST_CONTEXT = 4096
OUTPUT_AT_LEAST, SEASONS_OF_OUTPUT = 96, 2  # how long a horizon is still forecast at once
CONTEXT_AT_LEAST, SEASONS_OF_CONTEXT, OUTPUTS_OF_CONTEXT = 512, 12, 10
SHARE_OF_CONTEXT, OUTPUTS_OF_SHORT_CONTEXT = 6, 3  # where there are few rows
SEGMENT_WITHOUT_SEASON = 24
_DAY = 24 * 3600  # seconds
_UNITS = ("weeks", "days", "hours", "minutes", "seconds")
# Steps in a season (a week of business days, else a year), by the first part of pandas' name of a step: "W" of "W-SUN".
_STEPS_PER_SEASON = {
    "B": 5, "W": 52, "SMS": 24, "SME": 24, "MS": 12, "ME": 12, "BMS": 12, "BME": 12, "CBMS": 12, "CBME": 12, "WOM": 12,
    "LWOM": 12, "QS": 4, "QE": 4, "BQS": 4, "BQE": 4, "REQ": 4, "HYS": 2, "HYE": 2, "BHYS": 2, "BHYE": 2,
}  # fmt: skip


class Lengths(NamedTuple):
    """Rows of a window, as a network takes them.

    Attributes
    ----------
    context : int
        History that the network sees.
    output : int
        Steps that it forecasts at once; longer forecasts roll forward.
    segment : int
        Rows of a token, where the network cuts its context into segments.
    """

    context: int
    output: int
    segment: int


def season_length(frequency: Frequency) -> int:
    """Rows in the season that a frequency suggests.

    A day for steps between a minute and less than a day (hourly 24, 15 minutes 96), a week for days (7; business days
    5), a year for weeks (52), months (12) and quarters (4). 1 where a season is no whole number of steps, and for
    integers.

    Examples
    --------
    >>> [season_length(pd.tseries.frequencies.to_offset(step)) for step in ("h", "15min", "D", "W", "MS", "QE", "YS")]
    [24, 96, 7, 52, 12, 4, 1]
    >>> season_length(1)
    1
    """
    if isinstance(frequency, int):
        return 1
    if type(frequency) is pd.DateOffset:  # "the same day of every month" and the like
        parts = frequency.kwds or {"days": 1}
        if "years" in parts or "months" in parts:
            return _whole(12, (12 * parts.get("years", 0) + parts.get("months", 0)) * frequency.n)
        units = {name: count for name, count in parts.items() if name in _UNITS}
        return _season_of(pd.Timedelta(**units) * frequency.n)
    if isinstance(frequency, pd.offsets.Day):  # a Tick in pandas 2, and none in pandas 3
        return _season_of(pd.Timedelta(days=frequency.n))
    if isinstance(frequency, pd.offsets.Tick):
        return _season_of(pd.Timedelta(frequency))
    if isinstance(frequency, pd.offsets.CustomBusinessDay):
        return _whole(int(frequency.calendar.weekmask.sum()), frequency.n)
    try:
        name = frequency.rule_code.partition("-")[0]
    except NotImplementedError:  # a step without a name, such as Easter
        return 1
    return _whole(_STEPS_PER_SEASON.get(name, 1), frequency.n)


def choose_lengths(
    frequency: Frequency,
    n_rows: Sequence[int],
    horizon: int,
    validation_fraction: float,
    context: int | None = None,
    output: int | None = None,
    segment: int | None = None,
    known: Lengths | None = None,
) -> tuple[Lengths, list[int]]:
    """The lengths that are given, else those of a forecaster to begin with, else what the data decide.

    Parameters
    ----------
    frequency : offset or int
    n_rows : sequence of int
        Rows of each series.
    horizon, validation_fraction
        See `TrainingConfig`.
    context, output, segment : int or None
        The lengths that are given.
    known : Lengths or None
        Those of the forecaster to begin with.

    Returns
    -------
    Lengths
    list of int
        Rows of each series that train.

    Raises
    ------
    ValueError
        If the training rows do not hold one window.

    Examples
    --------
    >>> choose_lengths(1, [1000], horizon=24, validation_fraction=0.2)
    (Lengths(context=133, output=24, segment=24), [800])
    """
    season = season_length(frequency)
    output = output or (known.output if known else choose_output(horizon, season))
    n_training = training_rows(n_rows, output, validation_fraction)
    rows = max(n_training), sum(n_training)
    context = context or (known.context if known else choose_context(output, season, *rows))
    segment = segment or (known.segment if known else choose_segment(context, output, season))
    lengths = Lengths(int(context), int(output), int(segment))
    if known is None or known.context != lengths.context:  # else a series shorter than a window is filled up
        check_enough_rows(max(n_training), lengths, validation_fraction)
    return lengths, n_training


def choose_output(horizon: int, season: int) -> int:
    """The horizon, at most 96 rows or two seasons, whichever is longer.

    Examples
    --------
    >>> choose_output(horizon=24, season=24), choose_output(horizon=720, season=24), choose_output(720, season=96)
    (24, 96, 192)
    """
    return min(horizon, max(OUTPUT_AT_LEAST, SEASONS_OF_OUTPUT * season))


def choose_context(output: int, season: int, n_training_rows: int, n_rows_of_all: int | None = None) -> int:
    """Ten outputs, at most 512 rows or twelve seasons, whichever is longer.

    Of few rows a long context leaves few windows: it is at most a sixth of all that train, or three outputs, whichever
    is longer, and at most half of the longest series beside an output.

    Parameters
    ----------
    output, season : int
    n_training_rows : int
        Rows of the longest series that train.
    n_rows_of_all : int or None
        Rows of all series of a panel that train. None: `n_training_rows`.

    Examples
    --------
    >>> choose_context(output=96, season=24, n_training_rows=10_000), choose_context(24, 24, 10_000)
    (512, 240)
    >>> choose_context(output=192, season=96, n_training_rows=10_000), choose_context(12, 12, 150)
    (1152, 36)
    >>> choose_context(12, 12, 150, n_rows_of_all=5_000)
    69
    """
    longest = min(LONGEST_CONTEXT, max(CONTEXT_AT_LEAST, SEASONS_OF_CONTEXT * season))
    share = max((n_rows_of_all or n_training_rows) // SHARE_OF_CONTEXT, OUTPUTS_OF_SHORT_CONTEXT * output)
    return min(OUTPUTS_OF_CONTEXT * output, longest, share, (n_training_rows - output) // 2)


def choose_segment(context: int, output: int, season: int) -> int:
    """A season, or 24 rows where there is none; at most an output, and at most the context.

    Examples
    --------
    >>> choose_segment(512, output=96, season=24), choose_segment(1152, 192, season=96), choose_segment(120, 12, 52)
    (24, 96, 12)
    >>> choose_segment(512, output=96, season=1), choose_segment(10, output=1, season=7)
    (24, 1)
    """
    return min(context, output, season if season > 1 else SEGMENT_WITHOUT_SEASON)


def training_rows(n_rows: Sequence[int], output_length: int, validation_fraction: float) -> list[int]:
    """Rows of each series before its held-out newest rows; all where the held-out part has no full output."""
    held_out = [round(validation_fraction * n) for n in n_rows]
    if 0 < max(held_out) < output_length:
        warnings.warn(
            f"validation_fraction={validation_fraction} of {max(n_rows)} rows is {max(held_out)}, less than the "
            f"{output_length} rows forecast at once: training on all rows without choosing the best epoch",
            stacklevel=5,
        )
    return [n - held if held >= output_length else n for n, held in zip(n_rows, held_out, strict=True)]


def check_enough_rows(n_training_rows: int, lengths: Lengths, validation_fraction: float) -> None:
    """Refuse training rows that do not hold one window; the message says how many rows would.

    Raises
    ------
    ValueError
    """
    context = max(lengths.context, 1)
    if lengths.context < 1 or n_training_rows < context + lengths.output:
        raise ValueError(
            f"y is too short: {n_training_rows} rows to train on, but context_length={context} and {lengths.output} "
            f"rows to forecast at once need at least {context + lengths.output}, beside the validation rows "
            f"(validation_fraction={validation_fraction}); lower context_length, horizon or output_length, or give "
            "more rows"
        )


def _season_of(step: pd.Timedelta) -> int:
    """Steps in a day, in a week of days or in a year of weeks, whichever is the next longer one."""
    seconds = step.total_seconds()
    if seconds < 60:
        return 1
    return _whole(_DAY if seconds < _DAY else 7 * _DAY if seconds < 7 * _DAY else 52 * 7 * _DAY, seconds)


def _whole(season: float, step: float) -> int:
    return int(season // step) if season % step == 0 else 1
