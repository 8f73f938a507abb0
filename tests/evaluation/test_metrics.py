"""Metrics against formulas that are written out value by value."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

from samovar_forecast.evaluation import (
    bias,
    coverage,
    crps,
    mae,
    mase,
    mse,
    pinball,
    rmse,
    rmsse,
    smape,
    weighted_quantile_loss,
    width,
)

DIMS = ("cutoff", "step", "series")
LEVELS = [0.1, 0.25, 0.5, 0.9]
SEASON = 7


@pytest.fixture
def training():
    values = np.random.default_rng(0).normal(size=(60, 2)).cumsum(axis=0)
    values[[5, 30], 1] = np.nan
    return pd.DataFrame(values, index=pd.date_range("2024-01-01", periods=60, freq="D"), columns=["a", "b"])


@pytest.fixture
def backtest():
    """4 cutoffs, 3 steps, 2 series; two values were not observed."""
    rng = np.random.default_rng(1)
    actual = rng.normal(size=(4, 3, 2))
    actual[0, 1, 0] = actual[3, 2, 1] = np.nan
    forecast = rng.normal(size=(4, 3, 2))
    quantiles = np.sort(rng.normal(size=(4, 3, 2, len(LEVELS))), axis=-1)
    return xr.Dataset(
        {"forecast": (DIMS, forecast), "actual": (DIMS, actual), "quantiles": ((*DIMS, "quantile"), quantiles)},
        coords={"step": [1, 2, 3], "series": ["a", "b"], "quantile": LEVELS},
    )


def observed(backtest, **where):
    """The forecast, actual value and quantiles of every observed value, one after the other."""
    part = backtest.isel({name: [place] for name, place in where.items()})
    for place in itertools.product(*(range(part.sizes[name]) for name in DIMS)):
        actual = float(part["actual"].values[place])
        if not math.isnan(actual):
            yield float(part["forecast"].values[place]), actual, part["quantiles"].values[place], place[2]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def pinball_of(level, quantile, actual):
    return level * (actual - quantile) if actual >= quantile else (1 - level) * (quantile - actual)


REFERENCES = {
    mse: lambda rows: mean((f - a) ** 2 for f, a, *_ in rows),
    rmse: lambda rows: math.sqrt(mean((f - a) ** 2 for f, a, *_ in rows)),
    mae: lambda rows: mean(abs(f - a) for f, a, *_ in rows),
    bias: lambda rows: mean(f - a for f, a, *_ in rows),
    smape: lambda rows: mean(200 * abs(f - a) / (abs(f) + abs(a)) for f, a, *_ in rows),
    coverage: lambda rows: mean(q[0] <= a <= q[3] for _, a, q, _ in rows),
    width: lambda rows: mean(q[3] - q[0] for _, _, q, _ in rows),
    weighted_quantile_loss: lambda rows: mean(
        2 * sum(pinball_of(level, q[i], a) for _, a, q, _ in rows) / sum(abs(a) for _, a, *_ in rows)
        for i, level in enumerate(LEVELS)
    ),
    # each quantile stands for the levels up to halfway to the next one: .175, .375, .7
    crps: lambda rows: mean(
        2 * sum(share * pinball_of(level, q[i], a)
                for i, (level, share) in enumerate(zip(LEVELS, [0.175, 0.2, 0.325, 0.3], strict=True)))
        for _, a, q, _ in rows
    ),
}  # fmt: skip


@pytest.mark.parametrize("metric", REFERENCES, ids=lambda metric: metric.__name__)
def test_metrics_are_their_formulas_by_series_by_step_and_over_all(metric, backtest):
    reference = REFERENCES[metric]
    by_series = metric(backtest)
    assert by_series.dims == ("series",)
    for place, name in enumerate(["a", "b"]):
        assert float(by_series.sel(series=name)) == pytest.approx(reference(list(observed(backtest, series=place))))
    by_step = metric(backtest, dim=("cutoff", "series"))
    assert by_step.dims == ("step",)
    for place in range(3):
        assert float(by_step[place]) == pytest.approx(reference(list(observed(backtest, step=place))))
    of_both = metric(backtest, dim="cutoff")
    assert of_both.dims == ("step", "series")
    one = list(observed(backtest, step=1, series=0))
    assert float(of_both.sel(step=2, series="a")) == pytest.approx(reference(one))
    assert float(metric(backtest, dim=None)) == pytest.approx(reference(list(observed(backtest))))


@pytest.mark.parametrize("metric", [mase, rmsse], ids=lambda metric: metric.__name__)
def test_scaled_errors_are_relative_to_the_season_before_in_training(metric, backtest, training):
    power = 1 if metric is mase else 2
    scales = []
    for name in ("a", "b"):
        values = training[name].tolist()
        seasonal = [abs(now - before) ** power for now, before in zip(values[SEASON:], values[:-SEASON], strict=True)]
        scales.append(mean(value for value in seasonal if not math.isnan(value)))

    def reference(rows):
        return mean(abs(f - a) ** power / scales[number] for f, a, _, number in rows) ** (1 / power)

    result = metric(backtest, training)  # a week of days
    assert float(result.sel(series="a")) == pytest.approx(reference(observed(backtest, series=0)))
    rows = [(f, a, q, 1) for f, a, q, _ in observed(backtest, series=1)]
    assert float(result.sel(series="b")) == pytest.approx(reference(rows))
    assert float(metric(backtest, training, dim=None)) == pytest.approx(reference(observed(backtest)))
    xr.testing.assert_allclose(metric(backtest, training[["b", "a"]]), result)
    xr.testing.assert_allclose(metric(backtest, training, season=SEASON), result)


def test_pinball_keeps_the_quantiles(backtest):
    result = pinball(backtest)
    assert set(result.dims) == {"series", "quantile"}
    for i, level in enumerate(LEVELS):
        expected = mean(pinball_of(level, q[i], a) for _, a, q, _ in observed(backtest, series=1))
        assert float(result.sel(series="b", quantile=level)) == pytest.approx(expected)
    assert pinball(backtest, dim=("cutoff", "step", "quantile")).dims == ("series",)


def test_crps_of_the_median_is_the_absolute_error_and_of_many_quantiles_that_of_the_distribution(backtest):
    median = backtest.isel(quantile=[2]).assign(forecast=backtest["quantiles"].isel(quantile=2, drop=True))
    xr.testing.assert_allclose(crps(median), mae(median))
    levels = (np.arange(2000) + 0.5) / 2000
    actual = backtest["actual"]
    quantiles = xr.DataArray(norm.ppf(levels, 0.3, 1.7), dims="quantile", coords={"quantile": levels})
    normal = xr.Dataset({"actual": actual, "quantiles": quantiles.broadcast_like(actual)})
    z = (actual.values[~np.isnan(actual.values)] - 0.3) / 1.7
    exact = 1.7 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))  # Gneiting & Raftery, 2007
    assert float(crps(normal, dim=None)) == pytest.approx(exact.mean(), rel=1e-3)
    assert float(crps(normal.isel(quantile=slice(None, None, -1)), dim=None)) == pytest.approx(exact.mean(), rel=1e-3)


def test_coverage_takes_the_interval_that_is_named(backtest):
    more = backtest.assign_coords(quantile=[0.1, 0.25, 0.75, 0.9])
    inside = mean(q[1] <= a <= q[2] for _, a, q, _ in observed(more))
    assert float(coverage(more, nominal=0.5, dim=None)) == pytest.approx(inside)
    assert float(width(more, nominal=0.8, dim=None)) == pytest.approx(float(width(more, dim=None)))
    with pytest.raises(ValueError, match=r"needs the quantiles 0.05 and 0.95; the backtest has \[0.1, 0.25"):
        coverage(more, nominal=0.9)
    with pytest.raises(ValueError, match="needs two quantiles"):
        width(more.isel(quantile=[1]))
    with pytest.raises(ValueError, match="no quantiles"):
        crps(more.drop_vars("quantiles"))


@pytest.mark.parametrize("metric", [*REFERENCES, mase, rmsse, pinball], ids=lambda metric: metric.__name__)
def test_gaps_do_not_count_and_missing_forecasts_do(metric, backtest, training):
    arguments = (training,) if metric in (mase, rmsse) else ()
    expected = metric(backtest, *arguments)
    assert expected.notnull().all()
    unseen = backtest["actual"].isnull()
    changed = backtest.assign(
        forecast=backtest["forecast"].where(~unseen), quantiles=backtest["quantiles"].where(~unseen)
    )
    xr.testing.assert_identical(metric(changed, *arguments), expected)
    lost = xr.zeros_like(unseen)
    lost[0, 0, 0] = True
    missing = backtest.assign(forecast=backtest["forecast"].where(~lost), quantiles=backtest["quantiles"].where(~lost))
    assert metric(missing, *arguments).sel(series="a").isnull().all()
    xr.testing.assert_identical(metric(missing, *arguments).sel(series="b"), expected.sel(series="b"))
    never = backtest.assign(actual=backtest["actual"].where(backtest["series"] != "a"))
    assert metric(never, *arguments).sel(series="a").isnull().all()


def test_smape_of_nothing_is_nothing(backtest):
    zeros = backtest.assign(forecast=backtest["forecast"] * 0, actual=backtest["actual"] * 0)
    assert float(smape(zeros, dim=None)) == 0
    assert weighted_quantile_loss(zeros).isnull().all()


def test_scale_names_a_missing_series_and_a_short_training(backtest, training):
    with pytest.raises(ValueError, match=r"lacks the series \['b'\]"):
        mase(backtest, training[["a"]])
    with pytest.raises(ValueError, match="season must be between 1 and"):
        rmsse(backtest, training.iloc[:7])
