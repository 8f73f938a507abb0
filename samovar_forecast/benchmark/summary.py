"""Summaries of records: means over seeds, averages over horizons, ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from samovar_forecast.benchmark.plan import changed_settings
from samovar_forecast.benchmark.protocol import DEFAULT_SHARES
from samovar_forecast.benchmark.published import AVERAGE, Published, find
from samovar_forecast.benchmark.recipes import horizons
from samovar_forecast.benchmark.store import DONE

_Kind = tuple[str, str, str]  # model, recipe, data
_BySeed = dict[int, Mapping[str, Any]]


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
        Of an average those that each horizon has; others do not count in it.
    mse, mae : float
        In standard deviations of the training rows.
    deviation : float or None
        Standard deviation between the seeds of the MSE, or of its average over the horizons, if there are several.
    parameters, epochs, best_epoch, seconds_per_epoch, training_seconds : float
        Means as well.
    peak_memory_mb : float or None
        The highest. None: the system did not tell.
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
        """The name of the model, with its recipe unless that is the default one."""
        return self.model if self.recipe == "default" else f"{self.model} ({self.recipe})"

    @property
    def look_back(self) -> str:
        return ", ".join(map(str, self.look_backs if len(set(self.look_backs)) > 1 else self.look_backs[:1]))

    @property
    def published(self) -> Published | None:
        return find(self.model, self.data, self.horizon or AVERAGE, self.look_backs)

    @property
    def difference(self) -> float | None:
        """Percent by which the MSE is above the published one; None where that has another look-back."""
        found = self.published
        return 100 * (self.mse / found.mse - 1) if found is not None and found.may_be_of(self.look_backs) else None


def summarise(records: Iterable[Mapping[str, Any]]) -> list[Result]:
    """Means over the seeds of runs that are otherwise the same, and averages where all four horizons are there.

    Returns
    -------
    list of Result
        By data, horizon and MSE; the averages after the horizons.
    """
    done = [each for record in records if record["status"] == DONE for each in _by_horizon(record)]
    several_devices = len({record["device"] for record in done if record["model"] != "naive"}) > 1
    contents: dict[str, set[str | None]] = {}
    for record in done:
        contents.setdefault(record["data"], set()).add(record["content"])
    cells: dict[_Kind, dict[int, _BySeed]] = {}
    for record in done:
        words = [record["recipe"], *(f"{name}={value}" for name, value in changed_settings(record).items())]
        if several_devices and record["model"] != "naive":
            words.append(f"on {record['device']}")
        if record["shares"] is not None and tuple(record["shares"]) != DEFAULT_SHARES:
            words.append("split " + " ".join(map(str, record["shares"])))
        data = record["data"]
        if len(contents[data]) > 1:  # files of one name
            data = f"{data} {record['content'][:8]}"
        of_kind = cells.setdefault((record["model"], ", ".join(words), data), {})
        of_kind.setdefault(record["horizon"], {})[record["seed"]] = record
    made = []
    for kind, by_horizon in cells.items():
        made += [_mean(kind, horizon, [by_seed]) for horizon, by_seed in by_horizon.items()]
        averaged = horizons(kind[2])
        if set(averaged) <= set(by_horizon):
            four = [by_horizon[horizon] for horizon in averaged]
            shared = set.intersection(*map(set, four))
            if shared:
                made.append(_mean(kind, None, [{seed: rows[seed] for seed in shared} for rows in four]))
    return sorted(made, key=lambda one: (one.data, one.horizon or math.inf, one.mse))


def _by_horizon(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The record of a run, and one for each shorter horizon that its model was scored at."""
    yield record
    for horizon, errors in record.get("at_shorter_horizons", {}).items():
        yield {**record, **errors, "horizon": int(horizon)}


def _mean(kind: _Kind, horizon: int | None, averaged: Sequence[_BySeed]) -> Result:
    """The mean over the seeds of one horizon, or of several that have the same seeds."""
    model, recipe, data = kind
    rows = [row for by_seed in averaged for row in by_seed.values()]
    memory = [row["peak_memory_mb"] for row in rows if row["peak_memory_mb"] is not None]

    def mean(name: str) -> float:
        return fmean(row[name] for row in rows)

    by_seed = [fmean(of_horizon[seed]["mse"] for of_horizon in averaged) for seed in averaged[0]]
    return Result(
        model=model,
        recipe=recipe,
        data=data,
        horizon=horizon,
        look_backs=tuple(_look_back(next(iter(of_horizon.values()))) for of_horizon in averaged),
        seeds=tuple(sorted(averaged[0])),
        mse=mean("mse"),
        mae=mean("mae"),
        deviation=stdev(by_seed) if len(by_seed) > 1 else None,
        parameters=mean("parameters"),
        epochs=mean("epochs"),
        best_epoch=mean("best_epoch"),
        seconds_per_epoch=mean("seconds_per_epoch"),
        training_seconds=mean("training_seconds"),
        peak_memory_mb=max(memory, default=None),
        computed_on="; ".join(sorted({f"{row['device']}, {row['threads']}" for row in rows})),
    )


def _look_back(record: Mapping[str, Any]) -> int:
    return int(record["look_back"] if record["context_length"] is None else record["context_length"])


def ranks(results: Sequence[Result]) -> tuple[dict[str, float], int]:
    """The mean rank of models by MSE, over the data sets and horizons that all of them have; ties share a rank.

    The models are those that make the comparison large: the number of models times that of the combinations that they
    share, grown from every model by the one that shares the most with it.

    Returns
    -------
    dict, int
        The ranks by label, best first, and over how many combinations they are means.
    """
    errors: dict[str, dict[tuple[str, int], float]] = {}
    for one in results:
        if one.horizon is not None:
            errors.setdefault(one.label, {})[one.data, one.horizon] = one.mse
    compared, shared = list[str](), set[tuple[str, int]]()
    for first in sorted(errors):
        group, cells = [first], set(errors[first])
        while others := set(errors) - set(group):
            group.append(max(sorted(others), key=lambda label: len(cells & set(errors[label]))))
            cells &= set(errors[group[-1]])
            if len(group) * len(cells) > len(compared) * len(shared):
                compared, shared = list(group), set(cells)
    mean = {
        label: fmean(_rank(errors[label][cell], [errors[other][cell] for other in compared]) for cell in shared)
        for label in compared
    }
    return dict(sorted(mean.items(), key=lambda item: (item[1], item[0]))), len(shared)


def _rank(value: float, values: Sequence[float]) -> float:
    return sum(other < value for other in values) + (values.count(value) + 1) / 2
