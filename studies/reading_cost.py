"""What a reading costs: time and memory of `explain`, as users call it, at 7 and at 321 series.

    python studies/reading_cost.py                      every model, width and part; half an hour on one core
    python studies/reading_cost.py --models SAMoVAR --widths 7 --parts "lag matrices, step 1"
    python studies/reading_cost.py --limit 60           gives up on a part after a minute

Context 512, horizon 96, default hyperparameters, one step of training on sines with noise: what a reading costs does
not depend on how well the model forecasts. The fitted model is saved, and each part loads it in a process of its own
with one thread. Memory is the highest resident memory while `explain` runs, beyond that before it; it includes the
result. Prints a table in Markdown and writes studies/results/reading_cost.json. Linux alone.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from samovar_forecast.benchmark.plan import FORECASTERS
from samovar_forecast.estimator import Forecaster

RESULTS = Path(__file__).parent / "results"
CONTEXT, HORIZON = 512, 96
MODELS = ("SAMoVAR", "FixedVAR", "SAMformer", "LinearAttention")
NEITHER: dict[str, Any] = {"lag_matrices": False, "influence": False}
PARTS: dict[str, Callable[[Forecaster], Any]] = {
    "all of it": lambda model: model.explain(),
    "neither lag matrices nor influence": lambda model: model.explain(**NEITHER),
    "the same, 1 series": lambda model: model.explain(series=["s0"], **NEITHER),
    "lag matrices, step 1": lambda model: model.explain(steps=[1], influence=False),
    "lag matrices, 1 series": lambda model: model.explain(series=["s0"], influence=False),
    "lag matrices, 1 source": lambda model: model.explain(sources=["s0"], influence=False),
    "influence, 1 series and source": lambda model: model.explain(series=["s0"], sources=["s0"], lag_matrices=False),
    "influence, 1 source": lambda model: model.explain(sources=["s0"], lag_matrices=False),
    "influence paths, 1 series": lambda model: model.influence_paths(series=["s0"]),
}
OF_FEW = ("all of it",)  # lag matrices of many series are refused, and their influence takes hours


def made_up(n_series: int) -> pd.DataFrame:
    """Sines of several periods with noise."""
    generator = np.random.default_rng(0)
    rows = np.arange(CONTEXT + 4 * HORIZON)[:, None]
    periods, phases = generator.uniform(12, 200, n_series), generator.uniform(0, 6, n_series)
    values = np.sin(2 * np.pi * rows / periods + phases) + 0.3 * generator.normal(size=(len(rows), n_series))
    return pd.DataFrame(values, columns=[f"s{number}" for number in range(n_series)])


def resident(field: str) -> int:
    """Bytes of the process in memory: now ("VmRSS") or at most ("VmHWM")."""
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def measure(file: str, part: str) -> dict[str, Any]:
    """Seconds, seconds of the processor and gigabytes of one call, and the size of what it gives."""
    torch.set_num_threads(1)
    model = Forecaster.load(file)
    model.predict()  # what is loaded at the first use is no part of a reading
    import xarray  # noqa: F401

    import samovar_forecast.forecasting.reading  # noqa: F401

    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident
    before, began, worked = resident("VmRSS"), time.perf_counter(), time.process_time()
    reading = PARTS[part](model)
    return {
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - worked,
        "gigabytes": (resident("VmHWM") - before) / 1e9,
        "result": reading.nbytes / 1e9,
    }


def measured(file: Path, part: str, limit: int) -> dict[str, Any] | str:
    command = [sys.executable, __file__, "--measure", str(file), part]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"over {limit} s"
    if run.returncode:
        last = run.stderr.strip().splitlines()[-1] if run.stderr.strip() else f"exit {run.returncode}"
        return "no such part" if "has no influence paths" in last else last
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(FORECASTERS), default=list(MODELS))
    parser.add_argument("--widths", nargs="+", type=int, default=[7, 321])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--limit", type=int, default=600, help="seconds that a part may take")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    if chosen.measure:
        print(json.dumps(measure(*chosen.measure)))
        return
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    print(f"torch {version('torch')}, Python {sys.version.split()[0]}\n")
    print("| model | series | part | s | s of the processor | GB | GB of the result |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for n_series in chosen.widths:
            for name in chosen.models:
                file = Path(folder) / f"{name}-{n_series}.safetensors"
                settings: dict[str, Any] = {
                    "horizon": HORIZON, "context_length": CONTEXT, "max_steps": 1, "random_state": 0, "device": "cpu",
                    "batch_size": 2, "validation_fraction": 0.0, "quantiles": (0.5,),
                }  # fmt: skip
                FORECASTERS[name](**settings).fit(made_up(n_series)).save(file)
                for part in chosen.parts:
                    if part in OF_FEW and n_series > 100:
                        continue
                    found = measured(file, part, chosen.limit)
                    rows.append({"model": name, "series": n_series, "part": part, "measured": found})
                    if found == "no such part":
                        continue
                    numbers = (
                        [found, "", "", ""]
                        if isinstance(found, str)
                        else [f"{found['seconds']:.1f}", f"{found['processor']:.1f}", f"{found['gigabytes']:.2f}",
                              f"{found['result']:.3f}"]
                    )  # fmt: skip
                    print("|", " | ".join([name, str(n_series), part, *numbers]), "|", flush=True)
                file.unlink()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "reading_cost.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
