"""How long a single forecast takes: a model that is loaded in a fresh process, and one that is kept in memory.

    OMP_NUM_THREADS=1 python studies/latency.py
    OMP_NUM_THREADS=1 python studies/latency.py --starts 9 --calls 200 --models SAMoVAR "darts TiDE"

One forecast of 96 steps of 7 series after 512 rows. Each model is trained for one step, which its speed does not depend
on, saved, and loaded in a process that does nothing else. *Cold* is the whole of such a process, from the start of
Python to the first forecast. *Warm* are the further calls in it; of them "outside" is the share of time before and
after the network's forward pass. Every library gets the history in a type of its own. Processor time is given beside
that of the clock, because it says more where other work shares the machine. A library that is not installed is skipped
by name. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

SERIES, CONTEXT, HORIZON, ROWS = 7, 512, 96, 1_500
NEEDS = {"darts": "darts", "neuralforecast": "neuralforecast", "ONNX": "onnxruntime"}
MODELS = ("SAMoVAR", "SAMoVAR ONNX", "darts TiDE", "darts NLinear", "darts TSMixer", "neuralforecast NHITS")
Forecast = Callable[[], Any]


def frame() -> Any:
    import numpy as np
    import pandas as pd

    rows = np.arange(ROWS)[:, None]
    values = np.sin(2 * np.pi * rows / 24 + np.arange(SERIES)) + 0.1 * np.random.default_rng(0).normal(
        size=(ROWS, SERIES)
    )
    return pd.DataFrame(values, pd.date_range("2024-01-01", periods=ROWS, freq="h")).add_prefix("s")


def prepare(model: str, folder: Path) -> None:
    """Train for one step, and save."""
    library, _, name = model.rpartition(" ")
    if library == "darts":
        import darts.models

        made = getattr(darts.models, f"{name}Model")(
            CONTEXT, HORIZON, n_epochs=1, pl_trainer_kwargs=trainer(max_steps=1), random_state=0
        )
        made.fit(darts_series(frame()))
        made.save(str(folder / "model.pt"))
    elif library == "neuralforecast":
        import neuralforecast.models
        from neuralforecast import NeuralForecast

        network = getattr(neuralforecast.models, name)(h=HORIZON, input_size=CONTEXT, max_steps=1, **trainer())
        forecaster = NeuralForecast([network], freq="h")
        forecaster.fit(long_table(frame()))
        forecaster.save(str(folder / "model"), save_dataset=False)
    else:
        from samovar_forecast import SAMoVARForecaster

        forecaster = SAMoVARForecaster(
            horizon=HORIZON, context_length=CONTEXT, max_steps=1, device="cpu", random_state=0
        )
        forecaster.fit(frame())
        if name == "ONNX":
            forecaster.to_onnx(folder / "model.onnx")
        else:
            forecaster.save(folder / "model.safetensors")


def load(model: str, folder: Path, history: Any) -> tuple[Forecast, Any]:
    """A forecast from the model that was saved, and its network as a module of PyTorch, if that is what it is."""
    library, _, name = model.rpartition(" ")
    if library == "darts":
        import darts.models

        kept = getattr(darts.models, f"{name}Model").load(
            str(folder / "model.pt"), pl_trainer_kwargs=trainer(), map_location="cpu"
        )
        series = darts_series(history)
        return lambda: kept.predict(HORIZON, series, verbose=False, show_warnings=False), kept.model
    if library == "neuralforecast":
        from neuralforecast import NeuralForecast

        forecaster = NeuralForecast.load(str(folder / "model"))
        table = long_table(history)
        return lambda: forecaster.predict(table), forecaster.models[0]
    if name == "ONNX":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        rows = history.to_numpy()[None]
        return lambda: session.run(None, {"history": rows}), None
    from samovar_forecast import Forecaster

    forecaster = Forecaster.load(folder / "model.safetensors")
    return lambda: forecaster.predict(history), forecaster.network_


def trainer(**others: Any) -> dict[str, Any]:
    return {
        "accelerator": "cpu", "enable_progress_bar": False, "logger": False, "enable_model_summary": False,
        "enable_checkpointing": False, **others,
    }  # fmt: skip


def darts_series(rows: Any) -> Any:
    from darts import TimeSeries

    return TimeSeries.from_dataframe(rows.astype("float32"))


def long_table(rows: Any) -> Any:
    table = rows.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    return table[["unique_id", "ds", "y"]]


class Inside:
    """Seconds inside the forward pass of a module."""

    def __init__(self, network: Any) -> None:
        self.seconds = self.began = 0.0
        network.register_forward_pre_hook(self.begin)
        network.register_forward_hook(self.end)

    def begin(self, *_: Any) -> None:
        self.began = time.perf_counter()

    def end(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self.began


def measure(model: str, folder: Path, calls: int) -> dict[str, Any]:
    """What a process sees that loads the model and forecasts."""
    rows = frame().iloc[-CONTEXT:]
    forecast, network = load(model, folder, rows)
    forecast()
    # The parent compares it with its own clock: both count from the start of the machine.
    cold, cold_processor = time.perf_counter(), time.process_time()
    of_clock, of_processor, outside = [], [], []
    inside = None if network is None or not calls else Inside(network)
    for _ in range(calls):
        began, began_processor = time.perf_counter(), time.process_time()
        if inside is not None:
            inside.seconds = 0.0
        forecast()
        of_clock.append(time.perf_counter() - began)
        of_processor.append(time.process_time() - began_processor)
        if inside is not None:
            assert inside.seconds > 0, "the forward pass was not seen"
            outside.append(1 - inside.seconds / of_clock[-1])
    found = {
        "cold at": cold, "cold processor": cold_processor, "clock": of_clock, "processor": of_processor,
        "outside": outside,
    }  # fmt: skip
    return {name: median(value) if isinstance(value, list) and value else value for name, value in found.items()}


def in_process(step: str, model: str, folder: Path, calls: int = 0) -> tuple[float, dict[str, Any]]:
    """When a process began, and what it printed last."""
    command = [sys.executable, __file__, "--step", step, "--models", model, "--folder", str(folder)]
    began = time.perf_counter()
    run = subprocess.run([*command, "--calls", str(calls)], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{model} failed:\n{run.stderr[-3000:]}")
    return began, json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--starts", type=int, default=5, help="fresh processes of each model; they take turns")
    parser.add_argument("--calls", type=int, default=50, help="warm calls in each process")
    parser.add_argument("--step", choices=["prepare", "measure"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is not None:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        model, result = options.models[0], {}
        if options.step == "prepare":
            prepare(model, options.folder)
        else:
            result = measure(model, options.folder, options.calls)
        print("\n" + json.dumps(result))
        return
    wanted = []
    for model in options.models:
        needed = next((module for word, module in NEEDS.items() if word in model), None)
        if needed is not None and importlib.util.find_spec(needed) is None:
            print(f"{model} is skipped: {needed} is not installed", file=sys.stderr)
        else:
            wanted.append(model)
    found: dict[str, list[dict[str, Any]]] = {model: [] for model in wanted}
    with tempfile.TemporaryDirectory() as name:
        for model in wanted:
            folder = Path(name, model)
            folder.mkdir()
            in_process("prepare", model, folder)
        for turn in range(options.starts):
            for model in wanted:
                began, result = in_process("measure", model, Path(name, model), options.calls)
                result["cold"] = result["cold at"] - began
                found[model].append(result)
                print(f"{turn + 1} of {options.starts}: {model}, {result}", file=sys.stderr, flush=True)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {options.starts} starts, {options.calls} calls\n")
    print("| model | cold, s | cold, processor s | warm, ms | warm, processor ms | outside the network |")
    print("|---|---|---|---|---|---|")
    for model, results in found.items():

        def of_all(key: str, results: list[dict[str, Any]] = results) -> float:
            return median(result[key] for result in results)

        outside = f"{of_all('outside'):.0%}" if results[0]["outside"] else ""
        times = f"{of_all('cold'):.1f} | {of_all('cold processor'):.1f}"
        print(f"| {model} | {times} | {1e3 * of_all('clock'):.1f} | {1e3 * of_all('processor'):.1f} | {outside} |")


if __name__ == "__main__":
    main()
