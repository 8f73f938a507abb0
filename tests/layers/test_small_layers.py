import torch

from samovar_forecast.layers.arx_tokens import ARXTokens, split_segments
from samovar_forecast.layers.instance_norm import normalise_instance
from samovar_forecast.layers.invertible_map import InvertibleMap
from samovar_forecast.layers.revin import RevIN


def test_instance_norm_uses_the_recent_level_and_the_deviation_of_all_points():
    past = torch.randn(4, 30, 3, dtype=torch.float64) * 5 + 7
    z, denormalise = normalise_instance(past, level_length=10, n_targets=2, n_locations=1)
    series = past.transpose(1, 2)
    expected = (series - series[..., -10:].mean(-1, keepdim=True)) / (series.std(-1, keepdim=True) + 1e-8)
    torch.testing.assert_close(z, expected)
    restored = denormalise(z[:, -2:].transpose(1, 2).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(restored, past[..., -2:])


def test_only_location_outputs_get_scale_and_level_back():
    past = torch.randn(2, 20, 1) + 100
    _, denormalise = normalise_instance(past, level_length=20, n_targets=1, n_locations=1)
    location, other = denormalise(torch.zeros(2, 5, 1, 2)).unbind(-1)
    torch.testing.assert_close(location, past.mean(1, keepdim=True).expand_as(location))
    assert (other == 0).all()


def test_a_constant_series_stays_finite():
    past = torch.full((1, 50, 1), 3.0)
    z, denormalise = normalise_instance(past, level_length=7, n_targets=1, n_locations=1)
    assert torch.isfinite(z).all()
    torch.testing.assert_close(denormalise(torch.zeros(1, 4, 1, 1)), torch.full((1, 4, 1, 1), 3.0))


def test_segments_are_padded_on_the_left():
    series = torch.arange(1.0, 8.0).reshape(1, 1, 7)
    assert split_segments(series, 3)[0, 0].tolist() == [[0, 0, 1], [2, 3, 4], [5, 6, 7]]


def test_tokens_interleave_context_and_main():
    tokens = ARXTokens(n_series=3, n_targets=2, segment_length=4, d_model=8, univariate=False)
    segments = torch.randn(5, 3, 6, 4)
    embedded = tokens(segments)
    torch.testing.assert_close(embedded[:, :, 1::2], tokens.main_norm(tokens.main(segments[:, 1:])))
    mixed = torch.einsum("tc,bcns->btns", tokens.mixture.weight, segments) + tokens.mixture.bias[:, None, None]
    torch.testing.assert_close(embedded[:, :, ::2], tokens.context_norm(tokens.context(mixed)))


def test_univariate_context_tokens_are_zero():
    tokens = ARXTokens(n_series=3, n_targets=3, segment_length=4, d_model=8, univariate=True)
    assert (tokens(torch.randn(2, 3, 5, 4))[:, :, ::2] == 0).all()


def test_output_map_is_invertible_for_any_parameter():
    layer = InvertibleMap(n_heads=3, d_head=5).double()
    for scale in (0.0, 0.3, 1.0):
        torch.manual_seed(0)
        torch.nn.init.normal_(layer.packed, std=scale)
        matrix = layer.matrix()
        determinant = torch.nn.functional.softplus(layer.packed.diagonal(dim1=-2, dim2=-1)).prod(-1)
        torch.testing.assert_close(torch.linalg.det(matrix), determinant, rtol=1e-8, atol=0)
        assert (determinant > 0).all()
        tokens = torch.randn(2, 3, 4, 5, dtype=torch.float64)
        torch.testing.assert_close(layer(tokens), torch.einsum("bhnd,hde->bhne", tokens, matrix))


def test_revin_goes_there_and_back():
    norm = RevIN(n_series=4, n_targets=2)
    with torch.no_grad():
        norm.scale.uniform_(0.5, 2)
        norm.shift.normal_()
    past = 100 + 30 * torch.randn(3, 50, 4)
    normalised, denormalise = norm(past, n_locations=1)
    expected = (past - past.mean(1, keepdim=True)) / (past.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(normalised.transpose(1, 2), expected * norm.scale + norm.shift)
    back = denormalise(normalised[:, -2:].transpose(1, 2).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(back, past[..., -2:], rtol=1e-5, atol=0)


def test_revin_of_a_constant_is_zero_and_its_statistics_have_no_gradient():
    past = torch.full((2, 20, 3), 1e6, requires_grad=True)
    normalised, denormalise = RevIN(3, 3)(past, n_locations=1)
    assert (normalised == 0).all()
    forecast = denormalise(torch.zeros(2, 5, 3, 1))
    assert (forecast == 1e6).all()
    (forecast.sum() + normalised.sum()).backward()
    torch.testing.assert_close(past.grad, torch.full_like(past, 1e-5**-0.5))  # of (past - mean) / deviation alone


def test_revin_leaves_the_parameters_of_a_distribution_alone():
    norm = RevIN(2, 1)
    forecast = torch.randn(3, 4, 1, 3)
    _, denormalise = norm(5 + torch.randn(3, 30, 2), n_locations=1)
    result = denormalise(forecast)
    assert torch.equal(result[..., 1:], forecast[..., 1:])
    assert not torch.equal(result[..., :1], forecast[..., :1])
