"""Code, links and anchors of the README and of the pages in docs, and the examples."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT = ("_build", "generated")  # written by `make docs`
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if not set(BUILT) & set(page.parts)),
]
CODE = re.compile(r"^```(?:python|\{code-cell\}[^\n]*)\n((?:^:[^\n]*\n)*)(.*?)^```", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^(```+|:::+).*?^\1$", re.DOTALL | re.MULTILINE)


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks_of(page):
    """The code of a page, which runs from top to bottom like a notebook."""
    return [block for _, block in CODE.findall(page.read_text())]


def anchors_of(page):
    """The anchors that GitHub and MyST give to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKS = [
    pytest.param(page, target, id=f"{name_of(page)}-{target}")
    for page in PAGES
    for target in re.findall(r"\]\((?!http)([^)]+)\)", FENCED.sub("", page.read_text()))
]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=name_of)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    blocks = blocks_of(page)
    if re.search(r"datasets\.(load|split)\(", "\n".join(blocks)) and "SAMOVAR_FORECAST_DATA" not in os.environ:
        pytest.skip("the page reads benchmark data; set SAMOVAR_FORECAST_DATA to their folder")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"<{name_of(page)}, block {number}>", "exec"), namespace)


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_links_lead_somewhere(page, target):
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    assert there.exists()
    if anchor:
        assert anchor in anchors_of(there)


def test_every_page_is_named_in_the_index_of_its_folder():
    named = set()
    for index in (page for page in PAGES if page.name == "index.md"):
        for body in re.findall(r"^```\{toctree\}\n(.*?)^```", index.read_text(), re.DOTALL | re.MULTILINE):
            for entry in filter(None, (line for line in body.splitlines() if not line.startswith(":"))):
                named.update(page.resolve() for page in index.parent.glob(f"{entry}.md"))
    pages = {page for page in PAGES if (ROOT / "docs") in page.parents and page != ROOT / "docs" / "index.md"}
    assert pages - named == set()


# A service runs until it is stopped: tests/test_examples_serve.py asks it.
EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.name != "serve_forecasts.py"]


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(script, tmp_path):
    run = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout
    assert list(tmp_path.iterdir()) == []
