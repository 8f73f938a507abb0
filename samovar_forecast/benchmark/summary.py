"""Records of runs, put together: means over seeds, averages over horizons, ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev
from typing import Any

from samovar_forecast.benchmark.plan import changed_settings
from samovar_forecast.benchmark.published import AVERAGE, Published, find
from samovar_forecast.benchmark.recipes import HORIZONS
from samovar_forecast.benchmark.store import DONE


@dataclass(frozen=True)
class Result:
    """The mean of runs that differ in the seed alone, or of four horizons.

    Attributes
    ----------
    model, data : str
        As in the records.
    recipe : str
        Its name, and what was changed of it.
    horizon : int or None
        None: the average over 96, 192, 336 and 720.
    look_backs : tuple of int
        That of the horizon, or of the four.
    seeds : tuple of int
        Of an average those that each horizon has.
    mse, mae : float
        In standard deviations of the training rows.
    deviation : float or None
        Standard deviation of the MSE between the seeds, if there are several.
    parameters, epochs, best_epoch, seconds_per_epoch, training_seconds : float
        Means as well.
    peak_memory_mb : float or None
        None: the system did not tell.
    computed_on : str
        Kind of device, and threads.
    """

    model: str
    recipe: str
    data: str
    horizon: int | None
    look_backs: tuple[int, ...]
    seeds: tuple[int, ...]
    mse: float
    mae: float
    deviation: float | None
    parameters: float
    epochs: float
    best_epoch: float
    seconds_per_epoch: float
    training_seconds: float
    peak_memory_mb: float | None
    computed_on: str

    @property
    def label(self) -> str:
        """What the model is called where it has no row of its own for the recipe."""
        return self.model if self.recipe == "default" else f"{self.model} ({self.recipe})"

    @property
    def look_back(self) -> str:
        return ", ".join(map(str, self.look_backs if len(set(self.look_backs)) > 1 else self.look_backs[:1]))

    @property
    def published(self) -> Published | None:
        return find(self.model, self.data, self.horizon or AVERAGE, self.look_backs)

    @property
    def difference(self) -> float | None:
        """By how many percent the MSE is above the published one; None where that has another look-back."""
        found = self.published
        if found is None or (found.look_back.isdigit() and found.look_back != self.look_back):
            return None
        return 100 * (self.mse / found.mse - 1)


def summarise(records: Iterable[Mapping[str, Any]]) -> list[Result]:
    """Means over the seeds of runs that are otherwise the same, and averages where all four horizons are there.

    Returns
    -------
    list of Result
        By data, horizon and MSE; the averages behind the horizons.
    """
    groups: dict[tuple[str, str, str, int, int], list[Mapping[str, Any]]] = {}
    for record in records:
        if record["status"] == DONE:
            changes = [f"{name}={value}" for name, value in changed_settings(record).items()]
            recipe = ", ".join([record["recipe"], *changes])
            key = record["model"], recipe, record["data"], record["horizon"], record["context_length"]
            groups.setdefault(key, []).append(record)
    single = [_mean(*key, rows) for key, rows in groups.items()]
    made = single + _averages(single)
    return sorted(made, key=lambda one: (one.data, one.horizon or float("inf"), one.mse))


def _mean(
    model: str, recipe: str, data: str, horizon: int, context_length: int, rows: Sequence[Mapping[str, Any]]
) -> Result:
    def mean(name: str) -> float:
        return fmean(row[name] for row in rows)

    errors = [row["mse"] for row in rows]
    return Result(
        model=model,
        recipe=recipe,
        data=data,
        horizon=horizon,
        look_backs=(context_length,),
        seeds=tuple(sorted({row["seed"] for row in rows})),
        mse=fmean(errors),
        mae=mean("mae"),
        deviation=stdev(errors) if len(errors) > 1 else None,
        parameters=mean("parameters"),
        epochs=mean("epochs"),
        best_epoch=mean("best_epoch"),
        seconds_per_epoch=mean("seconds_per_epoch"),
        training_seconds=mean("training_seconds"),
        peak_memory_mb=None if any(row["peak_memory_mb"] is None for row in rows) else mean("peak_memory_mb"),
        computed_on=", ".join(sorted({f"{row['device']}, {row['threads']}" for row in rows})),
    )


def _averages(single: Sequence[Result]) -> list[Result]:
    """The mean over the four horizons, of models that have each of them with one look-back."""

    def kind(result: Result) -> tuple[str, str, str]:
        return result.model, result.recipe, result.data

    made = []
    for (model, recipe, data), group in groupby(sorted(single, key=kind), kind):
        four = sorted((one for one in group if one.horizon in HORIZONS), key=lambda one: one.horizon or 0)
        if tuple(one.horizon for one in four) != HORIZONS:
            continue
        memory = [one.peak_memory_mb for one in four if one.peak_memory_mb is not None]
        made.append(
            Result(
                model=model,
                recipe=recipe,
                data=data,
                horizon=None,
                look_backs=tuple(one.look_backs[0] for one in four),
                seeds=tuple(sorted(set.intersection(*(set(one.seeds) for one in four)))),
                mse=fmean(one.mse for one in four),
                mae=fmean(one.mae for one in four),
                deviation=None,
                parameters=fmean(one.parameters for one in four),
                epochs=fmean(one.epochs for one in four),
                best_epoch=fmean(one.best_epoch for one in four),
                seconds_per_epoch=fmean(one.seconds_per_epoch for one in four),
                training_seconds=fmean(one.training_seconds for one in four),
                peak_memory_mb=max(memory) if memory else None,
                computed_on=four[0].computed_on,
            )
        )
    return made


def ranks(results: Sequence[Result]) -> tuple[dict[str, float], int]:
    """The mean rank of models by MSE, over the data sets and horizons that all of them have; ties share a rank.

    The models are those with the most results, as many of them as make the comparison the largest: the number of
    models times that of the combinations that they share.

    Returns
    -------
    dict, int
        The ranks by label, best first, and over how many combinations they are means.
    """
    errors: dict[str, dict[tuple[str, int], float]] = {}
    for one in results:
        if one.horizon is not None:
            of_label, cell = errors.setdefault(one.label, {}), (one.data, one.horizon)
            of_label[cell] = min(one.mse, of_label.get(cell, math.inf))  # the better one of two look-backs
    most_first = sorted(errors, key=lambda label: (-len(errors[label]), label))
    shared, compared = set[tuple[str, int]](), list[str]()
    for count in range(2, len(most_first) + 1):
        cells = set.intersection(*(set(errors[label]) for label in most_first[:count]))
        if count * len(cells) > len(compared) * len(shared):
            shared, compared = cells, most_first[:count]
    mean = {
        label: fmean(_rank(errors[label][cell], [errors[other][cell] for other in compared]) for cell in shared)
        for label in compared
    }
    return dict(sorted(mean.items(), key=lambda item: (item[1], item[0]))), len(shared)


def _rank(value: float, values: Sequence[float]) -> float:
    return sum(other < value for other in values) + (values.count(value) + 1) / 2
