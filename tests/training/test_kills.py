"""A part of studies/kill_test.py: SIGKILL while saving and while training."""

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "studies" / "kill_test.py"


def test_killed_processes_lose_nothing(tmp_path):
    run = subprocess.run([sys.executable, str(SCRIPT), "12"], capture_output=True, text=True, timeout=300,
                         env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)})  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "6 kills while saving: every file read, no version lost" in run.stdout
    assert re.search(r"6 kills while training: \d+ resumed, \d+ ended, all bitwise equal", run.stdout)
