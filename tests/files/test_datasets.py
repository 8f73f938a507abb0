"""Data sets: the published files and splits, and downloads from a server on this machine."""

import gzip
import hashlib
import os
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from samovar_forecast.data.frames import read_frame
from samovar_forecast.files import datasets

FOLDER = Path(os.environ.get("SAMOVAR_FORECAST_DATA", "no-folder-named"))
FILES = {
    "ETTh1": "ETTh1.csv", "ETTh2": "ETTh2.csv", "ETTm1": "ETTm1.csv", "ETTm2": "ETTm2.csv", "Weather": "weather.csv",
    "Exchange": "exchange_rate.csv", "ILI": "national_illness.csv",
}  # fmt: skip
needs_files = pytest.mark.skipif(
    not all((FOLDER / file).is_file() for file in FILES.values()),
    reason="the benchmark files are not in the folder SAMOVAR_FORECAST_DATA",
)


@pytest.fixture(scope="module")
def raw():
    """The numbers of a file, read without the package."""
    return {name: pd.read_csv(FOLDER / file, encoding="latin-1").iloc[:, 1:].to_numpy() for name, file in FILES.items()}


@needs_files
@pytest.mark.parametrize("name", FILES)
def test_load_gives_every_row_on_a_regular_index(name, raw):
    frame = datasets.load(name, folder=FOLDER)
    np.testing.assert_array_equal(frame.to_numpy(), raw[name])
    read_frame(frame)
    dates = pd.DatetimeIndex(pd.read_csv(FOLDER / FILES[name], encoding="latin-1", usecols=["date"])["date"])
    differ = np.flatnonzero(frame.index != dates)
    # Weather alone has irregular dates: the first of them is a repeat.
    assert (len(differ) > 0) == (name == "Weather")
    if len(differ):
        assert dates[differ[0]] == dates[differ[0] - 1]


@needs_files
def test_weather_keeps_its_sentinels_and_gets_its_units_back():
    frame = datasets.load("Weather", folder=FOLDER)
    assert (frame == -9999).to_numpy().sum() == 81
    assert frame.columns[-1] == "OT"
    assert {"SWDR (W/m²)", "PAR (µmol/m²/s)", "max. PAR (µmol/m²/s)"} < set(frame.columns)
    assert all(name.isprintable() and "�" not in name and "ï" not in name for name in frame.columns)


BORDERS = {
    "ETTh1": (8640, 11520, 14400), "ETTh2": (8640, 11520, 14400),
    "ETTm1": (34560, 46080, 57600), "ETTm2": (34560, 46080, 57600),
    "Weather": (36887, 42157, 52696), "Exchange": (5311, 6071, 7588), "ILI": (676, 773, 966),
}  # fmt: skip


@needs_files
@pytest.mark.parametrize("context_length", [0, 96])
@pytest.mark.parametrize("name", FILES)
def test_split_is_that_of_the_protocol(name, context_length, raw):
    train_end, validation_end, test_end = BORDERS[name]
    if not name.startswith("ETT"):  # the borders above, as the protocol words them
        n = len(raw[name])
        assert (train_end, validation_end, test_end) == (int(0.7 * n), n - int(0.2 * n), n)
    train, validation, test = datasets.split(name, context_length, folder=FOLDER)
    np.testing.assert_array_equal(train.to_numpy(), raw[name][:train_end])
    np.testing.assert_array_equal(validation.to_numpy(), raw[name][train_end - context_length : validation_end])
    np.testing.assert_array_equal(test.to_numpy(), raw[name][validation_end - context_length : test_end])
    assert test.index[0] == train.index[0] + (validation_end - context_length) * (train.index[1] - train.index[0])


@needs_files
@pytest.mark.parametrize("context_length", [-1, 677])
def test_split_refuses_an_impossible_context(context_length):
    with pytest.raises(ValueError, match="between 0 and the 676 training rows"):
        datasets.split("ILI", context_length, folder=FOLDER)


