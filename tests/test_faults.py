"""docs/evidence/faults.md says of this package what its script finds today."""

import pytest

from studies.faults.__main__ import PAGE, verdicts
from studies.faults.hosts import HOSTS, OURS
from studies.faults.page import read_page

FILES = "Model files and disks"
GOOD = ("right result", "clear error")


@pytest.fixture(scope="module", params=OURS)
def host(request):
    return request.param, verdicts(request.param)


def test_every_fault_of_data_is_met_rightly_or_refused_clearly(host):
    name, found = host
    bad = {row: verdict for row, verdict in found.items() if not verdict.startswith(GOOD)}
    if name != "core":  # the others save as their hosts do, and darts takes no new rows; the page says so
        bad = {row: verdict for row, verdict in bad.items() if row[0] != FILES and verdict != "not offered"}
    assert bad == {}


def test_no_version_of_a_model_is_lost(host):
    _, found = host
    for fault in ("the disk is full while a model is overwritten", "killed while a model is overwritten"):
        assert found[FILES, fault] == "right result"


def test_the_page_is_up_to_date(host):
    def told(verdicts):  # what a flipped bit hits in a host's own file, and so its error, depends on every byte
        own = {row for row, verdict in verdicts.items() if row[0] == FILES and verdict.startswith("unclear error: ")}
        return verdicts | dict.fromkeys(own, "unclear error")

    name, found = host
    assert told(read_page(PAGE.read_text())[HOSTS[name].title]) == told(found)
