"""Imports point one way, and the core pulls in no host."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ["layers", "networks", "training", "forecaster", "adapters"]  # each may import from those on its left


def room(module):
    if module.startswith(("samovar_sktime", "samovar_darts")):
        return "adapters"
    part = module.removeprefix("samovar_forecast").removeprefix(".").split(".")[0]
    return part if part in ROOMS else "forecaster"


LEAVES = {"samovar_forecast.hyperparameters", "samovar_forecast.files.atomic_files"}  # every room may use them


@pytest.mark.parametrize("path", [*(ROOT / "samovar_forecast").rglob("*.py"), *(ROOT / "adapters").rglob("*.py")])
def test_imports_point_one_way(path):
    base = ROOT / "adapters" if "adapters" in path.parts else ROOT
    module = ".".join(path.relative_to(base).with_suffix("").parts)
    own = ROOMS.index(room(module))
    tree = ast.parse(path.read_text())
    lazy = {
        id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        for name in filter(None, names):
            if name.startswith("samovar_") and name not in LEAVES:
                bridge = name.endswith(".bridge") and id(node) in lazy  # to_sktime and to_darts import when called
                assert ROOMS.index(room(name)) <= own or bridge, f"{module} imports {name}"


def test_the_core_imports_no_host():
    program = (
        "import sys, samovar_forecast; "
        "heavy = ('sktime', 'darts', 'pytorch_lightning', 'matplotlib', 'xarray'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
