"""The documentation site as a reader meets it: links, search, reference, both colours, telephone and desktop.

`make site` builds the site and runs these tests; without the folder of a built site, named by
SAMOVAR_FORECAST_SITE, they are skipped.
"""

import os
import shutil
from functools import cache, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urljoin, urlsplit

import pytest

if "SAMOVAR_FORECAST_SITE" not in os.environ:
    pytest.skip("no built site: set SAMOVAR_FORECAST_SITE to its folder", allow_module_level=True)
SITE = Path(os.environ["SAMOVAR_FORECAST_SITE"]).resolve()
SCREENSHOTS = os.environ.get("SAMOVAR_FORECAST_SCREENSHOTS")
OF_SPHINX = {"genindex.html", "search.html", "py-modindex.html", "_static/webpack-macros.html"}


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "a" and found.get("href"):
            self.links.add(found["href"])
        if "id" in found:
            self.anchors.add(found["id"])


@cache
def read(name):
    return Page((SITE / name).read_text())


def inside(name, link):
    """The page and the anchor that a link leads to; None where it leaves the site."""
    target = urlsplit(link)
    if target.scheme or target.netloc:
        return None
    path = urlsplit(urljoin(f"/{name}", link)).path.lstrip("/")
    return unquote(path) or name, unquote(target.fragment)


PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))


def test_every_link_and_anchor_leads_somewhere():
    broken = []
    for name in PAGES:
        for link in read(name).links:
            if (found := inside(name, link)) is None:
                continue
            path, anchor = found
            if not (SITE / path).is_file():
                broken.append(f"{name}: {link}")
            elif anchor and path.endswith(".html") and anchor not in read(path).anchors:
                broken.append(f"{name}: {link} has no such anchor")
    assert broken == []


def test_every_page_is_reached_from_the_first():
    reached, found = set(), ["index.html"]
    while found:
        name = found.pop()
        if name in reached or name not in PAGES:
            continue
        reached.add(name)
        found += [path for path, _ in filter(None, (inside(name, link) for link in read(name).links))]
    assert set(PAGES) - reached - OF_SPHINX == set()


# What follows needs Chromium and its driver, from the system, and selenium.
webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = (shutil.which(program) for program in ("chromium", "chromedriver"))
in_chromium = pytest.mark.skipif(None in (CHROMIUM, DRIVER), reason="chromium and chromedriver are not installed")
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that prints no line for each request."""

    def log_message(self, *message):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    started.set_page_load_timeout(120)
    yield started
    started.quit()


def wait_for(browser, script, seconds=60):
    """The first value of a script that is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds, poll_frequency=0.1).until(lambda one: one.execute_script(f"return {script}"))


def open_page(browser, url, width=1280, height=900):
    """Open a page at a width, with an empty console before."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser")
    browser.get(url)


def complaints(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@in_chromium
@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("missing values", "how_to/missing_values.html"),
        ("SAMoVARForecaster", "samovar_forecast.SAMoVARForecaster"),
        ("holiday", "how_to/holidays.html"),
        ("cite", "development/citing.html"),
    ],
)
def test_search_finds(browser, address, words, page):
    open_page(browser, f"{address}/search.html?q={words.replace(' ', '+')}")
    links = "[...document.querySelectorAll('#search-results li a')].map(a => a.href)"
    assert wait_for(browser, f"{links}.some(link => link.includes('{page}'))")
    assert complaints(browser) == []


REFERENCE = [name for name in PAGES if name.startswith("reference/generated/")]
CLASSES = [name for name in REFERENCE if name.split(".")[-2].endswith(("Forecaster", "Model"))]


@in_chromium
@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_renders(browser, address, name):
    open_page(browser, f"{address}/{name}")
    assert wait_for(browser, "document.querySelector('article h1').innerText.length > 0")
    assert browser.execute_script("return document.querySelectorAll('article dt.sig').length") >= 1
    if name in CLASSES and not name.endswith(".Forecaster.html"):
        terms = "return [...document.querySelectorAll('article dl.field-list dt strong')].map(one => one.innerText)"
        named = browser.execute_script(terms)
        expected = "input_chunk_length" if name.endswith("Model.html") else "context_length"
        assert expected in named
    assert complaints(browser) == []


def test_the_reference_has_the_classes_of_all_hosts():
    assert len(CLASSES) == 3 * 7 + 1


LOOKED_AT = [
    "index.html", "tutorials/first_forecast.html", "tutorials/inside_darts.html", "how_to/missing_values.html",
    "reference/generated/samovar_forecast.SAMoVARForecaster.html", "evidence/benchmark.html",
]  # fmt: skip


@in_chromium
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_page_is_whole(browser, address, name, mode, width):
    url = f"{address}/{name}"
    browser.get(url)
    browser.execute_script(f"localStorage.setItem('mode', '{mode}'); localStorage.setItem('theme', '{mode}')")
    open_page(browser, url, width)
    assert wait_for(browser, "document.readyState === 'complete'")
    assert browser.execute_script("return document.documentElement.dataset.theme") == mode
    # Pictures below the fold are read when they are needed: ask for all.
    browser.execute_script("for (const one of document.images) one.loading = 'eager'")
    wait_for(browser, "[...document.images].every(one => one.complete)")
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(SCREENSHOTS) / f"{Path(name).stem}-{mode}-{width}.png"))
    shown = "[...document.images].filter(one => one.offsetParent !== null)"
    assert browser.execute_script(f"return {shown}.filter(one => one.naturalWidth === 0).map(one => one.src)") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ink, paper = (
        browser.execute_script(f"return getComputedStyle(document.body).{what}")
        for what in ("color", "backgroundColor")
    )
    assert (brightness(ink) < brightness(paper)) == (mode == "light")
    from_elsewhere = (
        "return performance.getEntriesByType('resource').map(one => one.name).filter(one => !one.startsWith('data:'))"
    )
    assert [one for one in browser.execute_script(from_elsewhere) if not one.startswith(address)] == []
    assert complaints(browser) == []


def brightness(colour):
    """Sum of red, green and blue of what a browser calls a colour."""
    return sum(float(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3])


@in_chromium
def test_code_has_a_button_that_copies(browser, address):
    open_page(browser, f"{address}/tutorials/first_forecast.html")
    assert wait_for(browser, "document.querySelectorAll('button.copybtn').length") >= 5
