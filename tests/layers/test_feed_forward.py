import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from samovar_forecast.layers.feed_forward import FeedForward, _feed_forward, _feed_forward_gradients, _pieces


def plain(layer, tokens):
    """The formula, token by token; no dropout."""
    widen, narrow = layer.input_projection, layer.output_projection
    hidden = torch.einsum("...i,oi->...o", tokens, widen.weight) + widen.bias
    activated = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
    return torch.einsum("...i,oi->...o", activated, narrow.weight) + narrow.bias


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [(5, 6), (2, 7, 6), (2, 3, 4, 6), (3, 3400, 64)])  # the last one in pieces
def test_values_and_gradients_are_those_of_the_formula(shape, compiled):
    torch.manual_seed(0)
    layer = FeedForward(d_model=shape[-1], dropout=0.0).double()
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


@pytest.mark.parametrize(
    ("n_tokens", "d_hidden", "n_pieces"), [(0, 256, 0), (1, 256, 1), (10_200, 256, 3), (1500, 9999, 3)]
)
def test_pieces_hold_every_token_once(n_tokens, d_hidden, n_pieces):
    pieces = list(_pieces(n_tokens, d_hidden))
    assert [token for piece in pieces for token in range(n_tokens)[piece]] == list(range(n_tokens))
    sizes = [piece.stop - piece.start for piece in pieces]
    assert len(sizes) == n_pieces
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_without_gradients_the_values_are_the_same_and_no_features_are_kept():
    torch.manual_seed(0)
    layer, tokens = FeedForward(d_model=64, dropout=0.0), torch.randn(3000, 64)
    with torch.no_grad():
        assert torch.equal(layer(tokens), layer(tokens.clone().requires_grad_()))
    _, *features = _feed_forward(tokens, *layer.parameters(), keep=False)
    assert [feature.numel() for feature in features] == [0, 0]


@pytest.mark.parametrize("keep", [False, True])
def test_a_compiler_is_told_the_shapes_that_come(keep):
    widen, widen_bias, narrow, narrow_bias = (one.detach() for one in FeedForward(d_model=6, dropout=0.0).parameters())
    tokens, tests = torch.randn(7, 6), ("test_schema", "test_faketensor")
    torch.library.opcheck(_feed_forward, (tokens, widen, widen_bias, narrow, narrow_bias, keep), test_utils=tests)
    features = (torch.randn(7 * 24), torch.randn(7 * 24))
    torch.library.opcheck(_feed_forward_gradients, (tokens, tokens, widen, narrow, *features), test_utils=tests)


def test_an_exported_block_consists_of_operations_of_pytorch():
    layer, tokens = FeedForward(d_model=6, dropout=0.1).eval(), torch.randn(3, 5, 6)
    exported = torch.export.export(layer, (tokens,))
    targets = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert targets
    assert all(target.startswith("aten.") for target in targets)
    torch.testing.assert_close(exported.module()(tokens), layer(tokens))


def test_operations_are_counted():
    def count(function):
        with FlopCounterMode(display=False) as counter:
            function(layer, tokens).sum().backward()
        return counter.get_total_flops()

    layer, tokens = FeedForward(d_model=64, dropout=0.0), torch.randn(3000, 64, requires_grad=True)
    assert count(FeedForward.__call__) == count(plain)


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
