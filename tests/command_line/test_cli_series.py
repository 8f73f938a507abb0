"""The command line on many series, and with covariates that are known in the future."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import samovar_forecast
from samovar_forecast.files.tables import read_table
from tests.command_line.calls import QUICK, SETTINGS, assert_same, call, refused


@pytest.fixture
def folder(tmp_path, monkeypatch, y):
    """An empty working directory with sales.csv in it."""
    monkeypatch.chdir(tmp_path)
    y.to_csv("sales.csv")
    return tmp_path


def assert_same_errors(one, other):
    """Two results in JSON, but for the last digits of what went through a CSV file."""
    first, second = (pd.json_normalize(result).iloc[0] for result in (one, other))
    pd.testing.assert_series_equal(first, second, rtol=1e-4)


@pytest.fixture
def heat(y):
    """A covariate that is known for 40 rows beyond the series."""
    index = pd.date_range(y.index[0], periods=len(y) + 40, freq="h", name="time")
    return pd.DataFrame({"heat": np.cos(np.arange(len(index)) / 5)}, index=index)


def test_covariates_that_are_known_in_the_future(folder, y, heat):
    heat.to_csv("weather.csv")
    call("fit", "sales.csv", "--horizon", 8, *QUICK, "--known", "weather.csv")
    forecaster = samovar_forecast.SAMoVARForecaster(**SETTINGS).fit(y, heat)
    call("predict", "model.safetensors", "--known", "weather.csv", "--horizon", 20, "-o", "forecast.csv")
    assert_same("forecast.csv", forecaster.predict(X=heat, horizon=20))
    heat.iloc[160:168].to_csv("forecast_weather.csv")
    call("predict", "model.safetensors", "--known", "forecast_weather.csv", "-o", "forecast.csv")
    assert_same("forecast.csv", forecaster.predict(X=heat))
    y.iloc[:100].to_csv("older.csv")
    call("predict", "model.safetensors", "older.csv", "--known", "weather.csv", "-o", "older_forecast.csv")
    assert_same("older_forecast.csv", forecaster.predict(y.iloc[:100], heat))

    use = ["predict", "model.safetensors"]
    lacking = refused(*use, "--known", "forecast_weather.csv", "--horizon", 9)
    assert "forecast_weather.csv lacks 1 of the 33 rows that are needed, the first of them 2024-01-08" in lacking
    assert "--known lacks 8 of the 32 rows" in refused(*use)
    heat.assign(heat=heat["heat"].where(heat.index != y.index[-1] + pd.Timedelta("3h"))).to_csv("hole.csv")
    assert "hole.csv column 'heat' has no value at 2024-01-07 18:00:00" in refused(*use, "--known", "hole.csv")
    heat.rename(columns={"heat": "cold"}).to_csv("cold.csv")
    assert "cold.csv lacks ['heat']" in refused(*use, "--known", "cold.csv")
    heat.iloc[:100].to_csv("part.csv")
    assert "part.csv lacks 60 of the 160 rows" in refused("fit", "sales.csv", "--horizon", 8, "--known", "part.csv")


def test_backtest_with_known_covariates(folder, y, heat):
    heat.to_csv("weather.csv")
    arguments = ["backtest", "sales.csv", "--known", "weather.csv", "--json"]
    written = json.loads(call(*arguments, "--horizon", 8, *QUICK).stdout)
    forecaster = samovar_forecast.SAMoVARForecaster(**SETTINGS).fit(y.iloc[:128], heat)
    backtest = forecaster.backtest(y, heat, start=y.index[128])
    error = abs(backtest["forecast"] - backtest["actual"]).mean(("cutoff", "step"))
    assert written["series"]["s1"]["SAMoVARForecaster"]["MAE"] == pytest.approx(float(error.sel(series="s1")))
    forecaster.save("model.safetensors")
    assert_same_errors(json.loads(call(*arguments, "--model-file", "model.safetensors").stdout), written)
    assert "--known lacks" in refused("backtest", "sales.csv", "--model-file", "model.safetensors")


@pytest.fixture
def shops(folder, y):
    """A long table of three shops, the last one short, with weather and areas; also as a frame."""
    table = pd.concat({"01": y[["s0", "s1"]], "NA": 2 * y[["s0", "s1"]][:120], "B": y[["s1", "s0"]][100:130]},
                      names=["shop", "time"])  # fmt: skip
    table.reset_index().to_csv("shops.csv", index=False)
    table.reset_index()[["time", "s1", "shop", "s0"]].to_parquet("shops.parquet", index=False)
    pd.DataFrame({"shop": ["B", "01", "NA"], "area": [3.0, 1.0, 2.0]}).to_csv("areas.csv", index=False)
    return table


def test_many_series_in_a_long_table(shops):
    call("fit", "shops.csv", "--horizon", 8, "--series", "shop", *QUICK, "--sampling", "series")
    forecaster = samovar_forecast.SAMoVARForecaster(**SETTINGS, sampling="series").fit(shops)
    call("predict", "model.safetensors", "-o", "forecast.csv")
    assert_same("forecast.csv", forecaster.predict(), ["shop"])
    # The names of the columns are known from training, and the forecast can be read as a history again.
    call("predict", "model.safetensors", "shops.parquet", "-o", "same.csv")
    assert Path("same.csv").read_text() == Path("forecast.csv").read_text()
    call("predict", "model.safetensors", "forecast.csv", "--coverage", 0.5, "-o", "next.csv")
    bounds = forecaster.predict_interval(0.5, forecaster.predict())
    columns = {}
    for name, points in forecaster.predict(forecaster.predict()).items():
        columns |= {name: points} | {f"{name} {bound}": bounds[name, bound] for bound in ("lower", "upper")}
    assert_same("next.csv", pd.DataFrame(columns), ["shop"])
    names = pd.read_csv("next.csv", dtype=str, keep_default_na=False)["shop"]
    assert names.unique().tolist() == ["01", "NA", "B"]

    assert "name the columns that tell them apart: --series" in refused("fit", "shops.parquet", "--horizon", 8)
    shops.rename(index={"NA": None}).reset_index().to_csv("nameless.csv", index=False)
    nameless = refused("fit", "nameless.csv", "--horizon", 8, "--series", "shop")
    assert "nameless.csv names no series in column 'shop' at data row 161" in nameless
    shops.drop(index=shops.index[5]).reset_index().to_csv("jump.csv", index=False)
    jump = refused("fit", "jump.csv", "--horizon", 8, "--series", "shop")
    assert "jump.csv of series '01' has an irregular index" in jump
    assert "sales.csv has no column 'shop'" in refused("predict", "model.safetensors", "sales.csv")


def test_static_and_known_covariates_of_many_series(shops, heat):
    known = pd.concat({name: heat * size for name, size in (("01", 1), ("NA", 2), ("B", 3))}, names=["shop"])
    known.reset_index().to_csv("weather.csv", index=False)
    with_both = ["--series", "shop", "--known", "weather.csv", "--static", "areas.csv"]
    call("fit", "shops.csv", "--horizon", 8, *with_both, *QUICK)
    areas = pd.DataFrame({"area": [3.0, 1.0, 2.0]}, index=["B", "01", "NA"])
    forecaster = samovar_forecast.SAMoVARForecaster(**SETTINGS).fit(shops, known, static=areas)
    call("predict", "model.safetensors", "--known", "weather.csv", "-o", "forecast.csv")
    assert_same("forecast.csv", forecaster.predict(X=known), ["shop"])
    # A series that training has not seen
    shops.rename(index={"NA": "new"}).loc[["new"]].reset_index().to_csv("new.csv", index=False)
    known.rename(index={"NA": "new"}).loc[["new"]].reset_index().to_csv("new_weather.csv", index=False)
    use = ["predict", "model.safetensors", "new.csv", "--known", "new_weather.csv"]
    assert "--static lacks the series ['new']" in refused(*use)
    Path("new_areas.csv").write_text("shop,area\nnew,4\n")
    call(*use, "--static", "new_areas.csv", "-o", "new_forecast.csv")
    new = [frame.rename(index={"NA": "new"}).loc[["new"]] for frame in (shops, known)]
    expected = forecaster.predict(*new, static=pd.DataFrame({"area": [4]}, index=["new"]))
    assert_same("new_forecast.csv", expected, ["shop"])

    fit = ["fit", "shops.csv", "--horizon", 8, "--series", "shop"]
    Path("some.csv").write_text("shop,area\n01,4\n")
    assert "some.csv lacks the series ['NA', 'B']" in refused(*fit, "--static", "some.csv")
    Path("words.csv").write_text("shop,area\n01,wide\nNA,wide\nB,wide\n")
    assert "words.csv data row 1, column 'area': 'wide' is text" in refused(*fit, "--static", "words.csv")
    known.drop(index="B", level="shop").reset_index().to_csv("some.csv", index=False)
    assert "some.csv lacks the series ['B']" in refused(*fit, "--known", "some.csv")


def test_backtest_of_many_series(shops):
    shops = shops.drop(index="B", level="shop")
    shops.reset_index().to_csv("long.csv", index=False)
    arguments = ["backtest", "long.csv", "--series", "shop", "--horizon", 8, *QUICK, "--stride", 2]
    written = json.loads(call(*arguments, "--json").stdout)
    training = pd.concat({"01": shops.loc["01"][:128], "NA": shops.loc["NA"][:96]}, names=["shop"])
    forecaster = samovar_forecast.SAMoVARForecaster(**SETTINGS).fit(training)
    errors = []
    for name, start in (("01", 128), ("NA", 96)):
        frame = shops.loc[name]
        backtest = forecaster.backtest({name: frame}, start=frame.index[start], stride=2)[name]
        error = abs(backtest["forecast"] - backtest["actual"]).mean(("cutoff", "step"))
        for column in ("s0", "s1"):
            errors.append(float(error.sel(series=column)))
            of_column = written["series"][name][column]["SAMoVARForecaster"]
            assert of_column["MAE"] == pytest.approx(errors[-1], rel=1e-4)
    assert list(written["mean"]["SAMoVARForecaster"]) == ["MASE"]  # the one error without units
    scaled = [one["SAMoVARForecaster"]["MASE"] for shop in written["series"].values() for one in shop.values()]
    assert written["mean"]["SAMoVARForecaster"]["MASE"] == pytest.approx(np.mean(scaled))
    assert written["cutoffs"] == len(range(128, 153, 2)) + len(range(96, 113, 2))
    table = call(*arguments).stdout
    assert all(word in table for word in ["01 s0", "01 s1", "NA s0", "NA s1", "mean", "22 forecasts"])

    forecaster.save("model.safetensors")
    use = ["backtest", "long.csv", "--model-file", "model.safetensors", "--stride", 2, "--json"]
    assert_same_errors(json.loads(call(*use).stdout), written)
    assert "B' is no series that the model was trained on" in refused("backtest", "shops.csv", *use[2:])
    assert "too short" in refused("backtest", "shops.csv", *arguments[2:])


def test_names_that_were_numbers_in_training_are_found(shops):
    numbered = shops.rename(index={"01": 1, "NA": 2, "B": 3})
    forecaster = samovar_forecast.SAMoVARForecaster(**SETTINGS).fit(numbered)
    forecaster.save("model.safetensors")
    numbered.iloc[:160].reset_index().to_csv("one.csv", index=False)
    call("predict", "model.safetensors", "one.csv", "-o", "forecast.csv")
    expected = forecaster.predict().loc[[1]]
    np.testing.assert_allclose(read_table("forecast.csv", series=["shop"]), expected, rtol=1e-5)

    one, two = (numbered.loc[number] for number in (1, 2))
    samovar_forecast.SAMoVARForecaster(**SETTINGS).fit({1: one, 2: two}).save("dict.safetensors")
    call("predict", "dict.safetensors", "-o", "forecast.csv")
    assert read_table("forecast.csv", series=["series"]).shape == (16, 2)
    assert "give --series" in refused("predict", "dict.safetensors", "one.csv")
    call("predict", "dict.safetensors", "one.csv", "--series", "shop", "-o", "forecast.csv")
