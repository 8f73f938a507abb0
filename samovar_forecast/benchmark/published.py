"""Published results with their look-backs and sources: published.csv in this folder."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from samovar_forecast.benchmark.recipes import horizons, plain_name

AVERAGE = "average"
QUOTED = ("CATS", "FITS", "Encoder")  # of Lu & Yang's table, not run here
_TABLE = Path(__file__).with_name("published.csv")


@dataclass(frozen=True)
class Published:
    """A published result.

    Attributes
    ----------
    model, data, horizon : str
        As in the results here; the horizon may be "average", over 96, 192, 336 and 720.
    look_back : str
        As the source states it, else "not stated".
    mse : float
    mae : float or None
    source : str
        The publication.
    """

    model: str
    data: str
    horizon: str
    look_back: str
    mse: float
    mae: float | None
    source: str

    def may_be_of(self, look_backs: Sequence[int]) -> bool:
        """Whether the look-back of the result may be this one.

        Examples
        --------
        >>> find("SAMoVAR", "ETTh1", "average", [1024]).may_be_of([1024])
        False
        >>> find("CATS", "ETTh1", "average", [512]).may_be_of([512])
        True
        """
        numbers = [int(number) for number in re.findall(r"\d+", self.look_back)]
        if " to " in self.look_back:
            return all(numbers[0] <= rows <= numbers[1] for rows in look_backs)
        return not numbers or numbers == (list(look_backs) if len(set(look_backs)) > 1 else [look_backs[0]])


@cache
def published_results() -> tuple[Published, ...]:
    """All published results, those of the papers on the models themselves first."""
    with _TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(
            Published(
                row["model"],
                row["data"],
                row["horizon"],
                row["look_back"],
                float(row["mse"]),
                float(row["mae"]) if row["mae"] else None,
                row["source"],
            )
            for row in csv.DictReader(file)
        )


def find(model: str, data: str, horizon: int | str, look_backs: Sequence[int]) -> Published | None:
    """The published result to compare with: that of the same look-back where there is one, else of the nearest.

    An average that is not printed is that of the four printed results of the same look-back.

    Parameters
    ----------
    model, data, horizon
        As in a record, or "average" for the horizon.
    look_backs : sequence of int
        Of the horizon, or of the four that are averaged.

    Examples
    --------
    >>> find("neuralforecast:PatchTST", "ETTh1", 96, [512]).mse
    0.37
    >>> round(find("darts:DLinear", "ETTh1", "average", [336]).mse, 4)
    0.4228
    >>> find("SAMoVAR", "ETTh1", "average", [1024, 2048, 2048, 4096]).mse
    0.401
    """
    distinct = look_backs if len(set(look_backs)) > 1 else look_backs[:1]
    wanted = ", ".join(map(str, distinct))
    candidates = sorted(_results(model, data, str(horizon)), key=lambda result: _distance(result.look_back, distinct))
    same = [result for result in candidates if result.look_back == wanted]
    if same:
        return same[0]
    if horizon == AVERAGE and len(distinct) == 1:
        parts = [[r for r in _results(model, data, str(one)) if r.look_back == wanted] for one in horizons(data)]
        if all(parts):
            first = [part[0] for part in parts]
            errors = [result.mae for result in first if result.mae is not None]
            return replace(
                first[0],
                horizon=AVERAGE,
                mse=sum(result.mse for result in first) / len(first),
                mae=sum(errors) / len(errors) if len(errors) == len(first) else None,
            )
    return candidates[0] if candidates else None


def _distance(look_back: str, wanted: Sequence[int]) -> float:
    """Distance of the look-back of a source; those that name no single one come last."""
    return abs(int(look_back) - wanted[0]) if look_back.isdigit() else math.inf


def _results(model: str, data: str, horizon: str) -> list[Published]:
    wanted = plain_name(model), data, horizon
    return [result for result in published_results() if (result.model, result.data, result.horizon) == wanted]
