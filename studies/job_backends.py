"""Independent trainings by joblib: the same results from loky, Dask and Ray, and nothing lost with a killed worker.

    OMP_NUM_THREADS=1 python studies/job_backends.py
    OMP_NUM_THREADS=1 python studies/job_backends.py --backends loky dask --workers 2

Needs ``samovar-forecast[dask,ray]``. Two loops: a backtest that trains anew at every fold, and runs of the benchmark,
whose store is compared record by record. Each is done in this process first. Then a worker of each backend is killed
while the runs of the benchmark are under way, and the same call is made again until it ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import xarray as xr

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.benchmark.plan import plan
from samovar_forecast.benchmark.running import run_all
from samovar_forecast.benchmark.store import MEASURED, Store

SETTINGS = {"d_model": 8, "n_layers": 1, "n_heads": 2, "patience": 100, "batch_size": 16}


def series(n_rows: int) -> pd.DataFrame:
    values = np.sin(2 * np.pi * np.arange(n_rows)[:, None] / 24 + np.arange(3))
    values += 0.1 * np.random.default_rng(0).normal(size=values.shape)
    index = pd.date_range("2024-01-01", periods=n_rows, freq="h", name="time")
    return pd.DataFrame(values, index).add_prefix("s")


@contextmanager
def backend(name: str, workers: int) -> Iterator[Any]:
    """Joblib's loop on a backend of this machine."""
    if name == "dask":
        from dask.distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster),
            joblib.parallel_config(backend="dask"),
        ):
            yield
    elif name == "ray":
        import ray
        from ray.util.joblib import register_ray

        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        register_ray()
        try:
            with joblib.parallel_config(backend="ray", n_jobs=workers):
                yield
        finally:
            ray.shutdown()
    else:
        with joblib.parallel_config(backend=name, n_jobs=workers) if name != "this process" else nullcontext():
            yield


def backtest() -> xr.Dataset:
    y = series(200)
    forecaster = SAMoVARForecaster(
        horizon=8, context_length=24, max_epochs=2, device="cpu", random_state=0,
        **{name: SETTINGS[name] for name in ("d_model", "n_layers", "n_heads")},
    )  # fmt: skip
    return forecaster.backtest(y, start=y.index[120], refit_every=20)


def runs(folder: Path) -> list[Any]:
    path = folder / "load.csv"
    if not path.exists():
        series(300).to_csv(path)
    settings = SETTINGS | {"max_epochs": 30}
    return plan(["FixedVAR"], [str(path)], [4], [0, 1], context_length=24, settings=settings, device="cpu")


def records(store: Store) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name not in MEASURED} for record in store.records()]


def kill_a_worker(store: Store) -> None:
    """Once a run has written a checkpoint, kill the worker that waits for the process of that run."""
    while True:
        for checkpoint in store.unfinished.glob("*/training.ckpt"):
            worker = worker_of(checkpoint.with_name("log.txt"))
            if worker is not None:
                os.kill(worker, signal.SIGKILL)
                return
        time.sleep(0.01)


def worker_of(log: Path) -> int | None:
    """The parent of the process that writes to a log; None where it has just ended."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or of another user
            if (process / "fd" / "1").readlink() == log:
                parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
                return None if parent in (1, os.getpid()) else parent
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", choices=["loky", "dask", "ray"], default=["loky", "dask", "ray"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parts", nargs="+", choices=["backtest", "benchmark", "kill"], default=None)
    options = parser.parse_args()
    parts = options.parts or ["backtest", "benchmark", "kill"]
    with tempfile.TemporaryDirectory() as name:
        folder, expected = Path(name).resolve(), {}
        os.chdir(folder)
        for where in ["this process", *options.backends]:
            with backend(where, options.workers):
                if "backtest" in parts:
                    began = time.perf_counter()
                    result = backtest()
                    seconds = time.perf_counter() - began
                    expected.setdefault("backtest", result)
                    apart = float(abs(result["forecast"] - expected["backtest"]["forecast"]).max())
                    print(f"{where}: backtest, {seconds:.1f} s, forecasts differ by {apart:.1e}", flush=True)
                if "benchmark" in parts or ("kill" in parts and where == "this process"):
                    began = time.perf_counter()
                    store = Store(folder / where)
                    failed = run_all(runs(folder), store)
                    seconds = time.perf_counter() - began
                    expected.setdefault("records", records(store))
                    same = records(store) == expected["records"]
                    print(
                        f"{where}: benchmark, {seconds:.1f} s, {len(failed)} failed, equal records: {same}", flush=True
                    )
            if "kill" in parts and where != "this process":
                store, calls = Store(folder / f"killed on {where}"), 0
                with backend(where, options.workers):
                    threading.Thread(target=kill_a_worker, args=(store,), daemon=True).start()
                    while True:
                        calls += 1
                        try:
                            failed = run_all(runs(folder), store)
                            break
                        except Exception as error:
                            print(f"{where}: {type(error).__name__}", flush=True)
                resumed = [record["resumed_after_epoch"] for record in store.records()]
                same = records(store) == expected["records"]
                print(
                    f"{where}, a worker killed: {calls} calls, {len(failed)} failed, equal records: {same}, "
                    f"resumed after the epochs {resumed}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
