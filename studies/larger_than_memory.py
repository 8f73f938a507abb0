"""Train on more data than the process may hold: a folder of Parquet files, stored and trained on under a limit.

    OMP_NUM_THREADS=1 python studies/larger_than_memory.py --gigabytes 10 --limit 2
    OMP_NUM_THREADS=1 python studies/larger_than_memory.py --gigabytes 0.4 --limit 0.35 --resident

The data are made up and written as Parquet files, file by file. One process then turns them into `StoredSeries` and
trains on those; its own memory (heap and anonymous pages, `RLIMIT_DATA`) may grow by the limit: where it asks
for more it fails. Pages of the mapped files are the system's, which takes them back when it needs them; to see the
training with a cold cache, give the machine less memory too. With --resident a second process without a limit reads
the same data into a DataFrame and trains on that: the same steps on the same windows.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from samovar_forecast import SAMoVARForecaster, StoredSeries

ROWS_OF_A_FILE, N_COLUMNS = 50_000, 50
BATCH_SIZE = 32


def write_files(folder: Path, gigabytes: float) -> int:
    """Files of float32 rows; how many rows in all."""
    folder.mkdir()
    n_files = max(1, round(gigabytes * 1e9 / (4 * N_COLUMNS * ROWS_OF_A_FILE)))
    for number in range(n_files):
        rows = np.arange(number * ROWS_OF_A_FILE, (number + 1) * ROWS_OF_A_FILE)
        noise = np.random.default_rng(number).normal(size=(ROWS_OF_A_FILE, N_COLUMNS))
        values = np.sin(2 * np.pi * rows[:, None] / 24 + np.arange(N_COLUMNS)) + 0.1 * noise
        frame = pd.DataFrame(values.astype(np.float32)).add_prefix("s")
        frame.insert(0, "row", rows)
        frame.to_parquet(folder / f"part-{number}.parquet", index=False)
    return n_files * ROWS_OF_A_FILE


def memory(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def fit(y: Any, n_steps: int) -> dict[str, Any]:
    forecaster = SAMoVARForecaster(
        horizon=24, context_length=96, d_model=32, n_layers=1, batch_size=BATCH_SIZE, max_steps=n_steps,
        validation_fraction=0.001, device="cpu", random_state=0,
    )  # fmt: skip
    began = time.perf_counter()
    forecaster.fit(y)
    summary = forecaster.training_summary_
    return {
        "seconds of fit": round(time.perf_counter() - began, 1),
        "seconds of training": round(summary.seconds, 1),
        "windows per second": round(summary.steps * BATCH_SIZE / summary.seconds, 1),
        "training loss": round(summary.training_loss, 4),
        "validation loss": None if summary.validation_loss is None else round(summary.validation_loss, 4),
    }


def stored(folder: Path, limit: float, n_steps: int) -> dict[str, Any]:
    warm = pd.DataFrame(np.random.default_rng(0).normal(size=(2_000, N_COLUMNS)).astype(np.float32)).add_prefix("s")
    StoredSeries.write(folder / "warm", [warm])
    fit(StoredSeries(folder / "warm"), 2)  # what is imported and set up once is not what the data take
    before = memory("VmData")
    resource.setrlimit(resource.RLIMIT_DATA, (before + int(limit * 1e9),) * 2)
    began = time.perf_counter()
    series = StoredSeries.from_parquet(folder / "parts", folder / "series", "row")
    writing = time.perf_counter() - began
    told = {"rows stored per second": round(len(series) / writing)} | fit(series, n_steps)
    return told | {
        "own memory grew by, GB": round((memory("VmData") - before) / 1e9, 2),
        "peak with pages of the files, GB": round(memory("VmHWM") / 1e9, 2),
    }


def resident(folder: Path, n_steps: int) -> dict[str, Any]:
    frame = pd.read_parquet(folder / "parts").set_index("row").sort_index()
    return fit(frame, n_steps) | {"peak, GB": round(memory("VmHWM") / 1e9, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--limit", type=float, default=2.0, help="gigabytes that the process may take for them")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--resident", action="store_true", help="also train on the data in memory")
    parser.add_argument("--folder", type=Path, help="where the data are to lie; default: a temporary folder")
    parser.add_argument("--part", choices=["stored", "resident"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        told = (
            stored(options.folder, options.limit, options.steps)
            if options.part == "stored"
            else resident(options.folder, options.steps)
        )
        print(json.dumps(told))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        n_rows = write_files(Path(name) / "parts", options.gigabytes)
        print(f"{n_rows} rows of {N_COLUMNS} columns, {4 * n_rows * N_COLUMNS / 1e9:.2f} GB", flush=True)
        for part in ["stored", *(["resident"] * options.resident)]:
            command = [sys.executable, __file__, "--part", part, "--folder", name, "--limit", str(options.limit)]
            run = subprocess.run([*command, "--steps", str(options.steps)], capture_output=True, text=True)
            if run.returncode:
                print(f"{part}: failed\n{run.stderr[-3000:]}")
                continue
            print(part, json.loads(run.stdout.strip().splitlines()[-1]), flush=True)


if __name__ == "__main__":
    main()
