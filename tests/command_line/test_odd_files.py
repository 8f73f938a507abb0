"""Broken and odd files: what is said of them, the exit code, and that the cure works."""

import datetime
import math
import re
import shlex
from pathlib import Path

import pytest

from samovar_forecast.estimator import Forecaster
from tests.command_line.calls import TINY, call, refused

N = 60


def wave(row):
    return round(10 + 3 * math.sin(row / 4), 3)


def rows(line, start=0, stop=N, head="time,a"):
    """A file of one line for each row number."""
    return "\n".join([head, *(line(row) for row in range(start, stop))]) + "\n"


def day(row, form="{y}-{m:02d}-{d:02d}"):
    """The date of a row, in months of 28 days so that no calendar is needed here."""
    date = datetime.date(2023, 1, 1) + datetime.timedelta(days=row)
    return form.format(y=date.year, m=date.month, d=date.day)


def hour(row):
    return f"{day(row // 24)} {row % 24:02d}:00"


def autumn(row):
    """Hours of the wall clock in Berlin from 28 October on, where 2:00 of the 29th comes twice."""
    row = row if row <= 26 else row - 1
    return f"2023-10-{28 + row // 24} {row % 24:02d}:00"


def beijing(row):
    return f"{row + 1},2013,3,{1 + row // 24},{row % 24},{wave(row)},{'NW' if row % 3 else 'SE'}"


