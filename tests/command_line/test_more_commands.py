"""The commands beside fit, predict and backtest do what Python does."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from samovar_forecast.estimator import Forecaster
from samovar_forecast.evaluation import compare, evaluate, tune
from samovar_forecast.files.tables import read_table
from samovar_forecast.forecasters import LinTransForecaster, SAMoVARForecaster
from tests.command_line.calls import TINY, call, refused
from tests.conftest import waves

SETTINGS = {
    "horizon": 2, "context_length": 6, "max_steps": 1, "random_state": 0, "device": "cpu", "d_model": 8, "n_heads": 2,
    "n_layers": 1,
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:the intervals come from errors on the training windows")


@pytest.fixture
def y():
    return waves(100, 2)


@pytest.fixture
def folder(tmp_path, monkeypatch, y):
    monkeypatch.chdir(tmp_path)
    y.to_csv("sales.csv")
    return tmp_path


def test_update_takes_in_new_rows(folder, y):
    y.iloc[:80].to_csv("older.csv")
    call("fit", "older.csv", *TINY)
    expected = Forecaster.load("model.safetensors").update(y.iloc[80:], retrain=False).predict()
    told = call("update", "model.safetensors", "sales.csv", "--no-retrain", "-o", "newer.safetensors").stderr
    assert "took in 20 rows" in told
    pd.testing.assert_frame_equal(Forecaster.load("newer.safetensors").predict(), expected)
    assert "no rows after 2024-01-05 03:00:00" in refused("update", "newer.safetensors", "sales.csv")
    y.iloc[90:].to_csv("late.csv")
    assert "late.csv" in refused("update", "model.safetensors", "late.csv")
    assert len(Forecaster.load("model.safetensors").history_) == 8  # the old file is as it was


def test_explain_writes_parts_that_add_up(folder, y):
    call("fit", "sales.csv", *TINY)
    call("explain", "model.safetensors", "-o", "parts.csv")
    parts = pd.read_csv("parts.csv")
    assert {"level", "own", "segment 1 context", "segment 1 main"} <= set(parts["part"])
    reading = Forecaster.load("model.safetensors").explain(lag_matrices=False)
    sums = parts.groupby(["series", "step"])["value"].sum().to_xarray()
    np.testing.assert_allclose(sums, reading["forecast"].sel(series=sums.series, step=sums.step), rtol=1e-5)
    call("explain", "model.safetensors", "--influence", "-o", "influence.csv")
    influence = pd.read_csv("influence.csv").set_index(["series", "source", "lag"])["influence"]
    expected = reading["influence"].to_series()
    np.testing.assert_allclose(influence.loc[expected.index], expected, rtol=1e-5)
    call("fit", "sales.csv", "--model", "samformer", *TINY[:10], "-o", "other")
    call("explain", "other", "-o", "influence.csv")
    influence = pd.read_csv("influence.csv")
    assert list(influence.columns) == ["series", "source", "lag", "influence"]
    expected = Forecaster.load("other").explain(lag_matrices=False)["influence"]
    np.testing.assert_allclose(influence["influence"], expected.values.ravel(), rtol=1e-5)


def is_picture(path):
    return Path(path).read_bytes().startswith(b"\x89PNG")


def test_every_reading_can_be_drawn(folder):
    call("fit", "sales.csv", *TINY, "--plot", "losses.png")
    kinds = ["contributions", "influence", "lag-matrices", "paths", "responses"]
    asked = [part for kind in kinds for part in ("--plot", f"{kind}={kind}.png")]
    call("explain", "model.safetensors", "-o", "parts.csv", *asked)
    assert all(is_picture(f"{name}.png") for name in ["losses", *kinds])
    refusal = refused("explain", "model.safetensors", "-o", "parts.csv", "--plot", "attention=a.png")
    assert "--plot attention=a.png: SAMoVAR has no such parts; influence" in refusal
    call("fit", "sales.csv", "--model", "samformer", *TINY[:10], "-o", "other")
    call("explain", "other", "-o", "influence.csv", "--plot", "attention=attention.png", "--plot", "plain.png")
    assert is_picture("attention.png")
    assert is_picture("plain.png")
    assert "--plot paths=p.png: " in refused("explain", "other", "-o", "a.csv", "--plot", "paths=p.png")


def test_every_picture_of_a_backtest_can_be_drawn(folder):
    asked = [part for kind in ("errors", "calibration") for part in ("--plot", f"{kind}={kind}.png")]
    call("backtest", "sales.csv", *TINY, "--quantiles", "0.1,0.5,0.9", "--plot", "forecasts.png", *asked)
    assert all(is_picture(f"{name}.png") for name in ("forecasts", "errors", "calibration"))
    refusal = refused("backtest", "sales.csv", *TINY, "--plot", "calibration=c.png")
    assert "needs intervals: --quantiles 0.1,0.5,0.9" in refusal
    refusal = refused("backtest", "sales.csv", *TINY, "--plot", "error=e.png")
    assert "no picture 'error' here; there are forecasts, errors, cal" in refusal
    twice = ["--plot", "a.png", "--plot", "forecasts=b.png"]
    assert "two files for the picture 'forecasts': a.png and b.png" in refused("backtest", "sales.csv", *TINY, *twice)


def test_export_writes_what_onnxruntime_reads(folder):
    import onnxruntime

    call("fit", "sales.csv", *TINY)
    call("export", "model.safetensors", "--coverage", "0.5")
    session = onnxruntime.InferenceSession("model.onnx")
    forecaster = Forecaster.load("model.safetensors")
    forecast, lower, _ = session.run(None, {"history": forecaster.history_.iloc[-6:].to_numpy()[None]})
    np.testing.assert_allclose(forecast[0], forecaster.predict(), rtol=1e-5)
    expected = forecaster.predict_interval(0.5).xs("lower", axis=1, level="bound")
    np.testing.assert_allclose(lower[0], expected, rtol=1e-5)


def test_compare_prints_what_python_finds(folder, y):
    arguments = ["compare", "sales.csv", "--models", "samovar, lintrans", *TINY]
    written = json.loads(call(*arguments, "--json").stdout)
    models = {"samovar": SAMoVARForecaster(**SETTINGS), "lintrans": LinTransForecaster(**SETTINGS)}
    expected = compare(models, y)
    assert list(written["models"]) == list(expected.table.index)
    for name, row in expected.table.iterrows():
        assert written["models"][name]["MASE"] == pytest.approx(row["MASE"], rel=1e-4)
    table = call(*arguments).stdout
    assert all(word in table for word in ("samovar", "lintrans", "seasonal naive", "MASE", "rank", "best"))
    assert "there is no baseline 'prophet'" in refused(*arguments, "--baselines", "prophet")
    assert "there is no model 'prophet'" in refused("compare", "sales.csv", "--models", "prophet", *TINY)


def test_tune_saves_the_best_model(folder, y):
    pytest.importorskip("optuna")
    given = ["--n-trials", 2, "--space", "d_model=8,16", "--space", "learning_rate=1e-3:1e-2", "--folds", 1]
    table = call("tune", "sales.csv", *TINY, *given).stdout
    space = {"d_model": [8, 16], "learning_rate": (1e-3, 1e-2)}
    found = tune(SAMoVARForecaster(**SETTINGS), y, space=space, n_trials=2, n_folds=1, random_state=0)
    loaded = Forecaster.load("model.safetensors")
    assert {name: getattr(loaded, name) for name in space} == found.best_parameters
    assert "as given" in table
    assert f"{found.best_error:.4g}" in table
    assert "--space must be name=a,b,c" in refused("tune", "sales.csv", *TINY, "--space", "d_model")


def test_points_and_intervals_stand_side_by_side_and_are_drawn(folder):
    call("fit", "sales.csv", *TINY)
    call("predict", "model.safetensors", "--coverage", 0.8, "--plot", "forecast.png", "-o", "forecast.csv")
    forecaster = Forecaster.load("model.safetensors")
    read = read_table("forecast.csv")
    assert list(read.columns) == ["s0", "s0 lower", "s0 upper", "s1", "s1 lower", "s1 upper"]
    np.testing.assert_allclose(read[["s0", "s1"]], forecaster.predict(), rtol=1e-4)
    assert (read["s0 lower"] < read["s0"]).all()
    assert (read["s0"] < read["s0 upper"]).all()
    assert Path("forecast.png").read_bytes().startswith(b"\x89PNG")
    digits = Path("forecast.csv").read_text().splitlines()[1].split(",")[1]
    assert len(digits.partition(".")[2]) <= 5
    assert "must end in one of" in refused("predict", "model.safetensors", "--plot", "forecast.doc")


def test_backtest_measures_quantiles_and_refits(folder, y):
    call("fit", "sales.csv", *TINY)
    y.iloc[:80].to_csv("older.csv")
    call("fit", "older.csv", *TINY)
    use = ["backtest", "sales.csv", "--model-file", "model.safetensors", "--quantiles", "0.1,0.9"]
    written = json.loads(call(*use, "--json").stdout)
    expected = evaluate(Forecaster.load("model.safetensors"), y, 80, quantiles=(0.1, 0.9)).intervals()
    assert written["intervals"]["s1"]["coverage"] == pytest.approx(expected.loc["s1", "coverage"])
    assert written["intervals"]["s1"]["pinball"] == pytest.approx(expected.loc["s1", "pinball"], rel=1e-4)
    table = call(*use).stdout
    assert all(word in table for word in ("80% interval", "coverage", "width", "pinball"))
    pytest.importorskip("plotly")
    call(*use, "--report", "report.html")
    assert "<html" in Path("report.html").read_text()[:200].lower()
    refitted = json.loads(call("backtest", "sales.csv", *TINY, "--refit-every", 10, "--json").stdout)
    backtest = SAMoVARForecaster(**SETTINGS).backtest(y, start=y.index[80], refit_every=10)
    error = abs(backtest["forecast"] - backtest["actual"]).mean(("cutoff", "step")).sel(series="s1")
    assert refitted["series"]["s1"]["SAMoVARForecaster"]["MAE"] == pytest.approx(float(error), rel=1e-4)
    assert list(refitted["mean"]["SAMoVARForecaster"]) == ["MASE"]
    assert "leave --model-file" in refused(*use, "--refit-every", 10)


def test_a_model_of_a_long_table_is_used_as_any_other(folder, y):
    long = y.rename_axis("date").reset_index().melt("date", var_name="shop", value_name="sold")
    LinTransForecaster(**SETTINGS).fit(long, id_column="shop", time_column="date").save("long.safetensors")
    expected = Forecaster.load("long.safetensors").predict()
    printed = call("predict", "long.safetensors", "--coverage", 0.8, "--plot", "forecast.png").stdout
    assert printed.splitlines()[0] == "shop,date,sold,sold lower,sold upper"
    assert [line.split(",")[0] for line in printed.splitlines()[1:]] == expected["shop"].tolist()
    later = waves(104, 2).iloc[100:].rename_axis("date").reset_index()
    later.melt("date", var_name="shop", value_name="sold").to_csv("later.csv", index=False)
    call("update", "long.safetensors", "later.csv", "--time", "date", "--no-retrain")
    assert Forecaster.load("long.safetensors").predict()["date"].min() == pd.Timestamp("2024-01-05 08:00:00")
