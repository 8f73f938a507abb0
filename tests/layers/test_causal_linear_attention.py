"""Causal linear attention against its quadratic form: the whole matrix of weights, masked and normalised."""

import pytest
import torch

from samovar_forecast.layers.causal_linear_attention import causal_linear_attention
from tests.peak_memory import numbers_printed_by


def quadratic(queries, keys, values, blindspot=None, visible=None):
    """All weights at once; tokens are counted from the left of a sequence padded to whole blocks."""
    n_tokens, d_head = queries.shape[-2:]
    weights = queries.softmax(-1) * d_head**-0.5 @ keys.exp().transpose(-1, -2)
    t = torch.arange(n_tokens)
    if blindspot is None:
        seen = t <= t[:, None]
    else:
        missing = -n_tokens % blindspot
        seen = (t + missing) < blindspot * ((t[:, None] + missing) // blindspot)
    if visible is not None:
        seen = seen & visible[..., None, :]
    weights = torch.where(seen, weights, 0.0)
    total = weights.sum(-1, keepdim=True)
    return torch.where(total > 0, weights @ values / torch.where(total > 0, total, 1.0), 0.0)


def tokens(*shape, scale=1.0, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = (scale, scale, 1.0)  # logits of queries and keys, values
    return [
        (size * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
        for size in sizes
    ]


def value_and_gradients(function, inputs):
    output = function(*inputs)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), inputs, materialize_grads=True)]


