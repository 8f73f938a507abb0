"""Long tables of pandas, polars and pyarrow: the same forecasts as those of a MultiIndex, and long again."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from samovar_forecast.data.layout import LongTable
from samovar_forecast.estimator import Forecaster
from samovar_forecast.forecasters import LinTransForecaster
from tests.conftest import TINY, suited, waves

polars = pytest.importorskip("polars")
pytestmark = pytest.mark.filterwarnings("ignore:the intervals come from errors on the training windows")


@pytest.fixture(scope="module")
def shops():
    """Sales and prices of three shops by number, as a MultiIndex and as a long table out of order."""
    framed = pd.concat({7: waves(60, 2), 3: waves(70, 2, seed=1), 12: waves(50, 2, seed=2)}, names=["shop", "time"])
    framed.columns = ["sales", "price"]
    return framed, framed.reset_index().sample(frac=1, random_state=0, ignore_index=True)


@pytest.fixture(scope="module")
def fitted(shops):
    framed, long = shops
    settings = TINY | {"context_length": 12, "horizon": 4, "max_steps": 2}
    by_index = LinTransForecaster(**settings).fit(framed)
    # The series come in the order of the long table, so both see the same windows in the same order.
    order = long["shop"].drop_duplicates()
    by_index = LinTransForecaster(**settings).fit(pd.concat({key: framed.loc[key] for key in order}, names=["shop"]))
    return by_index, LinTransForecaster(**settings).fit(long, id_column="shop", time_column="time")


TO = {
    "pandas": lambda table: table,
    "polars": polars.from_pandas,
    "lazy polars": lambda table: polars.from_pandas(table).lazy(),
    "pyarrow": pa.Table.from_pandas,
}


def test_a_long_table_is_forecast_as_a_multiindex_is(fitted):
    by_index, by_columns = fitted
    forecast = by_columns.predict()
    assert list(forecast.columns) == ["shop", "time", "sales", "price"]
    assert forecast["shop"].dtype == np.int64
    pd.testing.assert_frame_equal(forecast.set_index(["shop", "time"]), by_index.predict(), check_freq=False)
    levels = by_columns.predict_quantiles([0.1, 0.5])
    assert list(levels.columns) == ["shop", "time", "sales 0.1", "sales 0.5", "price 0.1", "price 0.5"]


@pytest.mark.parametrize("library", TO)
def test_forecasts_come_back_in_the_library_of_the_history(fitted, shops, library):
    _, by_columns = fitted
    history = shops[1][shops[1]["shop"] != 3]
    history = history.assign(time=history["time"].astype(str)) if library == "pandas" else history
    expected = by_columns.predict(shops[0].drop(index=3))
    assert isinstance(expected.index, pd.MultiIndex)  # as it was given
    forecast = by_columns.predict(TO[library](history))
    if library != "pandas":
        assert type(forecast).__module__.startswith(library.removeprefix("lazy "))
        forecast = forecast.to_pandas()
    read = forecast.set_index(["shop", "time"]).sort_index()
    pd.testing.assert_frame_equal(read, expected.sort_index(), check_freq=False, check_index_type=False)


def test_fitting_on_polars_with_covariates_of_the_same_columns(shops, tmp_path):
    table = polars.from_pandas(shops[1])
    size = polars.DataFrame({"shop": [12, 3, 7], "area": [2.0, 3.0, 1.0]})
    settings = TINY | {"context_length": 12, "horizon": 4, "max_steps": 1}
    names = {"id_column": "shop", "time_column": "time"}
    y, X = table.select("shop", "time", "sales"), table.select("time", "shop", "price")
    forecaster = LinTransForecaster(**settings).fit(y, X, static=size, **names)
    ahead = pd.concat(
        {key: waves(4, 1, frame.droplevel(0).index[-1] + pd.to_timedelta(range(1, 5), "h")).set_axis(["price"], axis=1)
         for key, frame in shops[0].groupby(level=0)}, names=["shop", "time"]).reset_index()  # fmt: skip
    forecast = forecaster.predict(X=polars.from_pandas(ahead))
    assert forecast.columns == ["shop", "time", "sales"]
    assert forecast.shape == (12, 3)
    assert forecast["sales"].is_finite().all()
    forecaster.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert loaded.layout_.long == LongTable(("shop",), "time", "polars")
    assert loaded.predict(X=ahead).equals(forecast)
    updated = loaded.update(forecast, polars.from_pandas(ahead), retrain=False)
    assert updated.series_[3].history.index[-1] == shops[0].loc[3].index[-1] + pd.Timedelta("4h")


def test_one_series_with_its_time_in_a_column(shops):
    table = shops[0].loc[7].reset_index()
    settings = TINY | {"context_length": 12, "horizon": 4, "max_steps": 1}
    forecaster = LinTransForecaster(**settings).fit(table, time_column="time")
    assert not forecaster.is_panel_
    expected = LinTransForecaster(**settings).fit(shops[0].loc[7]).predict()
    pd.testing.assert_frame_equal(forecaster.predict().set_index("time"), expected, check_freq=False)
    residuals = forecaster.residuals(table)
    assert list(residuals.columns) == ["time", "sales", "price"]
    assert len(residuals) == 48


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda t: t, {}, r"fit\(y, id_column='shop', time_column='time'\)"),
        (polars.from_pandas, {}, r"fit\(y, id_column='shop', time_column='time'\)"),
        (lambda t: polars.from_pandas(t[t["shop"] == 3].drop(columns="shop")), {}, r"fit\(y, time_column='time'\)"),
        (lambda t: t, {"id_column": "store", "time_column": "time"}, "no column 'store', which is to hold the names"),
        (lambda t: t, {"id_column": "shop"}, "needs time_column too"),
        (lambda t: t, {"id_column": "time", "time_column": "time"}, "must name columns once"),
        (lambda t: t.assign(time=t["time"].where(t.index != 5)), {"id_column": "shop", "time_column": "time"},
         "no value in column 'time' at row 5"),
        (lambda t: t.assign(time=t["time"].astype(str).where(t.index != 5, "soon")),
         {"id_column": "shop", "time_column": "time"}, "holds 'soon' at row 5, which is no date"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(shops, change, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        LinTransForecaster(horizon=4, context_length=12).fit(change(shops[1]), **arguments)


@pytest.mark.parametrize("twice", ["shop", "date", "sold"])
@pytest.mark.parametrize("named", [True, False])
def test_a_column_that_is_there_twice_is_named(twice, named):
    days = pd.date_range("2024-01-01", periods=20)
    table = pd.DataFrame({"shop": ["A"] * 20 + ["B"] * 20, "date": [*days, *days], "sold": np.arange(40.0)})
    table = pd.concat([table, table[[twice]]], axis=1)
    columns = {"id_column": "shop", "time_column": "date"} if named else {}
    with pytest.raises(ValueError, match=rf"duplicate column names: \['{twice}'\]"):
        LinTransForecaster(**suited(TINY, LinTransForecaster)).fit(table, **columns)
