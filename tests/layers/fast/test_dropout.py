"""Dropout against what dropout is: a share of zeros, the same expectation, the gradient of what was kept."""

import pytest
import torch
from torch import nn

from samovar_forecast.layers.dropout import Dropout


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_it_drops_its_share_and_keeps_the_expectation(share):
    torch.manual_seed(0)
    n = 4_000_001  # no multiple of four
    output = Dropout(share)(torch.ones(n))
    dropped = output == 0
    assert abs(dropped.double().mean() - share) < 4 * (share * (1 - share) / n) ** 0.5 + 2**-17
    assert output[~dropped].unique().numel() == 1
    assert output.double().mean() == pytest.approx(1, abs=4 * (share / (1 - share) / n) ** 0.5)


def test_neighbours_that_share_a_random_number_are_independent():
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(1_000_000, 4)) == 0).double()
    correlation = torch.corrcoef(dropped.T) - torch.eye(4)
    assert correlation.abs().max() < 5e-3


def test_the_gradient_passes_where_the_value_did():
    activations = torch.randn(7, 33, dtype=torch.float64, requires_grad=True)
    output = Dropout(0.3)(activations)
    (gradient,) = torch.autograd.grad(output.sum(), activations)
    torch.testing.assert_close(gradient * activations, output)


def test_the_same_seed_drops_the_same():
    def draw():
        torch.manual_seed(3)
        return Dropout(0.4)(torch.ones(5, 1001))

    assert torch.equal(draw(), draw())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_type_stays(dtype):
    assert Dropout(0.2)(torch.ones(9, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_and_everything(share):
    activations = torch.randn(5, 3, requires_grad=True)
    output = Dropout(share)(activations)
    assert torch.equal(output, activations * (1 - share))
    output.sum().backward()
    assert (activations.grad == 1 - share).all()


def test_evaluation_changes_nothing_and_the_class_is_one_of_pytorchs():
    activations = torch.randn(5, 3)
    layer = Dropout(0.5).eval()
    assert torch.equal(layer(activations), activations)
    assert isinstance(layer, nn.Dropout)  # so that it can be swapped, as darts does for Monte Carlo dropout
