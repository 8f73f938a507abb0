"""The words of pages, code, tests and studies: those of the field, and none that this project has left."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT = {  # pattern: what to write
    r"lone\b": "single",
    r"mend(s|ed|ing)?\b": "fix",
    r"behind\b": "after",
    r"in front\b": "before",
    r"ahead of the\b": "before the, after the",
    r"whoever\b": "the reader, the user, a name",
    r"(no|some|any)body\b": "say what happens",
    r"asked for( by)?\b": "requested, needed",
    r"would have (said|told|known)\b": "say what the thing is",
    r"without a word\b": "silently",
}
WORDS = re.compile("|".join(rf"\b{pattern}" for pattern in LEFT), re.IGNORECASE)
DOCS = ROOT / "docs"

PAGES = [
    page
    for page in [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), DOCS / "conf.py"]
    if not {"_build", "generated"} & set(page.relative_to(ROOT).parts)
]

# Folders of code whose docstrings, comments and messages are held to the same words.
CODE_FOLDERS = ["samovar_forecast", "adapters", "examples", "tests", "studies"]


def code():
    for folder in CODE_FOLDERS:
        yield from sorted(path for path in (ROOT / folder).rglob("*.py") if path != Path(__file__))


@pytest.mark.parametrize("path", [*PAGES, *code()], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_words_are_those_of_the_field(path):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()!r}"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in WORDS.finditer(line)
    ]
    assert found == [], "write instead: " + "; ".join(f"{pattern} -> {word}" for pattern, word in LEFT.items())


@pytest.mark.parametrize("text", ["a lone series", "Mended", "the rows behind it", "in front of", "Nobody reads it"])
def test_an_old_word_is_found(text):
    assert WORDS.search(text)


@pytest.mark.parametrize("text", ["a clone", "recommend", "an amendment", "alone", "a single series"])
def test_other_words_are_not(text):
    assert not WORDS.search(text)


WRITTEN_BY_PROGRAMS = [DOCS / "evidence" / name for name in ("benchmark.md", "faults.md", "speed.md")]
READ = [
    page
    for page in PAGES
    if DOCS in page.parents
    and page.suffix == ".md"
    and page not in WRITTEN_BY_PROGRAMS
    and "```{include}" not in page.read_text()
]


@pytest.mark.parametrize("page", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_begins_with_what_the_reader_can_do(page):
    text = re.sub(r"\A---\n.*?\n---\n", "", page.read_text(), flags=re.DOTALL).strip()
    first = re.split(r"(?<=[.?:])\s", text.partition("\n\n")[2])[:2]
    assert any(sentence.startswith("You ") for sentence in first)
