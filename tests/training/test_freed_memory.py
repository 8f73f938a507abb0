"""A training on a CPU keeps the memory of its steps."""

import platform
import sys

import pytest

from tests.peak_memory import numbers_printed_by

GLIBC = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
ROUNDS = """
import resource
import torch
import samovar_forecast.training.engine  # and all that a fit has in memory

def faults_of_a_round():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [torch.ones(2**18) for _ in range(40)]  # of one megabyte
    del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

[faults_of_a_round() for _ in range(10)]  # until the heap has settled
"""


@pytest.mark.skipif(not GLIBC, reason="other C libraries decide otherwise what to keep")
def test_what_a_step_frees_serves_the_next_one():
    (kept,) = numbers_printed_by(
        ROUNDS
        + """
from samovar_forecast.training.freed_memory import keep_freed_memory
keep_freed_memory()
[faults_of_a_round() for _ in range(10)]  # until the heap has settled
print(min(faults_of_a_round() for _ in range(5)))  # of a round that nothing disturbs
"""
    )
    assert kept < 500  # without, it is 10,000 or nothing, by what happens to lie behind the pieces in the heap


@pytest.mark.skipif(not GLIBC, reason="other C libraries decide otherwise what to keep")
def test_a_fit_keeps_the_memory_of_its_steps():
    (kept,) = numbers_printed_by(
        ROUNDS
        + """
import numpy as np, pandas as pd
from samovar_forecast import FixedVARForecaster
forecaster = FixedVARForecaster(horizon=4, context_length=8, max_steps=2, device="cpu")
forecaster.fit(pd.DataFrame({"a": np.sin(np.arange(100.0))}))
[faults_of_a_round() for _ in range(10)]  # until the heap has settled
print(min(faults_of_a_round() for _ in range(5)))  # of a round that nothing disturbs
"""
    )
    assert kept < 500


@pytest.mark.skipif(not GLIBC, reason="other C libraries decide otherwise what to keep")
def test_a_second_training_takes_no_memory_for_it():
    (grown,) = numbers_printed_by(
        """
from samovar_forecast.training.freed_memory import keep_freed_memory
keep_freed_memory()
before = held()
keep_freed_memory()
print(held() - before)
"""
    )
    assert grown < 2**20  # the heap grew by the whole piece, 32 MB
