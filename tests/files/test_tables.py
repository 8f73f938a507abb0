"""Tables as files, and back."""

import pandas as pd
import pytest

from samovar_forecast.files.table_format import TableFormat
from samovar_forecast.files.tables import read_names_table, read_table, write_table


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_tables_survive_a_round_trip(tmp_path, y, ending):
    path = tmp_path / f"table.{ending}"
    write_table(y, path)
    pd.testing.assert_frame_equal(read_table(path), y, check_freq=False, check_index_type=False)


def test_parquet_may_have_its_time_in_the_first_column(tmp_path, y):
    y.reset_index().to_parquet(tmp_path / "flat.parquet", index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "flat.parquet"), y, check_freq=False)


def test_encoding_is_honoured(tmp_path):
    (tmp_path / "latin.csv").write_bytes("date,grün\n2024-01-01,1\n2024-01-02,2\n".encode("latin-1"))
    assert list(read_table(tmp_path / "latin.csv", layout=TableFormat(encoding="latin-1")).columns) == ["grün"]


def test_empty_cells_are_missing_values(tmp_path):
    (tmp_path / "gaps.csv").write_text("date,a,b\n2024-01-01,1,\n2024-01-02,,2.5\n")
    read = read_table(tmp_path / "gaps.csv")
    assert read.isna().to_numpy().tolist() == [[False, True], [True, False]]
    assert read["b"].iloc[1] == 2.5


LONG = "time,shop,town,sold\n1,007,NA,5\n2,007,NA,6\n1,B 1,Ulm,\n2,B 1,Ulm,8\n"


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_long_tables_survive_a_round_trip(tmp_path, ending):
    (tmp_path / "long.csv").write_text(LONG)
    read = read_table(tmp_path / "long.csv", series=["shop", "town"])
    assert read.index.tolist() == [("007", "NA", 1), ("007", "NA", 2), ("B 1", "Ulm", 1), ("B 1", "Ulm", 2)]
    assert read.index.names == ["shop", "town", "time"]
    assert read["sold"].tolist()[:2] == [5, 6]
    write_table(read, tmp_path / f"again.{ending}")
    pd.testing.assert_frame_equal(read_table(tmp_path / f"again.{ending}", series=["shop", "town"]), read)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"long.csv", f"again.{ending}"})


@pytest.mark.parametrize("kind", ["dates", "periods", "flat"])
def test_parquet_of_many_series_may_have_its_time_in_the_index(tmp_path, y, kind):
    frame = pd.concat({3: y, 5: y + 1}, names=["shop", "time"])
    if kind == "flat":
        frame.reset_index().to_parquet(tmp_path / "long.parquet", index=False)
    elif kind == "dates":
        frame.reset_index("shop").to_parquet(tmp_path / "long.parquet")
    else:
        frame = frame.set_index(frame.index.set_levels(y.index.to_period("h"), level="time"))
        frame.reset_index("shop").to_parquet(tmp_path / "long.parquet")
    read = read_table(tmp_path / "long.parquet", series=["shop"])
    expected = frame.set_index(frame.index.set_levels(["3", "5"], level="shop"))
    pd.testing.assert_frame_equal(read, expected, check_index_type=False)
    assert isinstance(read.index.levels[1], pd.PeriodIndex if kind == "periods" else pd.DatetimeIndex)


def test_a_parquet_file_of_many_series_needs_their_names(tmp_path, y):
    pd.concat({"a": y}, names=["shop"]).to_parquet(tmp_path / "long.parquet")
    with pytest.raises(ValueError, match=r"many series, its index is \['shop', 'time'\]"):
        read_table(tmp_path / "long.parquet")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("time,town,sold\n1,Ulm,5\n", "no column 'shop'"),
        ("time,shop,sold\n1,A,5\n2,,5\n", "names no series in column 'shop' at data row 2"),
        ("time,shop\n1,A\n", "must have a column of dates or whole numbers and then the series"),
        ("shop,time,sold\nA,Monday,5\n", "column 'time': 'Monday' is not a date"),
    ],
)
def test_bad_long_tables_are_refused(tmp_path, content, message):
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "bad.csv", series=["shop"])


def test_tables_of_names(tmp_path):
    path = tmp_path / "shops.csv"
    path.write_text("shop,town,area\n007,NA,80\n007,Ulm,90\n")
    read = read_names_table(path, 2)
    assert read.index.tolist() == [("007", "NA"), ("007", "Ulm")]
    assert read["area"].tolist() == [80, 90]
    with pytest.raises(ValueError, match="has series '007' more than once"):
        read_names_table(path)
    with pytest.raises(ValueError, match="must have 3 with the names"):
        read_names_table(path, 3)


def test_a_failed_write_leaves_the_old_file(tmp_path, y):
    path = tmp_path / "table.parquet"
    write_table(y, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="uplicate"):
        write_table(y.set_axis(["a", "a", "b"], axis=1), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["table.parquet"]
