"""The same table of forecasts through pandas, Dask, Ray and Spark: equal rows, series per second, memory of a worker.

    OMP_NUM_THREADS=1 python studies/cluster_tables.py --series 20000 --workers 2
    OMP_NUM_THREADS=1 python studies/cluster_tables.py --engines pandas dask --series 1000

Needs ``samovar-forecast[dask,ray,spark]``; Spark needs Java 17 too. The series are made up. Each engine runs in a
process of its own, reads the table from Parquet files, in which the rows of a series are spread over all files, brings
them together, forecasts, and gives the forecasts back to one table.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from samovar_forecast import SAMoVARForecaster, forecast_table

LABELS = {"id_column": "shop", "time_column": "date"}
N_FILES = 8


def write_table(folder: Path, n_series: int, n_rows: int) -> None:
    """Daily waves, file after file of consecutive dates."""
    hours = pd.date_range("2024-01-01", periods=n_rows, freq="h")
    names = [f"shop{number:07d}" for number in range(n_series)]
    r = np.random.default_rng(0)
    phase, level = r.uniform(0, 24, n_series), r.lognormal(3, 1, n_series)
    folder.mkdir()
    for number, some in enumerate(np.array_split(np.arange(n_rows), N_FILES)):
        waves = np.sin(2 * np.pi * (some[:, None] + phase) / 24) + 0.1 * r.normal(size=(len(some), n_series))
        frame = pd.DataFrame(
            {
                "shop": np.tile(names, len(some)),
                "date": np.repeat(hours[some], n_series),
                "sold": (level * (5 + waves)).ravel(),
            }
        )
        frame.to_parquet(folder / f"{number}.parquet", index=False, coerce_timestamps="us")


def fit(path: Path) -> None:
    hours = pd.date_range("2024-01-01", periods=500, freq="h")
    r = np.random.default_rng(1)
    waves = {
        f"shop{number}": pd.DataFrame({"sold": 5 + np.sin(np.arange(500) * np.pi / 12) + r.normal(size=500)}, hours)
        for number in range(20)
    }
    model = SAMoVARForecaster(horizon=24, context_length=168, d_model=32, max_steps=20, device="cpu", random_state=0)
    model.fit(waves).save(path)


def measured(
    forecast: Callable[..., Any], folder: Path, table: pd.DataFrame | Iterable[pd.DataFrame]
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """The forecast; the peak memory of the worker is left in a file."""
    if not isinstance(table, pd.DataFrame):
        return _measured_pieces(forecast, folder, table)
    result = forecast(table)
    (folder / str(os.getpid())).write_text(str(peak_of("self")))
    return result


def peak_of(process: str) -> int:
    """Peak memory in kB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) if found else 0


def peaks_of_others(name: str) -> list[int]:
    """Peak memory in kB of the running processes of that name that this one has started."""
    me, found = str(os.getpid()), []
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # ended meanwhile
            told = dict(line.split(":", 1) for line in status.read_text().splitlines())
            if told["Name"].strip() == name and told["PPid"].strip() == me:
                found.append(peak_of(status.parent.name))
    return found


def _measured_pieces(forecast: Any, folder: Path, pieces: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    yield from forecast(pieces)
    measured(lambda table: table, folder, pd.DataFrame())


def by_pandas(source: Path, forecast: Any, workers: int) -> pd.DataFrame:
    return forecast(pd.read_parquet(source))


def by_dask(source: Path, forecast: Any, workers: int) -> pd.DataFrame:
    import dask.dataframe as dd
    from dask.distributed import Client, LocalCluster

    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        table = dd.read_parquet(source)
        empty = pd.read_parquet(source / "0.parquet").iloc[:0]
        return table.shuffle("shop", npartitions=4 * workers).map_partitions(forecast, meta=forecast(empty)).compute()


def by_ray(source: Path, forecast: Any, workers: int) -> pd.DataFrame:
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        table = ray.data.read_parquet(str(source)).repartition(4 * workers, keys=["shop"])
        return table.map_batches(forecast, batch_size=None, batch_format="pandas").to_pandas()
    finally:
        ray.shutdown()


def by_spark(source: Path, forecast: Any, workers: int, grouped: bool = False) -> pd.DataFrame:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC", "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.driver.memory": "2g", "spark.sql.shuffle.partitions": str(4 * workers),
    }  # fmt: skip
    builder = SparkSession.builder.master(f"local[{workers}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    try:
        table = session.read.parquet(str(source))
        schema = "shop string, date timestamp_ntz, sold double"
        if grouped:
            return table.groupBy("shop").applyInPandas(forecast, schema).toPandas()
        parts = table.repartition(4 * workers, "shop").sortWithinPartitions("shop", "date")
        return parts.mapInPandas(forecast, schema).toPandas()
    finally:
        session.stop()


ENGINES: dict[str, Callable[..., pd.DataFrame]] = {
    "pandas": by_pandas,
    "dask": by_dask,
    "ray": by_ray,
    "spark": by_spark,
    "spark, series by series": partial(by_spark, grouped=True),
}


def run_one(engine: str, folder: Path, workers: int) -> None:
    """In a process of its own: the forecasts into a file, the seconds and the memory as JSON."""
    peaks = folder / f"peaks of {engine}"
    peaks.mkdir(exist_ok=True)
    forecast = partial(measured, forecast_table(folder / "model", **LABELS), peaks)
    began = time.perf_counter()
    result = ENGINES[engine](folder / "table", forecast, workers)
    seconds = time.perf_counter() - began
    result = result.sort_values(["shop", "date"], ignore_index=True)
    result.to_parquet(folder / f"{engine}.parquet")
    found = [int(path.read_text()) for path in peaks.iterdir()]
    told = {"seconds": round(seconds, 1), "peak of a worker, MB": round(max(found) / 1024), "processes": len(found)}
    of_java = peaks_of_others("java")  # Spark's own process, one for all workers of a machine
    print(json.dumps(told | ({"peak of Java, MB": round(max(of_java) / 1024)} if of_java else {})))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.one, options.folder, options.workers)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "table", options.series, options.rows)
        fit(folder / "model")
        first = None
        for engine in options.engines:
            command = [sys.executable, __file__, "--one", engine, "--folder", name, "--workers", str(options.workers)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                print(f"{engine}: failed\n{run.stderr[-3000:]}", flush=True)
                continue
            told = json.loads(run.stdout.strip().splitlines()[-1])
            result = pd.read_parquet(folder / f"{engine}.parquet")
            first = result if first is None else first
            pd.testing.assert_frame_equal(result, first, check_dtype=False, rtol=1e-4)
            rate = round(options.series / told["seconds"], 1)
            print(engine, {"series per second": rate} | told, "equal to the first", flush=True)


if __name__ == "__main__":
    main()
