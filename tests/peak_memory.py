"""The memory of a process of its own."""

import os
import subprocess
import sys

# Not ru_maxrss: a process that was started from another one inherits the peak of that one.
_PEAK = r"""
import re
from pathlib import Path

def peak():
    return _status("VmHWM")

def held():  # what is the process's own, without the pages of files
    return _status("VmData")

def _status(field):
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def numbers_printed_by(program, **environment):
    """Run a program in a fresh interpreter, where ``peak()`` and ``held()`` give its memory so far in bytes."""
    run = subprocess.run(
        [sys.executable, "-c", _PEAK + program], capture_output=True, text=True, env=os.environ | environment
    )
    assert run.returncode == 0, run.stderr
    return [float(number) for number in run.stdout.split()]
