"""What a model has seen of the series it was fitted on, and how other series are held against that.

darts takes components by position and any step of time: columns in another order, or days in place of hours, would give
wrong forecasts silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from darts import TimeSeries

from samovar_forecast.data.ignored_warnings import warnings_ignored

Seen = dict[str, Any]  # plain, so that darts can save it


def seen_of(**roles: Sequence[TimeSeries] | None) -> Seen:
    """Component names by role, where all series share them, and steps, means and deviations of the targets."""
    seen: Seen = {"step": sorted({str(one.freq) for one in roles["series"] or ()})}
    targets = [one.all_values(copy=False)[:, :, 0].astype(np.float64) for one in roles["series"] or ()]
    if targets and len({values.shape[1] for values in targets}) == 1:
        values = np.concatenate(targets)
        with warnings_ignored(category=RuntimeWarning):  # of components without a value, which are refused
            seen |= {"center": np.nanmean(values, axis=0).tolist(), "deviation": np.nanstd(values, axis=0).tolist()}
    for role, given in roles.items():
        names = {tuple(one.components) for one in given or ()}
        seen[role] = list(names.pop()) if len(names) == 1 else None
    return seen


def check_seen(seen: Seen, **roles: Sequence[TimeSeries] | None) -> None:
    """Refuse series that a model would read as others than it was fitted on.

    One target may have any name: a model of many series forecasts new ones.

    Raises
    ------
    ValueError
        If components have other names than in `fit`, or another order, or the targets another step.
    """
    for role, given in roles.items():
        for number, one in enumerate(given or ()):
            names, wanted = list(one.components), seen.get(role)
            if wanted is not None and names != wanted and not (role == "series" and len(names) == 1):
                raise ValueError(
                    f"{role}[{number}] has the components {names}, the model was fitted on {wanted}: bring them into "
                    f"that order, e.g. series[{wanted}], or rename them"
                )
            if role == "series" and str(one.freq) not in seen["step"]:
                steps = " and ".join(seen["step"])
                raise ValueError(f"{role}[{number}] has a step of {one.freq_str}, the model was fitted on {steps}")
