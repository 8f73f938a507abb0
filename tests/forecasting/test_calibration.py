"""Errors on validation windows against loops, and the coverage that follows from them."""

import numpy as np
import pytest
import torch
from torch import nn

from samovar_forecast.data.windows import Windows
from samovar_forecast.forecasting import intervals
from samovar_forecast.forecasting.intervals import activity, calibrate
from samovar_forecast.networks.covariate_network import build_network
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.training.split import split_windows, window_cutoffs
from tests.conftest import TINY

HORIZON, CONTEXT = TINY["horizon"], TINY["context_length"]


class Zero(ForecastNetwork):
    """Forecasts zero: the errors are the targets themselves."""

    def __init__(self, context_length, horizon, n_targets=1):
        super().__init__(n_targets, n_targets, context_length, horizon)
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, past, covariates=None):
        return self.weight * past.new_ones(len(past), self.horizon, self.n_targets, 1)


def windows_with_errors(errors):
    """Windows whose contexts have activity 1 and whose targets are these: (n_windows, 1, 2 or 4 steps, n_targets)."""
    n_windows, horizon, n_targets = errors.shape
    contexts = torch.tensor([1.0, -1.0]).repeat(n_windows, 2).unsqueeze(2).expand(-1, -1, n_targets)
    values = torch.cat([contexts, torch.as_tensor(errors, dtype=torch.float32)], dim=1).flatten(0, 1)
    starts = torch.arange(n_windows) * (4 + horizon)
    return Zero(4, horizon, n_targets), Windows(values, starts, 4, horizon, n_targets)


def scores_of(errors):
    """Scores at coverages 0, 1/200, ... 1."""
    return calibrate(*windows_with_errors(errors), held_out=True).scores


def reference_score(errors, i):
    """The error of rank ceil(i / 200 * (n + 1)) among those observed."""
    ordered = sorted(abs(error) for error in errors if not np.isnan(error))
    rank = -(-i * (len(ordered) + 1) // 200)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


@pytest.mark.parametrize("n_windows", [1, 4, 19, 100])
def test_scores_are_order_statistics(n_windows):
    errors = np.random.default_rng(n_windows).standard_t(2, size=(n_windows, 2, 2)).astype(np.float32)
    errors[: n_windows // 2, 1, 0] = np.nan  # each step and target counts its own
    scores = scores_of(errors)
    for step in range(2):
        for target in range(2):
            expected = [reference_score(errors[:, step, target], i) for i in range(201)]
            np.testing.assert_allclose(scores[:, step, target], expected, rtol=1e-6)


@pytest.mark.parametrize("n_windows", [3, 10, 19, 99])
@pytest.mark.parametrize("tail", [0.1, 1, 10])
def test_coverage_is_exact_for_exchangeable_errors(n_windows, tail):
    """Each of n + 1 errors in turn is new: those covered by the others are the share ceil(c (n + 1)) / (n + 1)."""
    errors = np.exp(tail * np.random.default_rng(0).normal(size=n_windows + 1)).astype(np.float32)
    covered = np.zeros(201)
    for new in range(n_windows + 1):
        others = np.delete(errors, new)[:, None, None]
        covered += errors[new] <= scores_of(others)[:, 0, 0]
    coverage = np.arange(201) / 200
    reachable = np.arange(201) * (n_windows + 1) <= 200 * n_windows
    share = (covered / (n_windows + 1))[reachable]
    assert (share >= coverage[reachable] - 1e-12).all()
    assert (share[1:] < coverage[reachable][1:] + 1 / (n_windows + 1)).all()


def test_steps_and_targets_never_observed_borrow_scores():
    errors = np.abs(np.random.default_rng(0).normal(size=(30, 4, 3)))
    errors[:, 2, 0], errors[:, :, 1] = np.nan, np.nan
    scores = scores_of(errors)
    assert np.isfinite(scores).all()
    of_target = [reference_score(errors[:, :, 0].ravel(), i) for i in range(201)]
    np.testing.assert_allclose(scores[:, 2, 0], of_target, rtol=1e-6)
    of_all = [reference_score(errors.ravel(), i) for i in range(201)]
    np.testing.assert_allclose(scores[:, :, 1], np.repeat(np.array(of_all)[:, None], 4, axis=1), rtol=1e-6)


def reference_activity(context, horizon):
    """Of one series: the mean of the variances of its context and, three times as heavy, of its newest rows."""
    shown, newest = (part[~np.isnan(part)] for part in (context, context[-horizon:]))
    if len(newest) < 2:
        newest = shown
    return np.sqrt(0.25 * np.var(shown) + 0.75 * np.var(newest)) if len(shown) else 0.0


def test_activity_is_that_of_what_was_observed():
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 3)))
    values[10:14, 1], values[30:40, 1], values[44:, 2] = torch.nan, torch.nan, torch.nan
    cutoffs = torch.tensor([12, 20, 38, 41, 57, 60])
    found = activity(values, cutoffs, 12, 5, 2)
    for row, cutoff in zip(found, cutoffs, strict=True):
        contexts = values[cutoff - 12 : cutoff, 1:].numpy()
        np.testing.assert_allclose(row, [reference_activity(column, 5) for column in contexts.T])
    assert found[2, 0] == pytest.approx(np.std(values[26:30, 1].numpy()))  # nothing newer was observed
    assert found[5, 1] == 0


