"""Settings of the documentation site; `make docs` builds it."""

import os
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS.parent / "adapters")]

from samovar_forecast import __version__  # noqa: E402  # found through the path above

project = "samovar-forecast"
author = "the authors of samovar-forecast"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

# Other projects are linked where a network is there; a build without one must pass.
if os.environ.get("SAMOVAR_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "xarray": ("https://docs.xarray.dev/en/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "sktime": ("https://www.sktime.net/en/stable", None),
        "darts": ("https://unit8co.github.io/darts", None),
    }

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_timeout = 900  # seconds for a cell, on a busy machine
nb_execution_raise_on_error = True
nb_merge_streams = True

autosummary_generate = True
autosummary_imported_members = True
autodoc_typehints = "none"  # a docstring names the types
toc_object_entries_show_parents = "hide"
default_role = "literal"  # docstrings write code in single backticks
numpydoc_show_class_members = False
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = f"samovar-forecast {version}"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_theme_options = {
    "logo": {"text": "samovar-forecast"},
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Where the sites of several versions are published, a file beside them lists them, and each page leads to the others.
if os.environ.get("SAMOVAR_DOCS_VERSIONS"):
    html_theme_options["switcher"] = {"version_match": version, "json_url": os.environ["SAMOVAR_DOCS_VERSIONS"]}
    html_theme_options["check_switcher"] = False  # the list is published with the sites
    html_theme_options["navbar_end"] = ["version-switcher", "theme-switcher", "navbar-icon-links"]


def shapes_as_notes(app, what, name, obj, options, lines):
    """Move the section Shape, which numpydoc does not know, into Notes."""
    text = "\n".join(lines)
    found = re.search(r"^Shape\n-----\n(.*?)(?=^\S[^\n]*\n-{3,}\n|\Z)", text, re.DOTALL | re.MULTILINE)
    if found is None:
        return
    rest = text[: found.start()] + text[found.end() :]
    entries = "\n".join(f"- {line}" if line[:1].strip() else f"  {line}" for line in found.group(1).strip().split("\n"))
    notes = f"**Shape**\n\n{entries}\n\n"
    if re.search(r"^Notes\n-----\n", rest, re.MULTILINE):
        text = re.sub(r"^Notes\n-----\n", lambda head: head.group() + notes, rest, flags=re.MULTILINE)
    else:
        text = f"{rest[: found.start()]}Notes\n-----\n{notes}{rest[found.start() :]}"
    lines[:] = text.split("\n")


def setup(app):
    """Connect what the settings above cannot say."""
    app.connect("autodoc-process-docstring", shapes_as_notes, priority=400)  # numpydoc comes at 500
