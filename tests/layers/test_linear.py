import pytest
import torch

from samovar_forecast.layers.linear import Linear


@pytest.mark.parametrize("compiled", [False, True])
def test_values_and_gradients_are_those_of_a_linear_map(compiled):
    torch.manual_seed(0)
    layer = Linear(5, 3).double()
    tokens, weights = torch.randn(2, 7, 5, dtype=torch.float64, requires_grad=True), torch.randn(2, 7, 3).double()
    inputs = (tokens, layer.weight, layer.bias)

    def plain(x):
        return torch.einsum("bni,oi->bno", x, layer.weight) + layer.bias

    function = torch.compile(layer) if compiled else layer
    expected, actual = plain(tokens), function(tokens)
    torch.testing.assert_close(actual, expected)
    for ours, theirs in zip(
        torch.autograd.grad((actual * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("compiled", [False, True])
def test_mixed_precision_gives_what_a_linear_map_gives(compiled):
    torch.manual_seed(0)
    layer, tokens = Linear(16, 8), torch.randn(4, 16)
    function = torch.compile(layer) if compiled else layer
    with torch.autocast("cpu", torch.bfloat16):
        output = function(tokens)
    output.float().sum().backward()
    assert layer.bias.grad.tolist() == [4.0] * 8
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), layer(tokens), rtol=0.02, atol=0.02)
