"""The Diebold-Mariano test against the pieces of statsmodels, and its size and power on made-up forecasts."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest, t
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.sandwich_covariance import weights_bartlett, weights_uniform

from samovar_forecast.evaluation import diebold_mariano

DIMS = ("cutoff", "step", "series")


def backtests(n_cutoffs=80, horizon=4, n_series=2, seed=0, scale=1.3):
    """Two backtests whose errors depend on those of the cutoffs before."""
    rng = np.random.default_rng(seed)
    actual = rng.normal(size=(n_cutoffs, horizon, n_series))
    made = []
    for spread in (scale, 1.0):
        noise = rng.normal(size=(n_cutoffs + horizon, horizon, n_series)) * spread
        errors = sum(noise[lag : lag + n_cutoffs] for lag in range(horizon)) / horizon
        made.append(
            xr.Dataset(
                {"forecast": (DIMS, actual + errors), "actual": (DIMS, actual)},
                coords={
                    "cutoff": np.arange(n_cutoffs), "step": np.arange(1, horizon + 1),
                    "series": [f"s{number}" for number in range(n_series)],
                },
            )
        )  # fmt: skip
    return made


def by_statsmodels(differences, horizon, kernel):
    """Mean, statistic and p-value: a regression on a constant with HAC errors, then the small-sample correction."""
    weights = {"bartlett": weights_bartlett, "rectangular": weights_uniform}[kernel]
    fit = OLS(differences, np.ones(len(differences))).fit(
        cov_type="HAC", cov_kwds={"maxlags": horizon - 1, "weights_func": weights, "use_correction": False}
    )
    n = len(differences)
    statistic = fit.params[0] / fit.bse[0] * np.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    return fit.params[0], statistic, 2 * t.sf(abs(statistic), n - 1)


@pytest.mark.parametrize("kernel", ["bartlett", "rectangular"])
@pytest.mark.parametrize("loss", ["squared", "absolute"])
def test_statistic_is_that_of_statsmodels_with_the_correction(loss, kernel):
    first, second = backtests()
    power = {"squared": lambda error: error**2, "absolute": abs}[loss]
    losses = [power((one["forecast"] - one["actual"]).values) for one in (first, second)]
    difference = losses[0] - losses[1]

    by_step = diebold_mariano(first, second, loss=loss, kernel=kernel, dim=())
    assert dict(by_step.sizes) == {"step": 4, "series": 2}
    for step in range(4):
        for series in range(2):
            expected = by_statsmodels(difference[:, step, series], step + 1, kernel)
            found = by_step.isel(step=step, series=series)
            assert [float(found[name]) for name in ("difference", "statistic", "p_value")] == pytest.approx(expected)

    over_steps = diebold_mariano(first, second, loss=loss, kernel=kernel)
    assert dict(over_steps.sizes) == {"series": 2}
    expected = by_statsmodels(difference[:, :, 1].mean(1), 4, kernel)
    found = over_steps.sel(series="s1")
    assert [float(found[name]) for name in ("difference", "statistic", "p_value")] == pytest.approx(expected)

    one = diebold_mariano(first, second, loss=loss, kernel=kernel, dim=("step", "series"), stride=2)
    expected = by_statsmodels(difference.mean((1, 2)), 2, kernel)  # two neighbouring cutoffs overlap
    assert [float(one[name]) for name in ("difference", "statistic", "p_value")] == pytest.approx(expected)


def test_sides_are_symmetric_and_equal_forecasts_have_no_statistic():
    first, second = backtests()
    one, other = diebold_mariano(first, second), diebold_mariano(second, first)
    np.testing.assert_allclose(one["statistic"], -other["statistic"])
    np.testing.assert_allclose(one["p_value"], other["p_value"])
    same = diebold_mariano(first, first)
    assert same["difference"].values.tolist() == [0, 0]
    assert same["p_value"].isnull().all()


def test_gaps_do_not_count():
    first, second = backtests(horizon=1)
    seen = np.random.default_rng(1).random(first["actual"].shape) > 0.2
    gappy = [one.assign(actual=one["actual"].where(seen)) for one in (first, second)]
    losses = [(one["forecast"] - one["actual"]).values[:, 0, 0] ** 2 for one in gappy]
    difference = losses[0] - losses[1]
    expected = by_statsmodels(difference[~np.isnan(difference)], 1, "bartlett")
    found = diebold_mariano(*gappy).isel(series=0)
    assert [float(found[name]) for name in ("difference", "statistic", "p_value")] == pytest.approx(expected)


def test_equal_accuracy_is_rejected_as_often_as_the_level_says_and_a_difference_is_found():
    """The p-values of 600 independent series with equally good forecasts are uniform."""
    first, second = backtests(n_cutoffs=400, horizon=1, n_series=600, scale=1.0)
    p_values = diebold_mariano(first, second)["p_value"].values
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert (p_values < 0.05).mean() == pytest.approx(0.05, abs=0.03)
    worse, better = backtests(n_cutoffs=400, horizon=3, n_series=20, scale=1.6)
    found = diebold_mariano(worse, better, dim=("step", "series"))
    assert float(found["statistic"]) > 5
    assert float(found["p_value"]) < 1e-5


def test_what_cannot_be_compared_is_refused():
    first, second = backtests()
    with pytest.raises(ValueError, match="same cutoffs, steps and series"):
        diebold_mariano(first, second.isel(cutoff=slice(1, None)))
    with pytest.raises(ValueError, match="same actual values"):
        diebold_mariano(first, second.assign(actual=second["actual"] + 1))
    with pytest.raises(ValueError, match="3 cutoffs with observed values are too few: forecasts of 4"):
        diebold_mariano(*(one.isel(cutoff=slice(3)) for one in (first, second)))
    with pytest.raises(ValueError, match="loss must be"):
        diebold_mariano(first, second, loss="huber")
    with pytest.raises(ValueError, match="stride must be at least 1"):
        diebold_mariano(first, second, stride=0)
