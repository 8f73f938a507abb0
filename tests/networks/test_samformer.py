"""SAMformer: parity with the published network and its training steps, the formula, and what must always hold."""

import copy
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from samovar_forecast.networks.samformer import SAMformer, SAMformerConfig, SpectralLinear
from samovar_forecast.training.sharpness import uphill

GOLDEN = Path(os.environ.get("SAMOVAR_GOLDEN_DIR", Path(__file__).parents[1] / "data" / "golden"))
THEIRS = {
    "norm.scale": "revin.affine_weight",
    "norm.shift": "revin.affine_bias",
    **{
        f"{ours}.{kind}": f"{theirs}.{kind}"
        for ours, theirs in {
            "queries": "compute_queries", "keys": "compute_keys", "values": "compute_values",
            "to_forecast": "linear_forecaster",
        }.items()
        for kind in ("weight", "bias")
    },
}  # fmt: skip


@pytest.fixture
def golden():
    file = np.load(GOLDEN / "samformer.npz")
    config = json.loads(str(file["config"]))
    n_series = config["n_channels"]
    chosen = SAMformerConfig(d_model=config["hidden_dim"])
    network = SAMformer(n_series, n_series, config["context_length"], config["horizon"], chosen)
    network.load_state_dict({ours: torch.from_numpy(file[f"param/{theirs}"]) for ours, theirs in THEIRS.items()})
    return network, file, config


def test_equals_the_published_network(golden):
    network, file, _ = golden
    forecast = network(torch.from_numpy(file["x"])).squeeze(-1).detach()
    np.testing.assert_allclose(forecast, file["forecast"], rtol=1e-4, atol=1e-4)


def test_three_steps_equal_the_published_ones(golden):
    network, file, config = golden
    past, future = torch.from_numpy(file["x"]), torch.from_numpy(file["target"])
    optimizer = torch.optim.Adam(
        network.parameters(), lr=config["learning_rate"], weight_decay=config["weight_decay"]
    )  # fmt: skip

    def loss():
        return F.mse_loss(network(past).squeeze(-1), future)

    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        before = loss()
        before.backward()
        with uphill(network.parameters(), config["rho"]):
            after = loss()
            after.backward()
        optimizer.step()
        losses.append([before.item(), after.item()])
    np.testing.assert_allclose(losses, file["losses"], rtol=1e-4, atol=1e-4)
    for ours, theirs in THEIRS.items():
        after = network.get_parameter(ours).detach()
        if ours == "keys.bias":  # no attention depends on it: Adam blows the rounding of a zero gradient up to its step
            assert np.abs(np.asarray(after) - file[f"param/{theirs}"]).max() <= 3.01 * config["learning_rate"]
            continue
        np.testing.assert_allclose(after, file[f"param_after_3_sam_steps/{theirs}"], rtol=1e-4, atol=1e-4, err_msg=ours)


def reference(network, past):
    """One window and one target at a time, straight from the formula."""
    (q, bq), (k, bk), (v, bv), (w, bw) = (
        (layer.weight, layer.bias) for layer in (network.queries, network.keys, network.values, network.to_forecast)
    )
    windows = []
    for window in past:
        mean, variance = window.mean(0).detach(), window.var(0, correction=0).detach()
        deviation = (variance + 1e-5).sqrt()
        x = [
            network.norm.scale[c] * (window[:, c] - mean[c]) / deviation[c] + network.norm.shift[c]
            for c in range(window.shape[1])
        ]
        forecasts = []
        for c in range(network.n_series - network.n_targets, network.n_series):
            scores = torch.stack([(q @ x[c] + bq) @ (k @ x[o] + bk) / q.shape[0] ** 0.5 for o in range(len(x))])
            shares = scores.exp() / scores.exp().sum()
            mixed = x[c] + sum(share * (v @ x[o] + bv) for o, share in enumerate(shares))
            outputs = (w @ mixed + bw).reshape(network.horizon, network.n_outputs)
            forecasts.append(
                (outputs - network.norm.shift[c]) / (network.norm.scale[c] + 1e-10) * deviation[c] + mean[c]
            )
        windows.append(torch.stack(forecasts, dim=1))
    return torch.stack(windows)


