"""Hessian-vector products of every network against differences of gradients; what has none refuses, and says so."""

import pytest
import torch

from samovar_forecast.networks.autoformer import Autoformer, AutoformerConfig
from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.linear_attention_transformer import LinearAttentionConfig, LinearAttentionTransformer
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.psf_attention import PSFAttention, PSFAttentionConfig
from samovar_forecast.networks.samformer import SAMformer, SAMformerConfig
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig

DIFFERENTIABLE = [
    (SAMoVAR, SAMoVARConfig()), (LinTrans, LinTransConfig()), (FixedVAR, FixedVARConfig()),
    (PSFAttention, PSFAttentionConfig()), (SAMformer, SAMformerConfig()),
    (LinearAttentionTransformer, LinearAttentionConfig()),
]  # fmt: skip
REFUSING = [
    (LinearAttentionTransformer, LinearAttentionConfig(reversible=True), "has no second derivative"),
    (Autoformer, AutoformerConfig(d_model=8, moving_average=5), "derivative .* is not implemented"),
]


def case(network_class, config):
    torch.manual_seed(0)
    network = network_class(2, 2, 32, 4, config).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network, *torch.randn(2, 1, 32, 2, dtype=torch.float64)


# The statistics of the others carry no gradient: there is none of the past to compare with.
@pytest.mark.parametrize(("network_class", "config"), DIFFERENTIABLE[:3], ids=lambda x: getattr(x, "__name__", ""))
def test_in_the_past_they_are_right(network_class, config):
    network, past, direction = case(network_class, config)

    def loss(past):
        return network(past).square().sum()

    def gradient(amount):
        return torch.autograd.functional.vjp(loss, past + amount * direction)[1]

    _, product = torch.autograd.functional.hvp(loss, past, direction)
    expected = (gradient(1e-5) - gradient(-1e-5)) / 2e-5
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(product, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize(("network_class", "config"), DIFFERENTIABLE, ids=lambda x: getattr(x, "__name__", ""))
def test_in_the_weights_they_are_right(network_class, config):
    network, past, _ = case(network_class, config)
    directions = {name: torch.randn_like(weight) for name, weight in network.named_parameters()}

    def gradients(amount, **kind):
        weights = {
            name: (weight.detach() + amount * directions[name]).requires_grad_()
            for name, weight in network.named_parameters()
        }
        loss = torch.func.functional_call(network, weights, (past,)).square().sum()
        return weights, torch.autograd.grad(loss, list(weights.values()), materialize_grads=True, **kind)

    weights, first = gradients(0.0, create_graph=True)
    along = sum((gradient * direction).sum() for gradient, direction in zip(first, directions.values(), strict=True))
    products = torch.autograd.grad(along, list(weights.values()), materialize_grads=True)
    (_, more), (_, less) = gradients(1e-6), gradients(-1e-6)
    expected = [(above - below) / 2e-6 for above, below in zip(more, less, strict=True)]
    largest = max(product.abs().max().item() for product in expected)
    assert largest > 1e-3
    for name, ours, theirs in zip(weights, products, expected, strict=True):
        torch.testing.assert_close(
            ours, theirs, rtol=1e-4, atol=1e-6 * largest, msg=lambda text, at=name: f"{at}: {text}"
        )


@pytest.mark.parametrize(("network_class", "config", "reason"), REFUSING, ids=lambda x: getattr(x, "__name__", ""))
def test_where_there_are_none_they_are_refused(network_class, config, reason):
    network, past, direction = case(network_class, config)
    with pytest.raises(RuntimeError, match=reason):
        torch.autograd.functional.hvp(lambda past: network(past).square().sum(), past, direction)
    past.requires_grad_()
    (gradient,) = torch.autograd.grad(network(past).sum(), past)
    assert gradient.isfinite().all()
