"""Run the benchmarks of speed and write their page.

    python studies/speed.py                          all parts, with the threads that each asks for
    python studies/speed.py training_step backtest --threads 1 2
    python studies/speed.py --report                 docs/evidence/speed.md and its figures from the results so far

Every part is a script in studies/speed/ and measures each case in a fresh process. Results lie in
studies/results/speed_<part>.json. Install ``samovar-forecast[benchmark]`` for the comparisons with other libraries,
and let SAMOVAR_FORECAST_DATA point to the folder with ETTh1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PARTS = HERE / "speed"
ALL_CORES = os.cpu_count() or 1
THREADS = {
    "training_step": (1, ALL_CORES),
    "wide_data": (ALL_CORES,),
    "fit_throughput": (1,),
    "backtest": (1,),
    "update_predict": (1,),
    "memory": (1,),
    "short_fits": (1,),
    "imports": (1,),
    "gpu": (ALL_CORES,),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*THREADS, []], help="parts; none: all")
    parser.add_argument("--threads", type=int, nargs="+", help="numbers of threads; default: what each part asks for")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument(
        "--report", action="store_true", help="write docs/evidence/speed.md from the results, measure nothing"
    )
    arguments = parser.parse_args()
    if arguments.report:
        subprocess.run([sys.executable, PARTS / "report.py", arguments.out], check=True)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or THREADS:
        run(name, arguments.threads or sorted(set(THREADS[name])), arguments.out / f"speed_{name}.json")


def run(name: str, threads: list[int], path: Path) -> None:
    """Measure a part with each number of threads; what was measured with others stays in the file."""
    result = json.loads(path.read_text()) if path.exists() else {"runs": {}}
    machine = subprocess.run([sys.executable, PARTS / "measuring.py"], stdout=subprocess.PIPE, text=True, check=True)
    for number in threads:
        print(f"{name}, threads: {number}", file=sys.stderr, flush=True)
        began = time.perf_counter()
        part = [sys.executable, PARTS / f"{name}.py", "--threads", str(number)]
        rows = json.loads(subprocess.run(part, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
        result["runs"][str(number)] = {
            "machine": json.loads(machine.stdout) | {"threads": number},
            "seconds": round(time.perf_counter() - began),
            "rows": rows,
        }
        path.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
