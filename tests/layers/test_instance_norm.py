import torch

from samovar_forecast.layers.instance_norm import RevIN, normalise_instance


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


def test_revin_in_evaluation_has_the_whole_derivative():
    norm = RevIN(2, 2).double().eval()
    with torch.no_grad():
        norm.scale.uniform_(0.5, 2)

    def there_and_back(past):
        normalised, denormalise = norm(past, n_locations=1)
        return normalised.sin(), denormalise(normalised[:, :, :2].transpose(1, 2).unsqueeze(-1).exp())

    past = torch.randn(1, 6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(there_and_back, past)


def test_revin_leaves_the_parameters_of_a_distribution_alone():
    norm = RevIN(2, 1)
    forecast = torch.randn(3, 4, 1, 3)
    _, denormalise = norm(5 + torch.randn(3, 30, 2), n_locations=1)
    result = denormalise(forecast)
    assert torch.equal(result[..., 1:], forecast[..., 1:])
    assert not torch.equal(result[..., :1], forecast[..., :1])
