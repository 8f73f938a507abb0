"""What is wrong with a panel, or with its covariates, is said with the name of the series."""

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import SAMoVARForecaster
from tests.conftest import TINY, waves

ONE_STEP = TINY | {"max_steps": 1}


def w(seed=0, **change):
    return waves(60, 2, seed=seed, **change)


def replaced(frame, row, column, value):
    frame = frame.astype(object)
    frame.iloc[row, column] = value
    return frame.infer_objects()


WRONG = {
    "no series": ({}, ValueError, "y is empty: it holds no series"),
    "no pandas": ({"a": w(), "b": w().to_numpy()}, TypeError, "series 'b' must be a pandas Series or DataFrame"),
    "other columns": ({"a": w(), "b": w()[["s0"]]}, ValueError, r"series 'b' lacks \['s1'\]"),
    "more columns": ({"a": w()[["s0"]], "b": w()}, ValueError, r"series 'b' has unknown \['s1'\]"),
    "other step": ({"a": w(), "b": w(index=pd.date_range("2024", periods=60, freq="D"))}, ValueError,
                   "series 'b' has a step of <Day>, y of series 'a' one of <Hour>"),
    "two rows of another step": ({"a": w(), "b": w().iloc[[0, 2]]}, ValueError,
                                 r"series 'b' has a step of <2 \* Hours>, y of series 'a' one of <Hour>"),
    "other kind of index": ({"a": w(), "b": w().reset_index(drop=True)}, ValueError, "series 'b' has a step of 1"),
    "integers, one row": ({"a": w(), "b": w().reset_index(drop=True)[:1]}, ValueError, "series 'b' has a step of 1"),
    "dates among integers": ({"a": w().reset_index(drop=True), "b": w()[:1]}, ValueError, "series 'b' has a step of"),
    "no rows": ({"a": w(), "b": w().iloc[:0]}, ValueError, "series 'b' is empty: 0 rows x 2 columns"),
    "all missing": ({"a": w(), "b": w() * np.nan}, ValueError, "series 'b' column 's0' has no value in rows 2024-01"),
    "a column missing": ({"a": w(), "b": w().assign(s1=np.nan)}, ValueError, "series 'b' column 's1' has no value"),
    "infinite": ({"a": w(), "b": replaced(w(), 3, 1, np.inf)}, ValueError,
                 "series 'b' column 's1' is inf at 2024-01-01 03:00:00"),
    "unsorted": ({"a": w(), "b": w().iloc[[1, 0, 2]]}, ValueError, "series 'b' is not sorted by time"),
    "twice": ({"a": w(), "b": w().iloc[[0, 1, 1]]}, ValueError, "series 'b' has the index label 2024-01-01 01"),
    "a gap": ({"a": w(), "b": w().iloc[[0, 1, 2, 5, 6]]}, ValueError, "series 'b' has an irregular index: from 2024"),
    "text": ({"a": w(), "b": w().assign(s1="x")}, TypeError, "series 'b' column 's1' has dtype"),
    "no time": ({"a": w(), "b": w().set_axis(list("abc") * 20)}, TypeError, "series 'b' has an index of type"),
    "nameless rows": (pd.concat({"a": w(), None: w()}), ValueError, "y has a row without the name of its series: row"),
    "one level": (w().set_axis(pd.MultiIndex.from_arrays([w().index])), TypeError, "MultiIndex of one level"),
    "too short": ({"a": w()[:9], "b": w()[:4]}, ValueError, "y is too short: 9 rows to train on"),
    "key of two levels": (pd.concat({("x", "a"): w(), ("x", "b"): w().iloc[::-1]}), ValueError,
                          r"y of series \('x', 'b'\) is not sorted by time"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore:validation_fraction")
def test_wrong_panels_are_named(name):
    data, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        SAMoVARForecaster(**ONE_STEP).fit(data)


def static(**change):
    return (
        pd.DataFrame({"size": [1, 2], "kind": [0, 1]}, index=["a", "b"]).astype(object).assign(**change).infer_objects()
    )


WRONG_COVARIATES = {
    "X lacks a series": ({"X": {"a": w()}}, ValueError, r"X lacks the series \['b'\]; it has \['a'\]"),
    "X lacks rows": ({"X": {"a": w(), "b": w()[:50]}}, ValueError, "X of series 'b' lacks 10 of the 60 rows"),
    "X of other columns": ({"X": {"a": w(), "b": w()[["s0"]]}}, ValueError, r"X of series 'b' lacks \['s1'\]"),
    "X infinite": ({"X": {"a": w(), "b": replaced(w(), 0, 0, np.inf)}}, ValueError, "series 'b' column 's0' is inf"),
    "one X for all": ({"X": w()}, ValueError, "X must come in the form of y: .*for a panel a frame for each"),
    "static lacks a series": ({"static": static()[:1]}, ValueError, r"static lacks the series \['b'\]"),
    "static twice": ({"static": pd.concat([static(), static()[:1]])}, ValueError, "more than one row for 'a'"),
    "static missing": ({"static": static(size=[1, np.nan])}, ValueError, "static column 'size' is nan for 'b'"),
    "static of text": ({"static": static(kind=["x", "y"])}, TypeError, "static column 'kind' has dtype .*get_dummies"),
    "static no frame": ({"static": {"a": 1, "b": 2}}, TypeError, "static must be a DataFrame .* got dict"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_COVARIATES)
def test_wrong_covariates_are_named(name):
    covariates, error, message = WRONG_COVARIATES[name]
    with pytest.raises(error, match=message):
        SAMoVARForecaster(**ONE_STEP).fit({"a": w(), "b": w(1)}, **covariates)


def test_covariates_that_a_single_series_cannot_have(y):
    with pytest.raises(ValueError, match="static tells the series of a panel apart, and y is a single one"):
        SAMoVARForecaster(**ONE_STEP).fit(y, static=static())
    with pytest.raises(ValueError, match="X must come in the form of y"):
        SAMoVARForecaster(**ONE_STEP).fit(y, {"a": y})