def assert_same(ours, theirs, inputs, **tolerance):
    for a, b in zip(value_and_gradients(ours, inputs), value_and_gradients(theirs, inputs), strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("n_tokens", [1, 2, 3, 15, 16, 17, 32, 63, 64, 100, 257])
@pytest.mark.parametrize("d_head", [1, 8, 24])
def test_equals_the_quadratic_form(n_tokens, d_head):
    assert_same(causal_linear_attention, quadratic, tokens(2, 3, n_tokens, d_head), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("blindspot", [1, 2, 3, 4, 5, 7, 8, 16, 17, 30, 64])
@pytest.mark.parametrize("n_tokens", [1, 5, 16, 48, 61])
def test_every_blindspot_equals_the_masked_quadratic_form(blindspot, n_tokens):
    assert_same(
        lambda *x: causal_linear_attention(*x, blindspot=blindspot),
        lambda *x: quadratic(*x, blindspot=blindspot),
        tokens(2, n_tokens, 8),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("blindspot", [1, 3, 4])
def test_a_blindspot_hides_the_block_of_the_token_itself(blindspot):
    """With whole blocks, token t depends on exactly the positions below ``b floor(t / b)``."""
    queries, keys, values = tokens(12, 4)
    dependence = torch.autograd.functional.jacobian(
        lambda v: causal_linear_attention(queries, keys, v, blindspot=blindspot).sum(-1), values
    )
    expected = torch.arange(12) < blindspot * (torch.arange(12)[:, None] // blindspot)
    assert torch.equal(dependence.abs().sum(-1) > 0, expected)


@pytest.mark.parametrize("blindspot", [None, 1, 4])
def test_weights_of_a_row_sum_to_one(blindspot):
    queries, keys, values = tokens(2, 40, 8, scale=5.0)
    output = causal_linear_attention(queries, keys, torch.ones_like(values), blindspot)
    seeing = slice(blindspot or 0, None)
    torch.testing.assert_close(output[:, seeing], torch.ones_like(output[:, seeing]))
    assert (output[:, : blindspot or 0] == 0).all()  # nothing to see


@pytest.mark.parametrize("order", ["rising", "falling", "random", "spike"])
@pytest.mark.parametrize("blindspot", [None, 1, 4])
def test_logits_of_200_in_single_precision(order, blindspot):
    """exp(200) is no float32 number. The reference works in float64 on the same, rounded, inputs."""
    queries, keys, values = tokens(2, 75, 8, dtype=torch.float32)
    with torch.no_grad():
        keys.clamp_(-2, 2).mul_(100)
        queries.clamp_(-2, 2).mul_(100)
        if order == "spike":  # one key dwarfs all others, in the middle of a chunk and late
            keys.fill_(-200)
            keys[:, [10, 70]] = 200
        elif order != "random":
            keys.copy_(keys.sort(dim=1, descending=order == "falling").values)
    doubles = [x.detach().double().requires_grad_() for x in (queries, keys, values)]
    ours = value_and_gradients(lambda *x: causal_linear_attention(*x, blindspot), [queries, keys, values])
    theirs = value_and_gradients(lambda *x: quadratic(*x, blindspot), doubles)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)
    ones = causal_linear_attention(queries, keys, torch.ones_like(values), blindspot)[:, blindspot or 0 :]
    if blindspot != 4:
        torch.testing.assert_close(ones, torch.ones_like(ones), rtol=1e-5, atol=0)


def test_the_future_does_not_change_the_past():
    inputs = tokens(2, 50, 8)
    before = causal_linear_attention(*inputs)
    for at in (1, 16, 33, 49):
        changed = [x.detach().clone() for x in inputs]
        for x in changed:
            x[:, at:] = 7 * torch.randn_like(x[:, at:])
        after = causal_linear_attention(*changed)
        torch.testing.assert_close(after[:, :at], before[:, :at], rtol=1e-12, atol=1e-12)
        assert not torch.isclose(after[:, at:], before[:, at:]).all(-1).any()


@pytest.mark.parametrize("blindspot", [None, 4])
def test_hidden_tokens_equal_the_masked_quadratic_form(blindspot):
    visible = torch.rand(2, 40, generator=torch.Generator().manual_seed(0)) > 0.4
    visible[:, :3] = False
    visible[1, :20] = False
    assert_same(
        lambda *x: causal_linear_attention(*x, blindspot, visible),
        lambda *x: quadratic(*x, blindspot, visible),
        tokens(2, 40, 8),
        rtol=1e-9,
        atol=1e-9,
    )


def test_padding_on_the_left_changes_nothing():
    inputs = tokens(2, 21, 8)
    for missing in (1, 11, 40):
        padded = [torch.cat([50 * torch.randn(2, missing, 8, dtype=torch.float64), x], 1) for x in inputs]
        visible = torch.arange(missing + 21) >= missing
        torch.testing.assert_close(
            causal_linear_attention(*padded, visible=visible)[:, missing:], causal_linear_attention(*inputs)
        )


def test_half_precision_sums_in_single_precision():
    inputs = [x.detach() for x in tokens(1, 3000, 8)]
    expected = quadratic(*inputs)
    rounded = [x.bfloat16() for x in inputs]
    with torch.autocast("cpu", torch.bfloat16):
        output = causal_linear_attention(*rounded)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.double(), expected, rtol=0.02, atol=0.02)


def test_blindspot_must_be_positive():
    with pytest.raises(ValueError, match="blindspot must be None or at least 1, got 0"):
        causal_linear_attention(*tokens(4, 2), blindspot=0)


@pytest.mark.parametrize("blindspot", [None, 1])
def test_memory_is_linear_in_the_number_of_tokens(blindspot):
    """What autograd keeps: no state of d x d for every token, and twice as much for twice the tokens."""

    def kept(n_tokens, d_head=32):
        sizes = {}

        def count(tensor):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        inputs = tokens(n_tokens, d_head, dtype=torch.float32)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            output = causal_linear_attention(*inputs, blindspot)
        return sum(sizes.values()), output

    short, long = kept(1024)[0], kept(2048)[0]
    assert 1.9 < long / short < 2.1
    assert long < 0.75 * 2048 * 32 * 32 * 4


def test_peak_memory_of_a_long_sequence():
    """65,536 tokens at d_head 64: states of all tokens would take 1 GB, the weights of all pairs 17 GB."""
    program = """
import torch
from samovar_forecast.layers.causal_linear_attention import causal_linear_attention
causal_linear_attention(*(torch.ones(1, 64, 64) for _ in range(3)))
inputs = [torch.ones(1, 65536, 64) for _ in range(3)]
before = peak()
with torch.inference_mode():
    causal_linear_attention(*inputs)
print(peak() - before)
"""
    (beside,) = numbers_printed_by(program)
    assert 0.02e9 < beside < 0.3e9
