"""Runs and their store: what tells runs apart, and what the command makes of kills, failures and company."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from samovar_forecast.benchmark import scheduling
from samovar_forecast.benchmark.plan import FORECASTERS, changed_settings, plan
from samovar_forecast.benchmark.recipes import PUBLISHED
from samovar_forecast.benchmark.runs import Run
from samovar_forecast.benchmark.scheduling import run_all
from samovar_forecast.benchmark.store import DONE, FAILED, MEASURED, Store
from samovar_forecast.command_line.benchmark import _spread
from samovar_forecast.files.datasets import names
from samovar_forecast.training.config import TrainingConfig
from tests.command_line.calls import call, refused
from tests.conftest import waves

QUICK = ["--horizons", "4", "--context-length", "24", "--device", "cpu"]
SETTINGS = {"d_model": 8, "n_layers": 1, "n_heads": 2, "patience": 100, "batch_size": 16}
TRAINING = [*QUICK, "--max-epochs", "12", "--set", *(f"{name}={value}" for name, value in SETTINGS.items())]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    waves(200, 2).to_csv("load.csv")
    return tmp_path


def comparable(store):
    """The records without what a clock or the memory had to say."""
    return [{name: value for name, value in record.items() if name not in MEASURED} for record in store.records()]


def test_plan_has_every_combination_and_the_naive_forecast_once():
    runs = plan(["samovar", "naive", "darts:TSMixer"], ["etth1", "ILI"], seeds=[0, 1], device="cpu")
    assert len(runs) == (2 + 1 + 2) * 8 == len({run.name for run in runs})
    assert {run.horizon for run in runs if run.data == "ILI"} == {24, 36, 48, 60}
    assert {run.model for run in runs} == {"SAMoVAR", "naive", "darts:TSMixer"}


def test_everything_that_decides_a_result_tells_runs_apart(folder):
    (run,) = plan(["SAMoVAR"], ["load.csv"], [4], device="cpu")
    others = [
        replace(run, **change)
        for change in (
            {"model": "LinTrans"}, {"data": "other.csv"}, {"horizon": 5}, {"context_length": 25}, {"seed": 1},
            {"recipe": "published"}, {"device": "cuda"}, {"shares": (0.6, 0.2, 0.2)}, {"content": "0" * 64},
            {"hyperparameters": dict(run.hyperparameters) | {"dropout": 0.11}},
        )
    ]  # fmt: skip
    assert len({run.name, *(other.name for other in others)}) == 11
    assert replace(run, file="elsewhere.csv").name == run.name
    assert Run.from_dict(json.loads(json.dumps(asdict(run)))).name == run.name
    (folder / "load.csv").write_text((folder / "load.csv").read_text() + "\n")
    (changed,) = plan(["SAMoVAR"], ["load.csv"], [4], device="cpu")
    assert changed.name != run.name


@pytest.mark.parametrize("recipe", ["default", "published"])
@pytest.mark.parametrize("model", FORECASTERS)
def test_recipes_are_of_hyperparameters_that_there_are(model, recipe):
    for run in plan([model], names(), recipe=recipe, device="cpu"):
        expected = PUBLISHED[model]["*"] | PUBLISHED[model].get(run.data, {}) if recipe == "published" else {}
        assert {name: run.hyperparameters[name] for name in expected} == expected
        assert changed_settings(asdict(run)) == {}


def test_models_of_libraries_have_the_same_budget_in_both_recipes():
    (default,), (published,) = (
        plan(["darts:DLinear"], ["ETTh1"], [96], recipe=recipe, device="cpu") for recipe in ("default", "published")
    )
    assert default == published
    usual = TrainingConfig()
    assert {name: default.hyperparameters[name] for name in ("batch_size", "max_epochs", "patience")} == {
        "batch_size": usual.batch_size, "max_epochs": usual.max_epochs, "patience": usual.patience,
    }  # fmt: skip


def test_changes_of_a_recipe_are_told():
    (run,) = plan(["SAMformer"], ["ETTm2"], [96], recipe="published", settings={"loss": "mae"}, device="cpu")
    assert changed_settings(asdict(run)) == {"loss": "mae"}
    others = {"context_length": 96, "settings": {"loss": "huber"}, "label": "study"}
    (run,) = plan(["SAMformer"], ["ETTm2"], [96], device="cpu", **others)
    assert changed_settings(asdict(run)) == {"context_length": 96, "loss": "huber"}


def test_a_file_is_not_taken_for_the_data_set_of_its_name(folder):
    (folder / "load.csv").rename("Weather.csv")
    (run,) = plan(["SAMformer"], ["Weather.csv"], [96], recipe="published", device="cpu")
    assert run.data == "Weather.csv"
    assert run.hyperparameters["sharpness_rho"] == PUBLISHED["SAMformer"]["*"]["sharpness_rho"] != 0.4
    (folder / "Weather.csv").rename("ILI.csv")
    (run, *_) = plan(["Autoformer"], ["ILI.csv"], device="cpu")
    assert (run.context_length, run.horizon) == (96, 96)


def test_naive_forecast_is_one_run_whatever_the_seeds():
    assert plan(["naive"], ["ETTh1"], [96], [0]) == plan(["naive"], ["ETTh1"], [96], [1, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": ["nope"]}, "there is no model 'nope'; there are SAMoVAR"),
        ({"models": ["nope:TSMixer"]}, "there is no library 'nope'"),
        ({"data": ["nope.csv"]}, r"there is no data set and no file 'nope.csv'; the data sets are ETTh1"),
        ({"recipe": "best"}, "recipe must be one of"),
        ({"settings": {"width": 3}}, "SAMoVAR has no setting 'width'; it has accumulate_batches"),
        ({"settings": {"loss": "best"}}, "loss must be one of"),
        ({"device": "abacus"}, "device='abacus' is no device"),
        ({"device": "cuda:1"}, "must name a kind of device"),
        ({"context_length": 0}, "must be at least 1, got 0"),
        ({"horizons": [96, -1]}, "must be at least 1, got -1"),
        ({"models": ["darts:TiDE"]}, "no look-back of darts:TiDE is known from a paper; give one"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan(**{"models": ["SAMoVAR"], "data": ["ETTh1"]} | arguments)


def test_store_gives_back_what_it_was_given(tmp_path):
    store = Store(tmp_path / "new")
    (run,) = plan(["SAMoVAR"], ["ETTh1"], [96], device="cpu")
    assert store.record(run) is None
    with pytest.raises(FileNotFoundError, match="holds no results"):
        store.records()
    store.write(run, FAILED, {"error": "too little memory"})
    assert not store.is_done(run)
    store.write(run, DONE, {"mse": 0.4})
    assert store.is_done(run)
    (record,) = store.records()
    assert (record["mse"], record["context_length"], record["hyperparameters"]["n_layers"]) == (0.4, 1024, 3)
    assert list(store.table()["mse"]) == [0.4]
    (path,) = store.runs.iterdir()
    path.write_text(path.read_text()[:50])
    with pytest.raises(ValueError, match=f"{path.name} is no record of a run"):
        store.records()


def test_lists_are_written_with_blanks_or_commas():
    spread = list(_spread(["--models", "a", "b,c", "--out", "x", "--seeds=0,1", "2", "--set", "q=1,2"], {"report"}))
    assert spread == ["--models", "a", "--models", "b", "--models", "c", "--out", "x", "--seeds", "0", "--seeds", "1",
                      "--seeds", "2", "--set", "q=1,2"]  # fmt: skip
    assert list(_spread(["report", "--docs", "a"], {"report"})) == ["report", "--docs", "a"]
    assert list(_spread(["--out", "report", "--seeds", "0", "1"], {"report"})) == [
        "--out", "report", "--seeds", "0", "--seeds", "1",
    ]  # fmt: skip
    assert list(_spread(["--seeds", "--out", "x", "--models"], set())) == ["--seeds", "--out", "x", "--models"]


def test_command_refuses_in_one_line(folder):
    assert "give --models and --datasets" in refused("benchmark", "--models", "naive")
    assert "there is no model 'nope'" in refused("benchmark", "--models", "nope", "--datasets", "load.csv")
    assert "--set must be given as name=value" in refused(
        "benchmark", "--models", "naive", "--datasets", "load.csv", "--set", "dropout"
    )
    assert "holds no results" in refused("benchmark", "report", "nowhere")


class Watcher:
    """Notes what it is told; kills the process of a run that has come an epoch further, if it is to."""

    def __init__(self, kills=False):
        self.kills, self.busy, self.records = kills, 0, []

    def started(self, run):
        pass

    def working(self, run, epochs):
        if self.kills and epochs:
            os.kill(processes_of_runs(os.getpid())[0], signal.SIGKILL)

    def ended(self, run, record):
        self.busy += record is None
        self.records += [] if record is None else [record]


def processes_of_runs(parent):
    """The processes of runs that a process has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"one_run" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_killed_benchmark_goes_on_where_it_stopped(folder):
    options = ["--models", "FixedVAR", "--datasets", "load.csv", *TRAINING]
    call("benchmark", *options, "--out", "whole")
    (expected,) = comparable(Store("whole"))

    # The process of the run is killed: a failure, which is told and tried again the next time.
    store = Store("parts")
    (run,) = plan(["FixedVAR"], ["load.csv"], [4], context_length=24, device="cpu",
                  settings=SETTINGS | {"max_epochs": 12})  # fmt: skip
    watcher = Watcher(kills=True)
    assert run_all([run], store, watcher) == [run]
    (record,) = store.records()
    assert record["error"] == "the process was ended by SIGKILL, perhaps for want of memory"
    assert watcher.records == [record]

    # The command is killed, and with it the process of the run.
    (checkpoint,) = store.unfinished.glob("*/training.ckpt")
    before = checkpoint.stat().st_mtime_ns
    program = "from samovar_forecast.command_line.app import app; app()"
    command = subprocess.Popen([sys.executable, "-c", program, "benchmark", *options, "--out", "parts"])
    deadline = time.monotonic() + 120
    while checkpoint.stat().st_mtime_ns == before:
        assert command.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (child,) = processes_of_runs(command.pid)
    command.send_signal(signal.SIGKILL)
    command.wait()
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not store.is_done(run)

    call("benchmark", *options, "--out", "parts")
    assert comparable(store) == [expected]
    (record,) = store.records()
    assert 2 <= record["resumed_after_epoch"] < record["epochs"] == 12
    assert list(store.unfinished.iterdir()) == []
    (written,) = store.runs.iterdir()
    time_of_writing = written.stat().st_mtime_ns
    assert "1 of 1 runs are in the store already" in call("benchmark", *options, "--out", "parts").output
    assert written.stat().st_mtime_ns == time_of_writing


