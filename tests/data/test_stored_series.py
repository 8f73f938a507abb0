"""Series larger than memory: stored piece by piece, trained on as a frame is."""

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.scaling import Scaler
from samovar_forecast.data.stored_series import StoredSeries
from tests.conftest import TINY, waves
from tests.peak_memory import numbers_printed_by


def pieces(frame, size=50):
    return (frame.iloc[first : first + size] for first in range(0, len(frame), size))


def with_gaps(index=None):
    frame = waves(160, 3, index)
    frame.iloc[20:31, 1] = np.nan
    frame.iloc[:7, 0] = np.nan
    return frame


INDICES = {
    "hours": None,
    "zone": pd.date_range("2024-03-30", periods=160, freq="h", tz="Europe/Berlin"),
    "months": pd.period_range("2000-01", periods=160, freq="M"),
    "numbers": pd.RangeIndex(5, 5 + 160 * 2, 2),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_what_is_stored_comes_back(tmp_path, index):
    frame = with_gaps(index)
    stored = StoredSeries.write(tmp_path / "series", pieces(frame))
    pd.testing.assert_frame_equal(stored.rows(slice(None)), frame, check_freq=False)
    pd.testing.assert_frame_equal(StoredSeries(tmp_path / "series").rows(slice(30, 40)), frame[30:40], check_freq=False)
    assert stored.frequency() == StoredSeries(tmp_path / "series").frequency()
    assert isinstance(stored.values, np.memmap)
    assert np.load(tmp_path / "series" / "values.npy").dtype == np.float64


def test_single_precision_stays_single(tmp_path):
    frame = with_gaps().astype({"s0": "float32", "s1": "float16", "s2": "float32"})
    stored = StoredSeries.write(tmp_path / "series", pieces(frame))
    assert stored.values.dtype == np.float32
    pd.testing.assert_frame_equal(stored.rows(slice(None)), frame.astype("float64"), check_freq=False)


@pytest.mark.parametrize("several", [False, True])
def test_parquet_comes_in_piece_by_piece(tmp_path, several):
    frame = with_gaps().rename_axis("time")
    if several:
        (tmp_path / "parts").mkdir()
        for number, piece in enumerate(pieces(frame)):
            piece.reset_index().to_parquet(tmp_path / "parts" / f"{number}.parquet")
    else:
        frame.reset_index().to_parquet(tmp_path / "parts")
    stored = StoredSeries.from_parquet(tmp_path / "parts", tmp_path / "series", time="time", rows=33)
    pd.testing.assert_frame_equal(stored.rows(slice(None)), frame, check_freq=False)
    with pytest.raises(ValueError, match=r"no column 'date'; it has \['time', 's0'"):
        StoredSeries.from_parquet(tmp_path / "parts", tmp_path / "other", time="date")


@pytest.fixture
def partitioned(tmp_path):
    """A long table in folders by day, whose names are in another order than the days; gaps are rows that lack."""
    frame = with_gaps().rename_axis("time")
    long = frame.melt(ignore_index=False, var_name="shop", value_name="sold").dropna().reset_index()
    long = long.assign(price=1.0).sample(frac=1, random_state=0).sort_values("time", kind="stable")
    for day, rows in long.groupby(long["time"].dt.dayofyear + 5):
        folder = tmp_path / "table" / f"day={day}"
        folder.mkdir(parents=True)
        rows.to_parquet(folder / "part-0.parquet", index=False, row_group_size=20)
    return tmp_path, frame


def test_partitioned_tables_come_in_the_order_of_time(partitioned):
    folder, frame = partitioned
    assert (folder / "table" / "day=10").exists()  # before day=6 by its name
    long = {"id_column": "shop", "columns": ["sold"]}
    for rows in (1, 7, 10_000):
        stored = StoredSeries.from_parquet(folder / "table", folder / str(rows), "time", rows=rows, **long)
        pd.testing.assert_frame_equal(stored.rows(slice(None)), frame, check_freq=False)
    span = {"start": "2024-01-02 05:00", "end": "2024-01-04 11:00"}
    stored = StoredSeries.from_parquet(folder / "table", folder / "span", "time", **long, **span)
    expected = frame.loc[span["start"] : span["end"]]
    pd.testing.assert_frame_equal(stored.rows(slice(None)), expected, check_freq=False)


def test_only_the_columns_that_are_wanted_are_written(tmp_path):
    frame = with_gaps().rename_axis("time")
    frame.assign(note="text").to_parquet(tmp_path / "table")  # with its index
    stored = StoredSeries.from_parquet(tmp_path / "table", tmp_path / "some", "time", columns=["s2", "s0"])
    pd.testing.assert_frame_equal(stored.rows(slice(None)), frame[["s2", "s0"]], check_freq=False)
    frame.reset_index().iloc[3:].to_parquet(tmp_path / "cut")  # with an index without a name
    stored = StoredSeries.from_parquet(tmp_path / "cut", tmp_path / "rest", "time")
    pd.testing.assert_frame_equal(stored.rows(slice(None)), frame.iloc[3:], check_freq=False)
    with pytest.raises(ValueError, match="has no column 's7'"):
        StoredSeries.from_parquet(tmp_path / "table", tmp_path / "none", "time", columns=["s7"])


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (lambda day: day, {"columns": None}, r"one column of values, and there are \['sold', 'price'\]"),
        (lambda day: pd.concat([day, day.iloc[[-1]]]), {}, "has two values at 2024-01-02 23:00:00"),
        (lambda day: day[::-1], {}, "in the order of 'time'"),
        (lambda day: day.assign(time=day["time"] + pd.Timedelta("5h")), {}, "must hold a span of time"),
        (lambda day: day.assign(shop=day["shop"].where(day.index != day.index[4])), {}, "no name of a series"),
        (lambda day: day[day["time"].dt.hour != 7], {}, "2024-01-02 06:00:00 to 2024-01-02 08:00:00"),
    ],
)
def test_what_is_wrong_in_a_partitioned_table_is_named(partitioned, damage, options, message):
    folder, _ = partitioned
    path = folder / "table" / "day=7" / "part-0.parquet"
    damage(pd.read_parquet(path)).to_parquet(path, index=False)
    chosen = {"id_column": "shop", "columns": ["sold"]} | options
    with pytest.raises(ValueError, match=message):
        StoredSeries.from_parquet(folder / "table", folder / "series", "time", **chosen)
    assert not (folder / "series").exists()


