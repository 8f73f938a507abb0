"""Columns and rows of the frames of a panel: aligned by name, and named where they are missing."""

import pandas as pd
import pytest

from samovar_forecast.data.panel import align_columns, read_panel, select_rows
from tests.conftest import waves


def test_columns_are_aligned_by_name():
    frame = waves(20)
    aligned = align_columns(frame[["s2", "s0", "s1"]], ["s0", "s1", "s2"], "y")
    pd.testing.assert_frame_equal(aligned, frame)
    with pytest.raises(ValueError, match=r"y lacks \['s1'\] and has unknown \['S1'\]"):
        align_columns(frame.rename(columns={"s1": "S1"}), ["s0", "s1", "s2"], "y")


def test_more_columns_than_in_fit_are_left_out_with_a_warning():
    frame = waves(20)
    with pytest.warns(UserWarning, match=r"y has the columns \['s1'\] that fit did not see; they are not used"):
        pd.testing.assert_frame_equal(align_columns(frame, ["s2", "s0"], "y"), frame[["s2", "s0"]])
    with pytest.raises(ValueError, match=r"y has unknown \['s1'\]"):
        align_columns(frame, ["s2", "s0"], "y", exact=True)
    panel = read_panel({"a": frame, "b": frame[:9]})
    with pytest.warns(UserWarning, match=r"^y has the columns \['s1'\] that fit") as told:
        assert panel.align(["s0", "s2"]).columns == ["s0", "s2"]
    assert len(told) == 1
    two_levels = frame.set_axis(pd.MultiIndex.from_tuples([("g", "a"), ("g", "b"), ("h", "a")]), axis=1)
    with pytest.warns(UserWarning, match=r"y has the columns \[\('g', 'b'\)\]"):
        aligned = align_columns(two_levels, [("h", "a"), ("g", "a")], "y")
    assert list(aligned.columns) == [("h", "a"), ("g", "a")]
    with pytest.raises(ValueError, match=r"y lacks \['g'\]"):
        align_columns(two_levels, ["g"], "y")


def test_missing_rows_are_named():
    with pytest.raises(ValueError, match="X lacks 2 of the 4 rows that are needed, the first of them 20"):
        select_rows(pd.DataFrame({"a": range(20)}), pd.RangeIndex(18, 22), "X")
