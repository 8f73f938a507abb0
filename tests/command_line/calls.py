"""Calls of the command line, for its tests."""

import re

import pandas as pd
from typer.testing import CliRunner

from samovar_forecast.command_line.app import app
from samovar_forecast.files.tables import read_table

QUICK = ["--context-length", "24", "--max-epochs", "1", "--random-state", "0", "--device", "cpu"]
SMALL = [
    "--horizon", "2", "--context-length", "6", "--random-state", "0", "--device", "cpu",
    *["--set", "d_model=8", "--set", "n_heads=2", "--set", "n_layers=1"],
]  # fmt: skip
TINY = [*SMALL, "--max-steps", "1"]
SETTINGS = {"horizon": 8, "context_length": 24, "max_epochs": 1, "random_state": 0, "device": "cpu"}


def call(*arguments, code=0):
    """What a command printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def refused(*arguments):
    """The one line that a refusal prints, after what was understood of the files."""
    result = call(*arguments, code=2)
    assert result.stdout == ""
    *told, error = result.stderr.strip().splitlines()
    assert not any(line.startswith("error: ") for line in told), result.stderr
    assert error.startswith("error: ")
    assert not re.search(r"\b(df|pd|np)\.", error), error  # Python is no cure on the command line
    return error


def assert_same(path, expected, series=()):
    """The file holds this forecast."""
    read = read_table(path, series=series)
    # CSV files keep four digits beyond the spread of a series, so a forecast as large as that is off by 5e-5 at most.
    pd.testing.assert_frame_equal(read, expected, check_freq=False, check_index_type=False, rtol=5e-5)
