import ast
import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from samovar_forecast.hyperparameters import hyperparameters

PACKAGES = [Path(__file__).parents[1] / name for name in ("samovar_forecast", "adapters")]


def test_every_hyperparameter_is_documented_once(forecaster_class):
    documentation = inspect.cleandoc(forecaster_class.__doc__)
    for field in fields(forecaster_class):
        assert documentation.count(f"\n{field.name} : ") == 1, field.name
        line = next(line for line in documentation.splitlines() if line.startswith(f"{field.name} : "))
        default = f'"{field.default}"' if isinstance(field.default, str) else str(field.default)
        written = line.rsplit("default ", 1)[1]
        assert written == default or float(written) == float(default), line


def test_every_default_is_written_once():
    """A hyperparameter of the public classes is a dataclass field in exactly one class of the source."""
    from samovar_forecast.forecasters import ALL_FORECASTERS

    homes = {}
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and any(
                    "hyperparameters" in ast.unparse(d) for d in node.decorator_list
                ):
                    for item in node.body:
                        if isinstance(item, ast.AnnAssign):
                            homes.setdefault(item.target.id, []).append(node.name)
    for forecaster in ALL_FORECASTERS:
        for field in fields(forecaster):
            assert len(homes[field.name]) == 1, (field.name, homes[field.name])


def test_a_written_constructor_is_refused():
    with pytest.raises(TypeError, match="must not write its own __init__"):

        @hyperparameters
        class Wrong:
            def __init__(self):
                pass
