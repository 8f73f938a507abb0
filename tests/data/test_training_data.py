"""The order of columns that networks are given, and the targets among them."""

import pandas as pd
import pytest

from samovar_forecast.data.training_data import order_columns
from tests.conftest import waves


def test_targets_go_last():
    frame = waves(20)
    assert order_columns(frame, ["s1", "s0"]) == (["s1", "s0"], ["s2", "s1", "s0"])
    for wrong in (["s9"], [], ["s0", "s0"]):
        with pytest.raises(ValueError, match="targets must name columns of y"):
            order_columns(frame, wrong)
    with pytest.raises(TypeError, match="use \\['s0'\\]"):
        order_columns(frame, "s0")


def test_a_target_may_be_a_group_of_columns():
    names = [("g", "a"), ("h", "a"), ("g", "b")]
    frame = waves(20).set_axis(pd.MultiIndex.from_tuples(names), axis=1)
    assert order_columns(frame, ["g"]) == ([names[0], names[2]], [names[1], names[0], names[2]])
    assert order_columns(frame, [("h", "a")])[0] == [("h", "a")]
    assert order_columns(frame, ["h", ("g", "b")])[0] == [("h", "a"), ("g", "b")]
    deep = waves(20).set_axis(pd.MultiIndex.from_tuples([("g", "a", 1), ("g", "a", 2), ("g", "b", 1)]), axis=1)
    assert order_columns(deep, [("g", "a")])[0] == [("g", "a", 1), ("g", "a", 2)]
    for wrong in (["x"], ["g", ("g", "a")], ["a"], [("g", "c")], ["g", "g"]):
        with pytest.raises(ValueError, match=r"targets must name columns of y, each once: .*, y has \[\('g', 'a'\)"):
            order_columns(frame, wrong)
