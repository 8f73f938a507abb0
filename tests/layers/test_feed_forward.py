import pytest
import torch

from samovar_forecast.layers.feed_forward import FeedForward


def plain(layer, tokens):
    """The formula, token by token; no dropout."""
    widen, narrow = layer.input_projection, layer.output_projection
    hidden = torch.einsum("...i,oi->...o", tokens, widen.weight) + widen.bias
    activated = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
    return torch.einsum("...i,oi->...o", activated, narrow.weight) + narrow.bias


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [(5, 6), (2, 7, 6), (2, 3, 4, 6)])
def test_values_and_gradients_are_those_of_the_formula(shape, compiled):
    torch.manual_seed(0)
    layer = FeedForward(d_model=6, dropout=0.0).double()
    tokens, weights = torch.randn(shape, dtype=torch.float64, requires_grad=True), torch.randn(shape).double()
    inputs = (tokens, *layer.parameters())
    expected, actual = plain(layer, tokens), (torch.compile(layer) if compiled else layer)(tokens)
    torch.testing.assert_close(actual, expected)
    for ours, theirs in zip(
        torch.autograd.grad((actual * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_tokens_may_lie_in_memory_in_any_order():
    torch.manual_seed(0)
    layer, tokens = FeedForward(d_model=6, dropout=0.0).double(), torch.randn(6, 7, 2, dtype=torch.float64)
    torch.testing.assert_close(layer(tokens.permute(2, 1, 0)), plain(layer, tokens.permute(2, 1, 0)))


def test_gradients_can_be_batched():
    torch.manual_seed(0)
    layer = FeedForward(d_model=6, dropout=0.0).double()
    tokens, directions = torch.randn(4, 6, dtype=torch.float64, requires_grad=True), torch.eye(6, dtype=torch.float64)
    (batched,) = torch.autograd.grad(layer(tokens)[-1], tokens, directions, retain_graph=True, is_grads_batched=True)
    for gradient, direction in zip(batched, directions, strict=True):
        torch.testing.assert_close(torch.autograd.grad(plain(layer, tokens)[-1], tokens, direction)[0], gradient)


@pytest.mark.parametrize("compiled", [False, True])
def test_mixed_precision_stays_near_the_formula(compiled):
    torch.manual_seed(0)
    layer, tokens = FeedForward(d_model=16, dropout=0.0), torch.randn(4, 16)
    with torch.autocast("cpu", torch.bfloat16):
        output = (torch.compile(layer) if compiled else layer)(tokens)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), plain(layer, tokens), rtol=0.02, atol=0.02)


def test_outputs_are_dropped_in_training_alone():
    torch.manual_seed(0)
    layer, tokens = FeedForward(d_model=16, dropout=0.5), torch.randn(200, 16)
    share = (layer.train()(tokens) == 0).float().mean()
    assert 0.4 < share < 0.6
    assert (layer.eval()(tokens) != 0).all()
