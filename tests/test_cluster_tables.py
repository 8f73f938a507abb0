"""Forecasts of a cluster's tables: those of `predict`, however the table is cut, sorted and sent about."""

import pickle

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import Forecaster, ModelFileError, SAMoVARForecaster, cluster_tables, forecast_table
from tests.conftest import TINY, series_of_panel, waves

SMALL = TINY | {"max_epochs": 1}
LABELS = {"id_column": "shop", "time_column": "time"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model_file(folder):
    SAMoVARForecaster(**SMALL).fit(series_of_panel(2)).save(folder / "model")
    return folder / "model"


def histories():
    """Series of other lengths than those of training, one of them unknown to it."""
    known = series_of_panel(2)
    return {"tiny": known["tiny"], "long": known["long"].iloc[:150], "new": waves(70, 2, seed=9)}


def long(frames, names=("shop",)):
    return pd.concat(frames, names=list(names)).reset_index()


def by_name(frames, names=("shop",)):
    table = long(frames, names).sort_values([*names, "time"], ignore_index=True)
    return table.astype(dict.fromkeys(names, "str"))


def test_a_table_of_forecasts_is_that_of_predict(model_file):
    model, frames = Forecaster.load(model_file), histories()
    table = long(frames).assign(note="not used").sample(frac=1, random_state=0)
    given = table.copy()
    result = forecast_table(model_file, **LABELS, quantiles=(0.1, 0.9))(table)
    expected = by_name(model.predict(frames))
    pd.testing.assert_frame_equal(result[["shop", "time", "s0", "s1"]], expected, check_dtype=False, rtol=1e-6)
    levels = model.predict_quantiles((0.1, 0.9), frames)
    of_long = result[result["shop"] == "long"].set_index("time")
    for target in ("s0", "s1"):
        for level in (0.1, 0.9):
            np.testing.assert_allclose(of_long[f"{target}_q{level}"], levels["long"][target, level], rtol=1e-6)
    assert list(result.columns) == ["shop", "time", "s0", "s1", "s0_q0.1", "s0_q0.9", "s1_q0.1", "s1_q0.9"]
    pd.testing.assert_frame_equal(table, given)
    longer = forecast_table(model_file, **LABELS, horizon=11)(table)
    assert longer.groupby("shop").size().tolist() == [11, 11, 11]


def test_it_is_what_a_model_of_a_long_table_forecasts(folder):
    table = long(histories())
    model = SAMoVARForecaster(**SMALL).fit(long(series_of_panel(2)), **LABELS)
    model.save(folder / "long")
    expected = model.predict(table).sort_values(["shop", "time"], ignore_index=True)
    result = forecast_table(folder / "long", **LABELS)(table)
    pd.testing.assert_frame_equal(result, expected, check_dtype=False, rtol=1e-5)


def test_it_travels_as_a_pickle_and_a_table_without_rows_gives_one(model_file):
    forecast = forecast_table(model_file, **LABELS, quantiles=(0.5,))
    table = long(histories())
    copy = pickle.loads(pickle.dumps(forecast))
    assert len(pickle.dumps(forecast)) < 2_000  # the model stays in its file
    pd.testing.assert_frame_equal(copy(table), forecast(table))
    empty = forecast(table.iloc[:0])
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == forecast(table).dtypes.to_dict()


@pytest.mark.parametrize("rows", [1, 40, 1000])
@pytest.mark.parametrize("at_once", [1, 90, 10_000])
def test_the_pieces_of_a_partition_are_the_whole(model_file, rows, at_once, monkeypatch):
    monkeypatch.setattr(cluster_tables, "ROWS_AT_ONCE", at_once)
    table = long(histories())  # the names are not in order, but stand together
    forecast = forecast_table(model_file, **LABELS)
    pieces = iter([table.iloc[:0], *(table.iloc[first : first + rows] for first in range(0, len(table), rows))])
    result = pd.concat(forecast(pieces)).sort_values(["shop", "time"], ignore_index=True)
    pd.testing.assert_frame_equal(result, forecast(table), rtol=1e-5)
    assert list(forecast(iter([]))) == []


def test_a_series_in_two_places_of_a_partition_is_refused(model_file, monkeypatch):
    monkeypatch.setattr(cluster_tables, "ROWS_AT_ONCE", 1)
    table = long(histories())
    pieces = [table[table["shop"] == "new"][:40], table[table["shop"] == "long"], table[table["shop"] == "new"][40:]]
    with pytest.raises(ValueError, match=r"series \('new',\) do not stand together .*: sort every partition by"):
        list(forecast_table(model_file, **LABELS)(iter(pieces)))


def test_a_worker_reads_a_model_once_and_again_when_it_has_changed(model_file, folder, monkeypatch):
    path, reads = folder / "changing", []
    load = Forecaster.load
    monkeypatch.setattr(Forecaster, "load", lambda path: reads.append(path) or load(path))
    path.write_bytes(model_file.read_bytes())
    forecast, table = forecast_table(path, **LABELS), long(histories())
    first = pickle.loads(pickle.dumps(forecast))(table)
    forecast(table)
    assert len(reads) == 1
    SAMoVARForecaster(**SMALL | {"random_state": 1, "log1p": True}).fit(series_of_panel(2)).save(path)
    assert not np.allclose(forecast(table)["s0"], first["s0"])
    assert len(reads) == 2


def test_covariates_are_columns_of_the_table(folder):
    frames = {name: waves(80, 1, seed=seed) for seed, name in enumerate("ab")}
    known = {name: waves(88, 1, seed=5 + len(name)).rename(columns={"s0": "price"}) for name in frames}
    static = pd.DataFrame({"area": [1.0, 2.5]}, index=list(frames))
    model = SAMoVARForecaster(**SMALL).fit(frames, {name: known[name].iloc[:80] for name in frames}, static=static)
    model.save(folder / "covariates")
    table = long({name: known[name].join(frames[name]) for name in frames})
    table["area"] = table["shop"].map(static["area"])
    forecast = forecast_table(folder / "covariates", **LABELS)
    result = forecast(table.sample(frac=1, random_state=1))
    expected = by_name(model.predict(frames, known, static=static))
    pd.testing.assert_frame_equal(result, expected, check_dtype=False, rtol=1e-6)
    with pytest.raises(
        ValueError, match=r"series 'a' has a value of 's0' in its last 8 rows; .* the steps to forecast"
    ):
        forecast(table[table["time"] < table["time"].max()])
    with pytest.raises(ValueError, match="series 'b' has no history"):
        forecast(table[(table["shop"] == "a") | table["s0"].isna()])
    table.loc[3, "area"] = 7
    with pytest.raises(ValueError, match="static covariate 'area' has several values in series 'a'"):
        forecast(table)


TIMES = {
    "zone": pd.date_range("2024-03-30", periods=80, freq="h", tz="Europe/Berlin", name="time"),
    "months": pd.period_range("2000-01", periods=80, freq="M", name="time"),
    "numbers": pd.RangeIndex(5, 5 + 80 * 2, 2, name="time"),
}


@pytest.mark.parametrize("index", TIMES.values(), ids=TIMES)
def test_names_of_several_columns_and_other_time_axes(folder, index):
    frames = {("x", 1): waves(80, 1, index), ("x", 2): waves(80, 1, index, seed=1), ("y", 1): waves(80, 1, index)}
    model = SAMoVARForecaster(**SMALL).fit(pd.concat(frames, names=["city", "shop"]))
    model.save(folder / "levels")
    table = long(frames, ("city", "shop"))
    result = forecast_table(folder / "levels", ["city", "shop"], "time")(table)
    expected = model.predict().reset_index()
    pd.testing.assert_frame_equal(result, expected, check_dtype=False, rtol=1e-5)
    assert result["time"].dtype == table["time"].dtype


def test_dates_of_python_and_the_model_of_a_single_frame(folder):
    days = pd.date_range("2024-01-01", periods=80, freq="D", name="time")
    model = SAMoVARForecaster(**SMALL).fit(waves(80, 2, days))
    model.save(folder / "single")
    frames = {name: waves(80, 2, days, seed=seed) for seed, name in enumerate("ab")}
    table = long(frames)
    forecast = forecast_table(folder / "single", **LABELS)
    result = forecast(table.assign(time=table["time"].dt.date))
    for name, frame in frames.items():
        of_series = result[result["shop"] == name].set_index("time")[["s0", "s1"]]
        np.testing.assert_allclose(of_series, model.predict(frame), rtol=1e-5)
    with pytest.raises(ValueError, match="'a' is too short: 10 rows"):
        forecast(table[table["time"] < days[10]])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda table: table.drop(columns="s1"), r"lacks the columns \['s1'\]; it has \['shop', 'time', 's0'\]"),
        (lambda table: table.rename(columns={"shop": "store"}), r"lacks the columns \['shop'\]"),
        (lambda table: table.assign(shop=table["shop"].where(table.index != 3)), "no value in column 'shop' of row 3"),
        (lambda table: table.assign(time=table["time"].where(table.index != 5)), "no value in column 'time' of row 5"),
        (lambda table: pd.concat([table, table.iloc[[8]]]), "'long'"),
        (lambda table: table[(table.index != 20)], "series 'long'"),
        (lambda table: table.assign(s0="much"), "column 's0' has dtype"),
    ],
)
def test_wrong_tables_are_named(model_file, damage, message):
    with pytest.raises((ValueError, TypeError), match=message):
        forecast_table(model_file, **LABELS)(damage(long(histories())))


