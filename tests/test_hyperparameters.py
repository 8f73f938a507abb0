import ast
import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from samovar_darts.bridge import model_class_for
from samovar_forecast.forecasters import ALL_FORECASTERS
from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.training.config import TrainingConfig
from samovar_sktime.bridge import forecaster_class_for

PACKAGES = [Path(__file__).parents[1] / name for name in ("samovar_forecast", "adapters")]


def test_every_hyperparameter_is_documented_once(forecaster_class):
    documentation = inspect.cleandoc(forecaster_class.__doc__)
    for field in fields(forecaster_class):
        assert documentation.count(f"\n{field.name} : ") == 1, field.name
        line = next(line for line in documentation.splitlines() if line.startswith(f"{field.name} : "))
        default = f'"{field.default}"' if isinstance(field.default, str) else str(field.default)
        written = line.rsplit("default ", 1)[1]
        assert written == default or float(written) == float(default), line


def test_references_are_written_beside_the_network_alone(forecaster_class):
    """And help shows them in every host, between the hyperparameters and the example."""
    cited = inspect.cleandoc(forecaster_class.network_class.__doc__).split("References\n----------\n")[1]
    cited = cited.split("\n\n")[0]
    hosts = [forecaster_class, forecaster_class_for(forecaster_class), model_class_for(forecaster_class)]
    for cls in hosts:
        assert cls.__doc__.count(cited) == 1, cls
        places = [cls.__doc__.index(f"{title}\n---") for title in ("Parameters", "References", "Examples")]
        assert places == sorted(places), cls
        assert all(f"\n{field.name} : " in cls.__doc__ for field in fields(cls)), cls
    assert "arXiv" in cited
    assert all("References" not in ast.unparse(written_class(cls)) for cls in hosts)


def written_class(cls):
    tree = ast.parse(Path(inspect.getfile(cls)).read_text())
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)


def test_every_hyperparameter_is_declared_once():
    """A hyperparameter of a public class is an annotated field in exactly one of the classes it inherits from."""
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
        bases = {base.__name__ for base in forecaster.__mro__}
        for field in fields(forecaster):
            declared = [home for home in homes[field.name] if home in bases]
            assert len(declared) == 1, (forecaster, field.name, declared)


def test_a_changed_default_reaches_constructor_and_documentation():
    @hyperparameters
    class Recipe(TrainingConfig):
        """Another rate."""

        learning_rate = 0.5

    @hyperparameters
    class Model(Recipe):
        """A model."""

        patience = None

    assert Model().learning_rate == 0.5
    assert inspect.signature(Model).parameters["patience"].default is None
    assert "learning_rate : float, default 0.5" in Model.__doc__
    assert "patience : int or None, default None" in Model.__doc__
    assert (
        TrainingConfig().learning_rate == inspect.signature(TrainingConfig).parameters["learning_rate"].default != 0.5
    )
    assert "default 0.5" not in TrainingConfig.__doc__.split("learning_rate")[1].split("\n")[0]


def test_a_written_constructor_is_refused():
    with pytest.raises(TypeError, match="must not write its own __init__"):

        @hyperparameters
        class Wrong:
            def __init__(self):
                pass
