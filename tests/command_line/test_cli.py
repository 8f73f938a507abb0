"""The command line, through typer's runner, and once as the installed script."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import samovar_forecast
from samovar_forecast.command_line.app import app
from samovar_forecast.command_line.options import HYPERPARAMETERS, words_of
from samovar_forecast.estimator import Forecaster
from samovar_forecast.files.tables import read_table
from samovar_forecast.forecasters import ALL_FORECASTERS
from samovar_forecast.training.config import TrainingConfig
from tests.command_line.calls import QUICK, SETTINGS, assert_same, call, refused


@pytest.fixture
def folder(tmp_path, monkeypatch, y):
    """An empty working directory with sales.csv in it."""
    monkeypatch.chdir(tmp_path)
    y.to_csv("sales.csv")
    return tmp_path


@pytest.mark.parametrize("forecaster_class", ALL_FORECASTERS)
def test_fit_then_predict_is_what_python_gives(folder, forecaster_class, y):
    name = forecaster_class.__name__.removesuffix("Forecaster").lower()
    call("fit", "sales.csv", "--horizon", 8, "--model", name, *QUICK)
    call("predict", "model.safetensors", "-o", "forecast.csv")
    assert_same("forecast.csv", forecaster_class(**SETTINGS).fit(y).predict())
    assert sorted(path.name for path in folder.iterdir()) == ["forecast.csv", "model.safetensors", "sales.csv"]


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--calendar", "hour, dayofweek"], {"calendar": ["hour", "dayofweek"]}),
        (["--calendar", "auto", "--scaler", "robust"], {"calendar": "auto", "scaler": "robust"}),
        (["--log1p", "--loss", "huber"], {"log1p": True, "loss": "huber"}),
        (["--sharpness-rho", "0.1", "--batch-size", "16"], {"sharpness_rho": 0.1, "batch_size": 16}),
        (["--max-steps", "2", "--patience", "1"], {"max_steps": 2, "patience": 1}),
        (["--validation-fraction", "0"], {"validation_fraction": 0.0}),
        (["--model", "autoformer", "--calendar", "none"], {"calendar": None}),
    ],
)
def test_options_of_training_are_those_of_python(folder, options, settings, y):
    call("fit", "sales.csv", "--horizon", 8, *QUICK, *options)
    call("predict", "model.safetensors", "-o", "forecast.csv")
    named = {"autoformer": samovar_forecast.AutoformerForecaster}.get(options[1], samovar_forecast.SAMoVARForecaster)
    assert_same("forecast.csv", named(**SETTINGS | settings).fit(y).predict())


@pytest.mark.parametrize("trained", [None, (0.1, 0.5, 0.9)])
def test_quantiles_and_intervals_are_those_of_python(folder, trained, y):
    call("fit", "sales.csv", "--horizon", 8, *QUICK, *(["--quantiles", "0.1,0.5,0.9"] if trained else []))
    forecaster = samovar_forecast.SAMoVARForecaster(**SETTINGS, quantiles=trained).fit(y)
    call("predict", "model.safetensors", "--quantiles", "0.25,0.5", "-o", "levels.csv")
    levels = forecaster.predict_quantiles([0.25, 0.5])
    assert_same("levels.csv", levels.set_axis(["s0 0.25", "s0 0.5", "s1 0.25", "s1 0.5", "s2 0.25", "s2 0.5"], axis=1))
    call("predict", "model.safetensors", "--coverage", "0.8", "--horizon", 12, "-o", "interval.parquet")
    bounds = forecaster.predict_interval(0.8, horizon=12)
    columns = {}
    for name, points in forecaster.predict(horizon=12).items():
        columns |= {name: points} | {f"{name} {bound}": bounds[name, bound] for bound in ("lower", "upper")}
    assert_same("interval.parquet", pd.DataFrame(columns))
    # The columns come apart again at their last blank.
    read = read_table("levels.csv")
    read.columns = pd.MultiIndex.from_tuples([(name, float(level)) for name, level in read.columns.str.rsplit(n=1)])
    np.testing.assert_allclose(read["s1"][0.5], levels["s1"][0.5], rtol=1e-5)
    if trained:
        assert "lie outside those that were trained" in refused("predict", "model.safetensors", "--coverage", 0.9)


def test_empty_cells_are_missing_values(folder, y):
    y.iloc[[3, 50, 51, 158], 1] = np.nan
    y.iloc[:30, 0] = np.nan
    y.to_csv("gaps.csv")
    call("fit", "gaps.csv", "--horizon", 8, *QUICK)
    call("predict", "model.safetensors", "gaps.csv", "-o", "forecast.csv")
    expected = samovar_forecast.SAMoVARForecaster(**SETTINGS).fit(y).predict()
    assert np.isfinite(expected.to_numpy()).all()
    assert_same("forecast.csv", expected)
    written = json.loads(call("backtest", "gaps.csv", "--horizon", 8, *QUICK, "--json").stdout)
    assert written["series"]["s1"]["SAMoVARForecaster"]["MAE"] > 0
    y.assign(s0=np.nan, s1=np.nan, s2=np.nan).iloc[-24:].to_csv("blind.csv")
    assert "blind.csv column 's0' has no value in rows" in refused("predict", "model.safetensors", "blind.csv")


@pytest.mark.filterwarnings("default:.*its last known level")
def test_a_sensor_that_is_silent_stops_no_other(folder, y):
    call("fit", "sales.csv", "--horizon", 8, *QUICK)
    y.iloc[-30:, 1] = np.nan
    y.to_csv("silent.csv")
    result = call("predict", "model.safetensors", "silent.csv", "-o", "forecast.csv")
    assert "column 's1' has no value in the 24 rows before the forecast" in result.stderr
    forecast = pd.read_csv("forecast.csv")
    np.testing.assert_allclose(forecast["s1"], y["s1"].iloc[-31], rtol=1e-6)
    assert forecast["s0"].std() > 0


def test_fine_tuning_goes_on_from_a_model_file(folder, y):
    call("fit", "sales.csv", "--horizon", 8, *QUICK, "--loss", "mse", "-o", "first.safetensors")
    (y * 3).to_csv("other.csv")
    call("fit", "other.csv", "--init-from", "first.safetensors", "--freeze", "tokens, to_segment", "--max-epochs", 2)
    first, second = (Forecaster.load(path) for path in ("first.safetensors", "model.safetensors"))
    assert (second.loss, second.max_epochs, second.context_length_) == ("mse", 2, 24)
    settings = SETTINGS | {"loss": "mse", "max_epochs": 2}
    fitted = samovar_forecast.SAMoVARForecaster(**settings)
    expected = fitted.fit(y * 3, init_from=first, freeze=("tokens", "to_segment")).predict()
    pd.testing.assert_frame_equal(second.predict(), expected, check_freq=False)
    before, after = first.network_.state_dict(), second.network_.state_dict()
    changed = {name.split(".")[0] for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert changed
    assert not changed & {"tokens", "to_segment"}
    assert "not both" in refused("fit", "other.csv", "--init-from", "first.safetensors", "--model", "samovar")
    wrong = refused("fit", "other.csv", "--init-from", "first.safetensors", "--set", "n_layers=5")
    assert "the weights of init_from do not fit" in wrong


def test_fit_takes_targets_and_an_output(folder):
    call("fit", "sales.csv", "--horizon", 8, "--targets", "s2, s0", *QUICK, "-o", "two.safetensors")
    assert list(Forecaster.load("two.safetensors").predict().columns) == ["s2", "s0"]


def test_predict_continues_another_history_on_stdout(folder, y):
    call("fit", "sales.csv", "--horizon", 8, *QUICK)
    y.iloc[:100].to_csv("older.csv")
    printed = call("predict", "model.safetensors", "older.csv", "--horizon", 20).stdout
    forecast = pd.read_csv(StringIO(printed), index_col=0, parse_dates=True)
    assert forecast.shape == (20, 3)
    assert forecast.index[0] == y.index[100]


def test_parquet_and_integer_time_go_through(folder, y):
    y.set_axis(pd.Index(range(5, 325, 2), name="round")).to_parquet("rounds.parquet")
    call("fit", "rounds.parquet", "--horizon", 8, *QUICK)
    call("predict", "model.safetensors", "-o", "next.parquet")
    assert read_table("next.parquet").index.tolist() == list(range(325, 341, 2))


def test_backtest_trains_on_the_rows_before(folder, y):
    arguments = ["backtest", "sales.csv", "--horizon", 8, *QUICK, "--test-fraction", 0.25, "--stride", 2]
    written = json.loads(call(*arguments, "--json", "--plot", "picture.png").stdout)
    assert (written["horizon"], written["season"], written["cutoffs"]) == (8, 24, 17)
    forecaster = samovar_forecast.SAMoVARForecaster(
        horizon=8, context_length=24, max_epochs=1, random_state=0, device="cpu"
    ).fit(y.iloc[:120])
    backtest = forecaster.backtest(y, start=y.index[120], stride=2)
    error = abs(backtest["forecast"] - backtest["actual"]).mean(("cutoff", "step"))
    naive = np.mean([abs(y["s1"].iloc[row : row + 8].to_numpy() - y["s1"].iloc[row - 24 : row - 16].to_numpy())
                     for row in range(120, 153, 2)])  # fmt: skip
    assert written["series"]["s1"]["SAMoVARForecaster"]["MAE"] == pytest.approx(float(error.sel(series="s1")), rel=1e-4)
    assert written["series"]["s1"]["seasonal naive"]["MAE"] == pytest.approx(naive)
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")

    table = call(*arguments).stdout
    assert all(word in table for word in ["s0", "s1", "s2", "mean", "MSE", "MAE", "MASE", "SAMoVAR", "seasonal naive"])
    assert f"{written['mean']['SAMoVARForecaster']['MASE']:.4g}" in table


def test_backtest_of_a_model_file_takes_the_unseen_rows_only(folder, y):
    y.iloc[:120].to_csv("older.csv")
    call("fit", "older.csv", "--horizon", 8, *QUICK)
    use = ["backtest", "sales.csv", "--model-file", "model.safetensors"]
    assert json.loads(call(*use, "--json").stdout)["cutoffs"] == 160 - 120 - 8 + 1
    assert json.loads(call(*use, "--json", "--test-fraction", 0.1).stdout)["cutoffs"] == 16 - 8 + 1
    assert "reaches rows that the model was trained on" in refused(*use, "--test-fraction", 0.5)
    assert "at most 0.25 is possible, the rows from 2024-01-06 00:00:00 on" in refused(*use, "--test-fraction", 0.5)
    assert "there is nothing to test on" in refused("backtest", "older.csv", "--model-file", "model.safetensors")
    # All rows are after the training data: the first of them are the context.
    y.iloc[122:].to_csv("newer.csv")
    newer = json.loads(call("backtest", "newer.csv", "--model-file", "model.safetensors", "--json").stdout)
    assert newer["cutoffs"] == 38 - 25 - 8 + 1


BAD_FILES = {
    "missing.csv": (None, "missing.csv does not exist"),
    "table.xlsx": ("", "must end in one of"),
    "empty.csv": ("", "is not a CSV file"),
    "ragged.csv": ("date,a\n2024-01-01,1\n2024-01-02,1,2,3\n", "is not a CSV file"),
    "lonely.csv": ("date;a\n2024-01-01;1\n", "separated by ';', not by ',': --separator ';'"),
    "words.csv": ("date,a\nMonday,1\nTuesday,2\n", "must hold dates or whole numbers"),
    "halves.csv": ("date,a\n1.5,1\n2.5,2\n", "must hold dates or whole numbers"),
    "hole.csv": ("date,a\n2024-01-01,1\n,2\n2024-01-03,2\n", "no time in column 'date' at data row 2"),
    "text.csv": ("date,a\n2024-01-01,x\n2024-01-02,y\n", "column 'a': 'x' is text; leave the column out: --drop a"),
    "void.csv": ("date,a,b\n2024-01-01,1,\n2024-01-02,2,\n", "void.csv column 'b' has no value in any row"),
    "endless.csv": ("date,a\n2024-01-01,1\n2024-01-02,inf\n2024-01-03,\n", "data row 2, column 'a': inf is not"),
    "twice.csv": ("date,a\n2024-01-01,1\n2024-01-01,1\n2024-01-03,2\n", "has the time 2024-01-01 00:00:00 more"),
    "jump.csv": ("date,a\n2024-01-01,1\n2024-01-02,1\n2024-01-03,2\n2024-01-09,2\n", "irregular index"),
    "short.csv": ("date,a\n2024-01-01,1\n2024-01-02,1\n2024-01-03,2\n", "short.csv is too short"),
    "latin.csv": ("date,grün\n2024-01-01,1\n".encode("latin-1"), "is not utf-8"),
    "broken.parquet": ("no table", "is not a Parquet file"),
    "cut.csv.gz": (b"\x1f\x8b\x08\x00\x00", "is not a CSV file"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["fit", "backtest"])
@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_gets_one_line(folder, name, command):
    content, message = BAD_FILES[name]
    if content is not None:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refused(command, name, "--horizon", 1, "--device", "cpu")
    assert not Path("model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "sales.csv", "--horizon", "0"], "horizon must be at least 1"),
        (
            ["fit", "sales.csv", "--horizon", "8", "--model", "prophet"],
            "there is no model 'prophet'; there are samovar",
        ),
        (["fit", "sales.csv", "--horizon", "8", "--targets", "s9"], "--targets must name columns"),
        (["fit", "sales.csv", "--horizon", "8", "--learning-rate", "-1"], "--learning-rate must be greater than 0"),
        (["fit", "sales.csv", "--horizon", "8", "--device", "abacus"], "--device abacus"),
        (["fit", "sales.csv", "--horizon", "8", "--encoding", "klingon"], "is no encoding"),
        (["fit", "sales.csv", "--horizon", "8", "-o", "no/model"], "folder of no/model does not exist"),
        (["predict", "sales.csv"], "sales.csv"),
        (["predict", "none.safetensors"], "none.safetensors"),
        (["backtest", "sales.csv"], "give --horizon"),
        (["backtest", "sales.csv", "--horizon", "8", "--model-file", "m"], "not both"),
        (["backtest", "sales.csv", "--horizon", "8", "--test-fraction", "1.5"], "between 0 and 1"),
        (["backtest", "sales.csv", "--horizon", "8", "--plot", "no/p.png"], "folder of no/p.png"),
        (["fit", "sales.csv"], "give --horizon"),
        (["fit", "sales.csv", "--horizon", "8", "--quantiles", "low"], "--quantiles must be numbers"),
        (["fit", "sales.csv", "--horizon", "8", "--quantiles", "0.1,0.9"], "quantiles must ascend"),
        (["fit", "sales.csv", "--horizon", "8", "--calendar", "noon"], "calendar has unknown features ['noon']"),
        (["fit", "sales.csv", "--horizon", "8", "--scaler", "kitchen"], "scaler must be one of"),
        (["fit", "sales.csv", "--horizon", "8", "--freeze", "rotor"], "--freeze rotor is no part of SAMoVAR"),
        (["fit", "sales.csv", "--horizon", "8", "--series", "shop"], "sales.csv has no column 'shop'"),
        (["fit", "sales.csv", "--horizon", "8", "--static", "sales.csv"], "give --series too"),
        (["fit", "sales.csv", "--init-from", "none.safetensors"], "none.safetensors"),
        (["fit", "sales.csv", "--horizon", "8", "-o", "."], ". is a folder"),
        (["predict", "m", "--quantiles", "0.1", "--coverage", "0.8"], "not both"),
        (["predict", "m", "--quantiles", "0.1,0.1"], "every level once"),
        (["predict", "m", "-o", "forecast.xlsx"], "forecast.xlsx must end in"),
        (["backtest", "sales.csv", "--loss", "mse", "--model-file", "m"], "give --loss or --model-file, not both"),
        (["backtest", "sales.csv", "--horizon", "8", "--plot", "p.xyz"], "p.xyz must end in one of"),
        (
            ["backtest", "sales.csv", "--horizon", "8", "--plot", "p.png", "--series", "a"],
            "draws a single series",
        ),
        (["demo", "--data", "Etth1"], "there is no data set 'Etth1'"),
    ],
)
def test_bad_argument_gets_one_line(folder, arguments, message):
    assert message in refused(*arguments)


def test_wrong_history_and_wrong_kind_of_time_are_named(folder, y):
    call("fit", "sales.csv", "--horizon", 8, *QUICK)
    y.drop(columns="s1").to_csv("less.csv")
    assert "lacks ['s1']" in refused("predict", "model.safetensors", "less.csv")
    y.iloc[:5].to_csv("short.csv")
    assert "5 rows, the network needs 24" in refused("predict", "model.safetensors", "short.csv")
    assert "horizon must be a positive integer" in refused("predict", "model.safetensors", "--horizon", 0)
    assert "forecast.xlsx must end in" in refused("predict", "model.safetensors", "-o", "forecast.xlsx")
    y.reset_index(drop=True).to_csv("numbers.csv")
    assert "labels such as 0" in refused("backtest", "numbers.csv", "--model-file", "model.safetensors")


@pytest.mark.filterwarnings("default:validation_fraction")
def test_warnings_are_one_line_too(folder):
    result = call("fit", "sales.csv", "--horizon", 40, *QUICK)
    assert "warning: --validation-fraction 0.2 of 160 rows is 32" in result.stderr
    assert ".py:" not in result.stderr


def test_options_show_the_declared_defaults(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    shown = call("fit", "--help").stdout
    for name, option in HYPERPARAMETERS.items():
        line = next(line for line in shown.splitlines() if f"--{name.replace('_', '-')} " in line)
        assert words_of(name) in line
        defaults = {getattr(forecaster(), name) for forecaster in ALL_FORECASTERS}
        if option.default == "the model's own":
            assert len(defaults) > 1, name
            assert line.rstrip(" │").endswith("Default: the model's own.")
        else:
            assert defaults == {getattr(TrainingConfig(), name)}, name
    assert "Default: 32, and 8 where training has fewer than 512 windows." in words_of("batch_size")
    assert "Default: all columns." in words_of("targets")


def test_version_and_bare_call():
    assert call("--version").stdout.strip() == f"samovar-forecast {samovar_forecast.__version__}"
    assert "Usage" in CliRunner().invoke(app, []).output


@pytest.fixture
def same_threads():
    """Give back the number of threads, which the demo sets for its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_demo_beats_the_seasonal_naive_forecast(folder, same_threads):
    result = call("demo", "--device", "cpu")
    assert "below that of the seasonal naive forecast" in result.stdout.replace("\n", " ")
    assert Path("demo-output/forecasts.png").read_bytes().startswith(b"\x89PNG")

    # The same again from the saved model, by hand.
    from samovar_forecast.files.datasets import load_demo

    y = load_demo()
    forecaster = Forecaster.load("demo-output/model.safetensors")
    test_start = forecaster.history_.index[-1] + y.index.freq
    assert (y.index >= test_start).sum() == 105
    backtest = forecaster.backtest(y, start=test_start)
    assert backtest.sizes["cutoff"] == 105 - 12 + 1
    for name in y.columns:
        values = y[name].to_numpy()
        rows = range(526 - 105, 526 - 12 + 1)
        naive = np.mean([np.abs(values[row : row + 12] - values[row - 12 : row]) for row in rows])
        error = backtest.sel(series=name)
        assert float(abs(error["forecast"] - error["actual"]).mean()) < 0.9 * naive


def test_installed_script_reports_an_error_without_traceback(folder):
    script = Path(sys.executable).with_name("samovar-forecast")
    done = subprocess.run(
        [script, "fit", "none.csv", "--horizon", "8"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: none.csv does not exist\n")


def test_a_fresh_process_reads_a_model(folder):
    call("fit", "sales.csv", "--horizon", 8, *QUICK)
    call("predict", "model.safetensors", "sales.csv", "-o", "here.csv")
    program = Path(sys.executable).with_name("samovar-forecast")
    arguments = ["predict", "model.safetensors", "sales.csv", "-o", "there.csv"]
    run = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert Path("there.csv").read_bytes() == Path("here.csv").read_bytes()
