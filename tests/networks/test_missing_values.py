"""Every network on windows with gaps: what is missing has no influence, and nothing becomes NaN."""

import pytest
import torch

from samovar_forecast.networks.autoformer import Autoformer, AutoformerConfig
from samovar_forecast.networks.covariate_network import CovariateNetwork
from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.linear_attention_transformer import LinearAttentionConfig, LinearAttentionTransformer
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.network import Covariates
from samovar_forecast.networks.psf_attention import PSFAttention, PSFAttentionConfig
from samovar_forecast.networks.samformer import SAMformer, SAMformerConfig
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.networks.segment_network import SegmentNetwork
from samovar_forecast.training.losses import LOSSES, mean_over_observed

SMALL = {"d_model": 8, "n_heads": 2, "dropout": 0.0}
SEGMENTS = SMALL | {"n_layers": 2}
PATCHES = SEGMENTS | {"patch_length": 4, "patch_stride": 2}
NETWORKS = {
    "SAMoVAR": (SAMoVAR, SAMoVARConfig, SEGMENTS),
    "SAMoVAR, univariate": (SAMoVAR, SAMoVARConfig, SEGMENTS | {"univariate": True}),
    "SAMoVAR, short segments": (SAMoVAR, SAMoVARConfig, SEGMENTS | {"segment_length": 4}),
    "LinTrans": (LinTrans, LinTransConfig, SEGMENTS),
    "FixedVAR": (FixedVAR, FixedVARConfig, SEGMENTS),
    "SAMformer": (SAMformer, SAMformerConfig, {"d_model": 8}),
    "Autoformer": (Autoformer, AutoformerConfig, SMALL | {"moving_average": 5}),
    "Linear": (LinearAttentionTransformer, LinearAttentionConfig, PATCHES),
    "Linear, image": (LinearAttentionTransformer, LinearAttentionConfig, PATCHES | {"attention": "image"}),
    "Linear, decoder": (LinearAttentionTransformer, LinearAttentionConfig, PATCHES | {"n_decoder_layers": 1}),
    "PSF": (PSFAttention, PSFAttentionConfig, {"d_model": 8, "patch_length": 4, "dropout": 0.0}),
}
WITH_OWN_SCALE = [name for name in NETWORKS if name != "Autoformer"]
OF_SEGMENTS = [name for name, (network_class, *_) in NETWORKS.items() if issubclass(network_class, SegmentNetwork)]
CONTEXT, HORIZON, SERIES, TARGETS = 27, 6, 3, 2  # the first segments of the segment networks are padded

every_network = pytest.mark.parametrize("name", NETWORKS)


