"""Backtests that train anew: every fold is the fit and the backtest that a user would write by hand."""

import numpy as np
import pytest
import xarray as xr

from samovar_forecast import SAMoVARForecaster
from tests.conftest import TINY, series_of_panel, waves

SETTINGS = TINY | {"max_epochs": 1}


def by_hand(y, first, every, stride, **options):
    parts = []
    for cutoff in range(first, len(y) - 8 + 1, every):
        fitted = SAMoVARForecaster(**SETTINGS).fit(y.iloc[:cutoff], **options)
        rows = y.iloc[cutoff - 24 : min(cutoff + every - 1 + 8, len(y))]
        parts.append(fitted.backtest(rows, start=y.index[cutoff], stride=stride))
    return xr.concat(parts, "cutoff")


@pytest.mark.parametrize(("every", "stride"), [(20, 1), (20, 4), (201, 3)])
def test_folds_are_fits_on_the_rows_before_them(y, every, stride):
    result = SAMoVARForecaster(**SETTINGS).backtest(y, start=y.index[110], stride=stride, refit_every=every)
    expected = by_hand(y, 110, every, stride)
    xr.testing.assert_identical(result.drop_vars("trained_until"), expected)
    np.testing.assert_array_equal(
        np.unique(result["trained_until"]), y.index[109 : len(y) - 8 : every].to_numpy(dtype="M8[ns]")
    )
    np.testing.assert_array_equal(result["cutoff"], y.index[109 : len(y) - 8 : stride].to_numpy(dtype="M8[ns]"))


def test_folds_in_processes_side_by_side_are_the_same(y):
    forecaster = SAMoVARForecaster(**SETTINGS)
    alone, together = (
        forecaster.backtest(y, start=y.index[110], refit_every=20, n_jobs=n_jobs, quantiles=[0.1, 0.9])
        for n_jobs in (1, 2)
    )
    xr.testing.assert_allclose(together, alone, rtol=1e-5)
    assert not hasattr(forecaster, "network_")  # what is backtested are copies


def test_a_warm_start_goes_on_from_the_fold_before(y):
    result = SAMoVARForecaster(**SETTINGS).backtest(y, start=y.index[110], refit_every=30, warm_start=True)
    first = SAMoVARForecaster(**SETTINGS).fit(y.iloc[:110])
    second = SAMoVARForecaster(**SETTINGS).fit(y.iloc[:140], init_from=first)
    expected = second.backtest(y.iloc[140 - 24 :])
    xr.testing.assert_identical(result.isel(cutoff=slice(30, None)).drop_vars("trained_until"), expected)


def test_known_covariates_are_cut_with_their_rows(y):
    X = waves(160, 2, seed=5).set_axis(["a", "b"], axis=1)
    result = SAMoVARForecaster(**SETTINGS).backtest(y, X, start=y.index[130], refit_every=10)
    fitted = SAMoVARForecaster(**SETTINGS).fit(y.iloc[:150], X.iloc[:150])
    expected = fitted.backtest(y.iloc[126:], X.iloc[126:], start=y.index[150])
    xr.testing.assert_identical(result.isel(cutoff=slice(20, None)).drop_vars("trained_until"), expected)


def test_no_row_after_a_fold_changes_its_forecasts(y):
    changed = y.copy()
    changed.iloc[145:] *= 100
    before, after = (
        SAMoVARForecaster(**SETTINGS).backtest(rows, start=y.index[110], refit_every=15) for rows in (y, changed)
    )
    np.testing.assert_array_equal(before["forecast"][:36], after["forecast"][:36])
    assert (before["forecast"][36:] != after["forecast"][36:]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refit_every": 10}, "needs start"),
        ({"refit_every": 0, "start": 110}, "refit_every must be a positive integer, got 0"),
        ({"refit_every": 10, "stride": 3, "start": 110}, "multiple of stride, got 10 and 3"),
        ({"refit_every": 10, "start": 158}, "not 8 rows"),
        ({"refit_every": 10, "start": 110, "warm_start": True, "n_jobs": 2}, "n_jobs=2 must be 1"),
    ],
)
def test_what_does_not_fit_together_is_named(options, message):
    y = waves(160).reset_index(drop=True)
    with pytest.raises(ValueError, match=message):
        SAMoVARForecaster(**SETTINGS).backtest(y, **options)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_fold_has_a_checkpoint_of_its_own(y, n_jobs, tmp_path):
    plain, cautious = (
        SAMoVARForecaster(**SETTINGS | {"max_epochs": 2}, checkpoint_dir=folder) for folder in (None, str(tmp_path))
    )
    options = {"start": y.index[110], "refit_every": 20, "stride": 20}
    xr.testing.assert_identical(cautious.backtest(y, **options, n_jobs=n_jobs), plain.backtest(y, **options))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["110", "130", "150"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_static_covariates_are_refused(y):
    with pytest.raises(ValueError, match="static is of the series of a panel"):
        SAMoVARForecaster(**SETTINGS).backtest(y, start=y.index[110], refit_every=20, static=y)


def test_a_panel_is_refused():
    with pytest.raises(ValueError, match="not a panel"):
        SAMoVARForecaster(**SETTINGS).backtest(series_of_panel(), start=0, refit_every=10)
