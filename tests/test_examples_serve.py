"""The example of a service: a real server on a free port of this machine, asked over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import FixedVARForecaster
from tests.conftest import TINY, waves

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

SCRIPT = Path(__file__).parents[1] / "examples" / "serve_forecasts.py"
SETTINGS = TINY | {"horizon": 4, "context_length": 16, "max_steps": 2, "device": "cpu"}


class Server:
    """A server in a process of its own, and what it answers."""

    def __init__(self, model, log):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        environment = os.environ | {"SAMOVAR_FORECAST_MODEL": str(model)}
        with log.open("w") as written:
            command = [sys.executable, SCRIPT, "--port", str(port)]
            self.process = subprocess.Popen(command, env=environment, cwd=log.parent, stdout=written, stderr=written)
        deadline = time.monotonic() + 120
        while True:
            try:
                assert self.get("/health") == {"status": "ok"}
                return
            except urllib.error.URLError:
                assert self.process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)

    def get(self, path):
        with urllib.request.urlopen(self.address + path, timeout=60) as answer:
            return json.load(answer)

    def forecast(self, **query):
        """Status and body."""
        request = urllib.request.Request(
            f"{self.address}/forecast", json.dumps(query).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)


def serve(forecaster, folder):
    path = folder / "model.safetensors"
    forecaster.save(path)
    return Server(path, folder / "log.txt")


@pytest.fixture(scope="module")
def forecaster():
    return FixedVARForecaster(**SETTINGS).fit(waves(80, 2))


@pytest.fixture(scope="module")
def server(forecaster, tmp_path_factory):
    server = serve(forecaster, tmp_path_factory.mktemp("serve"))
    yield server
    server.stop()


def records(frame):
    filled = frame.astype(object).where(frame.notna(), None)
    return [{"time": str(stamp), **row} for stamp, row in zip(frame.index, filled.to_dict("records"), strict=True)]


def test_the_model_is_described(server, forecaster):
    described = server.get("/model")
    assert described["columns"] == described["targets"] == list(forecaster.columns_)
    assert (described["horizon"], described["context_length"], described["series"]) == (4, 16, None)
    assert described["step"] == "h"


def test_a_forecast_is_that_of_the_package(server, forecaster):
    history = waves(80, 2).iloc[-20:].copy()
    history.iloc[3, 0] = np.nan
    status, answer = server.forecast(history=records(history), coverage=0.8, horizon=6)
    assert status == 200
    assert answer["warnings"] == []
    table = pd.DataFrame(answer["forecast"]).set_index("time")
    table.index = pd.DatetimeIndex(table.index)
    points, bounds = forecaster.predict(history, horizon=6), forecaster.predict_interval(0.8, history, horizon=6)
    assert table.index.equals(points.index)
    assert list(table) == ["s0", "s1", "s0 lower", "s0 upper", "s1 lower", "s1 upper"]
    np.testing.assert_allclose(table[["s0", "s1"]], points, rtol=1e-6)
    np.testing.assert_allclose(table[["s0 lower", "s0 upper", "s1 lower", "s1 upper"]], bounds, rtol=1e-6)
    _, without = server.forecast(history=records(history))
    assert [len(without["forecast"]), list(without["forecast"][0])] == [4, ["time", "s0", "s1"]]


def test_what_the_forecaster_warns_of_stands_in_the_answer(server):
    history = waves(80, 2).iloc[-16:].copy()
    history["s1"] = np.nan
    status, answer = server.forecast(history=records(history))
    assert status == 200
    assert "'s1' has no value in the 16 rows before the forecast" in answer["warnings"][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda history: history.iloc[-5:],  # too short
        lambda history: history.drop(history.index[7]),  # a row is missing
        lambda history: history.rename(columns={"s0": "load"}),
        lambda history: history.assign(s1=np.nan, s0=np.nan),
        lambda history: history.assign(s0="high"),
    ],
)
def test_an_error_of_the_forecaster_comes_back_with_its_message(server, forecaster, change):
    history = change(waves(80, 2).iloc[-20:])
    with pytest.raises((TypeError, ValueError)) as expected:
        forecaster.predict(history)
    assert server.forecast(history=records(history)) == (422, {"detail": str(expected.value)})


def test_a_wrong_coverage_or_field_is_refused(server):
    history = records(waves(80, 2).iloc[-20:])
    assert server.forecast(history=history, coverage=80) == (
        422,
        {"detail": "coverage must be a number inside (0, 1), got 80.0"},
    )
    assert server.forecast(history=history, coverag=0.8)[0] == 422
    assert server.forecast(history=[{"s0": 1.0}]) == (422, {"detail": "record 0 of history has no 'time'"})


def test_series_of_a_panel_with_known_covariates_and_a_zone(tmp_path):
    y = {"north": waves(80, 2).tz_localize("Europe/Berlin"), "south": 3 * waves(90, 2).tz_localize("Europe/Berlin")}
    known = {key: waves(100, 1, seed=3).tz_localize("Europe/Berlin").set_axis(["heat"], axis=1) for key in y}
    forecaster = FixedVARForecaster(**SETTINGS).fit(y, known)
    server = serve(forecaster, tmp_path)
    try:
        assert server.get("/model")["series"] == ["north", "south"]
        history, heat = y["south"].iloc[-20:], known["south"].iloc[70:94]
        status, answer = server.forecast(series="south", history=records(history), known=records(heat))
        expected = forecaster.predict({"south": history}, {"south": heat})["south"]
        assert status == 200
        np.testing.assert_allclose([step["s1"] for step in answer["forecast"]], expected["s1"], rtol=1e-6)
        assert [step["time"] for step in answer["forecast"]] == [stamp.isoformat() for stamp in expected.index]
        status, answer = server.forecast(series="south", history=records(history.tz_localize(None)))
        assert status == 422
        assert "no offset from UTC" in answer["detail"]
    finally:
        server.stop()


def test_no_model_is_an_error_before_anything_is_served(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "SAMOVAR_FORECAST_MODEL"}
    run = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr.splitlines()[-1].partition("error: ")[2]) == (
        2,
        "name a model file, or set SAMOVAR_FORECAST_MODEL",
    )
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(b"no model")
    run = subprocess.run([sys.executable, SCRIPT, damaged], capture_output=True, text=True, timeout=120)
    assert run.returncode == 1
    assert run.stderr.startswith("error: ")
