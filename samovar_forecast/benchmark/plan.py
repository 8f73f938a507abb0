"""The plan of a benchmark: every combination of models, data, horizons and seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from samovar_forecast.benchmark import recipes
from samovar_forecast.benchmark.protocol import DEFAULT_SHARES, borders
from samovar_forecast.benchmark.runs import Run
from samovar_forecast.estimator import Forecaster
from samovar_forecast.files import datasets
from samovar_forecast.forecasters import ALL_FORECASTERS
from samovar_forecast.training.batches import USUAL_BATCH_SIZE
from samovar_forecast.training.config import TrainingConfig, check_training_config
from samovar_forecast.training.devices import resolve_device

RECIPES = ("default", "published")
FORECASTERS: dict[str, type[Forecaster]] = {cls.__name__.removesuffix("Forecaster"): cls for cls in ALL_FORECASTERS}

# Set by the run or the protocol, or without an effect on the result.
_ASIDE = {
    "horizon", "context_length", "targets", "validation_fraction", "random_state", "device", "verbose", "logger",
    "callbacks", "log_dir", "checkpoint_dir", "devices", "num_nodes", "strategy",
}  # fmt: skip
_BUDGET = ("max_epochs", "patience")


def plan(
    models: Sequence[str],
    data: Sequence[str],
    horizons: Sequence[int] = (),
    seeds: Sequence[int] = (0,),
    recipe: str = "default",
    *,
    context_length: int | None = None,
    shares: Sequence[float] | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    label: str | None = None,
) -> list[Run]:
    """Every combination of models, data, horizons and seeds, each once.

    With the default recipe a forecaster of this package is trained once for all horizons, on the longest.

    Parameters
    ----------
    models : sequence of str
        See `Run`.
    data : sequence of str
        Names of data sets, and paths of CSV and Parquet files.
    horizons : sequence of int, default ()
        None given: those that results are published for.
    seeds : sequence of int, default (0,)
        The seasonal naive forecast has none and is made once.
    recipe : {"default", "published"}, default "default"
        Hyperparameters and look-back of the package, or of the papers, which train for each horizon. The models of
        libraries have the first alone, with the look-backs of their papers.
    context_length : int or None
        Look-back of all runs. None: that of the recipe.
    shares : sequence of three floats or None
        Training, validation and test rows of the files.
    settings : mapping or None
        Hyperparameters that all runs have in place of those of the recipe.
    device : str, default "auto"
        "cpu", "cuda", "mps", or "auto": the fastest one there is.
    label : str or None
        Name of the recipe in the records.

    Raises
    ------
    ValueError, TypeError
        If a name is unknown or a setting is not right.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> [run.context_length for run in plan(["SAMoVAR"], ["ETTh1"], recipe="published", device="cpu")]
    [1024, 2048, 2048, 4096]
    >>> [str(run) for run in plan(["SAMoVAR"], ["ETTh1"], device="cpu")]
    ['SAMoVAR ETTh1-96/192/336/720 seed 0 default']
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe must be one of {RECIPES}, got {recipe!r}")
    for rows in (*horizons, *(() if context_length is None else (context_length,))):
        if rows < 1:
            raise ValueError(f"horizons and the context length must be at least 1, got {rows}")
    if ":" in device:
        raise ValueError(f"device={device!r} must name a kind of device; CUDA_VISIBLE_DEVICES chooses one of several")
    kind = resolve_device(device).type
    made = []
    for name in data:
        source = _source(name, shares)
        asked = tuple(sorted(set(horizons or recipes.horizons(source["data"]))))
        for model in map(_model, models):
            at_once = model in FORECASTERS and recipe == "default"
            for *shorter, horizon in [asked] if at_once else [(steps,) for steps in asked]:
                rows = context_length
                if rows is None and not at_once:
                    rows = recipes.look_back(model, source["data"], horizon)
                chosen = _settings(model, source["data"], recipe, settings or {}, horizon, rows)
                made += [
                    Run(
                        model=model, horizon=horizon, context_length=rows, seed=seed, hyperparameters=chosen,
                        recipe=(label or recipe) if model in FORECASTERS else "default",
                        device="cpu" if model == "naive" else kind, shorter_horizons=tuple(shorter), **source,
                    )
                    for seed in ([0] if model == "naive" else seeds)
                ]  # fmt: skip
    return list({run.name: run for run in made}.values())


def _model(name: str) -> str:
    """The name of a model as its authors write it."""
    library, _, kind = name.rpartition(":")
    if library:
        if library not in recipes.LIBRARIES or not kind:
            raise ValueError(f"there is no library {library!r}; there are {', '.join(recipes.LIBRARIES)}")
        return name
    ours = {known.lower(): known for known in (*FORECASTERS, "naive", "linear")}
    if name.lower() not in ours:
        raise ValueError(f"there is no model {name!r}; there are {', '.join(ours.values())}, and those of libraries, "
                         "such as darts:TSMixer and neuralforecast:PatchTST")  # fmt: skip
    return ours[name.lower()]


def _source(name: str, shares: Sequence[float] | None) -> dict[str, Any]:
    """A data set, or a file with its digest."""
    by_name = {known.lower(): known for known in datasets.names()}
    if name.lower() in by_name:
        return {"data": by_name[name.lower()]}
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"there is no data set and no file {name!r}; the data sets are {', '.join(datasets.names())}")
    chosen = tuple(float(share) for share in shares or DEFAULT_SHARES)
    borders(1, chosen)
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return {"data": path.name, "file": str(path.resolve()), "content": content, "shares": chosen}


def _settings(
    model: str, data: str, recipe: str, given: Mapping[str, Any], horizon: int, context_length: int | None
) -> dict[str, Any]:
    if model == "naive":
        return {}
    if model not in FORECASTERS:
        budget = {name: getattr(TrainingConfig(), name) for name in _BUDGET} | {"batch_size": USUAL_BATCH_SIZE}
        return budget | recipes.BASELINES.get(model, {}) | dict(given)
    cls = FORECASTERS[model]
    known = {field.name for field in fields(cls)} - _ASIDE
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{model} has no setting {unknown[0]!r}; it has {', '.join(sorted(known))}")
    chosen = recipes.published(model, data) if recipe == "published" else {}
    forecaster = cls(**chosen | dict(given), horizon=horizon, context_length=context_length)
    check_training_config(forecaster)
    return {name: getattr(forecaster, name) for name in sorted(known)}


def changed_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a record that are not those of its recipe; of one with a label of its own, not the defaults.

    The look-back is one of them, where it is not that of the paper.

    Examples
    --------
    >>> from dataclasses import asdict
    >>> (run,) = plan(["SAMformer"], ["ETTh1"], [96], settings={"max_epochs": 1}, device="cpu")
    >>> changed_settings(asdict(run))
    {'max_epochs': 1}
    """
    model, data, horizon, rows = (record[name] for name in ("model", "data", "horizon", "context_length"))
    recipe = record["recipe"] if record["recipe"] in RECIPES else "default"
    usual = json.loads(json.dumps(_settings(model, data, recipe, {}, horizon, rows)))
    changed = {
        name: value
        for name, value in json.loads(json.dumps(record["hyperparameters"])).items()
        if name not in usual or usual[name] != value
    }
    own = None if model in FORECASTERS and recipe == "default" else recipes.known_look_back(model, data, horizon)
    return changed if rows == own else {"context_length": rows} | changed
