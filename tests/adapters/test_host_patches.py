"""The ready changes to sktime and darts apply to the installed hosts, and do what their pages say."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import darts
import pytest
import sktime

import samovar_darts
import samovar_sktime

PATCHES = Path(__file__).parents[2] / "docs" / "development" / "patches"


def patched(host, changed, tmp_path):
    """The path of a file of a host after the patch, in a copy of the one that is installed."""
    name = host.__name__
    there = tmp_path / name / changed
    there.parent.mkdir(parents=True)
    original = Path(host.__file__).parent / changed
    if original.exists():
        shutil.copy(original, there)
    command = ["git", "apply", str(PATCHES / f"{name}.patch")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return there


def run_as(name, path, text=None):
    """The module that a file makes under another name."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(text or path.read_text(), str(path), "exec"), vars(module))
    finally:
        del sys.modules[name]
    return module


def test_sktime_gets_our_classes_where_the_package_is_installed(tmp_path):
    path = patched(sktime, "forecasting/samovar_forecast.py", tmp_path)
    # The distribution may lie beside the tests without being installed, which is what the dependency asks.
    text = path.read_text().replace('"python_dependencies": ["samovar-forecast", "torch"],', "")
    module = run_as("samovar_records", path, text)
    ours = {name for name in samovar_sktime.__all__ if name.endswith("Forecaster")}
    assert set(module.__all__) == ours  # what sktime's search takes of a module that imports its classes
    assert all(getattr(module, name) is getattr(samovar_sktime, name) for name in ours)


@pytest.mark.filterwarnings("ignore:The default of config ``remember_data``:FutureWarning")  # of a class of sktime
def test_sktime_gets_records_with_the_same_tags_where_it_is_not(tmp_path):
    path = patched(sktime, "forecasting/samovar_forecast.py", tmp_path)
    text = path.read_text().replace('["samovar-forecast", "torch"]', '["samovar-that-is-nowhere"]')
    records = run_as("samovar_records", path, text)
    for name in records.__all__:
        record, ours = getattr(records, name), getattr(samovar_sktime, name)
        assert record is not ours
        tags, wanted = record.get_class_tags(), ours.get_class_tags()
        said = re.findall(r'^        "([^"]+)":', text, re.MULTILINE)
        assert {tag: tags[tag] for tag in said if not tag.startswith(("python", "tests"))} == {
            tag: wanted[tag] for tag in said if not tag.startswith(("python", "tests"))
        }
        with pytest.warns(UserWarning, match="pip install samovar-that-is-nowhere"):
            record(horizon=12)


def test_darts_names_our_models(tmp_path):
    models = run_as("darts_models", patched(darts, "models/__init__.py", tmp_path))
    ours = {name for name in samovar_darts.__all__ if name.endswith("Model")}
    assert ours <= set(models.__all__)
    assert all(getattr(models, name) is getattr(samovar_darts, name) for name in ours)