@pytest.mark.parametrize("options", [{}, {"targets": ["s2", "s0"]}, {"log1p": True}, {"context_length": None}], ids=str)
def test_a_training_on_stored_series_is_that_on_the_frame(tmp_path, options):
    frame = with_gaps()
    stored = StoredSeries.write(tmp_path / "series", pieces(frame))
    ours = SAMoVARForecaster(**TINY | options).fit(stored)
    theirs = SAMoVARForecaster(**TINY | options).fit(frame)
    pd.testing.assert_frame_equal(ours.predict(), theirs.predict(), rtol=1e-4)
    pd.testing.assert_frame_equal(ours.predict_interval(), theirs.predict_interval(), rtol=1e-4)
    pd.testing.assert_frame_equal(ours.history_, theirs.history_, check_freq=False)
    assert {path.name for path in (tmp_path / "series").iterdir()} == {"values.npy", "index.parquet", "names.json"}


def test_it_goes_on_like_any_other(tmp_path):
    frame = waves()
    fitted = SAMoVARForecaster(**TINY).fit(StoredSeries.write(tmp_path / "series", pieces(frame.iloc[:150])))
    fitted.update(frame.iloc[150:])
    fitted.save(tmp_path / "model")
    again = SAMoVARForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.predict(), fitted.predict())
    assert fitted.predict().index[0] == frame.index[-1] + pd.Timedelta("1h")