def build(name, n_outputs=1):
    network_class, config_class, chosen = NETWORKS[name]
    torch.manual_seed(0)
    network = network_class(SERIES, TARGETS, CONTEXT, HORIZON, config_class(**chosen), n_outputs).double().eval()
    with torch.no_grad():  # away from initial values at which some parts have no effect
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def complete(batch=3):
    return torch.randn(batch, CONTEXT, SERIES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gaps(kind):
    """True where a value is missing from the windows."""
    missing = torch.zeros(3, CONTEXT, SERIES, dtype=torch.bool)
    if kind == "random":
        missing = torch.rand(missing.shape, generator=torch.Generator().manual_seed(2)) < 0.3
    elif kind == "block":
        missing[1:, 8:15] = True
    elif kind == "leading":
        missing[0, :20], missing[1, :9, 1] = True, True
    elif kind == "newest":
        missing[:, -8:] = True  # more than the segment of which the level is the mean
    elif kind == "a series":
        missing[..., 1], missing[0, :, 0] = True, True
    elif kind == "all but one":
        missing[:, :13], missing[:, 14:] = True, True
    elif kind == "everything":
        missing[:] = True
    return missing


every_kind = pytest.mark.parametrize(
    "kind", ["random", "block", "leading", "newest", "a series", "all but one", "everything"]
)


def with_gaps(kind, past=None):
    return (complete() if past is None else past).masked_fill(gaps(kind), torch.nan)


def check_training_step(network, past, covariates=None):
    """Forecast and all gradients are finite; the gradient of what is missing is zero."""
    past = past.requires_grad_()
    result = network.training_forecast(past, covariates)
    assert torch.isfinite(result.forecast).all()
    target = torch.ones_like(result.forecast[..., 0])
    loss = mean_over_observed(LOSSES["mse"], result.forecast[..., 0], target)
    if result.own_forecast is not None:
        assert torch.isfinite(result.own_forecast).all()
        loss = loss + mean_over_observed(LOSSES["mse"], result.own_forecast[..., 0], result.own_target)
    loss.backward()
    gradients = [past.grad, *(x.grad for x in network.parameters() if x.grad is not None)]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert (past.grad[past.isnan()] == 0).all()
    return gradients


@every_network
@every_kind
def test_forecasts_and_gradients_are_finite(name, kind):
    network = build(name, n_outputs=3).train()
    gradients = check_training_step(network, with_gaps(kind))
    if kind == "random":
        assert len(gradients) == 1 + len(list(network.parameters()))
        observed = ~gaps(kind)[..., -TARGETS:]
        assert (gradients[0][..., -TARGETS:][observed] != 0).all()  # what is observed matters everywhere


@every_network
@every_kind
def test_finite_in_single_and_half_precision(name, kind):
    network, past = build(name).float().train(), with_gaps(kind).float()
    check_training_step(network, past.clone())
    exact = network(past).detach()
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        half = network(past)
        assert (half - exact).abs().mean() < 0.2 * exact.abs().mean() + 0.1
        check_training_step(network, past.clone())


@every_network
@pytest.mark.parametrize("kind", ["random", "block", "leading", "newest", "a series"])
def test_values_under_a_gap_do_not_matter(name, kind):
    """Gaps in other values are the same gaps, and a filled gap is no gap."""
    network, garbage = build(name), complete()
    garbage[gaps(kind)] = 1e6 * torch.randn(int(gaps(kind).sum()), dtype=torch.float64)
    forecast = network(with_gaps(kind))
    assert torch.equal(forecast, network(with_gaps(kind, garbage)))
    assert not torch.allclose(forecast, network(complete()))


@every_network
def test_a_gap_in_one_window_leaves_the_others_alone(name):
    network, past = build(name), complete()
    past[1] = with_gaps("random")[1]
    forecast, of_complete = network(past), network(complete())
    torch.testing.assert_close(forecast[[0, 2]], of_complete[[0, 2]])
    assert not torch.allclose(forecast[1], of_complete[1])
    torch.testing.assert_close(network(past[1:2]), forecast[1:2])


@pytest.mark.parametrize("name", WITH_OWN_SCALE)
@pytest.mark.parametrize("kind", ["random", "block", "leading", "newest", "a series"])
def test_forecasts_follow_shift_and_scale(name, kind):
    network, past = build(name), 100 * with_gaps(kind)
    seen = ~past.isnan().all(1)[:, None, -TARGETS:]  # a series without a value has no level to follow
    moved, expected = network(10 * past + 500)[..., 0], 10 * network(past)[..., 0] + 500
    torch.testing.assert_close(moved * seen, expected * seen, rtol=1e-6, atol=1e-3)


@every_network
def test_an_unobserved_target_is_forecast_near_zero(name):
    """Zero is the mean of the training data, and the networks with a scale of their own have next to none here."""
    past = with_gaps("a series", 7 + complete())
    forecast = build(name)(past)[..., 0]  # the first target is never observed
    assert forecast[..., 0].abs().max() < {True: 0.1, False: 10}[name in WITH_OWN_SCALE]
    if name in WITH_OWN_SCALE:
        assert (forecast[..., 1] - 7).abs().mean() < 5
    if name in OF_SEGMENTS:
        assert forecast[..., 0].abs().max() < 1e-6


def test_autoformer_sees_gaps_at_the_mean_of_the_window():
    past = 7 + complete()
    past[0, :, 1] = torch.nan
    past = with_gaps("random", past)
    filled = torch.where(past.isnan(), past.nanmean(1, keepdim=True), past)
    filled[0, :, 1] = 0  # never observed
    network = build("Autoformer")
    torch.testing.assert_close(network(past), network(filled))


@every_network
def test_constant_series_with_gaps(name):
    past = torch.full((3, CONTEXT, SERIES), 3.3, dtype=torch.float64)
    network = build(name).train()
    check_training_step(network, with_gaps("random", past))
    if name in OF_SEGMENTS:
        forecast = network(with_gaps("random", past))
        torch.testing.assert_close(forecast, torch.full_like(forecast, 3.3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", OF_SEGMENTS)
@every_kind
def test_own_target_is_missing_where_the_segment_is(name, kind):
    network, past = build(name), with_gaps(kind)
    target = network.training_forecast(past).own_target  # (batch, segment, step, target)
    n_rows = (network.n_segments - 1) * network.segment_length
    beyond = torch.full((len(past), network.horizon, TARGETS), torch.nan, dtype=past.dtype)
    after = torch.cat([past[:, -n_rows:, -TARGETS:], beyond], dim=1)
    steps = after.unfold(1, network.horizon, network.segment_length)[:, : network.n_segments - 1].transpose(2, 3)
    assert torch.equal(target.isnan(), steps.isnan())
    filled = network.training_forecast(torch.where(past.isnan(), torch.nan, past)).own_target
    torch.testing.assert_close(target, filled, equal_nan=True)
    if kind == "random":
        one = past[0, :, -1]
        shown = one[~one.isnan()]
        level = shown[-network.segment_length :].mean()
        expected = (steps[0, ..., -1] - level) / (shown.std() + 1e-8)
        torch.testing.assert_close(target[0, ..., -1], expected, equal_nan=True)


@every_network
@pytest.mark.parametrize("kind", ["random", "a series", "everything"])
def test_gaps_beside_covariates(name, kind):
    generator = torch.Generator().manual_seed(3)
    shapes = [(3, CONTEXT, 2), (3, HORIZON, 2), (3, 4)]
    covariates = Covariates(*(torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes))
    network = CovariateNetwork(build(name), n_known=2, n_static=4).double().train()
    for effect in (network.known_effect, network.static_effect):
        for parameter in effect.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    rest, added = network.take_out_effects(with_gaps(kind), covariates)
    assert torch.equal(rest.isnan(), gaps(kind))
    assert torch.isfinite(added).all()
    gradients = check_training_step(network, with_gaps(kind), covariates)
    assert len(gradients) == 1 + len(list(network.parameters()))


@every_network
def test_exported_networks_take_gaps(name):
    """Traced on complete windows, right on any others: no branch depends on the data."""
    network = build(name)
    program = torch.export.export(network, (complete(),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    for kind in ("random", "everything"):
        past = with_gaps(kind)[:2]
        torch.testing.assert_close(program.module()(past), network(past))