@pytest.mark.parametrize("covariates", [False, True])
def test_calibration_measures_every_window_against_its_context(covariates):
    rng = np.random.default_rng(0)
    blocks = []
    for number in range(2):
        values = torch.tensor(rng.normal(size=(60, 3)).cumsum(0), dtype=torch.float32)
        values[10:25, 1 + number] = torch.nan
        extra = (
            {"known": torch.randn(60, 2), "static": torch.tensor(rng.normal(size=2), dtype=torch.float32)}
            if covariates
            else {}
        )
        cutoffs = window_cutoffs(60, 40, CONTEXT, HORIZON)
        blocks.append(Windows.before(cutoffs, values, CONTEXT, HORIZON, 2, **extra))
    _, windows = split_windows(Windows.join(blocks), [20, 20])
    torch.manual_seed(0)
    config = SAMoVARConfig(d_model=8, n_heads=2, n_layers=1)
    sizes = {"n_known": 2, "n_static": 2} if covariates else {}
    network = build_network(SAMoVAR, 3, 2, CONTEXT, HORIZON, config, **sizes).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)

    errors, active = [], []
    with torch.no_grad():
        for start in windows.starts:
            past, future, given = windows.gather(start.reshape(1))
            targets = past[0, :, -2:].double().numpy()
            active.append([reference_activity(column, HORIZON) for column in targets.T])
            errors.append(np.abs(future[0].double().numpy() - network(past, given)[0, ..., 0].double().numpy()))
    floor = 0.1 * np.median(active, axis=0)
    relative = np.array(errors) / np.maximum(active, floor)[:, None, :]

    calibration = calibrate(network, windows, held_out=True)
    assert calibration.n_windows == len(windows)
    np.testing.assert_allclose(calibration.floor, floor, rtol=1e-4)
    for i in (0, 100, 160, 200):
        expected = [[reference_score(relative[:, step, target], i) for target in range(2)] for step in range(HORIZON)]
        np.testing.assert_allclose(calibration.scores[i], expected, rtol=1e-3)


def test_calibration_takes_evenly_spaced_windows_where_there_are_many(monkeypatch):
    network, windows = windows_with_errors(np.arange(1.0, 42.0).reshape(41, 1, 1))
    monkeypatch.setattr(intervals, "MOST_WINDOWS", 5)
    calibration = calibrate(network, windows, held_out=True)
    assert calibration.n_windows == 5
    assert sorted(set(calibration.scores.ravel().tolist())) == [1, 11, 21, 31, 41]


def test_wide_data_are_calibrated_on_fewer_windows(monkeypatch):
    network, windows = windows_with_errors(np.ones((300, 2, 3)))
    monkeypatch.setattr(intervals, "MOST_ERRORS", 6 * 120)
    assert calibrate(network, windows, held_out=True).n_windows == 120
    monkeypatch.setattr(intervals, "MOST_ERRORS", 1)
    assert calibrate(network, windows, held_out=True).n_windows == 100


def test_a_constant_context_has_an_interval_too():
    errors = np.ones((20, 2, 1))
    network, windows = windows_with_errors(errors)
    calibration = calibrate(network, windows, held_out=True)
    spread = calibration.spread([0.1, 0.9], np.zeros((1, 1)), 2)
    np.testing.assert_allclose(spread[0, :, 0], [[-0.1, 0.1]] * 2, rtol=1e-6)
