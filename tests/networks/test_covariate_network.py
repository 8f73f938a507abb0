"""The covariates' effect: zero at first, taken out of the past, added to the future, learned."""

import pytest
import torch
import torch.nn.functional as F

from samovar_forecast.networks.covariate_network import CovariateNetwork, build_network
from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.network import Covariates, ForecastNetwork
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig

NETWORKS = [(SAMoVAR, SAMoVARConfig), (LinTrans, LinTransConfig), (FixedVAR, FixedVARConfig)]
TINY = {"d_model": 8, "n_heads": 2, "n_layers": 1, "dropout": 0.0}


@pytest.fixture(params=NETWORKS, ids=lambda pair: pair[0].__name__)
def network(request):
    torch.manual_seed(0)
    network_class, config_class = request.param
    return network_class(3, 2, 24, 6, config_class(**TINY), n_outputs=3)


@pytest.fixture
def past():
    return torch.randn(5, 24, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def covariates():
    generator = torch.Generator().manual_seed(2)
    return Covariates(*(torch.randn(*shape, generator=generator) for shape in [(5, 24, 4), (5, 6, 4), (5, 2)]))


def randomise(network):
    for effect in (network.known_effect, network.static_effect):
        for parameter in effect.parameters():
            torch.nn.init.normal_(parameter)


def test_without_covariates_it_is_the_network_itself():
    network = build_network(LinTrans, 3, 2, 24, 6, LinTransConfig(**TINY), n_outputs=3, n_locations=1)
    assert isinstance(network, LinTrans)
    assert network.n_locations == 1
    beside = build_network(LinTrans, 3, 2, 24, 6, LinTransConfig(**TINY), n_outputs=3, n_locations=1, n_static=2)
    assert isinstance(beside, CovariateNetwork)
    assert beside.n_locations == beside.network.n_locations == 1


def test_it_starts_at_the_plain_network(network, past, covariates):
    wrapped = CovariateNetwork(network, n_known=4, n_static=2)
    torch.testing.assert_close(wrapped(past, covariates), network(past), rtol=0, atol=0)
    for ours, plain in zip(wrapped.training_forecast(past, covariates), network.training_forecast(past), strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=0)


def test_the_network_forecasts_what_the_covariates_leave(network, past, covariates):
    wrapped = CovariateNetwork(network, n_known=4, n_static=2)
    randomise(wrapped)
    with_effect = past.clone()
    effect = wrapped.known_effect(covariates.known_past, covariates.static)
    with_effect[:, :, 1:] += effect  # the first series is no target
    added = wrapped.known_effect(covariates.known_future, covariates.static)
    shift = wrapped.static_effect(covariates.static).reshape(5, 6, 2)
    added = added + shift * past[:, :, 1:].std(1, keepdim=True)
    expected = network(past) + added.unsqueeze(-1)
    torch.testing.assert_close(wrapped(with_effect, covariates), expected, rtol=1e-4, atol=1e-4)
    result, plain = wrapped.training_forecast(with_effect, covariates), network.training_forecast(past)
    torch.testing.assert_close(result.forecast, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.own_forecast, plain.own_forecast, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.own_target, plain.own_target, rtol=1e-4, atol=1e-4)


def test_only_locations_move(network, past, covariates):
    network.n_locations = 1  # a location and two other parameters of a distribution
    wrapped = CovariateNetwork(network, n_known=0, n_static=2)
    torch.nn.init.ones_(wrapped.static_effect.bias)
    moved = wrapped(past, covariates) - network(past)
    assert wrapped.point_output == 0
    torch.testing.assert_close(moved[..., 0], past[:, :, 1:].std(1, keepdim=True).expand(5, 6, 2))
    assert (moved[..., 1:] == 0).all()


def test_float64(network, past, covariates):
    wrapped = CovariateNetwork(network, n_known=4, n_static=2).double()
    forecast = wrapped(past.double(), Covariates(*(one.double() for one in covariates)))
    assert forecast.dtype == torch.float64


class LastValue(ForecastNetwork):
    def forward(self, past, covariates=None):
        return past[:, -1:, -self.n_targets :, None].expand(-1, self.horizon, -1, 1)


def train(network, windows, target, covariates, steps=200):
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(steps):
        loss = F.mse_loss(network.training_forecast(windows, covariates).forecast.squeeze(-1), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss)


def test_it_learns_a_curved_effect():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    known = torch.randn(256, 14, 1, generator=generator)
    series = torch.randn(256, 1, 1, generator=generator) + known**2 + 2 * known  # a level that stays, and the effect
    covariates = Covariates(known[:, :8], known[:, 8:])
    wrapped = CovariateNetwork(LastValue(1, 1, context_length=8, horizon=6), n_known=1, n_static=0)
    assert train(wrapped, series[:, :8], series[:, 8:], covariates) < 0.1
    assert F.mse_loss(wrapped.network(series[:, :8]).squeeze(-1), series[:, 8:]) > 5


def test_it_learns_a_static_effect():
    generator = torch.Generator().manual_seed(0)
    static = torch.randn(256, 1, generator=generator)
    past = torch.randn(256, 8, 1, generator=generator)
    target = (
        past[:, -1:] + (static * past.squeeze(-1).std(1, keepdim=True)).unsqueeze(-1) * torch.arange(1, 7)[:, None] / 3
    )
    wrapped = CovariateNetwork(LastValue(1, 1, context_length=8, horizon=6), n_known=0, n_static=1)
    assert train(wrapped, past, target, Covariates(static=static)) < 1e-2
    assert F.mse_loss(wrapped.network(past).squeeze(-1), target) > 1


def test_it_learns_what_an_event_means_to_each_series_of_a_panel():
    """The same known covariate raises one series and lowers another; only the static covariate tells them apart."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    known = (torch.rand(256, 14, 1, generator=generator) < 0.3).float()
    static = torch.randn(256, 2, generator=generator)
    series = torch.randn(256, 1, 1, generator=generator) + 3 * known * static[:, None, :1]
    covariates = Covariates(known[:, :8], known[:, 8:], static)
    wrapped = CovariateNetwork(LastValue(1, 1, context_length=8, horizon=6), n_known=1, n_static=2)
    assert train(wrapped, series[:, :8], series[:, 8:], covariates) < 0.1
    assert F.mse_loss(wrapped.network(series[:, :8]).squeeze(-1), series[:, 8:]) > 2


def test_the_shift_of_static_covariates_is_measured_by_what_was_observed():
    wrapped = CovariateNetwork(LastValue(1, 1, context_length=8, horizon=6), n_known=0, n_static=1)
    torch.nn.init.ones_(wrapped.static_effect.weight)
    past = torch.randn(3, 8, 1, generator=torch.Generator().manual_seed(1))
    past[0, ::3], past[1, :7], past[2] = torch.nan, torch.nan, torch.nan
    _, added = wrapped.take_out_effects(past, Covariates(static=torch.full((3, 1), 2.0)))
    observed = past[0][~past[0].isnan()]
    expected = torch.tensor([2 * observed.std(), 0.0, 0.0]).reshape(3, 1, 1).expand(3, 6, 1)
    torch.testing.assert_close(added, expected)


def test_a_context_of_one_point_stays_finite():
    wrapped = CovariateNetwork(LastValue(2, 2, context_length=1, horizon=6), n_known=3, n_static=2)
    randomise(wrapped)
    covariates = Covariates(torch.randn(4, 1, 3), torch.randn(4, 6, 3), torch.randn(4, 2))
    forecast = wrapped(torch.randn(4, 1, 2), covariates)
    assert torch.isfinite(forecast).all()
    forecast.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in wrapped.parameters())


def test_exports_with_any_number_of_windows(past, covariates):
    wrapped = CovariateNetwork(LastValue(3, 2, context_length=24, horizon=6), n_known=4, n_static=2)
    randomise(wrapped)
    batch = {0: torch.export.Dim("batch", min=1)}
    shapes = (batch, Covariates(batch, batch, batch))
    program = torch.export.export(wrapped, (past, covariates), dynamic_shapes=shapes).module()
    two = Covariates(*(one[:2] for one in covariates))
    torch.testing.assert_close(program(past[:2], two), wrapped(past[:2], two))


@pytest.mark.parametrize(
    ("missing", "match"),
    [
        ({"known_past": None}, "covariates known in the future"),
        ({"known_future": None}, "covariates known in the future"),
        ({"static": None}, "static covariates"),
    ],
)
def test_missing_covariates_are_named(network, past, covariates, missing, match):
    wrapped = CovariateNetwork(network, n_known=4, n_static=2)
    with pytest.raises(ValueError, match=match):
        wrapped(past, covariates._replace(**missing))


def test_no_covariates_at_all(network, past):
    with pytest.raises(ValueError, match="covariates known in the future"):
        CovariateNetwork(network, n_known=4, n_static=0).training_forecast(past)


class CalendarSum(LastValue):
    """The last value, plus the sum of the features that it embeds, over all steps."""

    def __init__(self, n_series, n_targets, context_length, horizon, config, n_outputs=1, n_known=0):
        super().__init__(n_series, n_targets, context_length, horizon, n_outputs)
        self.n_known = n_known

    @classmethod
    def embeds_known(cls, config):
        return True

    def forward(self, past, covariates=None):
        if not self.n_known:
            assert covariates is None
            return super().forward(past)
        assert covariates.known_past.shape[2] == covariates.known_future.shape[2] == self.n_known
        return super().forward(past) + covariates.known_future.sum((1, 2)).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("n_calendar", [0, 1, 3])
@pytest.mark.parametrize("n_static", [0, 2])
def test_a_network_embeds_the_calendar_and_nothing_else(past, n_calendar, n_static):
    generator = torch.Generator().manual_seed(3)
    known_past, known_future = (torch.randn(5, n, 3, generator=generator) for n in (24, 6))
    static = torch.randn(5, 2, generator=generator) if n_static else None
    sizes = {"n_known": 3, "n_calendar": n_calendar, "n_static": n_static}
    network = build_network(CalendarSum, 3, 2, 24, 6, None, **sizes)
    if n_calendar < 3:
        torch.nn.init.normal_(network.known_effect.linear.weight)
    covariates = Covariates(known_past, known_future, static)
    found = network(past, covariates)
    summed = known_future[..., 3 - n_calendar :].sum((1, 2)).reshape(-1, 1, 1)
    expected = past[:, -1:, 1:].expand(-1, 6, -1) + summed
    if n_calendar < 3:
        beside = network.known_effect
        seen, ahead = (beside(known[..., : 3 - n_calendar], static) for known in (known_past, known_future))
        expected = expected - seen[:, -1:] + ahead
    torch.testing.assert_close(found[..., 0], expected)
    torch.testing.assert_close(network.training_forecast(past, covariates).forecast, found)
    assert network.observed_own_targets(past, covariates) is None
    later = known_future.clone()
    later[:, 3:, : 3 - n_calendar] += 1  # what is known of later steps, but of the calendar, changes no step before
    torch.testing.assert_close(network(past, covariates._replace(known_future=later))[:, :3], found[:, :3])