def test_failing_run_is_recorded_and_stops_no_other(folder):
    waves(200, 2, index=pd.date_range("2024-01-01", periods=200, freq="D", name="day")).to_csv("daily.csv")
    command = ["benchmark", "--models", "naive", "--datasets", "load.csv", "daily.csv", "--horizons", "4",
               "--context-length", "8", "--workers", "2"]  # fmt: skip
    result = call(*command, code=1)
    assert "1 runs failed" in result.stderr
    records = {record["data"]: record for record in Store("results").records()}
    assert records["daily.csv"]["status"] == DONE
    assert records["load.csv"]["status"] == FAILED
    assert records["load.csv"]["error"].startswith("ValueError: a season has 24 rows and the look-back 8")
    report = call("benchmark", "report", "results")
    assert "saved results/report.md" in report.stderr
    assert "a season has 24 rows" in (folder / "results" / "report.md").read_text()


def test_commands_side_by_side_share_the_work(folder):
    runs = plan(["naive"], ["load.csv"], [2], context_length=24, device="cpu")
    watchers = [Watcher(), Watcher()]
    threads = [threading.Thread(target=run_all, args=(runs, Store("results"), watcher)) for watcher in watchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    (record,) = Store("results").records()
    assert record["status"] == DONE
    assert [watcher.records for watcher in watchers] == [[record], [record]]
    assert sum(watcher.busy for watcher in watchers) >= 1
    assert list(Store("results").unfinished.iterdir()) == []


def test_process_that_ends_badly_behind_its_result_is_no_failure(folder, monkeypatch):
    (run,) = plan(["naive"], ["load.csv"], [2], context_length=24, device="cpu")
    store, watcher = Store("results"), Watcher()
    ended = scheduling._Process.status
    monkeypatch.setattr(scheduling._Process, "status", lambda process: ended(process) if ended(process) is None else 3)
    assert run_all([run], store, watcher) == []
    assert [record["status"] for record in watcher.records] == [DONE]


def test_folder_that_another_command_clears_meanwhile_is_waited_for(folder, monkeypatch):
    (run,) = plan(["naive"], ["load.csv"], [2], context_length=24, device="cpu")
    store, workplace, cleared = Store("results"), Store.workplace, []

    def cleared_once(self, run):
        found = workplace(self, run)
        if not cleared:
            cleared.append(run)
            return Vanishing(found)
        return found

    class Vanishing(type(Path())):
        def mkdir(self, **_):
            """As if it had been there, and gone a moment later."""

    monkeypatch.setattr(Store, "workplace", cleared_once)
    assert run_all([run], store, Watcher()) == []
    assert cleared
    assert store.is_done(run)


def test_threads_that_the_environment_sets_are_kept(folder):
    (run,) = plan(["naive"], ["load.csv"], [2], context_length=24, device="cpu")
    run_all([run], Store("results"), Watcher())
    assert Store("results").record(run)["threads"] == 1
