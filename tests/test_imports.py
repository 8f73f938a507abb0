"""Imports point one way between rooms, no files import each other in a circle, and the core loads no host."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("samovar_forecast", "samovar_sktime", "samovar_darts")
# A room may import from those on the lines above it and from its own line.
ORDER = [
    {"layers"},
    {"networks"},
    {"data"},
    {"training"},
    {"forecasting", "evaluation", "files"},
    {"estimator"},
    {"benchmark", "command_line", "adapters"},
]
LEVELS = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
TOP = {  # the room `estimator`
    "samovar_forecast",
    "samovar_forecast.cluster_tables",
    "samovar_forecast.estimator",
    "samovar_forecast.forecasters",
}
LEAVES = {"samovar_forecast.hyperparameters", "samovar_forecast.files.atomic_files"}  # every room may import them
# The one way up: the estimator's methods import the bridge of a host when they are called.
BRIDGES = {"to_sktime": "samovar_sktime.bridge", "to_darts": "samovar_darts.bridge"}


def room(module: str) -> str | None:
    """The room of a module; None for one that lies in no room."""
    package, *parts = module.split(".")
    if package != "samovar_forecast":
        return "adapters"
    if module in TOP:
        return "estimator"
    return parts[0] if parts[0] in LEVELS else None


def modules_of(folder: Path) -> dict[str, Path]:
    """Every file of the packages in a checkout, by the name that it is imported under."""
    modules = {}
    for base in (folder, folder / "adapters"):
        for path in (path for package in PACKAGES for path in (base / package).rglob("*.py")):
            modules[".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")] = path
    return modules


def imports(tree: ast.AST, enclosing: tuple[str, ...] = ()) -> Iterator[tuple[ast.stmt, tuple[str, ...]]]:
    """Import statements with the names of the classes and functions they stand in.

    Those inside functions count: a late import hides a circle and does not remove it. Those under
    ``if TYPE_CHECKING:`` do not: they never run, and two files may name each other's types.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, enclosing
        elif isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
            for otherwise in node.orelse:
                yield from imports(ast.Module([otherwise], []), enclosing)
        else:
            named = isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            yield from imports(node, (*enclosing, node.name) if named else enclosing)


def targets(node: ast.stmt, module: str, modules: dict[str, Path]) -> Iterator[str]:
    """The files of ours that an import statement names; the packages around them do not count."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
        return
    source = node.module or ""
    if node.level:
        package = module.split(".") if modules[module].name == "__init__.py" else module.split(".")[:-1]
        source = ".".join([*package[: len(package) - node.level + 1], *filter(None, [source])])
    for alias in node.names:
        file = f"{source}.{alias.name}"  # as in `from package import file`
        if (target := file if file in modules else source) in modules:
            yield target


def violations(folder: Path) -> list[str]:
    """All that is wrong with the imports of a checkout, in words."""
    modules, wrong = modules_of(folder), []
    files: dict[str, set[str]] = {module: set() for module in modules}
    rooms: dict[str, set[str]] = {name: set() for name in LEVELS}
    for module, path in modules.items():
        own = room(module)
        if own is None and module not in LEAVES:
            wrong.append(f"{module} lies in no room")
        for node, enclosing in imports(ast.parse(path.read_text())):
            for target in targets(node, module, modules):
                if BRIDGES.get(enclosing[-1] if enclosing else "") == target and enclosing[:-1] == ("Forecaster",):
                    continue
                files[module].add(target)
                if module in LEAVES:
                    wrong.append(f"{module} is a leaf and imports {target}")
                    continue
                theirs = room(target)
                if target in LEAVES or None in (own, theirs) or own == theirs:
                    continue
                if LEVELS[theirs] > LEVELS[own]:
                    wrong.append(f"{module} imports {target}, which is above it")
                else:
                    rooms[own].add(theirs)
    return wrong + circles(files, "files") + circles(rooms, "rooms")


def circles(graph: dict[str, set[str]], kind: str) -> list[str]:
    """One circle in words, if there are any."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"a circle of {kind}: {' <- '.join(error.args[1])}"]
    return []


def test_imports_point_one_way_and_make_no_circle():
    assert not violations(ROOT)


