import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from samovar_forecast.layers.feed_forward import FeedForward, GatedFeedForward
from tests.peak_memory import numbers_printed_by


def plain(layer, tokens):
    """The formula, token by token; no dropout."""
    widen, _, narrow, _ = layer
    hidden = torch.einsum("...i,oi->...o", tokens, widen.weight) + widen.bias
    activated = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
    return torch.einsum("...i,oi->...o", activated, narrow.weight) + narrow.bias


@pytest.mark.parametrize(
    ("shape", "compiled"),
    [((5, 6), False), ((2, 7, 6), False), ((2, 3, 4, 6), False), ((3, 3400, 64), False), ((2, 7, 6), True)],
)
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


def test_an_exported_block_consists_of_operations_of_pytorch():
    layer, tokens = FeedForward(d_model=6, dropout=0.1).eval(), torch.randn(3, 5, 6)
    exported = torch.export.export(layer, (tokens,))
    targets = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert targets
    assert all(target.startswith("aten.") for target in targets)
    torch.testing.assert_close(exported.module()(tokens), layer(tokens))


@pytest.mark.parametrize(
    ("layer", "d_wide", "d_narrow"),  # what a token's vector is multiplied by on the way out, and on the way back
    [
        (FeedForward(d_model=64, dropout=0.0), 256, 256),
        (GatedFeedForward(d_model=64, d_ff=100, dropout=0.0, glu=False, n_chunks=3), 100, 100),
        (GatedFeedForward(d_model=64, d_ff=100, dropout=0.0, glu=True), 200, 100),
    ],
    ids=["plain", "in chunks", "gated"],
)
def test_operations_are_counted(layer, d_wide, d_narrow):
    """By PyTorch's counter: two per weight and token forward, and twice as many backward; nothing is computed again."""
    n_tokens, d_model = 300, 64
    tokens = torch.randn(n_tokens, d_model, requires_grad=True)
    forward = 2 * n_tokens * d_model * (d_wide + d_narrow)
    with FlopCounterMode(display=False) as counter:
        loss = layer(tokens).sum()
        assert counter.get_total_flops() == forward
        loss.backward()
    assert counter.get_total_flops() == 3 * forward


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


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_feed_forward_equals_its_formula():
    layer = GatedFeedForward(d_model=6, d_ff=10, dropout=0.0, glu=False).double()
    tokens = random(2, 7, 6)
    hidden, output = layer.hidden, layer.output_projection
    expected = F.gelu(tokens @ hidden.weight.T + hidden.bias) @ output.weight.T + output.bias
    torch.testing.assert_close(layer(tokens), expected)


def test_glu_multiplies_by_a_second_map():
    layer = GatedFeedForward(d_model=6, d_ff=10, dropout=0.0, glu=True).double()
    tokens = random(2, 7, 6)
    (open_weight, gate_weight), (open_bias, gate_bias) = layer.hidden.weight.chunk(2), layer.hidden.bias.chunk(2)
    hidden = F.gelu(tokens @ open_weight.T + open_bias) * (tokens @ gate_weight.T + gate_bias)
    torch.testing.assert_close(layer(tokens), hidden @ layer.output_projection.weight.T + layer.output_projection.bias)
    ungated = GatedFeedForward(d_model=6, d_ff=10, dropout=0.0, glu=False).double()
    with torch.no_grad():
        ungated.hidden.weight.copy_(open_weight)
        ungated.hidden.bias.copy_(open_bias)
    ungated.output_projection.load_state_dict(layer.output_projection.state_dict())
    assert not torch.isclose(ungated(tokens), layer(tokens)).any()


@pytest.mark.parametrize("glu", [False, True])
@pytest.mark.parametrize("n_chunks", [2, 3, 7, 50])
def test_chunks_change_nothing(n_chunks, glu):
    whole = GatedFeedForward(d_model=6, d_ff=10, dropout=0.0, glu=glu).double()
    parts = GatedFeedForward(d_model=6, d_ff=10, dropout=0.0, glu=glu, n_chunks=n_chunks).double()
    parts.load_state_dict(whole.state_dict())
    tokens = random(2, 3, 7, 6).requires_grad_()
    torch.testing.assert_close(parts(tokens), whole(tokens))
    ours = torch.autograd.grad(parts(tokens).square().sum(), [tokens, *parts.parameters()])
    theirs = torch.autograd.grad(whole(tokens).square().sum(), [tokens, *whole.parameters()])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_chunks_need_less_memory_in_inference():
    """A hidden layer of 400 MB in sixteen parts, and then at once."""
    program = """
import torch
from samovar_forecast.layers.feed_forward import GatedFeedForward
tokens = torch.ones(1, 100_000, 4)
for n_chunks in (16, 1):
    layer = GatedFeedForward(d_model=4, d_ff=1024, dropout=0.0, glu=False, n_chunks=n_chunks)
    with torch.inference_mode():
        layer(tokens[:, :1000])  # what the first call alone needs
        before = peak()
        layer(tokens)
    print(peak() - before)
"""
    parts, whole = numbers_printed_by(program, MALLOC_MMAP_THRESHOLD_="65536")
    assert whole > 0.4e9
    assert parts < 0.2 * whole
