"""The table of tags in docs/how_to/sktime.md against the classes."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import sktime.forecasting

from samovar_sktime import all_forecasters

PAGE = (Path(__file__).parents[2] / "docs" / "how_to" / "sktime.md").read_text()
HEADER, *ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")] for line in re.findall(r"^\| .*", PAGE, re.MULTILINE)
]
TAGS = {
    "multivariate": "capability:multivariate",
    "X": "capability:exogenous",
    "intervals": "capability:pred_int",
    "in-sample": "capability:insample",
    "intervals in-sample": "capability:pred_int:insample",
    "missing values": "capability:missing_values",
    "pretrain": "capability:pretrain",
    "update": "capability:update",
    "unequal length": "capability:unequal_length",
    "random state": "capability:random_state",
}


def can(cls, column):
    if column == "native panels":
        return "pd-multiindex" in cls.get_class_tag("y_inner_mtype")
    if column == "late fh":
        return not cls.get_class_tag("requires-fh-in-fit")
    if column == "intervals in-sample" and not cls.get_class_tag("capability:pred_int"):
        return False  # a default that says nothing
    return bool(cls.get_class_tag(TAGS[column], False))


def classes(name):
    if name == "all of ours":
        return [cls for _, cls in all_forecasters()]
    for module in pkgutil.iter_modules(sktime.forecasting.__path__):
        path = Path(module.module_finder.path) / f"{module.name}.py"
        if path.is_file() and f"class {name}(" in path.read_text():
            return [getattr(importlib.import_module(f"sktime.forecasting.{module.name}"), name)]
    raise AssertionError(f"sktime has no module with {name}")


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_table_of_tags_is_true(row):
    for cls in classes(row[0]):
        assert dict(zip(HEADER[1:], row[1:], strict=True)) == {
            column: "yes" if can(cls, column) else "-" for column in HEADER[1:]
        }, cls