def test_scales_by_pieces_are_those_of_the_whole():
    values = np.random.default_rng(0).lognormal(size=(500, 6)) * [1, 1e9, 1e-9, 0, 0, 0] + [0, 1e9, 0, 0.1, 0, np.nan]
    values[100:300, 1] = np.nan
    logarithmic = np.array([False, False, True, False, False, False])
    whole = Scaler.fit(values, "standard", logarithmic)
    by_pieces = Scaler.fit_pieces(lambda: np.array_split(values, 7), logarithmic)
    np.testing.assert_allclose(by_pieces.center, whole.center, rtol=1e-12)
    np.testing.assert_allclose(by_pieces.scale, whole.scale, rtol=1e-9)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda parts: [], "no pieces"),
        (lambda parts: [parts[0], parts[1].rename(columns={"s1": "x"})], r"piece 1 lacks \['s1'\]"),
        (lambda parts: [parts[1], parts[0]], "piece 1 begins at 2024-01-01 00:00:00, not after"),
        (lambda parts: [parts[0], parts[2]], "2024-01-03 01:00:00 to 2024-01-05 04:00:00"),
        (lambda parts: [parts[0], parts[1].astype(str)], "piece 1 column 's0'"),
        (lambda parts: [parts[0], parts[1].replace(parts[1].iloc[3, 2], np.inf)], "piece 1 column 's2' is inf"),
        (lambda parts: [parts[0].set_axis([0, 1, 2], axis=1)], "must be strings"),
        (lambda parts: [parts[0], parts[1].reset_index(drop=True)], "index of type RangeIndex"),
        (
            lambda parts: [parts[0].astype("float32"), parts[1]],
            "piece 1 column 's0' has dtype float64, and what the fi",
        ),
        (lambda parts: [parts[0].astype("int16"), parts[1].astype("int64")], "piece 1 column 's0' has dtype int64"),
    ],
)
def test_wrong_pieces_are_named_and_leave_nothing(tmp_path, damage, message):
    with pytest.raises((ValueError, TypeError), match=message):
        StoredSeries.write(tmp_path / "series", damage(list(pieces(waves()))))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_overwritten_and_a_damaged_one_refused(tmp_path):
    stored = StoredSeries.write(tmp_path / "series", pieces(waves()))
    with pytest.raises(FileExistsError, match="is there already"):
        StoredSeries.write(tmp_path / "series", pieces(waves()))
    (stored.folder / "names.json").write_text('{"columns": ["s0"], "index": "time"}')
    with pytest.raises(ValueError, match="does not fit together"):
        StoredSeries(stored.folder)
    (stored.folder / "names.json").unlink()
    with pytest.raises(ValueError, match=r"lacks \['names.json'\]"):
        StoredSeries(stored.folder)


@pytest.mark.parametrize(
    ("options", "fit", "message"),
    [
        ({"calendar": "auto"}, {}, "calendar cannot be used"),
        ({"scaler": "robust"}, {}, "'standard' way, not by scaler='robust'"),
        ({}, {"X": waves()}, "X cannot be used"),
    ],
)
def test_what_stored_series_cannot_do_is_named(tmp_path, options, fit, message):
    stored = StoredSeries.write(tmp_path / "series", pieces(waves()))
    with pytest.raises(ValueError, match=message):
        SAMoVARForecaster(**TINY | options).fit(stored, **fit)


def test_a_target_without_a_value_is_named(tmp_path):
    frame = waves()
    frame["s1"] = np.nan
    with pytest.raises(ValueError, match=r"column 's1' has no value in rows 2024-01-01 00:00:00 to 2024-01-06 07"):
        SAMoVARForecaster(**TINY).fit(StoredSeries.write(tmp_path / "series", pieces(frame)))


def test_a_training_takes_less_memory_than_its_data(tmp_path):
    """120 MB of numbers, written, scaled and trained on by a process that may take no more than 80 MB for it."""
    grown, size = numbers_printed_by(
        f"""
import resource
import numpy as np, pandas as pd
from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.stored_series import StoredSeries

def pieces(n_pieces, n_columns=50):
    for number in range(n_pieces):
        index = pd.RangeIndex(number * 10_000, (number + 1) * 10_000)
        yield pd.DataFrame(np.random.rand(10_000, n_columns).astype(np.float32), index).add_prefix("s")

def fit(name, n_pieces):
    stored = StoredSeries.write(Path({str(tmp_path)!r}) / name, pieces(n_pieces))
    SAMoVARForecaster(horizon=8, context_length=16, d_model=8, n_heads=1, n_layers=1, max_steps=2, device="cpu",
                      validation_fraction=0.001).fit(stored)
    return stored.values.nbytes

fit("small", 2)
before = held()
resource.setrlimit(resource.RLIMIT_DATA, (before + 80_000_000,) * 2)
size = fit("large", 60)
print(held() - before, size)
""",
        OMP_NUM_THREADS="1",
    )
    assert size == 120_000_000
    assert grown < 80_000_000
