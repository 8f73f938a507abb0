import numpy as np
import pandas as pd
import pytest

from samovar_forecast.data.frames import read_frame
from samovar_forecast.data.time_axis import continue_index, frequency_of
from tests.conftest import waves


def with_index(index):
    return waves(len(index), index=index)


REGULAR = {
    "hours": pd.date_range("2024-01-01", periods=50, freq="h"),
    "quarter hours": pd.date_range("2024-01-01", periods=50, freq="15min"),
    "days": pd.date_range("2024-01-01", periods=50, freq="D"),
    "business days": pd.date_range("2024-01-01", periods=50, freq="B"),
    "weeks": pd.date_range("2024-01-01", periods=50, freq="W-TUE"),
    "month starts": pd.date_range("2020-01-01", periods=50, freq="MS"),
    "month ends": pd.date_range("2020-01-01", periods=50, freq="ME"),
    "quarters": pd.date_range("2010-01-01", periods=50, freq="QS"),
    "hours over a change of clocks": pd.date_range("2024-03-30", periods=50, freq="h", tz="Europe/Berlin"),
    "days over a change of clocks": pd.date_range("2024-03-20", periods=50, freq="D", tz="Europe/Berlin"),
    "periods": pd.period_range("2020-01", periods=50, freq="M"),
    "hourly periods": pd.period_range("2024-01-01", periods=50, freq="h"),
    "range": pd.RangeIndex(50),
    "range from seven by three": pd.RangeIndex(7, 157, 3),
    "integers": pd.Index(range(100, 150)),
}


@pytest.mark.parametrize("keep_freq", [True, False])
@pytest.mark.parametrize("name", REGULAR)
def test_every_regular_index_is_continued(name, keep_freq):
    index = REGULAR[name]
    history, future = index[:40], index[40:]
    if isinstance(index, pd.DatetimeIndex) and not keep_freq:
        history = pd.DatetimeIndex(history, freq=None)
    frame = read_frame(with_index(history))
    continued = continue_index(frame.index, frequency_of(frame.index), 10)
    assert list(continued) == list(future)
    assert continued.dtype == future.dtype


@pytest.mark.parametrize(
    "dtype", ["int8", "uint64", "float32", "bool", "Int64", "Float32", "boolean", "int64[pyarrow]"]
)
def test_numeric_dtypes_become_float64(dtype):
    frame = read_frame(pd.DataFrame({"a": pd.Series([1, 0, 1], dtype=dtype)}))
    assert frame["a"].tolist() == [1.0, 0.0, 1.0]
    assert frame["a"].dtype == np.float64


def broken(**change):
    frame = waves(20).astype(object)
    for row, value in change.items():
        frame.iloc[int(row[1:]), 1] = value
    return frame.astype(float)


hours = pd.date_range("2024-01-01", periods=20, freq="h")
BAD = {
    "NaN": (broken(r5=np.nan), ValueError, r"'s1' is nan at 2024-01-01 05:00:00.*interpolate"),
    "infinite": (broken(r7=np.inf), ValueError, r"'s1' is inf at 2024-01-01 07:00:00"),
    "nullable NA": (pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64")}), ValueError, "'a' is nan at 1"),
    "object dtype": (pd.DataFrame({"a": [1.0], "b": ["x"]}), TypeError, "column 'b' has dtype"),
    "object numbers": (pd.DataFrame({"a": pd.Series([1, 2], dtype=object)}), TypeError, "pd.to_numeric"),
    "complex": (pd.DataFrame({"a": [1j, 2j]}), TypeError, "'a' has dtype complex128"),
    "dates as values": (pd.DataFrame({"a": hours}), TypeError, "'a' has dtype datetime64"),
    "duplicate label": (with_index(hours[[*range(10), 9, *range(11, 20)]]), ValueError, "09:00:00 more than once"),
    "unsorted": (with_index(hours[[0, 2, 1, *range(3, 20)]]), ValueError, r"01:00:00 comes after .*sort_index"),
    "gap": (with_index(hours.delete([8])), ValueError, r"from 2024-01-01 07:00:00 to 2024-01-01 09:00:00.*asfreq"),
    "gap in integers": (with_index(pd.Index([0, 1, 2, 5, 6, 7])), ValueError, "from 2 to 5 it lacks 3, 4"),
    "gap in periods": (
        with_index(pd.period_range("2020-01", periods=9, freq="M").delete(3)), ValueError, "from 2020-03 to 2020-05"
    ),
    "no time axis": (pd.DataFrame({"a": [1, 2]}, index=["x", "y"]), TypeError, "must be dates, periods or integers"),
    "float axis": (pd.DataFrame({"a": [1, 2]}, index=[0.5, 1.5]), TypeError, "must be dates, periods or integers"),
    "missing label": (with_index(hours[:3].insert(1, pd.NaT)), ValueError, "missing label in its index at row 1"),
    "no rows": (waves(20).iloc[:0], ValueError, "0 rows x 3 columns"),
    "no columns": (waves(20)[[]], ValueError, "20 rows x 0 columns"),
    "duplicate columns": (waves(20)[["s0", "s1", "s0"]], ValueError, r"duplicate column names: \['s0'\]"),
    "array": (np.zeros((5, 2)), TypeError, "must be a pandas Series or DataFrame"),
    "list": ([1, 2, 3], TypeError, "got list"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_refused_by_name(name):
    data, error, message = BAD[name]
    with pytest.raises(error, match=message):
        read_frame(data)
