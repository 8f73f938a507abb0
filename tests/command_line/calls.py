"""Calls of the command line, for its tests."""

import pandas as pd
from typer.testing import CliRunner

from samovar_forecast.command_line.app import app
from samovar_forecast.files.tables import read_table

QUICK = ["--context-length", "24", "--max-epochs", "1", "--random-state", "0", "--device", "cpu"]
SETTINGS = {"horizon": 8, "context_length": 24, "max_epochs": 1, "random_state": 0, "device": "cpu"}


def call(*arguments, code=0):
    """What a command printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def refused(*arguments):
    """The one line that a refusal prints."""
    result = call(*arguments, code=2)
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def assert_same(path, expected, series=()):
    """The file holds this forecast."""
    read = read_table(path, series=series)
    pd.testing.assert_frame_equal(read, expected, check_freq=False, check_index_type=False)
