"""New rows for some series of a panel, and new series."""

import copy

import numpy as np
import pandas as pd
import pytest

from samovar_forecast import SAMoVARForecaster
from tests.conftest import waves
from tests.forecasting.test_panel import CONTEXT, FORMS, HORIZON, ONE_STEP, assert_close


def test_update_of_some_series_and_of_new_ones(fitted, panel):
    rows = waves(170, 2).iloc[160:]
    new = waves(60, 2, seed=8).iloc[:40]
    before = fitted.predict()
    fitted.update({"long": rows, "new": new}, retrain=False)
    assert list(fitted.series_) == ["long", "early", "short", "tiny", "new"]
    after = fitted.predict()
    for key in ("early", "short", "tiny"):
        pd.testing.assert_frame_equal(after[key], before[key], rtol=1e-5)
    pd.testing.assert_frame_equal(
        after["long"], fitted.predict({"long": waves(170, 2)})["long"], rtol=1e-5, check_freq=False
    )
    pd.testing.assert_frame_equal(after["new"], fitted.predict(new), rtol=1e-5, check_freq=False)
    # The scaling of the new series stays, as that of the others does.
    later = waves(60, 2, seed=8).iloc[40:45] * 100
    fitted.update({"new": later}, retrain=False)
    np.testing.assert_allclose(fitted.series_["new"].scaler.center, new.mean())
    pd.testing.assert_frame_equal(fitted.series_["new"].history.iloc[-5:], later, check_freq=False)


def test_update_trains_on_windows_with_new_targets(fitted, panel):
    rows = waves(170, 2).iloc[160:]
    n_windows = copy.deepcopy(fitted).update({"long": rows}).training_summary_.n_windows
    assert n_windows == 10
    grown = waves(160, 2, seed=2).iloc[130:131]  # the 31st row of "short"
    assert copy.deepcopy(fitted).update({"short": grown}).training_summary_.n_windows == 1
    new = waves(40, 2, seed=8)
    assert copy.deepcopy(fitted).update({"new": new}).training_summary_.n_windows == 40 - CONTEXT - HORIZON + 1
    fitted.update({"long": rows, "short": grown, "new": new})
    assert fitted.training_summary_.n_windows == 20


def test_update_row_by_row_grows_a_short_series(fitted):
    rows = waves(160, 2, seed=2).iloc[130:140]
    at_once = copy.deepcopy(fitted).update({"short": rows}, retrain=False)
    for row in range(10):
        fitted.update({"short": rows.iloc[[row]]}, retrain=False)
    assert_close(fitted.predict(), at_once.predict(), rtol=0)
    assert len(fitted.series_["short"].history) == CONTEXT + HORIZON


@pytest.mark.parametrize("retrain", [True, False])
def test_a_refused_update_changes_nothing(fitted, retrain):
    rows, before = waves(170, 2).iloc[160:], fitted.predict()
    later, missing = waves(170, 2, seed=1).iloc[125:130], pd.DataFrame(np.nan, rows.index, rows.columns)
    for wrong, message in (
        ({"early": later}, "y of series 'early' leaves a gap: it begins at"),
        ({"early": waves(160, 2, seed=1).iloc[30:33]}, "y of series 'early' begins at .* so far back that 3 rows"),
        ({"new": missing}, "y of series 'new' column 's0' has no value"),
        ({"new": rows[["s0"]]}, r"lacks \['s1'\]"),
        (rows, "y is a single series, and the training data were a panel; name it"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.update({"long": rows} | wrong if isinstance(wrong, dict) else wrong, retrain=retrain)
        assert list(fitted.series_) == ["long", "early", "short", "tiny"]
    assert_close(fitted.predict(), before, rtol=0)


def test_new_series_of_a_hierarchy_are_named_in_full(panel):
    forecaster = SAMoVARForecaster(**ONE_STEP).fit(FORMS["three levels"](panel))
    new = waves(40, 2, seed=8)
    with pytest.raises(ValueError, match=r"y of series 'new' is new, and its name needs 2 parts: \('land', 'shop'\)"):
        forecaster.update({"new": new}, retrain=False)
    forecast = forecaster.update(pd.concat({("y", "new"): new}), retrain=False).predict()
    assert forecast.index.names == ["land", "shop", "time"]
    np.testing.assert_allclose(forecast.tail(HORIZON), forecaster.predict(new), rtol=1e-5)
    assert forecast.index[-1][:2] == ("y", "new")


def test_the_newest_row_can_be_replaced(fitted, panel):
    replaced = panel["long"].iloc[-1:] + 1
    for retrain in (False, True):
        fitted.update({"long": replaced}, retrain=retrain)
        np.testing.assert_array_equal(fitted.series_["long"].history.iloc[-1], replaced.iloc[0])
