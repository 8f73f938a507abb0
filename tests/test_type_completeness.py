"""Every name that the reference documents has a type that a checker need not guess."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {"samovar_forecast": ROOT, "samovar_sktime": ROOT / "adapters", "samovar_darts": ROOT / "adapters"}
EXPECTED = [
    # A class that wants another default assigns it; type and documentation stay where they are declared, once.
    r"Ambiguous base class override",
    r'Type of base class "samovar_forecast\.training\.recipes\.\w+" is partially unknown',
    # sktime and darts have no types.
    r"Type of (metaclass|base class) unknown",
    r'Type of base class "samovar_(sktime\.base\.SktimeForecaster|darts\.base\.DartsModel)" is partially unknown',
    r'Return type is partially unknown\s+Return type is "(SktimeForecaster|DartsModel)"',
]


def documented():
    """The objects on the pages of the reference, by the names written there."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        module = "samovar_forecast"
        for line in page.read_text().splitlines():
            if found := re.match(r"\.\. currentmodule:: (\S+)", line):
                module = found[1]
            elif found := re.match(r"   (~?)([\w.]+)$", line):
                path = found[2] if found[2].startswith("samovar_") else f"{module}.{found[2]}"
                home, _, name = path.rpartition(".")
                yield getattr(import_module(home), name)


def homes():
    """The full names under which a checker reports the documented objects and the bases of documented classes."""
    found = set()
    for one in documented():
        for part in one.__mro__ if isinstance(one, type) else (one,):
            module = part.__module__
            # The layers that a network is built of are no interface; the contract of networks is.
            layers = module.startswith("samovar_forecast.networks.") and module != "samovar_forecast.networks.network"
            if module.startswith("samovar_") and not layers:
                found.add(f"{module}.{part.__qualname__}")
    return found


def verify(package):
    """What pyright's verification of a package says of each symbol that it exports."""
    here = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}", "PATH": f"{Path(sys.executable).parent}:/usr/bin"}
    command = ["basedpyright", "--ignoreexternal", "--outputjson", "--verifytypes", package]
    run = subprocess.run(command, cwd=SOURCES[package], capture_output=True, text=True, env=here)
    return json.loads(run.stdout)["typeCompleteness"]["symbols"]


@pytest.mark.parametrize("package", SOURCES)
def test_types_are_complete(package):
    public = {name for name in homes() if name.startswith(f"{package}.")}
    symbols = [
        symbol
        for symbol in verify(package)
        if symbol["isExported"] and any(f"{symbol['name']}.".startswith(f"{name}.") for name in public)
    ]
    assert public <= {symbol["name"] for symbol in symbols}
    missing = [
        f"{symbol['name']}: {problem['message']}"
        for symbol in symbols
        for problem in symbol["diagnostics"]
        if problem["severity"] == "error" and not re.match("|".join(EXPECTED), problem["message"])
    ]
    assert missing == []


def test_the_public_surface_is_found():
    assert {"samovar_forecast.estimator.Forecaster", "samovar_darts.models.SAMoVARModel"} < homes()
    assert "samovar_forecast.networks.samovar.SAMoVAR" not in homes()