def test_demo_data_are_complete_and_regular():
    frame = datasets.load_demo()
    assert frame.shape == (526, 2)
    assert pd.infer_freq(read_frame(frame).index) == "MS"
    from statsmodels.datasets import elnino

    table = elnino.load_pandas().data.set_index("YEAR")
    assert frame.loc["1972-05-01", "sea_celsius"] == table.loc[1972, "MAY"]


def small_set(content, file, *, n_rows=4, n_series=2, **settings):
    return datasets._DataSet(
        "http://127.0.0.1:9/nowhere", {file: hashlib.sha256(content).hexdigest()}, n_rows, n_series, "5min",
        "2020-01-01", **settings,
    )  # fmt: skip


CSV = b"date,a,b\n" + b"".join(b"2020-01-01 00:%02d,%d,%d\n" % (5 * i, i, -i) for i in range(4))


@pytest.fixture
def small(monkeypatch):
    """A data set of four rows under the name Small."""
    monkeypatch.setitem(datasets._DATA_SETS, "Small", small_set(CSV, "small.csv"))


def test_pems_takes_the_first_channel_and_no_early_rows(monkeypatch, tmp_path):
    data = np.random.default_rng(0).normal(size=(11, 4, 3)).astype(np.float32)
    np.savez(tmp_path / "tiny.npz", data=data)
    content = (tmp_path / "tiny.npz").read_bytes()
    tiny = small_set(content, "tiny.npz", n_rows=11, n_series=4, shares=(0.6, 0.2), overlap=False)
    monkeypatch.setitem(datasets._DATA_SETS, "Tiny", tiny)
    parts = datasets.split("Tiny", context_length=5, folder=tmp_path)
    assert [len(part) for part in parts] == [6, 3, 2]
    np.testing.assert_array_equal(np.vstack(parts), data[:, :, 0])
    assert all(datasets._DATA_SETS[name].shares == (0.6, 0.2) for name in datasets.names() if name.startswith("PEMS"))


@pytest.mark.parametrize("file", ["plain.txt", "packed.txt.gz"])
def test_solar_form_has_neither_dates_nor_header(monkeypatch, tmp_path, file):
    content = b"0.0,1.5\n2.0,3.0\n4.0,5.0\n6.0,7.0\n"
    content = gzip.compress(content) if file.endswith("gz") else content
    (tmp_path / file).write_bytes(content)
    monkeypatch.setitem(datasets._DATA_SETS, "Tiny", small_set(content, file))
    frame = datasets.load("Tiny", folder=tmp_path)
    assert frame.to_numpy().tolist() == [[0, 1.5], [2, 3], [4, 5], [6, 7]]
    assert list(frame.columns) == ["0", "1"]


def test_folder_comes_from_the_environment(small, monkeypatch, tmp_path):
    (tmp_path / "small.csv").write_bytes(CSV)
    monkeypatch.setenv("SAMOVAR_FORECAST_DATA", str(tmp_path))
    assert datasets.load("Small")["b"].tolist() == [0, -1, -2, -3]


def test_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Traffic is not in the folder .* put traffic.csv there \(from https"):
        datasets.load("Traffic", folder=tmp_path)


def test_other_file_is_refused_unless_it_is_requested(small, tmp_path):
    path = tmp_path / "small.csv"
    path.write_bytes(CSV.replace(b"\n", b"\r\n"))
    with pytest.raises(ValueError, match=r"small.csv is not the published file: its SHA-256 is [0-9a-f]{64}, not"):
        datasets.load("Small", folder=tmp_path)
    assert datasets.load("Small", folder=tmp_path, verify=False).shape == (4, 2)
    path.write_bytes(CSV + b"2020-01-01 00:20,4,-4\n")
    with pytest.raises(ValueError, match="has 5 rows x 2 series; Small has 4 x 2"):
        datasets.load("Small", folder=tmp_path, verify=False)


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="there is no data set 'etth1'; there are ETTh1, ETTh2"):
        datasets.load("etth1")


