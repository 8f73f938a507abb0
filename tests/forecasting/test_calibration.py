"""Errors on validation windows against loops, and the coverage that follows from them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from samovar_forecast.data.windows import Windows, window_cutoffs
from samovar_forecast.forecasting import intervals
from samovar_forecast.forecasting.activity import Activity, activity
from samovar_forecast.forecasting.conformal_scores import curves_of, independent_errors
from samovar_forecast.forecasting.intervals import Calibration, calibrate, evenly_spaced
from samovar_forecast.networks.covariate_network import build_network
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.training.split import split_windows
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
    network, windows = windows_with_errors(errors)
    calibration = calibrate(network, windows, windows.horizon, held_out=True)
    return calibration.scores.transpose(1, 2, 0)  # one curve per target


def independent_by_loops(errors):
    """The number of errors over ``2 (rho_0 + rho_1 + ...) - 1``, pair by pair while the pairs are positive."""
    observed = errors[~np.isnan(errors)]
    n, centred = len(errors), np.nan_to_num(errors - observed.mean())
    if not centred.any():
        return len(observed)
    rho = [(centred[lag:] * centred[: n - lag]).sum() / (centred**2).sum() for lag in range(n)]
    total = 0.0
    for first in range(0, 2 * (n // 4), 2):
        if rho[first] + rho[first + 1] <= 0:
            break
        total += rho[first] + rho[first + 1]
    return len(observed) / max(2 * total - 1, 1)


def reference_score(errors, i):
    """The error of rank ceil(i / 200 * n (1 + 1 / w)) among those observed, worth w: twice the independent ones."""
    errors = np.abs(np.asarray(errors, dtype=np.float64))
    ordered = sorted(errors[~np.isnan(errors)])
    n = len(ordered)
    worth = min(max(2 * independent_by_loops(errors), 1), n)
    rank = int(np.ceil(i / 200 * (n + n / worth) - 1e-9))
    return ordered[min(max(rank, 1), n) - 1]


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
    """Each of n + 1 errors in turn is new: those covered by the others are the share ceil(c (n + 1)) / (n + 1).

    Among 19 errors neighbours may resemble each other by chance, so there it may be one more.
    """
    errors = np.exp(tail * np.random.default_rng(0).normal(size=n_windows + 1)).astype(np.float32)
    covered = np.zeros(201)
    for new in range(n_windows + 1):
        others = np.delete(errors, new)[:, None, None]
        covered += errors[new] <= scores_of(others)[:, 0, 0]
    coverage = np.arange(201) / 200
    reachable = np.arange(201) * (n_windows + 1) <= 200 * n_windows
    share = (covered / (n_windows + 1))[reachable]
    assert (share >= coverage[reachable] - 1e-12).all()
    more = 2 if n_windows == 19 else 1
    assert (share[1:] < coverage[reachable][1:] + more / (n_windows + 1)).all()


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
    for row, cutoff in zip(found.deviation, cutoffs, strict=True):
        contexts = values[cutoff - 12 : cutoff, 1:].numpy()
        np.testing.assert_allclose(row, [reference_activity(column, 5) for column in contexts.T])
    assert found.deviation[2, 0] == pytest.approx(np.std(values[26:30, 1].numpy()))  # nothing newer was observed
    assert found.deviation[5, 1] == 0
    assert np.isnan(found.still[5, 1])


@pytest.mark.parametrize(
    ("context", "still"),
    [
        ([1, 1, 1, 1], 1.0),
        ([1, 1, 2, 2], 2 / 3),
        ([1, np.nan, 1, 2], 0.5),  # two steps between three values
        ([np.nan, np.nan, 7, np.nan], 1.0),
        ([np.nan, 3, 4, np.nan], 0.0),
        ([np.nan] * 4, np.nan),
    ],
)
def test_still_is_the_share_of_steps_that_change_nothing(context, still):
    values = torch.tensor(context, dtype=torch.float32).unsqueeze(1)
    np.testing.assert_allclose(activity(values, torch.tensor([4]), 4, 2, 1).still, [[still]])


def test_kinds_of_contexts():
    deviation = np.array([0.3, 1.0, 4.1, 0.3, 1.0, 4.1, 0.0, 0.0])[:, None]
    still = np.array([0.5, 0.2, 0.0, 0.6, 0.9, 0.7, 1.0, np.nan])[:, None]
    assert Activity(deviation, still).kind(np.array([2.0])).ravel().tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("covariates", [False, True])
def test_calibration_measures_every_window_against_its_context(covariates):
    rng = np.random.default_rng(0)
    blocks = []
    for number in range(2):
        values = torch.tensor(rng.normal(size=(140, 3)).cumsum(0), dtype=torch.float32)
        values[10:25, 1 + number] = torch.nan
        static = torch.tensor(rng.normal(size=2), dtype=torch.float32)
        extra = {"known": torch.randn(140, 2), "static": static} if covariates else {}
        cutoffs = window_cutoffs(140, 40, CONTEXT, HORIZON)
        blocks.append(Windows.before(cutoffs, values, CONTEXT, HORIZON, 2, **extra))
    _, windows = split_windows(Windows.join(blocks), [100, 100])
    torch.manual_seed(0)
    config = SAMoVARConfig(d_model=8, n_heads=2, n_layers=1)
    sizes = {"n_known": 2, "n_static": 2} if covariates else {}
    network = build_network(SAMoVAR, 3, 2, CONTEXT, HORIZON, config, **sizes).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)

    errors, active, still, series = [], [], [], []
    with torch.no_grad():
        for start in windows.starts:
            past, future, given = windows.gather(start.reshape(1))
            targets = past[0, :, -2:].double().numpy()
            active.append([reference_activity(column, HORIZON) for column in targets.T])
            shown = [column[~np.isnan(column)] for column in targets.T]
            still.append([np.mean(np.diff(one) == 0) if len(one) > 1 else 1.0 for one in shown])
            errors.append(np.abs(future[0].double().numpy() - network(past, given)[0, ..., 0].double().numpy()))
            series.append(int(windows.block[start]))
    calibration = calibrate(network, windows, windows.horizon, held_out=True)
    assert calibration.n_windows == len(windows)
    kind = Activity(np.array(active), np.array(still)).kind(calibration.deviation)
    relative = np.array(errors) / np.maximum(active, 0.1 * calibration.deviation)[:, None, :]
    for owner, of_kind, target in np.ndindex(calibration.curve.shape):
        expected = reference_category(kind[:, target], np.array(series), owner, of_kind)
        number = calibration.curve[owner, of_kind, target]
        assert calibration.windows[number] == expected.sum()
        for i in (0, 100, 160, 200):
            ranked = [reference_score(relative[expected, step, target], i) for step in range(HORIZON)]
            np.testing.assert_allclose(calibration.scores[number, i], ranked, rtol=1e-3)


def reference_category(kind, series, owner, of_kind):
    """Which windows a context is scored by: from the narrowest category to the widest, the first with enough."""
    own_class = [kinds for kinds in ((0, 1, 2), (3, 4, 5), (6,)) if of_kind in kinds]
    same = np.isin(kind, own_class[0]) if own_class else np.zeros(len(kind), dtype=bool)
    candidates = [(kind == of_kind) & (series == owner)] if owner < series.max() + 1 else []
    least = [max(20, 4 * HORIZON)] * len(candidates) + [20, 20]
    for candidate, enough in zip([*candidates, kind == of_kind, same], least, strict=True):
        if candidate.sum() >= enough and own_class:
            return candidate
    return np.ones(len(kind), dtype=bool)


def test_calibration_takes_evenly_spaced_windows_where_there_are_many(monkeypatch):
    network, windows = windows_with_errors(np.arange(1.0, 42.0).reshape(41, 1, 1))
    monkeypatch.setattr(intervals, "MOST_WINDOWS", 5)
    calibration = calibrate(network, windows, windows.horizon, held_out=True)
    assert calibration.n_windows == 5
    assert sorted(set(calibration.scores.ravel().tolist())) == [1, 11, 21, 31, 41]


def test_wide_data_are_calibrated_on_fewer_windows(monkeypatch):
    network, windows = windows_with_errors(np.ones((300, 2, 3)))
    monkeypatch.setattr(intervals, "MOST_ERRORS", 6 * 120)
    assert calibrate(network, windows, windows.horizon, held_out=True).n_windows == 120
    monkeypatch.setattr(intervals, "MOST_ERRORS", 1)
    assert calibrate(network, windows, windows.horizon, held_out=True).n_windows == 100


def test_windows_are_chosen_exactly_where_single_precision_is_not():
    n_available = 2**24 + 10
    chosen = evenly_spaced(n_available, 2_000)
    assert chosen.dtype == torch.int64
    assert chosen.tolist() == [i * (n_available - 1) // 1_999 for i in range(2_000)]
    assert evenly_spaced(2**40 + 1, 5).tolist() == [0, 2**38, 2**39, 3 * 2**38, 2**40]
    assert evenly_spaced(1, 5).tolist() == [0]
    assert evenly_spaced(7, 1).tolist() == [0]


def test_a_context_that_stands_still_unlike_all_others_has_an_interval_of_normal_errors():
    network, windows = windows_with_errors(np.full((25, 2, 1), 0.01))
    calibration = calibrate(network, windows, windows.horizon, held_out=True)
    spread = calibration.spread([0.1, 0.9], Activity(np.zeros((1, 1)), np.ones((1, 1))), 2)
    np.testing.assert_allclose(spread[0, :, 0] / calibration.deviation, [[-0.128155, 0.128155]] * 2, rtol=1e-3)
    seen = calibration.spread([0.9], Activity(np.ones((1, 1)), np.zeros((1, 1))), 2)
    np.testing.assert_allclose(seen, 0.01, rtol=2e-3)


def test_a_context_without_a_value_is_as_uncertain_as_two_rows_are_apart():
    rng = np.random.default_rng(0)
    values = rng.normal(size=500).astype(np.float32)
    train_rows = 400
    cutoffs = window_cutoffs(500, train_rows, 28, 7)
    windows = split_windows(Windows.before(cutoffs, torch.from_numpy(values)[:, None], 28, 7, 1), [500 - train_rows])[1]
    calibration = calibrate(Stub(28, 7), windows, 7, held_out=True)
    spread = calibration.spread([0.1, 0.9], activity(torch.full((28, 1), torch.nan), torch.tensor([28]), 28, 7, 1), 14)
    apart = np.abs(values[:train_rows, None] - values[:train_rows])
    assert (apart <= spread[0, 0, 0, 1]).mean() == pytest.approx(0.8, abs=0.02)
    np.testing.assert_allclose(spread[0, :7, 0], spread[0, [0] * 7, 0])
    np.testing.assert_allclose(spread[0, 13], spread[0, 6] * np.sqrt(2))


def test_errors_after_contexts_without_a_value_count_for_no_other():
    errors = np.ones((60, 2, 2))
    network, windows = windows_with_errors(errors)
    for start in windows.starts[30:]:
        windows.values[start : start + 4, 0] = torch.nan
        windows.values[start + 4 : start + 6, 0] = 1_000.0
    calibration = calibrate(network, windows, windows.horizon, held_out=True)
    spread = calibration.spread([0.9], Activity(np.ones((1, 2)), np.zeros((1, 2))), 2)
    np.testing.assert_allclose(spread, 1, rtol=1e-3)
    assert calibration.windows.tolist()[:2] == [30, 60]


class Stub(ForecastNetwork):
    """Forecasts a share of the mean of the context, plus a constant: with a bias, where that is not 1 and 0."""

    def __init__(self, context_length, horizon, share=1.0, constant=0.0):
        super().__init__(1, 1, context_length, horizon)
        self.share, self.constant = nn.Parameter(torch.tensor(share)), constant
        self.eval()

    def forward(self, past, covariates=None):
        point = self.share * past.mean(1, keepdim=True) + self.constant
        return point.expand(-1, self.horizon, -1).unsqueeze(3)


UNBIASED, BIASED = (1.0, 0.0), (0.8, 0.05)


def outcomes(panel, network_bias, known_series=True, coverage=0.8, n_training=400, n_calibration=100):
    """Coverage of the rows after those of the calibration, and width over range: means by name without its number."""
    context_length, horizon, n_rows = 28, 7, n_training + n_calibration
    scaled = []
    for values in panel.values():
        scale = values[:n_training].std() or 1.0
        scaled.append(torch.tensor((values - values[:n_training].mean()) / scale, dtype=torch.float32).unsqueeze(1))
    cutoffs = window_cutoffs(n_rows, n_training, context_length, horizon)
    parts = [Windows.before(cutoffs, one[:n_rows], context_length, horizon, 1) for one in scaled]
    _, windows = split_windows(Windows.join(parts), [n_rows - n_training] * len(parts))
    network = Stub(context_length, horizon, *network_bias)
    calibration = calibrate(network, windows, windows.horizon, held_out=True)
    covered, width = {}, {}
    for number, (name, values) in enumerate(zip(panel, scaled, strict=True)):
        cutoffs = torch.arange(n_rows, len(values) - horizon + 1)
        starts = cutoffs - context_length
        after = Windows(values, starts, context_length, horizon, 1)
        past, future, _ = after.gather(starts)
        with torch.no_grad():
            point = network(past)[..., 0].double().numpy()
        active = activity(values, cutoffs, context_length, horizon, 1)
        series = np.full(len(cutoffs), number) if known_series else None
        spread = calibration.spread([0.5 - coverage / 2, 0.5 + coverage / 2], active, horizon, series)
        error = future.double().numpy() - point
        kind = name.rstrip("0123456789")
        inside = (error >= spread[..., 0]) & (error <= spread[..., 1])
        covered.setdefault(kind, []).append(inside.mean())
        width.setdefault(kind, []).append(np.ptp(spread, axis=-1).max() / max(np.ptp(values.numpy()), 1e-9))
    return {kind: (np.mean(covered[kind]), max(width[kind])) for kind in covered}


def poisson_panel(n_fast, fast_rate, n_slow, slow_rate, seed=0):
    rng = np.random.default_rng(seed)
    fast = {f"fast{i}": rng.poisson(fast_rate, 700).astype(float) for i in range(n_fast)}
    return fast | {f"slow{i}": rng.poisson(slow_rate, 700).astype(float) for i in range(n_slow)}


@pytest.mark.parametrize("bias", [UNBIASED, BIASED])
@pytest.mark.parametrize("known_series", [True, False])
@pytest.mark.parametrize(("n_fast", "n_slow", "rate"), [(4, 8, 0.005), (12, 8, 0.05), (6, 14, 0.05)])
def test_fast_series_are_covered_apart_from_slow_ones(n_fast, n_slow, rate, known_series, bias):
    found = outcomes(poisson_panel(n_fast, 5, n_slow, rate), bias, known_series)
    assert 0.75 < found["fast"][0] < 0.85
    assert found["slow"][0] > 0.75  # most of its values are 0, and an interval that holds 0 covers them all
    assert max(width for _, width in found.values()) < 1.5


@pytest.mark.parametrize("bias", [UNBIASED, BIASED])
def test_dead_series_do_not_widen_live_ones(bias):
    rng = np.random.default_rng(0)
    panel = {f"live{i}": rng.normal(5, 1, size=700) for i in range(4)}
    panel |= {f"dead{i}": np.where(np.arange(700) < 200, rng.normal(size=700), 0) for i in range(8)}
    found = outcomes(panel, bias)
    assert 0.75 < found["live"][0] < 0.85
    assert found["live"][1] < 1
    assert found["dead"][0] > 0.75
    assert found["dead"][1] < 0.1


@pytest.mark.parametrize("bias", [UNBIASED, BIASED])
@pytest.mark.parametrize("rate", [0.01, 0.02])
@pytest.mark.parametrize("n_series", [1, 8])
def test_sparse_series_are_covered_at_least_as_often_as_said(n_series, rate, bias):
    rng = np.random.default_rng(1)
    panel = {f"sparse{i}": (rng.random(700) < rate) * rng.poisson(5, 700).astype(float) for i in range(n_series)}
    coverage, width = outcomes(panel, bias)["sparse"]
    assert coverage > 0.75
    assert width < 2


@pytest.mark.parametrize("bias", [UNBIASED, (1.0, 0.3)])  # a bias that does not depend on the level
@pytest.mark.parametrize("at", [400, 440])
def test_a_level_shift_among_the_validation_rows(at, bias):
    series = np.random.default_rng(0).normal(size=1_500)
    series[at:] += 8
    coverage, width = outcomes({"shift": series}, bias)["shift"]
    assert 0.75 < coverage < 0.85
    assert width < 1


def test_predictable_series_do_not_narrow_those_of_noise():
    """The same deviation, so only the series tell them apart."""
    rng = np.random.default_rng(0)
    panel = {f"noise{i}": rng.normal(size=700) for i in range(6)}
    wave = np.sqrt(2) * np.sin(2 * np.pi * np.arange(700) / 14)
    panel |= {f"wave{i}": 1e-3 * rng.normal(size=700) + np.sign(wave) for i in range(8)}  # errors of 1, always
    found = outcomes(panel, UNBIASED)
    assert 0.75 < found["noise"][0] < 0.85


def waves_and_noise(seed, period):
    """The validation rows hold a quarter of a period of 400 rows, and the tests another half."""
    rng = np.random.default_rng(seed)
    panel = {f"fast{i}": rng.normal(5, 1, size=700) for i in range(5)}
    turns = np.arange(700) / period
    return panel | {f"slow{i}": np.sin(2 * np.pi * (turns + rng.random())) + rng.normal(0, 0.05, 700) for i in range(5)}


def walks_and_noise(seed):
    rng = np.random.default_rng(seed)
    panel = {f"fast{i}": rng.normal(5, 1, size=700) for i in range(3)}
    return panel | {f"slow{i}": rng.normal(size=700).cumsum() for i in range(7)}


@pytest.mark.parametrize("bias", [UNBIASED, BIASED])
@pytest.mark.parametrize(
    "panel_of",
    [lambda seed: waves_and_noise(seed, 400), lambda seed: waves_and_noise(seed, 150), walks_and_noise],
    ids=["waves of 400 rows", "waves of 150 rows", "walks"],
)
def test_slow_series_are_covered_although_few_of_their_errors_are_independent(panel_of, bias):
    found = [outcomes(panel_of(seed), bias) for seed in range(8)]
    for kind in ("fast", "slow"):
        assert 0.74 < np.mean([one[kind][0] for one in found]) < 0.86
        assert max(one[kind][1] for one in found) < 1.2


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("n", [4, 7, 40, 501])
def test_independent_errors_against_loops(n, memory):
    rng = np.random.default_rng(n)
    errors = np.zeros((n, 3, 2))
    for row in range(n):
        errors[row] = memory * errors[row - 1] + rng.normal(size=(3, 2))
    found = independent_errors(errors)
    for step, target in np.ndindex(3, 2):
        assert found[step, target] == pytest.approx(independent_by_loops(errors[:, step, target]), rel=1e-6)


def test_independent_errors_of_a_known_process():
    """Of an autoregression with the coefficient a they are n (1 - a) / (1 + a)."""
    rng = np.random.default_rng(0)
    errors = np.zeros(200_000)
    for row, noise in enumerate(rng.normal(size=len(errors))):
        errors[row] = 0.8 * errors[row - 1] + noise
    assert independent_errors(errors) == pytest.approx(len(errors) * 0.2 / 1.8, rel=0.05)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_of_few_or_missing_errors_each_counts(n):
    assert independent_errors(np.arange(float(n))) == n
    assert independent_errors(np.full((n, 2), np.nan)).tolist() == [0, 0]
    assert independent_errors(np.full(n, 7.0)) == n


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([0.0, 0.5, 0.98]), st.sampled_from([0.5, 0.8, 0.9])
)
def test_every_category_is_covered_as_often_as_said(seed, n_windows, share_of_zeros, coverage):
    """Each of n + 1 exchangeable errors in turn is new to the others of its series and kind; ties count as covered."""
    rng = np.random.default_rng(seed)
    size = n_windows + 1
    own = np.exp(2 * rng.normal(size=size)).round(1) * (rng.random(size) >= share_of_zeros)
    others = 100 * rng.random(300)  # of another series and of another kind
    kind, series = (
        np.r_[np.ones(n_windows), rng.integers(1, 3, 300)].astype(int)[:, None],
        np.r_[[0] * n_windows, [1] * 300],
    )
    covered, apart = [], n_windows >= 20
    for new in range(size):
        errors = np.r_[np.delete(own, new), others][:, None, None]
        scores, curve, _, windows = curves_of(errors, kind, series, 2, 20)
        assert windows[curve[0, 1, 0]] == n_windows if apart else windows[curve[0, 1, 0]] > n_windows
        covered.append(np.float32(own[new]) <= scores[curve[0, 1, 0], round(200 * coverage), 0])
    if apart:
        assert np.mean(covered) >= coverage


def test_model_files_hold_what_a_calibration_needs():
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(40, 2, 3))
    network, windows = windows_with_errors(errors)
    calibration = calibrate(network, windows, windows.horizon, held_out=True)
    copied = Calibration.from_arrays(calibration.arrays(), 2, 3, 1, calibration.n_windows, calibration.held_out)
    active = Activity(rng.random((5, 3)), np.zeros((5, 3)))
    np.testing.assert_array_equal(copied.spread([0.1, 0.8], active, 4), calibration.spread([0.1, 0.8], active, 4))
    for name, array in calibration.arrays().items():
        for broken in (array[:-1], array.astype(complex), array[None]):
            with pytest.raises(ValueError, match="are not of the size"):
                Calibration.from_arrays(calibration.arrays() | {name: broken}, 2, 3, 1, 40, True)
    with pytest.raises(ValueError, match="are not of the size"):
        Calibration.from_arrays(calibration.arrays() | {"curve": calibration.curve + 3}, 2, 3, 1, 40, True)


def test_older_model_files_keep_their_intervals():
    scores = np.linspace(0, 1, 201)[:, None, None] * np.array([[1.0, 2.0], [3.0, 4.0]])
    arrays = {"scores": scores, "floor": np.array([0.05, 0.2])}
    calibration = Calibration.from_arrays(arrays, 2, 2, 12, 1_000, True)
    active = Activity(np.array([[0.01, 0.5]]), np.array([[1.0, 0.0]]))
    spread = calibration.spread([0.9], active, 2, np.array([7]))
    np.testing.assert_allclose(spread[0, :, :, 0], 0.8 * scores[-1] * [0.05, 0.5], rtol=1e-3)
    with pytest.raises(ValueError, match="are not of the size"):
        Calibration.from_arrays(arrays | {"floor": np.ones(3)}, 2, 2, 12, 1_000, True)
