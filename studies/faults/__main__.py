"""Put this package and its peers before every fault, and write docs/evidence/faults.md.

python -m studies.faults                    every library that is installed, each in a process of its own
python -m studies.faults --host core        one of them: a line of JSON for each fault

neuralforecast is in none of this package's extras: install it beside them.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from studies.faults.faults import GROUPS
from studies.faults.files_and_states import FILES, STATES
from studies.faults.hosts import HOSTS
from studies.faults.intervals_and_steps import INTERVALS, STEPS
from studies.faults.judging import UNCLEAR, verdict_on
from studies.faults.page import write_page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evidence" / "faults.md"
SECONDS = 120  # for one fault; the first one imports the library as well
ROWS = {
    **{
        (group, fault.name): functools.partial(verdict_on, fault=fault)
        for group, faults in GROUPS.items()
        for fault in faults
    },
    **{("Intervals", name): judge for name, judge in INTERVALS.items()},
    **{("Fewer and more steps", name): judge for name, judge in STEPS.items()},
    **{("State", name): judge for name, judge in STATES.items()},
    **{("Model files and disks", name): judge for name, judge in FILES.items()},
}  # fmt: skip


def answer(name: str, rows: list[int]) -> None:
    """Judge one library, a line of JSON for each row."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries print
    host, every = HOSTS[name](), list(ROWS)
    for number in rows:
        print(json.dumps([number, ROWS[every[number]](host)]), file=out, flush=True)


def verdicts(name: str) -> dict[tuple[str, str], str]:
    """What a library does before every fault; a process that dies or hangs costs it the row, and the rest follows."""
    every = list(ROWS)
    found: dict[int, str] = {}
    while missing := [number for number in range(len(every)) if number not in found]:
        command = [sys.executable, "-m", "studies.faults", "--host", name, "--rows", *map(str, missing)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as child:
            assert child.stdout is not None
            while True:
                clock = threading.Timer(SECONDS, child.kill)
                clock.start()
                line = child.stdout.readline()
                timed_out = not clock.is_alive()
                clock.cancel()
                if not line:
                    break
                number, verdict = json.loads(line)
                found[number] = verdict
            assert child.stderr is not None
            errors = child.stderr.read()
        if len(found) + len(missing) == len(every) and not any(number in found for number in missing):
            raise RuntimeError(f"{name} answers nothing:\n{errors[-2000:]}")
        left = [number for number in missing if number not in found]
        if left:
            found[left[0]] = f"{UNCLEAR}: " + ("hangs" if timed_out else "the process dies")
    return {row: found[number] for number, row in enumerate(every)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", choices=HOSTS)
    parser.add_argument("--rows", type=int, nargs="*", default=range(len(ROWS)))
    arguments = parser.parse_args()
    if arguments.host:
        answer(arguments.host, arguments.rows)
        return
    found = {name: verdicts(name) for name in HOSTS}
    packages = ("samovar-forecast", "sktime", "darts", "neuralforecast", "torch", "pandas", "numpy")
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            parser.error(f"{package} is not installed")
    PAGE.write_text(write_page(found, versions))


if __name__ == "__main__":
    main()