class Server(BaseHTTPRequestHandler):
    """Gives `content`; the first `cut` answers break off after half of it."""

    def __init__(self, state, *args):
        self.state = state
        super().__init__(*args)

    def do_GET(self):
        self.state["asked"].append(self.path)
        self.state["ranges"].append(self.headers.get("Range"))
        content, status = self.state["content"], 200 if self.state["content"] is not None else 404
        if self.headers.get("Range") and self.state["continues"] and content is not None:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            content, status = content[start:], 206 if start < len(content) else 416
        self.send_response(status)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if len(self.state["asked"]) <= self.state["cut"]:
            content = content[: len(content) // 2]
        self.wfile.write(content or b"")

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A web server on the loopback interface, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SAMOVAR_FORECAST_DATA", raising=False)
    state = {"content": CSV, "cut": 0, "asked": [], "ranges": [], "continues": True}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, state)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        state["url"] = f"http://127.0.0.1:{running.server_port}/mirror/"
        yield state
        running.shutdown()


def cached(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_download_happens_once(small, server, tmp_path):
    for _ in range(2):
        assert datasets.load("Small", base_url=server["url"])["a"].tolist() == [0, 1, 2, 3]
    assert server["asked"] == ["/mirror/small.csv"]
    assert cached(tmp_path) == ["small.csv"]


def test_address_comes_from_the_environment(small, server, monkeypatch):
    monkeypatch.setenv("SAMOVAR_FORECAST_URL", server["url"])
    train, validation, test = datasets.split("Small", 1)
    assert (len(train), len(validation), len(test)) == (2, 3, 1)


def test_damaged_cache_is_downloaded_again(small, server, tmp_path):
    datasets.load("Small", base_url=server["url"])
    (path,) = (tmp_path / "cache").rglob("small.csv")
    path.write_bytes(CSV[:-4])
    assert len(datasets.load("Small", base_url=server["url"])) == 4
    assert len(server["asked"]) == 2


@pytest.mark.parametrize("verify", [True, False])
def test_other_content_is_refused_and_not_kept(small, server, tmp_path, verify):
    server["content"] = CSV.replace(b"3", b"9")
    with pytest.raises(ValueError, match=r"is not the published Small .* nothing was kept"):
        datasets.load("Small", base_url=server["url"], verify=verify)
    assert cached(tmp_path) == []


@pytest.mark.parametrize("continues", [True, False])
def test_interrupted_download_goes_on_where_it_broke_off(server, tmp_path, monkeypatch, continues):
    content = b"date,a,b\n" + b"".join(b"row %06d,%d,%d\n" % (i, i, -i) for i in range(20_000))
    monkeypatch.setitem(datasets._DATA_SETS, "Long", small_set(content, "long.csv", n_rows=20_000))
    server["content"], server["cut"] = content, 1
    server["continues"] = continues  # a server that ignores ranges gives the whole file again
    assert len(datasets.load("Long", base_url=server["url"])) == 20_000
    first, second = server["ranges"]
    assert first is None
    assert len(content) / 4 < int(second.removeprefix("bytes=").removesuffix("-")) <= len(content) / 2
    assert cached(tmp_path) == ["long.csv"]


def test_foreign_part_is_not_kept(small, server, tmp_path):
    (tmp_path / "cache" / "samovar-forecast").mkdir(parents=True)
    for foreign in (b"x" * 5, b"x" * (len(CSV) + 5)):
        (tmp_path / "cache" / "samovar-forecast" / "small.csv.part").write_bytes(foreign)
        assert len(datasets.load("Small", base_url=server["url"])) == 4
        assert cached(tmp_path) == ["small.csv"]
        (tmp_path / "cache" / "samovar-forecast" / "small.csv").unlink()


def test_download_that_never_finishes_leaves_no_file(small, server, tmp_path):
    server["cut"] = 9
    with pytest.raises(OSError, match=r"Small could not be downloaded from .* SAMOVAR_FORECAST_DATA"):
        datasets.load("Small", base_url=server["url"])
    assert "small.csv" not in cached(tmp_path)
    server["cut"] = 0
    assert len(datasets.load("Small", base_url=server["url"])) == 4


def test_missing_page_is_named(small, server):
    server["content"] = None
    with pytest.raises(OSError, match="404"):
        datasets.load("Small", base_url=server["url"])
