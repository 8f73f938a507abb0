"""Statistics over observed values against numpy's, and the normalisations that are made of them."""

import numpy as np
import pytest
import torch

from samovar_forecast.layers.instance_norm import RevIN, normalise_instance
from samovar_forecast.layers.observed import fill_with_mean, observed_mean, observed_share, observed_std_mean


def windows(share_missing=0.4, batch=5, length=30, n_series=4):
    """Windows at a level, with random gaps; every series of every window shows at least three points."""
    generator = torch.Generator().manual_seed(0)
    past = 7 + 5 * torch.randn(batch, length, n_series, dtype=torch.float64, generator=generator)
    missing = torch.rand(past.shape, generator=generator) < share_missing
    missing[:, ::12] = False
    return past.masked_fill(missing, torch.nan)


@pytest.mark.parametrize("dim", [1, -1])
@pytest.mark.parametrize("correction", [0, 1])
def test_statistics_are_those_of_numpy(dim, correction):
    past = windows().movedim(1, dim)
    deviation, mean = observed_std_mean(past, ~past.isnan(), dim, correction)
    values = past.numpy()
    expected = np.nanmean(values, axis=dim, keepdims=True)
    np.testing.assert_allclose(mean.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(
        deviation.numpy(), np.nanstd(values, axis=dim, ddof=correction, keepdims=True), rtol=1e-12
    )  # fmt: skip
    filled = fill_with_mean(past, dim).numpy()
    np.testing.assert_allclose(filled, np.where(np.isnan(values), expected, values), rtol=1e-12)


def test_gradients_are_those_of_the_observed_values_alone():
    past = windows()[0].requires_grad_()
    deviation, mean = observed_std_mean(past, ~past.isnan(), dim=0)
    weights = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64)
    ours = torch.autograd.grad((weights * (deviation + 2 * mean)).sum(), past)[0]
    for series in range(4):
        shown = past[:, series][~past[:, series].isnan()].detach().requires_grad_()
        (expected,) = torch.autograd.grad(weights[series] * (shown.std() + 2 * shown.mean()), shown)
        torch.testing.assert_close(ours[:, series][~past[:, series].isnan()], expected)
    assert (ours[past.isnan()] == 0).all()


@pytest.mark.parametrize("shown", [[], [3.0], [3.0, 3.0, 3.0]], ids=len)
def test_too_few_values_have_no_deviation_and_finite_gradients(shown):
    series = torch.full((6,), torch.nan)
    series[: len(shown)] = torch.tensor(shown)
    series.requires_grad_()
    deviation, mean = observed_std_mean(series, ~series.isnan(), dim=0)
    assert deviation == 0
    assert mean == (3 if shown else 0)
    (gradient,) = torch.autograd.grad((deviation + mean).sum(), series)
    expected = torch.tensor([1 / max(1, len(shown))] * len(shown) + [0.0] * (6 - len(shown)))
    torch.testing.assert_close(gradient, expected)


def test_a_row_alone_has_no_deviation():
    deviation, mean = observed_std_mean(torch.ones(2, 1), torch.ones(2, 1, dtype=torch.bool), dim=1)
    assert (deviation == 0).all()
    assert (mean == 1).all()


def test_mean_of_a_choice():
    series = torch.tensor([[1.0, torch.nan, 5.0, 6.0]])
    torch.testing.assert_close(
        observed_mean(series, torch.tensor([[True, False, True, False]]), 1), torch.tensor([[3.0]])
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_statistics_keep_the_type(dtype):
    past = windows().to(dtype)
    assert {x.dtype for x in (*observed_std_mean(past, ~past.isnan(), 1), fill_with_mean(past, 1))} == {dtype}


def complete_instance_norm(past, level_length):
    series = past.transpose(1, 2)
    level, scale = series[..., -level_length:].mean(-1, keepdim=True), series.std(-1, keepdim=True) + 1e-8
    return (series - level) / scale, scale.transpose(1, 2), level.transpose(1, 2)


def complete_revin(past, norm):
    variance, mean = torch.var_mean(past.detach(), dim=1, keepdim=True, correction=0)
    deviation = (variance + 1e-5).sqrt()
    return ((past - mean) / deviation * norm.scale + norm.shift).transpose(1, 2), deviation, mean


@pytest.mark.parametrize("level_length", [1, 10, 30, 50])
def test_complete_windows_are_normalised_by_all_their_points(level_length):
    """Values and gradients of the formulas that know no gaps."""
    past = windows(share_missing=0).requires_grad_()
    z, denormalise = normalise_instance(past, level_length, n_targets=4, n_locations=1)
    expected, scale, level = complete_instance_norm(past, level_length)
    torch.testing.assert_close(z, expected)
    forecast = torch.linspace(-1, 1, 5 * 6 * 4, dtype=torch.float64).reshape(5, 6, 4, 1)
    ours, theirs = denormalise(forecast), forecast * scale.unsqueeze(-1) + level.unsqueeze(-1)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(z.pow(3).sum() + ours.square().sum(), past),
        torch.autograd.grad(expected.pow(3).sum() + theirs.square().sum(), past),
    )


