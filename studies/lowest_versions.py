"""Print the lowest version of every direct dependency that pyproject.toml allows, as constraints for pip.

    python studies/lowest_versions.py > lowest.txt

`make lowest` installs them into an environment of their own and runs a part of the tests. PyTorch is left out: its old
builds bring gigabytes of GPU libraries with them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest_versions() -> list[str]:
    """The lower bounds, as ``name==version``."""
    requirements = map(Requirement, tomllib.loads(PROJECT.read_text())["project"]["dependencies"])
    return [
        f"{requirement.name}=={specifier.version}"
        for requirement in requirements
        for specifier in requirement.specifier
        if specifier.operator == ">=" and requirement.name != "torch"
    ]


if __name__ == "__main__":
    print("\n".join(lowest_versions()))
