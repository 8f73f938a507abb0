"""From data as people have them to a forecast: four walks, each on a small copy of made-up values."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from samovar_forecast.files.tables import read_table
from samovar_forecast.forecasters import LinTransForecaster
from tests.command_line.calls import TINY, call, refused

STATIONS = ("Aotizhongxin", "Changping", "Dingling", "Dongsi")
N = 120


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def station(name, number):
    """Hours of a station as the files of Beijing's air quality have them; the values are made up."""
    lines = ["No,year,month,day,hour,PM2.5,PM10,TEMP,wd,station"]
    for row in range(N):
        value = 40 + 20 * math.sin(row / 4 + number) + row % 7
        pm = "NA" if row in (5, 6, 50) else f"{value:.1f}"
        wind = ("NNW", "E", "SSW", "NA")[row % 4]
        cells = [row + 1, 2013, 3, 1 + row // 24, row % 24, pm, f"{value * 1.4:.0f}", f"{row % 24 / 3:.1f}", wind, name]
        lines.append(",".join(map(str, cells)))
    return "\n".join(lines) + "\n"


def test_air_quality_of_four_stations(folder):
    Path("stations").mkdir()
    for number, name in enumerate(STATIONS):
        Path(f"stations/PRSA_Data_{name}.csv").write_text(station(name, number))
    bare = refused("fit", "stations", *TINY)
    assert "column 'wd': 'NNW' is text; leave the column out: --drop wd; or make a column" in bare
    given = ["--time", "year,month,day,hour", "--series", "station", "--drop", "No,wd"]
    told = call("fit", "stations", *given, "--targets", "PM2.5", *TINY).stderr
    understood = (
        "480 rows from 2013-03-01 00:00, hourly, time from year month day hour; 4 series of 120 rows, by station, 3 "
        "columns each, 2 of them covariates; 0.8 % missing"
    )
    assert told.splitlines()[0] == understood
    call("predict", "model.safetensors", "--coverage", 0.8, "--plot", "forecast.png", "-o", "forecast.csv")
    forecast = pd.read_csv("forecast.csv")
    assert list(forecast.columns) == ["station", "time", "PM2.5", "PM2.5 lower", "PM2.5 upper"]
    assert forecast.groupby("station").size().to_dict() == dict.fromkeys(STATIONS, 2)
    assert forecast["time"].iloc[0] == "2013-03-06 00:00:00"
    assert Path("forecast.png").stat().st_size > 10_000
    table = call("backtest", "stations", *given, "--targets", "PM2.5", *TINY, "--stride", 5).stdout
    assert all(name in table for name in STATIONS)


def test_a_file_of_a_german_spreadsheet(folder):
    days = pd.date_range("2023-10-01", periods=92)
    cells = [f"{day:%d.%m.%Y};{1000 + 10 * n % 70},5;{n % 5},25" for n, day in enumerate(days)]
    Path("umsatz.csv").write_bytes("\n".join(["Datum;Umsatz in €;Rabatt", *cells]).encode("cp1252"))
    error = refused("fit", "umsatz.csv", *TINY)
    assert "--encoding latin-1" in error
    error = refused("fit", "umsatz.csv", "--encoding", "cp1252", *TINY)
    assert "--separator ';'" in error
    error = refused("fit", "umsatz.csv", "--encoding", "cp1252", "--separator", ";", *TINY)
    assert "data row 1, column 'Umsatz in €': '1000,5' has a comma in it" in error
    assert "--decimal ," in error
    given = ["--encoding", "cp1252", "--separator", ";", "--decimal", ","]
    told = call("fit", "umsatz.csv", *given, *TINY).stderr
    assert told.startswith("92 rows from 2023-10-01 00:00, daily, time from Datum; 2 series; nothing missing")
    call("predict", "model.safetensors", "-o", "weiter.csv")
    read = read_table("weiter.csv")
    assert read.index[0] == pd.Timestamp("2024-01-01")
    assert list(read.columns) == ["Umsatz in €", "Rabatt"]


def test_fifty_shops_of_polars_with_a_price():
    polars = pytest.importorskip("polars")
    days = pd.date_range("2024-01-01", periods=40)
    rng = np.random.default_rng(0)
    shops = polars.DataFrame(
        {
            "store": np.repeat(np.arange(50), 40),
            "date": [day.strftime("%Y-%m-%d") for _ in range(50) for day in days],
            "sales": rng.gamma(5, 10, 2000),
            "price": np.tile(np.where(np.arange(40) % 7 < 2, 8.0, 10.0), 50),
        }
    )
    past = shops.filter(polars.col("date") < "2024-02-06")
    forecaster = LinTransForecaster(
        horizon=4, context_length=8, max_steps=2, d_model=8, n_heads=2, n_layers=1, random_state=0, device="cpu"
    )
    with pytest.raises(TypeError, match=r"fit\(y, id_column='store', time_column='date'\)"):
        forecaster.fit(past)
    y, X = past.drop("price"), past.drop("sales")
    forecaster.fit(y, X, id_column="store", time_column="date")
    forecast = forecaster.predict(X=shops.drop("sales"))
    assert forecast.columns == ["store", "date", "sales"]
    assert forecast.shape == (200, 3)
    assert forecast["date"].min() == pd.Timestamp("2024-02-06")
    assert forecast["sales"].is_finite().all()


def test_a_table_without_time(folder):
    cells = [f"{10 + 3 * math.sin(n / 3):.2f},{n % 5}.5" for n in range(80)]
    Path("loads.csv").write_text("\n".join(["load,heat", *cells]) + "\n")
    error = refused("fit", "loads.csv", *TINY)
    assert "--start 0 numbers its rows, --start 2024-01-01 with --freq D dates them" in error
    told = call("fit", "loads.csv", "--start", "0", *TINY).stderr
    assert told.startswith("80 rows from 0, in whole numbers, counted from 0; 2 series; nothing missing")
    assert call("predict", "model.safetensors").stdout.splitlines()[1].startswith("80,")
    told = call("fit", "loads.csv", "--start", "2024-01-01", "--freq", "15min", *TINY).stderr
    assert "from 2024-01-01 00:00, every 15 minutes, counted from 2024-01-01" in told
    assert call("predict", "model.safetensors").stdout.splitlines()[1].startswith("2024-01-01 20:00:00,")


def test_quiet_commands_say_nothing_but_results(folder):
    Path("loads.csv").write_text("time,load\n" + "".join(f"{n},{10 + math.sin(n / 3):.2f}\n" for n in range(80)))
    assert call("fit", "loads.csv", "--quiet", *TINY).stderr == ""
    assert call("predict", "model.safetensors", "-q").stdout.startswith("time,load\n80,")