def revin():
    torch.manual_seed(0)
    norm = RevIN(n_series=4, n_targets=4).double()
    with torch.no_grad():
        norm.scale.uniform_(0.5, 2)
        norm.shift.normal_()
    return norm


def test_complete_windows_pass_revin_with_all_their_points():
    past, norm = windows(share_missing=0).requires_grad_(), revin()
    z, denormalise = norm(past, n_locations=1)
    expected, deviation, mean = complete_revin(past, norm)
    torch.testing.assert_close(z, expected)
    forecast = torch.linspace(-1, 1, 5 * 6 * 4, dtype=torch.float64).reshape(5, 6, 4, 1)
    scale, shift = norm.scale.unsqueeze(-1) + 1e-10, norm.shift.unsqueeze(-1)
    ours = denormalise(forecast)
    theirs = (forecast - shift) / scale * deviation.unsqueeze(-1) + mean.unsqueeze(-1)
    torch.testing.assert_close(ours, theirs)
    inputs = [past, norm.scale, norm.shift]
    torch.testing.assert_close(
        torch.autograd.grad(z.pow(3).sum() + ours.square().sum(), inputs),
        torch.autograd.grad(expected.pow(3).sum() + theirs.square().sum(), inputs),
    )


@pytest.mark.parametrize("level_length", [1, 4, 30])
def test_the_level_is_that_of_the_newest_points_observed(level_length):
    past = windows()
    past[0, 10:, 0] = torch.nan  # a series that ended long ago
    z, denormalise = normalise_instance(past, level_length, n_targets=4, n_locations=1)
    zero, one = (denormalise(torch.full((5, 1, 4, 1), x, dtype=torch.float64))[:, 0, :, 0] for x in (0.0, 1.0))
    for window in range(5):
        for series in range(4):
            shown = past[window, :, series].numpy()
            here = ~np.isnan(shown)
            level, scale = shown[here][-level_length:].mean(), np.nanstd(shown, ddof=1) + 1e-8
            np.testing.assert_allclose(zero[window, series].item(), level)
            np.testing.assert_allclose((one - zero)[window, series].item(), scale)
            np.testing.assert_allclose(
                z[window, series].numpy(), np.where(here, (shown - level) / scale, 0), atol=1e-12
            )


def test_revin_of_gaps():
    past, norm = windows(), revin()
    z, denormalise = norm(past, n_locations=1)
    level = denormalise(norm.shift.expand(5, 1, -1).unsqueeze(-1))[:, 0, :, 0]
    values = past.numpy()
    mean, deviation = np.nanmean(values, axis=1), np.sqrt(np.nanvar(values, axis=1) + 1e-5)
    np.testing.assert_allclose(level.detach().numpy(), mean)
    share = 1 - np.isnan(values).mean(axis=1)  # all windows begin with an observed row
    standardised = np.where(np.isnan(values), 0, (values - mean[:, None]) / (deviation * share)[:, None])
    expected = torch.from_numpy(standardised) * norm.scale + norm.shift
    torch.testing.assert_close(z, expected.transpose(1, 2))


def test_linear_maps_of_gappy_windows_have_the_mean_of_complete_ones():
    """So that a map that was trained with gaps suits windows without, whose normalised values add up to as much."""
    generator = torch.Generator().manual_seed(0)
    complete = torch.randn(1, 200, 1, dtype=torch.float64, generator=generator).expand(4000, -1, -1)
    weights = torch.linspace(-1, 2, 200, dtype=torch.float64)
    norm = RevIN(1, 1).double()
    expected = (norm(complete[:1], 1)[0] * weights).sum().item()
    gappy = complete.masked_fill(torch.rand(complete.shape, generator=generator) < 0.3, torch.nan)
    mapped = (norm(gappy, 1)[0] * weights).sum(-1)
    error = mapped.std().item() / 4000**0.5
    assert abs(mapped.mean().item() - expected) < 4 * error + 0.01 * abs(expected)
    assert abs(0.7 * mapped.mean().item() - expected) > 4 * error + 0.01 * abs(expected)  # without the division


def test_rows_before_a_series_are_no_gaps_in_it():
    past = windows(share_missing=0.0)
    past[:, :12] = torch.nan
    assert torch.equal(observed_share(~past.isnan(), dim=1), torch.ones(5, 1, 4))
    past[:, 15:24] = torch.nan
    assert torch.equal(observed_share(~past.isnan(), dim=1), torch.full((5, 1, 4), 0.5))


def test_what_is_never_observed_has_level_zero():
    past = windows()
    past[1, :, 2] = torch.nan
    norm = revin()
    for z, denormalise in (normalise_instance(past, 4, 4, 1), norm(past, n_locations=1)):
        start = z[1, 2, :1].detach()  # what stands for a gap
        assert (z[1, 2] == start).all()
        forecast = denormalise(start.expand(5, 1, 4, 1))
        assert forecast[1, 0, 2, 0] == 0