def test_the_checker_sees_every_file():
    assert {
        "samovar_forecast",
        "samovar_forecast.layers.fast.rms_norm",
        "samovar_sktime.bridge",
        "samovar_darts",
    } <= set(modules_of(ROOT))


SOUND = {
    "samovar_forecast/__init__.py": "def __getattr__(name):\n    from samovar_forecast import forecasters\n",
    "samovar_forecast/hyperparameters.py": "",
    "samovar_forecast/layers/patches.py": "import torch\n",
    "samovar_forecast/networks/network.py": "from samovar_forecast.layers import patches\n",
    "samovar_forecast/networks/lintrans.py": "from . import network\nfrom samovar_forecast import hyperparameters\n",
    "samovar_forecast/files/atomic_files.py": "",
    "samovar_forecast/training/engine.py": "from samovar_forecast.files.atomic_files import written\n",
    "samovar_forecast/forecasting/intervals.py": "from samovar_forecast.training.engine import train\n",
    "samovar_forecast/files/persistence.py": "import samovar_forecast.forecasting.intervals\n"
    "from typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    from samovar_forecast.estimator import Forecaster\n",
    "samovar_forecast/estimator.py": "from samovar_forecast.files.persistence import save\n"
    "class Forecaster:\n    def to_sktime(self):\n        from samovar_sktime.bridge import to_sktime\n",
    "samovar_forecast/forecasters.py": "from samovar_forecast.estimator import Forecaster\n",
    "adapters/samovar_sktime/bridge.py": "from samovar_forecast.forecasters import Forecaster\n",
}


def checkout(folder, **changed):
    """A made-up checkout with some files changed or added; "__" in a name stands for "/"."""
    for name, text in (SOUND | {f"{name.replace('__', '/')}.py": text for name, text in changed.items()}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_sound_checkout_passes(tmp_path):
    assert violations(checkout(tmp_path)) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samovar_forecast__layers__patches": "import samovar_forecast.networks.network"}, "which is above it"),
        (
            {"samovar_forecast__training__engine": "def f():\n    from samovar_forecast.files.persistence import save"},
            "training.engine imports samovar_forecast.files.persistence, which is above it",
        ),
        ({"samovar_forecast__data__frames": "from samovar_forecast import estimator"}, "which is above it"),
        (  # the bridge, but not in the method that may import it
            {"samovar_forecast__forecasters": "def to_sktime():\n    from samovar_sktime.bridge import to_sktime"},
            "forecasters imports samovar_sktime.bridge, which is above it",
        ),
        ({"samovar_forecast__explain": ""}, "samovar_forecast.explain lies in no room"),
        ({"samovar_forecast__hyperparameters": "from samovar_forecast.layers.patches import cut"}, "is a leaf"),
        (  # in one room
            {"samovar_forecast__networks__network": "from samovar_forecast.networks.lintrans import LinTrans"},
            "a circle of files: samovar_forecast.networks.",
        ),
        (  # in one room, relative and late
            {"samovar_forecast__networks__network": "class Network:\n    def f(self):\n        from . import lintrans"},
            "a circle of files: samovar_forecast.networks.",
        ),
        (  # of three files in rooms of one level
            {
                "samovar_forecast__evaluation__accuracy": "from samovar_forecast.files.persistence import load",
                "samovar_forecast__forecasting__intervals": "from samovar_forecast.evaluation.accuracy import errors",
            },
            "a circle of files: samovar_forecast.",
        ),
        (  # of rooms, without one of files
            {"samovar_forecast__forecasting__rolling": "from samovar_forecast.files.persistence import load"},
            "a circle of rooms: f",
        ),
    ],
)
def test_a_planted_fault_fails(tmp_path, changed, message):
    assert any(message in wrong for wrong in violations(checkout(tmp_path, **changed)))


@pytest.mark.parametrize("use", ["", "; samovar_forecast.SAMoVARForecaster"])
def test_the_core_imports_no_host(use):
    program = (
        f"import sys, samovar_forecast{use}; "
        "heavy = ('sktime', 'darts', 'pytorch_lightning', 'matplotlib', 'xarray', 'torch._dynamo'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