ODD = {  # name: (file, options, what is said, the cure, columns of the forecast)
    "semicolons": (rows(lambda n: f"{day(n)};{wave(n)}", head="time;a"), "", "separated by ';'", "--separator ';'"),
    "tabs": (rows(lambda n: f"{day(n)}\t{wave(n)}", head="time\ta"), "", "separated by", r"--separator '\t'"),
    "decimal commas": (
        rows(lambda n: f"{day(n)};{str(wave(n)).replace('.', ',')}", head="time;a"), "--separator ;",
        "data row 1, column 'a': '10,0' has a comma in it", "--decimal ,",
    ),
    "thousands": (rows(lambda n: f'{day(n)},"1,{600 + n}.5"'), "", "groups the digits", "--thousands ,"),
    "dashes": (rows(lambda n: f"{day(n)},{'-' if n in (9, 30) else wave(n)}"), "", "data row 10, column 'a': '-' is no "
               "number (2 such cells)", "--missing -"),
    "text": (rows(lambda n: f"{day(n)},{wave(n)},{'NW' if n % 3 else 'SE'}", head="time,a,wd"), "",
             "column 'wd': 'SE' is text", "--drop wd"),
    "categories": (rows(lambda n: f"{day(n)},{wave(n)},{'NW' if n % 3 else 'SE'}", head="time,a,wd"), "",
                   "a column of 0 and 1 of each of its 2 values", "--encode wd"),
    "day or month": (
        rows(lambda n: "" if n == 7 else f"{n % 12 + 1}/1/{2000 + n // 12},{wave(n)}"), "--fill-gaps",
        "may begin with the day or with the month", "--date-format %m/%d/%Y"),
    "digits": (rows(lambda n: f"{day(n, '{y}{m:02d}{d:02d}')},{wave(n)}"), "", "if these are dates",
               "--date-format %Y%m%d"),
    "own dates": (rows(lambda n: f"{day(n, '{d}|{m}|{y}')},{wave(n)}"), "", "'1|1|2023' is not a date or a whole",
                  "--date-format '%d|%m|%Y'"),
    "one typing error": (rows(lambda n: f"{day(n) if n != 20 else '2023-13-45'},{wave(n)}"), "",
                         "data row 21, column 'time': '2023-13-45' is not", None),
    "missing rows": (rows(lambda n: "" if n in (7, 8, 30) else f"{day(n)},{wave(n)}"), "",
                     "3 rows are missing, the first of them at 2023-01-08", "--fill-gaps"),
    "missing whole numbers": (rows(lambda n: "" if n == 7 else f"{n},{wave(n)}"), "", "1 rows are missing",
                              "--fill-gaps"),
    "the same time": (rows(lambda n: f"{day(n - (n > 40))},{wave(n)}"), "", "has the time 2023-02-10 00:00:00 more",
                      "--duplicates mean"),
    "clocks set back": (rows(lambda n: f"{autumn(n)},{wave(n)}"), "", "2023-10-29 02:00:00 more than once",
                        "--timezone Europe/Berlin"),
    "series below one another": (
        rows(lambda n: f"{'north' if n < 30 else 'south'},{day(n % 30)},{wave(n)}", head="shop,time,a"), "",
        "data row 1, column 'shop': 'north' is not a date", "--series shop"),
    "series after the time": (rows(lambda n: f"{day(n % 30)},{n // 30},{wave(n)}", head="time,shop,a"), "",
                              "more than once", "--series shop"),
    "time later": (rows(lambda n: f"{wave(n)},{day(n)}", head="a,time"), "", "must hold dates or whole numbers",
                   "--time time"),
    "no time": (rows(lambda n: f"{wave(n)},{wave(n + 3)}", head="a,b"), "", "must hold dates or whole numbers",
                "--start 0"),
    "one column": (rows(lambda n: f"{wave(n)}", head="a"), "", "has 1 column", "--start 0"),
    "no header": (rows(lambda n: f"{day(n)},{wave(n)}", head=f"{day(-1)},9.5"), "", "has no header",
                  "--names time,series1"),
    "a title": ("Report of the plant\nof January\n" + rows(lambda n: f"{day(n)},{wave(n)}"), "", "is not a CSV file",
                "--skip-rows 2"),
    "latin": (rows(lambda n: f"{day(n)},{wave(n)}", head="time,grün").encode("latin-1"), "", "is not utf-8",
              "--encoding latin-1"),
    "utf-16": (rows(lambda n: f"{day(n)},{wave(n)}").encode("utf-16"), "", "is not utf-8", "--encoding utf-16"),
    "about every hour": (rows(lambda n: f"{hour(n)}:{n * 7 % 50:02d},{wave(n)}"), "", "take every row to the nearest",
                         "--freq 1h --fill-gaps"),
    "infinite": (rows(lambda n: f"{day(n)},{'inf' if n == 12 else wave(n)}"), "", "data row 13, column 'a': inf is not "
                 "finite", "--missing inf"),
    "an empty column": (rows(lambda n: f"{day(n)},{wave(n)},", head="time,a,b"), "", "'b' has no value in any row",
                        "--drop b"),
    "a misspelt name": (rows(lambda n: f"{day(n)},{wave(n)},x", head="time,a,wind"), "--drop wnd",
                        "is 'wind' meant?", None),
    "nothing but a header": ("time,a\n", "", "has no rows", None),
    "no rows at all": ("", "", "is not a CSV file", None),
    "lines of different length": ("time,a\n2024-01-01,1\n2024-01-02,1,2\n", "", "Expected 2 fields in line 3", None),
    "an hour that is missing": (rows(lambda n: f"{hour(n) if n != 5 else ''},{wave(n)}"), "",
                                "no time in column 'time' at data row 6", None),
    "no such zone": (rows(lambda n: f"{hour(n)},{wave(n)}"), "--timezone Berlin", "is no time zone", None),
    "a start without step": (rows(lambda n: f"{wave(n)}", head="a"), "--start 2024-01-01", "needs the step", None),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_refused_with_the_option_that_helps(folder, name):
    content, options, message, cure = ODD[name]
    Path("odd.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    given = ["fit", "odd.csv", *shlex.split(options), *TINY]
    error = refused(*given)
    assert message in error
    assert "odd.csv" in error or "--timezone" in error or "--start" in error
    assert not Path("model.safetensors").exists()
    if cure is not None:
        for option in re.findall(r"--[a-z-]+(?: [^-]\S*| -)?", cure):
            assert (option if name != "own dates" else "--date-format") in error
        call(*given, *shlex.split(cure))
        assert Path("model.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (rows(beijing, head="No,year,month,day,hour,PM,wd"), "--drop wd", "--time year,month,day,hour"),
        (rows(beijing, head="No,year,month,day,hour,PM,wd"), "--drop wd --time year,month,day,hour",
         "column 'No' counts the rows; if it is no series, leave it out: --drop No"),
        (rows(lambda n: f"{day(n ^ 1)},{wave(n)}"), "", "2023-01-01 00:00:00 comes after 2023-01-02 00:00:00 (data row "
         "2); its rows are sorted"),
        (rows(lambda n: f"{day(n)},{wave(n)},{n}", head="time,a,a"), "", "the second is 'a.1'"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("default")
def test_what_is_probably_a_mistake_gets_a_warning(folder, content, options, message):
    Path("odd.csv").write_text(content)
    assert message in call("fit", "odd.csv", *shlex.split(options), *TINY).stderr


@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        (rows(lambda n: f"{day(N - n)},{wave(n)}"), "", "60 rows from 2023-01-02 00:00, daily, time from time"),
        (rows(lambda n: f"{day(n)},{wave(n)},", head="time,a,"), "", "1 series; nothing missing"),
        (rows(lambda n: f"{day(n, '{d}.{m}.{y}')},{wave(n)}"), "", "from 2023-01-01 00:00, daily"),
        (rows(lambda n: f"{day(n, '{m}/{d}/{y}')},{wave(n)}"), "", "from 2023-01-01 00:00, daily"),
        (rows(lambda n: f"2023-03-{25 + n // 24}T{n % 24:02d}:00{'+01:00' if n < 26 else '+02:00'},{wave(n)}", stop=26),
         "--timezone Europe/Berlin", "from 2023-03-25 00:00, hourly, time from time, in Europe/Berlin"),
        (rows(lambda n: f"2023-03-25T{n:02d}:00+01:00,{wave(n)}", stop=24), "", "from 2023-03-24 23:00, hourly, time "
         "from time, in UTC"),
        (rows(lambda n: f"{day(n // 24)},{n % 24}:00,{wave(n)}", head="date,clock,a"), "--time date,clock",
         "hourly, time from date clock"),
        (rows(lambda n: f"{day(n // 24)[:4]},1,{1 + (n - 1) // 24},{1 + (n - 1) % 24},{wave(n)}", start=1,
              head="Year,Month,Day,Hour,a"), "--time Year,Month,Day,Hour", "from 2023-01-01 01:00, hourly"),
        (rows(lambda n: f"{wave(n)}", head="a"), "--start 2024-01-01 --freq 15min", "every 15 minutes, counted from"),
        (rows(lambda n: f"{1700000000 + 3600 * n},{wave(n)}"), "--date-format s", "2023-11-14 22:13:20, hourly"),
    ],
)  # fmt: skip
def test_what_is_understood_is_told(folder, content, options, told):
    Path("odd.csv").write_text(content)
    assert told in call("fit", "odd.csv", *shlex.split(options), *TINY).stderr


def test_categories_are_those_of_training(folder):
    Path("odd.csv").write_text(rows(lambda n: f"{day(n)},{wave(n)},{'NW' if n % 3 else 'SE'}", head="time,a,wd"))
    call("fit", "odd.csv", "--encode", "wd", "--targets", "a", *TINY)
    assert sorted(Forecaster.load("model.safetensors").columns_) == ["a", "wd=NW", "wd=SE"]
    Path("next.csv").write_text(rows(lambda n: f"{day(n)},{wave(n)},NW,x", 60, 80, head="time,a,wd,note"))
    assert call("predict", "model.safetensors", "next.csv").stdout.startswith("time,a\n2023-03-22,")


def test_a_folder_of_files_is_one_table(folder):
    Path("plants").mkdir()
    for plant in ("east", "west"):
        Path(f"plants/{plant}.csv").write_text(rows(lambda n, plant=plant: f"{plant},{day(n)},{wave(n)}", head="p,t,a"))
    told = call("fit", "plants", "--series", "p", *TINY).stderr
    assert "120 rows from 2023-01-01 00:00, daily, time from t; 2 series of 60 rows, by p" in told
    Path("plants/other.csv").write_text("p,t,b\nnorth,2023-01-01,1\n")
    assert "other.csv has the columns ['b'], another file ['a']" in refused("fit", "plants", "--series", "p", *TINY)
    Path("empty").mkdir()
    assert "is a folder without files" in refused("fit", "empty", *TINY)


def test_a_file_that_is_no_model_says_so(folder):
    Path("odd.csv").write_text(rows(lambda n: f"{day(n)},{wave(n)}"))
    assert "odd.csv is a table, no model" in refused("predict", "odd.csv")
    Path("notes.txt").write_text("some words that are no model at all")
    assert "notes.txt is not a model file" in refused("predict", "notes.txt")
    call("fit", "odd.csv", *TINY)
    assert "model.safetensors must end in one of" in refused("fit", "model.safetensors", *TINY)


def test_any_hyperparameter_can_be_set(folder):
    Path("odd.csv").write_text(rows(lambda n: f"{day(n)},{wave(n)}"))
    call("fit", "odd.csv", *TINY, "--set", "weight_decay=0.5", "--set", "schedule=cosine")
    forecaster = Forecaster.load("model.safetensors")
    assert (forecaster.weight_decay, forecaster.schedule, forecaster.d_model) == (0.5, "cosine", 8)
    assert "is 'd_model' meant?" in refused("fit", "odd.csv", *TINY, "--set", "dmodel=8")
    assert "--set must be name=value" in refused("fit", "odd.csv", *TINY, "--set", "dmodel")
    assert "are the same" in refused("fit", "odd.csv", *TINY, "--set", "horizon=3")
