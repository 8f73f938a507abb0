"""The lengths that the data decide where none are given: of the context, of one output, and of a segment."""

from __future__ import annotations

from typing import NamedTuple

LONGEST_CONTEXT = 4096
OUTPUT_AT_LEAST, SEASONS_OF_OUTPUT = 96, 2  # how long a horizon is still forecast at once
CONTEXT_AT_LEAST, SEASONS_OF_CONTEXT, OUTPUTS_OF_CONTEXT = 512, 12, 10
SHARE_OF_CONTEXT, OUTPUTS_OF_SHORT_CONTEXT = 6, 3  # where there are few rows
SEGMENT_WITHOUT_SEASON = 24


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
