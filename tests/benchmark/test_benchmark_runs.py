"""Runs and their store: names of runs, and kills, failures and commands side by side."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import joblib
import pandas as pd
import pytest

from samovar_forecast.benchmark import running
from samovar_forecast.benchmark.plan import FORECASTERS, changed_settings, plan
from samovar_forecast.benchmark.recipes import PUBLISHED
from samovar_forecast.benchmark.running import run_all
from samovar_forecast.benchmark.runs import Run
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
    models = ["samovar", "naive", "darts:TSMixer"]
    runs = plan(models, ["etth1", "ILI"], seeds=[0, 1], recipe="published", device="cpu")
    assert len(runs) == (2 + 1 + 2) * 8 == len({run.name for run in runs})
    assert {run.horizon for run in runs if run.data == "ILI"} == {24, 36, 48, 60}
    assert {run.model for run in runs} == {"SAMoVAR", "naive", "darts:TSMixer"}


def test_default_recipe_trains_once_for_all_horizons_on_a_context_of_its_own():
    runs = plan(["samovar", "naive"], ["etth1", "ILI"], seeds=[0, 1], device="cpu")
    ours = [run for run in runs if run.model == "SAMoVAR"]
    assert len(ours) == 2 * 2 == len({run.name for run in ours})
    assert {(run.shorter_horizons, run.horizon) for run in ours} == {((96, 192, 336), 720), ((24, 36, 48), 60)}
    assert {run.context_length for run in ours} == {None}
    assert len(runs) == 2 * 2 + 8


def test_everything_that_decides_a_result_tells_runs_apart(folder):
    (run,) = plan(["SAMoVAR"], ["load.csv"], [4], context_length=24, device="cpu")
    others = [
        replace(run, **change)
        for change in (
            {"model": "LinTrans"}, {"data": "other.csv"}, {"horizon": 5}, {"context_length": 25}, {"seed": 1},
            {"recipe": "published"}, {"device": "cuda"}, {"shares": (0.6, 0.2, 0.2)}, {"content": "0" * 64},
            {"hyperparameters": dict(run.hyperparameters) | {"dropout": 0.11}}, {"shorter_horizons": (2,)},
        )
    ]  # fmt: skip
    assert len({run.name, *(other.name for other in others)}) == 12
    assert replace(run, file="elsewhere.csv").name == run.name
    for one in (run, replace(run, shorter_horizons=(1, 2))):
        again = Run.from_dict(json.loads(json.dumps(asdict(one))))
        assert (again.name, again.shorter_horizons) == (one.name, one.shorter_horizons)
    (folder / "load.csv").write_text((folder / "load.csv").read_text() + "\n")
    (changed,) = plan(["SAMoVAR"], ["load.csv"], [4], context_length=24, device="cpu")
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
        "batch_size": 32, "max_epochs": usual.max_epochs, "patience": usual.patience,
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
    (run, *_) = plan(["Autoformer"], ["ILI.csv"], recipe="published", device="cpu")
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
    (run,) = plan(["SAMoVAR"], ["ETTh1"], [96], recipe="published", device="cpu")
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


def processes_of_runs(parent):
    """The processes of runs that a process has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"one_run" in Path(f"/proc/{child}/cmdline").read_bytes()]


