"""What goes into the wheel and the source distribution, and what they say of themselves."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import samovar_forecast

ROOT = Path(__file__).parents[1]
PACKAGES = {"samovar_forecast", "samovar_sktime", "samovar_darts"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel, built from the source distribution, and that; the tools are those of the extra `dev`."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT]
    run = subprocess.run(build, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    (wheel,), (source,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, source


def test_the_wheel_holds_the_packages_and_nothing_else(built):
    names = zipfile.ZipFile(built[0]).namelist()
    about = f"samovar_forecast-{samovar_forecast.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == PACKAGES | {about}
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert {f"{about}/licenses/LICENSE", f"{about}/licenses/NOTICE"} <= set(names)
    data = [name for name in names if not name.endswith((".py", "py.typed")) and not name.startswith(about)]
    assert data == ["samovar_forecast/benchmark/published.csv"]
    written = {
        f"{package}/{path.relative_to(home)}"
        for package, home in ((name, next(ROOT.glob(f"**/{name}/__init__.py")).parent) for name in PACKAGES)
        for path in home.rglob("*.py")
    }
    assert written <= set(names)


def test_the_wheel_passes_check_wheel_contents(built):
    check = [sys.executable, "-m", "check_wheel_contents", "--config", ROOT / "pyproject.toml", built[0]]
    run = subprocess.run(check, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_source_distribution_can_be_tested_and_documented(built):
    with tarfile.open(built[1]) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    files = {
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "CITATION.cff",
        "LICENSE",
        "NOTICE",
        "constraints.txt",
        "Makefile",
    }
    assert files <= names
    for folder in ("tests", "docs", "examples", "studies"):
        code = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob("*.[pm][yd]")}
        assert code <= names, folder
    made = [
        name for name in names if re.search(r"__pycache__|/_build/|/generated/|/unfinished/|\.ipynb_checkpoints", name)
    ]
    assert made == []


def test_the_citation_names_this_version_and_every_model():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
    assert citation["version"] == samovar_forecast.__version__
    notes = " ".join(reference["notes"] for reference in citation["references"])
    for model in ("SAMoVAR", "LinTrans", "FixedVAR", "SAMformer", "Autoformer", "Linear Attention", "PSF-Attn"):
        assert model in notes
    assert f"[{samovar_forecast.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_forms_for_issues_are_well_formed():
    forms = [path for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"]
    assert len(forms) >= 2
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= set(form), path
        for field in form["body"]:
            assert field["type"] in ("textarea", "dropdown", "input", "checkboxes", "markdown"), path
            assert field["type"] == "markdown" or field["attributes"]["label"], path