@pytest.mark.parametrize(
    ("n_series", "n_targets", "context", "horizon", "n_outputs"), [(4, 4, 9, 3, 1), (5, 2, 13, 7, 3), (1, 1, 2, 1, 2)]
)
def test_values_and_gradients_follow_the_formula(n_series, n_targets, context, horizon, n_outputs):
    torch.manual_seed(0)
    network = SAMformer(n_series, n_targets, context, horizon, SAMformerConfig(d_model=5), n_outputs).double()
    with torch.no_grad():
        network.norm.scale.uniform_(0.5, 2)
        network.norm.shift.normal_()
    past = (3 + 2 * torch.randn(6, context, n_series)).double().requires_grad_()
    twin, again = copy.deepcopy(network), past.detach().clone().requires_grad_()
    ours, expected = network(past), reference(twin, again)
    torch.testing.assert_close(ours, expected)
    ours.square().mean().backward()
    expected.square().mean().backward()
    torch.testing.assert_close(past.grad, again.grad)
    for (name, parameter), other in zip(network.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, msg=name)


@pytest.mark.parametrize("config", [{}, {"value_rank": 3}, {"sigma_reparam": True}], ids=str)
def test_the_order_of_the_series_does_not_matter(config):
    network = SAMformer(5, 5, 20, 6, SAMformerConfig(**config)).eval()
    past, order = torch.randn(3, 20, 5), torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(network(past[:, :, order]), network(past)[:, :, order])


def test_attention_is_a_distribution_over_the_series():
    network = SAMformer(5, 2, 20, 6, SAMformerConfig())
    shares = network.attention(torch.randn(3, 2, 20), torch.randn(3, 5, 20))
    assert shares.shape == (3, 2, 5)
    torch.testing.assert_close(shares.sum(-1), torch.ones(3, 2))
    assert (shares > 0).all()


def test_a_constant_series_is_forecast_by_what_the_others_do_and_stays_finite():
    network = SAMformer(3, 3, 20, 6, SAMformerConfig())
    past = torch.randn(2, 20, 3)
    past[:, :, 1] = 1e5
    forecast = network(past)
    assert torch.isfinite(forecast).all()
    assert (forecast[:, :, 1] - 1e5).abs().max() < 1  # its deviation is sqrt(1e-5)


def test_it_has_the_published_number_of_parameters():
    def count(config):
        network = SAMformer(7, 7, 512, 96, config)
        return sum(p.numel() for p in network.parameters())

    assert count(SAMformerConfig()) == 328_334
    assert count(SAMformerConfig(value_rank=16)) == 82_590


@pytest.mark.parametrize(("wrong", "named"), [({"d_model": 0}, "d_model"), ({"value_rank": 0}, "value_rank")])
def test_wrong_hyperparameters_are_named(wrong, named):
    with pytest.raises(ValueError, match=f"{named} must be at least 1, got 0"):
        SAMformer(3, 3, 20, 6, SAMformerConfig(**wrong))


def largest_singular_value(matrix):
    return torch.linalg.matrix_norm(matrix, ord=2)


@pytest.mark.parametrize("shape", [(16, 16), (5, 40), (40, 5), (1, 8)])
def test_the_largest_singular_value_is_gamma(shape):
    layer = SpectralLinear(*shape).double()
    with torch.no_grad():
        layer.gamma.fill_(-2.5)
    assert largest_singular_value(layer.scaled_weight()).item() == pytest.approx(2.5, rel=1e-5)
    features = torch.randn(7, shape[0]).double()
    torch.testing.assert_close(layer(features), features @ layer.scaled_weight().T + layer.bias)


def test_the_gradient_of_a_spectral_map_is_that_through_its_singular_value():
    layer = SpectralLinear(6, 4).double().eval()
    features = torch.randn(7, 6).double()
    layer(features).square().sum().backward()
    weight, gamma = layer.weight.detach().clone().requires_grad_(), layer.gamma.detach().clone().requires_grad_()
    (features @ (gamma / largest_singular_value(weight) * weight).T + layer.bias.detach()).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.gamma.grad, gamma.grad, rtol=1e-4, atol=1e-5)


def test_power_iteration_follows_the_weight_in_training():
    torch.manual_seed(0)
    layer = SpectralLinear(12, 12)
    features, target = torch.randn(64, 12), torch.randn(64, 12)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    start = layer.weight.detach().clone()
    for _ in range(200):
        optimizer.zero_grad()
        F.mse_loss(layer(features), target).backward()
        optimizer.step()
    assert (layer.weight - start).norm() > 1
    assert largest_singular_value(layer.scaled_weight()).item() == pytest.approx(abs(layer.gamma.item()), rel=1e-2)
    before = layer.left.clone()
    layer.eval()(features)
    assert torch.equal(layer.left, before)
    torch.testing.assert_close(pickle.loads(pickle.dumps(layer))(features), layer(features))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer.train()(features).sum().backward()
    assert layer.left.dtype == torch.float32