def kill_after_an_epoch(store):
    """Kill the process of the run of this process, once it has written a checkpoint."""
    deadline = time.monotonic() + 120
    while not list(store.unfinished.glob("*/training.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(processes_of_runs(os.getpid())[0], signal.SIGKILL)


def wait_for_next_epoch(command, checkpoint, before):
    deadline = time.monotonic() + 120
    while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
        assert command.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_end(processes):
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start(*arguments):
    program = "from samovar_forecast.command_line.app import app; app()"
    return subprocess.Popen([sys.executable, "-c", program, "benchmark", *arguments], start_new_session=True)


def test_killed_benchmark_goes_on_where_it_stopped(folder):
    options = ["--models", "FixedVAR", "--datasets", "load.csv", *TRAINING]
    call("benchmark", *options, "--out", "whole")
    (expected,) = comparable(Store("whole"))

    # The process of the run is killed: a failure, which is recorded and tried again the next time.
    store = Store("parts")
    (run,) = plan(["FixedVAR"], ["load.csv"], [4], context_length=24, device="cpu",
                  settings=SETTINGS | {"max_epochs": 12})  # fmt: skip
    killer = threading.Thread(target=kill_after_an_epoch, args=(store,))
    killer.start()
    assert run_all([run], store) == [run]
    killer.join()
    (record,) = store.records()
    assert record["error"] == "the process was ended by SIGKILL, perhaps for want of memory"

    # The command is killed, and with it the process of the run.
    (checkpoint,) = store.unfinished.glob("*/training.ckpt")
    before = checkpoint.stat().st_mtime_ns
    command = start(*options, "--out", "parts")
    wait_for_next_epoch(command, checkpoint, before)
    children = processes_of_runs(command.pid)
    assert len(children) == 1
    command.send_signal(signal.SIGKILL)
    command.wait()
    wait_for_end(children)
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


def family(process):
    """The processes that a process has started, and those that these have started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in children] + [one for child in children for one in family(int(child))]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_command_with_workers_ends_with_all_its_processes(folder, number):
    """SIGKILL meets the command alone; SIGINT is sent to its group, as Ctrl-C does."""
    options = [
        "--models",
        "FixedVAR",
        "--datasets",
        "load.csv",
        "--seeds",
        "0",
        "1",
        "--out",
        "parts",
        "--workers",
        "2",
    ]
    command = start(*options, *TRAINING, "--max-epochs", "500")
    store = Store("parts")
    runs = plan(["FixedVAR"], ["load.csv"], [4], [0, 1], context_length=24, device="cpu",
                settings=SETTINGS | {"max_epochs": 500})  # fmt: skip
    for run in runs:
        wait_for_next_epoch(command, store.workplace(run) / "training.ckpt", None)
    started = family(command.pid)
    assert sum(b"one_run" in Path(f"/proc/{one}/cmdline").read_bytes() for one in started) == 2
    if number == signal.SIGKILL:
        command.send_signal(number)
    else:
        os.killpg(command.pid, number)
    assert command.wait(60) == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[number]
    wait_for_end(started)
    assert all((store.workplace(run) / "training.ckpt").exists() for run in runs)
    assert not any(map(store.is_done, runs))


def test_joblib_says_where_the_runs_are_done(folder):
    runs = plan(["naive"], ["load.csv"], [2, 3], context_length=24, device="cpu")
    with joblib.parallel_config(backend="loky", n_jobs=2):
        assert run_all(runs, Store("side by side")) == []
    for run in runs:
        assert run_all([run], Store("one by one")) == []
    assert comparable(Store("side by side")) == comparable(Store("one by one"))


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


def test_commands_side_by_side_share_the_work(folder, monkeypatch):
    runs = plan(["naive"], ["load.csv"], [2], context_length=24, device="cpu")
    outcomes, failed = [], []
    once = running.run_in_process
    monkeypatch.setattr(running, "run_in_process", lambda *run: outcomes.append(once(*run)) or outcomes[-1])
    threads = [threading.Thread(target=lambda: failed.append(run_all(runs, Store("results")))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    (record,) = Store("results").records()
    assert record["status"] == DONE
    assert failed == [[], []]
    assert outcomes.count(DONE) == 2
    assert outcomes.count(None) >= 1  # one waited for the other
    assert list(Store("results").unfinished.iterdir()) == []


def test_process_that_ends_badly_after_its_result_is_no_failure(folder, monkeypatch):
    (run,) = plan(["naive"], ["load.csv"], [2], context_length=24, device="cpu")
    store, ended = Store("results"), running._exit_status
    monkeypatch.setattr(running, "_exit_status", lambda process: ended(process) or 3)
    assert run_all([run], store) == []
    assert [record["status"] for record in store.records()] == [DONE]


def test_process_that_cannot_begin_is_a_failure(folder, monkeypatch):
    (run,) = plan(["naive"], ["load.csv"], [2], context_length=24, device="cpu")
    monkeypatch.setattr(running.sys, "executable", "/bin/false")
    store = Store("results")
    assert run_all([run], store) == [run]
    assert [record["error"] for record in store.records()] == ["the process ended with status 1"]


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
    assert run_all([run], store) == []
    assert cleared
    assert store.is_done(run)


def test_threads_that_the_environment_sets_are_kept(folder):
    (run,) = plan(["naive"], ["load.csv"], [2], context_length=24, device="cpu")
    run_all([run], Store("results"))
    assert Store("results").record(run)["threads"] == 1
