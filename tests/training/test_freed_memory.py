"""A training on a CPU keeps the memory of its steps."""

import platform
import sys

import pytest

from tests.peak_memory import numbers_printed_by

GLIBC = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
# What the C library itself counts: page faults would also tell what else the machine has to do.
ROUND = """
import ctypes
import torch

FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")

class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]

heap = ctypes.CDLL(None).mallinfo2
heap.restype = Heap

def a_round():
    # from the system beside the heap, by which the heap grew, and what it gave back
    before = heap()
    pieces = [torch.ones(2**22) for _ in range(3)]  # of 16 megabytes
    held = heap()
    del pieces
    return held.hblks - before.hblks, held.arena - before.arena, held.arena - heap().arena

def print_rounds():
    print(*a_round())
    [a_round() for _ in range(10)]  # until the heap has settled
    print(*a_round())
"""


@pytest.mark.skipif(not GLIBC, reason="other C libraries decide otherwise what to keep")
def test_what_a_step_frees_serves_the_next_one():
    numbers = numbers_printed_by(
        ROUND
        + """
from samovar_forecast.training.freed_memory import keep_freed_memory
print(*a_round())
keep_freed_memory()
print_rounds()
before = held()
keep_freed_memory()  # of a second training
print(held() - before)
"""
    )
    alone, first, settled, grown = numbers[:3], numbers[3:6], numbers[6:9], numbers[9]
    assert alone[0] == 3  # each piece comes from the system and goes back to it
    assert first[0] == 0  # all come from the heap
    assert first[2] == 0  # which gives nothing back
    assert settled == [0, 0, 0]  # and grows no more
    assert grown < 2**20  # not by the piece that it learns from, 32 MB


@pytest.mark.skipif(not GLIBC, reason="other C libraries decide otherwise what to keep")
def test_a_fit_keeps_the_memory_of_its_steps():
    numbers = numbers_printed_by(
        ROUND
        + """
import numpy as np, pandas as pd
from samovar_forecast import FixedVARForecaster
forecaster = FixedVARForecaster(horizon=4, context_length=8, max_steps=2, device="cpu")
forecaster.fit(pd.DataFrame({"a": np.sin(np.arange(100.0))}))
print_rounds()
"""
    )
    first, settled = numbers[:3], numbers[3:]
    assert first[0] == first[2] == 0
    assert settled == [0, 0, 0]
