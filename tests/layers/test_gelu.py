import torch
import torch.nn.functional as F

from samovar_forecast.layers.gelu import GELU


def test_values_and_gradients_are_those_of_pytorchs_compiled_or_not():
    activations = torch.cat([torch.linspace(-20, 20, 1001), torch.tensor([0.0, 1e-30, -1e30, 1e30])])
    activations.requires_grad_()
    weights = torch.randn(len(activations), generator=torch.Generator().manual_seed(0))
    expected = F.gelu(activations)
    expected_gradient = torch.autograd.grad((weights * expected).sum(), activations)[0]
    layer = GELU()
    for function in (layer, torch.compile(layer, fullgraph=True)):
        actual = function(activations)
        gradient = torch.autograd.grad((weights * actual).sum(), activations)[0]
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


def test_the_compiled_layer_keeps_one_tensor_and_computes_no_error_function_behind_it():
    from torch._dynamo.backends.common import aot_autograd

    graphs = []

    def noted(graph, _):
        graphs.append([node.target.__name__ for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    compiled = torch.compile(GELU(), backend=aot_autograd(fw_compiler=noted, bw_compiler=noted))
    compiled(torch.ones(3, requires_grad=True)).sum().backward()
    forward, backward = graphs
    assert "erf.default" in forward
    assert backward == ["mul.Tensor"]
