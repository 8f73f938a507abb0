"""Second derivatives of hand-written backward passes are refused, never left out."""

import pytest
import torch

from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.linear_attention_transformer import LinearAttentionConfig, LinearAttentionTransformer
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.psf_attention import PSFAttention, PSFAttentionConfig
from samovar_forecast.networks.samformer import SAMformer, SAMformerConfig
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig

REFUSING = [
    (SAMoVAR, SAMoVARConfig()), (LinTrans, LinTransConfig()), (FixedVAR, FixedVARConfig()),
    (PSFAttention, PSFAttentionConfig()), (LinearAttentionTransformer, LinearAttentionConfig(reversible=True)),
]  # fmt: skip


def case(network_class, config):
    torch.manual_seed(0)
    network = network_class(2, 2, 32, 4, config).double().eval()
    return network, *torch.randn(2, 1, 32, 2, dtype=torch.float64)


@pytest.mark.parametrize(("network_class", "config"), REFUSING)
def test_second_derivatives_are_refused(network_class, config):
    network, past, direction = case(network_class, config)
    with pytest.raises(RuntimeError, match="has no second derivative"):
        torch.autograd.functional.hvp(lambda past: network(past).square().sum(), past, direction)
    past.requires_grad_()
    with pytest.raises(RuntimeError, match="has no second derivative"):
        torch.autograd.grad(network(past).sum(), past, create_graph=True)
    (gradient,) = torch.autograd.grad(network(past).sum(), past)
    assert gradient.isfinite().all()


def test_second_derivatives_of_written_out_networks_are_right():
    network, past, _ = case(SAMformer, SAMformerConfig())
    weight = next(weight for weight in network.parameters() if weight.ndim == 2)
    weight_direction = torch.randn_like(weight)

    def gradient(amount):
        changed = {id(weight): weight.detach() + amount * weight_direction}
        names = {name: changed[id(one)] for name, one in network.named_parameters() if id(one) in changed}
        (chosen,) = names.values()
        chosen.requires_grad_()
        loss = torch.func.functional_call(network, names, (past,)).square().sum()
        return torch.autograd.grad(loss, chosen, create_graph=True)[0], chosen

    first, chosen = gradient(0.0)
    (product,) = torch.autograd.grad((first * weight_direction).sum(), chosen)
    expected = (gradient(1e-5)[0] - gradient(-1e-5)[0]) / 2e-5
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(product, expected.detach(), rtol=1e-4, atol=1e-6)
