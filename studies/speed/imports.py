"""Seconds and modules of `import samovar_forecast` beside those of torch and pandas, which it cannot do without."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from typing import Any

from measuring import Case, Times, milliseconds, ratio, rounded, run_part

STATEMENTS = {
    "torch and pandas": "import torch, pandas",
    "samovar_forecast": "import samovar_forecast",
    "a forecaster": "from samovar_forecast import SAMoVARForecaster",
    "what fit needs": "from samovar_forecast import SAMoVARForecaster; import samovar_forecast.training.engine",
}
TURNS = 5
CASES: list[Case] = [{"names": list(STATEMENTS)}]
_PROGRAM = """
import sys, time
before, began = len(sys.modules), time.perf_counter()
{statement}
print(time.perf_counter() - began)
print(*sorted({{name.split(".")[0] for name in sys.modules if name[0] != "_"}} - set(sys.stdlib_module_names)))
print(len(sys.modules) - before)
"""


def imported(statement: str) -> tuple[float, set[str], int]:
    """Seconds, packages outside the standard library, and number of modules, of a fresh interpreter."""
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(statement=statement)], capture_output=True, text=True, check=True
    )
    seconds, packages, modules = run.stdout.splitlines()
    return float(seconds), set(packages.split()), int(modules)


def own_seconds(statement: str) -> dict[str, float]:
    """Seconds that each package's own modules take to import."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement], capture_output=True, text=True, check=True
    )
    seconds: dict[str, float] = defaultdict(float)
    for own, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", run.stderr):
        seconds[name.split(".")[0]] += int(own) / 1e6
    return seconds


def measure(names: list[str]) -> dict[str, Any]:
    times: Times = {name: [] for name in names}
    packages: dict[str, set[str]] = {}
    modules: dict[str, int] = {}
    for name in names:
        imported(STATEMENTS[name])  # files of both come into the cache of the system
    for _ in range(TURNS):
        for name in names:
            seconds, packages[name], modules[name] = imported(STATEMENTS[name])
            times[name].append(seconds)
    floor, *ours = names
    own = own_seconds(STATEMENTS[names[-1]])
    surplus = {name: sorted(packages[name] - packages[floor], key=lambda package: -own[package]) for name in ours}
    return {
        "milliseconds": {name: milliseconds(times[name]) for name in names},
        "modules": modules,
        "times torch and pandas": {name: ratio(times[name], times[floor]) for name in ours},
        "beyond torch and pandas": {
            name: {package: rounded(own[package], 3) for package in packages} for name, packages in surplus.items()
        },
    }


if __name__ == "__main__":
    run_part(__file__, measure, CASES)
