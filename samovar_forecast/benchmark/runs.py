"""A run of the benchmark: one training and its score, with everything that decides the result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Run:
    """One training and its score: everything that decides the result.

    Attributes
    ----------
    model : str
        Name of a forecaster without "Forecaster", "naive", "linear", or a model of a library as in "darts:TSMixer".
    data : str
        Name of a data set, or of a file.
    horizon : int
        Rows that a forecast is made for.
    context_length : int or None
        Rows that a forecast sees. None: what the forecaster chooses from the data.
    seed : int
        Of initial weights, dropout and the order of windows.
    recipe : str
        Where the hyperparameters come from.
    hyperparameters : dict
        All that have an effect; of a library's model those that differ from its own defaults.
    device : str
        Kind of device, which decides the precision: "cpu", "cuda" or "mps".
    shares : tuple of three floats or None
        Training, validation and test rows of a file.
    content : str or None
        SHA-256 of the file.
    file : str or None
        Its path, which decides nothing.
    shorter_horizons : tuple of int
        Also scored, by the first so many steps of forecasts of the same model.
    """

    model: str
    data: str
    horizon: int
    context_length: int | None
    seed: int
    recipe: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    shares: tuple[float, ...] | None = None
    content: str | None = None
    file: str | None = None
    shorter_horizons: tuple[int, ...] = ()

    @cached_property
    def name(self) -> str:
        """A file name that tells this run from all others: the parts that people look for, and a digest of the rest."""
        decisive = {name: value for name, value in asdict(self).items() if name != "file" and value != ()}
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]
        words = (self.data, self.horizon, self.model, self.recipe, f"seed{self.seed}", digest)
        return "-".join(re.sub(r"[^\w.]+", "_", str(word)) for word in words)

    def __str__(self) -> str:
        horizons = "/".join(map(str, (*self.shorter_horizons, self.horizon)))
        return f"{self.model} {self.data}-{horizons} seed {self.seed} {self.recipe}"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Run:
        """The run of a record or of a message, which may hold more."""
        known = {field.name: values.get(field.name) for field in fields(cls) if field.name in values}
        shares = known.get("shares")
        shorter = tuple(known.get("shorter_horizons") or ())
        return cls(**known | {"shares": None if shares is None else tuple(shares), "shorter_horizons": shorter})
