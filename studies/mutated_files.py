"""Break model files in every way that comes to mind: each is refused with ModelFileError, or loads as it was.

    python studies/mutated_files.py [number of files, default 2000]

Half of the files carry a digest that fits what was changed, as those made to do harm. Nothing in them may
run, and the address space is bounded: a file that takes memory would be seen.
"""

from __future__ import annotations

import os
import pickle
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mutations import MUTATIONS, Material, other_tensor

from samovar_forecast import AutoformerForecaster, PSFAttentionForecaster, SAMoVARForecaster
from samovar_forecast.estimator import Forecaster
from samovar_forecast.files.model_file import ModelFileError

SPARE_MEMORY = 2**30  # of address space: threads and arenas take some, the files are smaller than 100 kB


def models(folder: Path) -> list[Path]:
    """Three kinds of models: a frame, a panel with covariates, and quantiles with a time zone."""
    generator = np.random.default_rng(0)
    common = {"horizon": 4, "context_length": 12, "max_epochs": 1, "device": "cpu", "random_state": 0, "d_model": 8}
    index = pd.date_range("2024-01-01", periods=80, freq="h")
    y = pd.DataFrame(generator.normal(size=(80, 3)).cumsum(0), index=index, columns=["s0", ("s", 1), 2])
    frames = {("north", 1): y, ("south", 2): y[20:]}
    X = {key: frame.iloc[:, :1].rename(columns={"s0": "x"}) for key, frame in frames.items()}
    static = pd.DataFrame({"size": [1.0, 2.0]}, index=pd.MultiIndex.from_tuples(frames))
    quantiles = {"quantiles": (0.1, 0.5, 0.9), "calendar": ("hour",)}
    fitted = [
        SAMoVARForecaster(**common, n_layers=1, n_heads=2).fit(y),
        PSFAttentionForecaster(**common, n_layers=1).fit(frames, X, static=static),
        AutoformerForecaster(**common, **quantiles, n_heads=2, targets=[("s", 1)]).fit(y.tz_localize("Europe/Berlin")),
    ]
    paths = [folder / f"model-{number}" for number in range(len(fitted))]
    for model, path in zip(fitted, paths, strict=True):
        model.save(path)
    return paths


def try_files(number: int, folder: Path, seed: int = 0, bounded: bool = False) -> Counter[str]:
    """Load so many mutants; count what became of them by mutation.

    Raises
    ------
    AssertionError
        If one was let through that should not be, if code ran, or if an error of another kind came up.
    """
    trap = folder / "code-ran"
    payload = pickle.dumps(_Trap(trap))
    paths = models(folder)
    material = [Material(path.read_bytes(), payload) for path in paths]
    weights = [Forecaster.load(path).network_.state_dict() for path in paths]
    if bounded:
        bound_memory()
    r, counts, file = random.Random(seed), Counter[str](), folder / "mutant"
    tried = 0
    while tried < number:
        kind, mutate = r.randrange(len(paths)), MUTATIONS[tried % len(MUTATIONS)]
        content = mutate(material[kind], r)
        if content is None or content == material[kind].content:
            continue
        tried += 1
        file.write_bytes(content)
        try:
            loaded = Forecaster.load(file)
        except ModelFileError:
            counts[f"{mutate.__name__}: refused"] += 1
        else:
            assert same(loaded.network_.state_dict(), weights[kind]) or mutate is other_tensor, mutate.__name__
            counts[f"{mutate.__name__}: loaded with the same weights"] += 1
        assert not trap.exists(), f"{mutate.__name__} ran code"
    return counts


class _Trap:
    """Unpickling it would leave a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def same(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def bound_memory() -> None:
    """Let this process take little more address space than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        for what, count in sorted(try_files(number, Path(name), bounded=True).items()):
            print(f"{count:5}  {what}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{number} files in {time.perf_counter() - began:.0f} s, peak memory of the process {peak:.0f} MB")
