"""RMS norm against plain PyTorch: values, gradients and gradients of gradients."""

import pytest
import torch
from torch.nn.functional import rms_norm as published

from samovar_forecast.layers.fast.rms_norm import plain_rms_norm
from samovar_forecast.layers.rms_norm import RMSNorm, rms_norm

SHAPES = [(8,), (1,), (3, 1, 8), (2, 3, 5, 8)]


@pytest.mark.parametrize(
    ("scale_shape", "contiguous", "compiled"),
    [
        *((shape, contiguous, False) for shape in SHAPES for contiguous in (True, False)),
        ((8,), True, True),  # compiled, every shape goes the same way; the sum of its gradient depends on its rank
        ((3, 1, 8), False, True),
    ],
)
def test_values_and_gradients_are_those_of_the_plain_form(scale_shape, contiguous, compiled):
    torch.manual_seed(0)
    tokens = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    if not contiguous:
        tokens = torch.randn(2, 5, 3, 8, dtype=torch.float64).transpose(1, 2)
    tokens.requires_grad_()
    scale = torch.randn(scale_shape, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 5, 8, dtype=torch.float64)

    ours = (torch.compile(rms_norm) if compiled else rms_norm)(tokens, scale, 1e-3)
    found = torch.autograd.grad((ours * weights).sum(), (tokens, scale))  # once: a compiled graph lives for one pass
    written = tokens / (tokens.square().mean(-1, keepdim=True) + 1e-3).sqrt() * scale
    for theirs in (plain_rms_norm(tokens, scale, 1e-3), written):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        expected = torch.autograd.grad((theirs * weights).sum(), (tokens, scale))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("of_scale", [False, True])
def test_second_derivatives_are_right(of_scale):
    torch.manual_seed(0)
    tokens = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    scale = torch.randn(8, dtype=torch.float64, requires_grad=of_scale)
    inputs = (tokens, scale) if of_scale else (tokens,)
    assert torch.autograd.gradgradcheck(lambda *x: rms_norm(x[0], x[1] if of_scale else scale, 1e-3), inputs)


def test_a_vector_of_zeros_stays_zero_and_has_a_finite_gradient():
    tokens = torch.zeros(4, 8, requires_grad=True)
    output = rms_norm(tokens, torch.ones(8), 1e-5)
    (gradient,) = torch.autograd.grad(output.sum(), tokens)
    assert (output == 0).all()
    torch.testing.assert_close(gradient, torch.full((4, 8), 1e-5**-0.5))


def test_the_layer_is_that_of_pytorch_in_name_weights_and_values():
    ours, theirs = RMSNorm(16, eps=1e-5), torch.nn.RMSNorm(16, eps=1e-5)
    theirs.load_state_dict(ours.state_dict())
    assert repr(ours) == repr(theirs)
    tokens = torch.randn(3, 16)
    torch.testing.assert_close(ours(tokens), published(tokens, (16,), theirs.weight, 1e-5))


def test_half_precision_activations_give_gradients_of_their_own_type():
    tokens = torch.randn(3, 16, dtype=torch.bfloat16, requires_grad=True)
    layer = RMSNorm(16, eps=1e-5)
    layer(tokens).float().sum().backward()
    assert tokens.grad.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == torch.float32


def test_it_keeps_less_for_the_gradient_than_the_written_formula():
    def kept(norm):
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda saved: sizes.setdefault(saved.data_ptr(), saved.nbytes) and saved, lambda saved: saved
        ):
            norm(torch.randn(64, 16, requires_grad=True), torch.ones(16, requires_grad=True))
        return sum(sizes.values())

    written = lambda tokens, scale: tokens * (tokens.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * scale  # noqa: E731
    assert kept(lambda tokens, scale: rms_norm(tokens, scale, 1e-5)) < kept(written)