def test_wrong_arguments_are_named_at_once(model_file, tmp_path):
    with pytest.raises(FileNotFoundError):
        forecast_table(tmp_path / "none", **LABELS)
    (tmp_path / "none").write_text("no model")
    with pytest.raises(ModelFileError):
        forecast_table(tmp_path / "none", **LABELS)
    with pytest.raises(ValueError, match=r"inside \(0, 1\), got \[1.5\]"):
        forecast_table(model_file, **LABELS, quantiles=[1.5])
    with pytest.raises(ValueError, match="several columns 's0'"):
        forecast_table(model_file, id_column="s0", time_column="time")


def test_dask_gives_the_same_table(model_file):
    frames = pytest.importorskip("dask.dataframe")
    table = long({f"{name}{number}": frame for number in range(3) for name, frame in histories().items()})
    forecast = forecast_table(model_file, **LABELS, quantiles=(0.1,))
    parts = frames.from_pandas(table.sample(frac=1, random_state=2), npartitions=4).shuffle("shop")
    result = parts.map_partitions(forecast, meta=forecast(table.iloc[:0])).compute(scheduler="threads")
    result = result.sort_values(["shop", "time"], ignore_index=True)
    pd.testing.assert_frame_equal(result, forecast(table), check_dtype=False, rtol=1e-5)
