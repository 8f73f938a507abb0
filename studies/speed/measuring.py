"""What all parts share: functions that take turns, ratios of pairs, peak memory, fresh processes, and the machine.

A part is a script of this folder. Called with ``--threads N`` it measures each of its cases in a process of its own and
prints one JSON list; `run_part` does both ends of that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Case = dict[str, Any]
Times = dict[str, list[float]]


def take_turns(
    functions: Mapping[str, Callable[[], object]], seconds: float, least: int = 5, most: int = 200, warm: bool = False
) -> Times:
    """Seconds of every call of each function, after one call of each that does not count.

    They take turns, so that a slow minute of the machine meets all of them and call i of one can be compared with call
    i of another. `warm`: in every turn one call that does not count comes before the one that does, for functions that
    run again and again in real life and find caches and memory as they have left them.
    """
    for function in functions.values():
        function()
    times: Times = {name: [] for name in functions}
    began, turns = time.perf_counter(), 0
    while turns < least or (turns < most and time.perf_counter() - began < seconds):
        for name, function in functions.items():
            if warm:
                function()
            times[name].append(seconds_of(function))
        turns += 1
    return times


def seconds_of(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    function()
    return clock() - began


def ratio(above: list[float], below: list[float]) -> float:
    """Median ratio of calls in the same turn."""
    return rounded(statistics.median(x / y for x, y in zip(above, below, strict=True)))


def milliseconds(times: list[float]) -> float:
    """Median."""
    return rounded(1e3 * statistics.median(times))


def rounded(value: float, digits: int = 4) -> float:
    """To that many digits that count."""
    return float(f"{value:.{digits}g}")


def peak_bytes() -> int:
    """Largest resident memory of this process so far; unlike ru_maxrss not inherited from its parent."""
    return _status("VmHWM")


def held_bytes() -> int:
    """Resident memory of this process now."""
    return _status("VmRSS")


def _status(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", status)[1])  # type: ignore[index]


def machine() -> dict[str, Any]:
    """Processor and versions, without anything that names this computer."""
    import torch

    import samovar_forecast

    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", info)
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": model[1].strip() if model else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gigabytes": round(int(memory[1]) * 1024 / 1e9, 1) if memory else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "samovar_forecast": samovar_forecast.__version__,
    }


def in_fresh_process(script: str | Path, threads: int, *arguments: str) -> Any:
    """What a script prints as its last line, read as JSON."""
    environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, str(script), "--threads", str(threads), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr[-4000:]}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def run_part(script: str, measure: Callable[..., Any], cases: Iterable[Case]) -> None:
    """The command line of a part: all cases, each in a fresh process, or the one that is given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", type=json.loads)
    arguments = parser.parse_args()
    if arguments.case is not None:
        import torch

        torch.set_num_threads(arguments.threads)
        print("\n" + json.dumps(measure(**arguments.case)))
        return
    rows = []
    for case in cases:
        began = time.perf_counter()
        measured = in_fresh_process(script, arguments.threads, "--case", json.dumps(case))
        rows.append(case | measured)
        print(f"{time.perf_counter() - began:6.1f} s  {case}", file=sys.stderr, flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    print(json.dumps(machine()))
