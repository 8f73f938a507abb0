import pytest
import torch

from samovar_forecast.layers.decomposition import SeasonalNorm, SeriesDecomposition


def direct_trend(series, moving_average):
    """Point after point: the mean of the points around, where the outermost ones go on beyond the ends."""
    length, reach = series.shape[1], moving_average // 2
    rows = []
    for t in range(length):
        around = [series[:, min(max(s, 0), length - 1)] for s in range(t - reach, t + reach + 1)]
        rows.append(sum(around) / moving_average)
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("moving_average", [1, 3, 7, 25, 101])
@pytest.mark.parametrize("length", [1, 2, 9, 16, 17, 48, 49, 130])
def test_equals_the_direct_average(length, moving_average):
    decomposition = SeriesDecomposition(moving_average)
    series = torch.randn(2, length, 3, dtype=torch.float64, requires_grad=True)
    seasonal, trend = decomposition(series)
    expected = direct_trend(series, moving_average)
    torch.testing.assert_close(trend, expected)
    torch.testing.assert_close(seasonal, series - expected)
    upstream = torch.randn_like(trend)
    for ours, theirs in ((trend, expected), (seasonal, series - expected)):
        torch.testing.assert_close(
            *(torch.autograd.grad(result, series, upstream, retain_graph=True)[0] for result in (ours, theirs))
        )


@pytest.mark.parametrize(("length", "moving_average"), [(40, 25), (400, 3)])
def test_seasonal_and_trend_add_up(length, moving_average):
    series = 3 + torch.randn(4, length, 2)
    seasonal, trend = SeriesDecomposition(moving_average)(series)
    torch.testing.assert_close(seasonal + trend, series, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("length", "moving_average"), [(40, 25), (10, 25), (400, 3)])
@pytest.mark.parametrize("value", [0.0, -2.5, 1e4])
def test_a_constant_has_no_seasonal_part(length, moving_average, value):
    series = torch.full((2, length, 3), value)
    seasonal, trend = SeriesDecomposition(moving_average)(series)
    assert seasonal.abs().max() <= 1e-6 * abs(value)
    torch.testing.assert_close(trend, series)


def test_a_season_as_long_as_the_average_leaves_the_trend():
    times = torch.arange(100, dtype=torch.float64)
    season = torch.sin(2 * torch.pi * times / 25)
    _, trend = SeriesDecomposition(25)((season + 0.1 * times).reshape(1, 100, 1))
    torch.testing.assert_close(trend[0, 12:-12, 0], 0.1 * times[12:-12])


def test_nothing_is_learned_or_saved():
    decomposition = SeriesDecomposition(5)
    assert not list(decomposition.parameters())
    assert not decomposition.state_dict()


@pytest.mark.parametrize(("wrong", "right"), [(24, "23 or 25 rows"), (2, "1 or 3 rows"), (0, "1 or 1"), (-3, "odd")])
def test_an_even_average_is_refused(wrong, right):
    with pytest.raises(ValueError, match=rf"moving_average must be odd and positive, got {wrong}.*") as error:
        SeriesDecomposition(wrong)
    assert right in str(error.value)


def test_the_norm_has_no_level_and_needs_no_shift():
    norm = SeasonalNorm(8).double()
    torch.nn.init.normal_(norm.norm.weight)
    tokens = 5 + torch.randn(3, 11, 8, dtype=torch.float64, requires_grad=True)
    normalised = norm(tokens)
    torch.testing.assert_close(normalised.mean(1), torch.zeros(3, 8, dtype=torch.float64))
    centred = tokens - tokens.mean(-1, keepdim=True)
    shifted = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.norm.weight + torch.randn(8)
    expected = shifted - shifted.mean(1, keepdim=True)
    torch.testing.assert_close(normalised, expected)
    upstream = torch.randn_like(normalised)
    torch.testing.assert_close(*(torch.autograd.grad(result, tokens, upstream)[0] for result in (normalised, expected)))
