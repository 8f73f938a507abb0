import pytest
import torch
import torch.nn.functional as F

from samovar_forecast.layers.sparse_factor_attention import (
    FactorWeights,
    SparseFactorAttention,
    chord_offsets,
    chord_product,
    count_factors,
)
from tests.peak_memory import numbers_printed_by

both_directions = pytest.mark.parametrize("direction", ["past", "circular"])


def dense(weights, direction):
    """The factor written out: one row of links at a time, links that meet add up."""
    n_sequences, n_tokens, n_links = weights.shape
    rows = []
    for i in range(n_tokens):
        row = [torch.zeros(n_sequences, dtype=weights.dtype) for _ in range(n_tokens)]
        for j, offset in enumerate([0] + [2**k for k in range(n_links - 1)]):
            if direction == "circular":
                column = (i + offset) % n_tokens
                row[column] = row[column] + weights[:, i, j]
            elif i >= offset:
                row[i - offset] = row[i - offset] + weights[:, i, j]
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)  # (n_sequences, n_tokens, n_tokens)


def factors(n_tokens, n_factors, direction, n_links=None):
    """Random factors as matrices, read off the fast product: the values are the identity matrix."""
    n_links = 1 + (n_tokens - 1).bit_length() if n_links is None else n_links
    weights = 0.5 + torch.rand(n_factors, n_tokens, n_links, generator=torch.Generator().manual_seed(0))  # no zeros
    identity = torch.eye(n_tokens, dtype=torch.float64).expand(n_factors, -1, -1)
    return chord_product(weights.double(), identity, direction).unbind()


def product(matrices):
    return torch.linalg.multi_dot(list(matrices)) if len(matrices) > 1 else matrices[0]


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def value_and_gradients(function, inputs):
    output = function(*inputs)
    weighed = output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return [output.detach(), *torch.autograd.grad(weighed.sum(), inputs)]


def assert_same(actual, expected):
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@both_directions
@pytest.mark.parametrize(("n_tokens", "n_links"), [(1, 1), (1, 3), (2, 2), (3, 3), (5, 4), (8, 4), (8, 7), (33, 7)])
@pytest.mark.parametrize("adds", [False, True])
def test_product_equals_the_dense_one(direction, n_tokens, n_links, adds):
    inputs = [random(3, n_tokens, n_links), random(3, n_tokens, 2, seed=1)]
    inputs += [random(3, n_tokens, 2, seed=2)] if adds else []

    def reference(weights, values, added=0.0):
        return dense(weights, direction) @ values + added

    expected = value_and_gradients(reference, inputs)
    assert_same(value_and_gradients(lambda w, v, a=None: chord_product(w, v, direction, a), inputs), expected)
    with torch.no_grad():
        torch.testing.assert_close(chord_product(*inputs[:2], direction, *inputs[2:]), expected[0])
    width_first = [x.detach().movedim(-1, 0).contiguous().movedim(0, -1).requires_grad_() for x in inputs]
    assert_same(value_and_gradients(lambda w, v, a=None: chord_product(w, v, direction, a), width_first), expected)


@both_directions
def test_many_sequences_are_worked_on_in_chunks(direction):
    inputs = [random(300, 128, 8), random(300, 128, 8, seed=1)]
    actual = value_and_gradients(lambda w, v: chord_product(w, v, direction), inputs)
    for rows in (slice(0, 1), slice(100, 104), slice(299, 300)):
        one = [x.detach()[rows].requires_grad_() for x in inputs]
        output = dense(one[0], direction) @ one[1]
        torch.testing.assert_close(actual[0][rows], output.detach())
        outer = torch.linspace(-1, 1, actual[0].numel(), dtype=torch.float64).reshape(actual[0].shape)[rows]
        for ours, theirs in zip(actual[1:], torch.autograd.grad((output * outer).sum(), one), strict=True):
            torch.testing.assert_close(ours[rows], theirs)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_zeros_of_circular_factors_and_their_product(n):
    n_tokens = 2**n
    matrices = factors(n_tokens, n, "circular")
    assert count_factors(n_tokens) == n
    assert all(int((matrix != 0).sum()) == n_tokens * (n + 1) for matrix in matrices)
    assert (product(matrices) != 0).all()
    if n > 1:
        assert int((product(matrices[1:]) == 0).sum()) == n_tokens


@pytest.mark.parametrize("n_tokens", [3, 16, 33, 100])
def test_product_of_past_factors_is_the_full_lower_triangle(n_tokens):
    full = product(factors(n_tokens, count_factors(n_tokens), "past"))
    assert torch.equal(full != 0, torch.ones_like(full, dtype=torch.bool).tril())


@both_directions
def test_rounding_the_logarithm_down_leaves_holes(direction):
    possible = torch.ones(100, 100, dtype=torch.bool)
    possible = possible.tril() if direction == "past" else possible
    assert count_factors(100) == 7
    assert torch.equal(product(factors(100, 7, direction, n_links=8)) != 0, possible)
    assert not torch.equal(product(factors(100, 6, direction, n_links=7)) != 0, possible)


def test_duplicate_links_add_up_and_links_before_the_first_token_vanish():
    weights = torch.tensor([1.0, 10.0, 100.0, 1000.0]).expand(1, 3, 4)  # offsets 0, 1, 2, 4
    circular, past = (chord_product(weights, torch.eye(3).unsqueeze(0), d)[0] for d in ("circular", "past"))
    assert circular.tolist() == [[1, 1010, 100], [100, 1, 1010], [1010, 100, 1]]
    assert past.tolist() == [[1, 0, 0], [10, 1, 0], [100, 10, 1]]
    assert chord_offsets(4) == [0, 1, 2, 4]


def test_backward_of_a_product_keeps_nothing_but_weights_and_values():
    weights, values, kept = random(4, 64, 7), random(4, 64, 8), set()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.add(x.untyped_storage().data_ptr()) or x, lambda x: x):
        chord_product(weights, values, "past")
    assert kept == {weights.data_ptr(), values.data_ptr()}


def test_hidden_layers_of_the_perceptrons_are_not_kept_and_never_all_there():
    """Those of all rows take 8 MB for each of seven factors, before GELU and as much after it; the links 14."""
    program = """
import torch
from samovar_forecast.layers.sparse_factor_attention import FactorWeights
layer, tokens = FactorWeights(d_model=32, n_factors=7, n_links=8), torch.ones(512, 128, 32)
sum(link.sum() for link in layer(tokens[:70])).backward()  # what the first call alone needs
before, before_peak = held(), peak()
links = layer(tokens)
print((held() - before) / 2**20)
sum(link.sum() for link in links).backward()
print((peak() - before_peak) / 2**20)
"""
    kept, most = numbers_printed_by(program, MALLOC_MMAP_THRESHOLD_="65536")
    assert kept < 20
    assert most < 80


@pytest.mark.parametrize(("n_sequences", "n_tokens"), [(2, 5), (60, 100)])  # one chunk, and several
def test_factor_weights_equal_separate_perceptrons(n_sequences, n_tokens):
    layer = FactorWeights(d_model=32, n_factors=7, n_links=8).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(random(*parameter.shape, seed=parameter.ndim))
    tokens = random(n_sequences, n_tokens, 32)
    inputs = [tokens, *layer.parameters()]

    def reference(tokens, hidden_weight, hidden_bias, link_weight, link_bias):
        out = []
        for m in range(7):
            rows = slice(32 * m, 32 * m + 32)
            hidden = F.gelu(F.linear(tokens, hidden_weight[rows], hidden_bias[rows]))
            out.append(F.linear(hidden, link_weight[m], link_bias[m]))
        return torch.stack(out)

    actual = value_and_gradients(lambda tokens, *_: torch.stack(layer(tokens)), inputs)
    for ours, theirs in zip(actual, value_and_gradients(reference, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-8)


def attention(n_tokens=20, d_model=8, **chosen):
    torch.manual_seed(0)
    return SparseFactorAttention(d_model, n_tokens, value_width=4, **chosen).double()


@both_directions
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("n_factors", [None, 2])
def test_attention_equals_its_formula(direction, residual, n_factors):
    layer, tokens = attention(direction=direction, residual=residual, n_factors=n_factors), random(3, 20, 8)
    inputs = [tokens, *layer.parameters()]

    def reference(tokens, *_):
        first = values = layer.values[2](F.gelu(layer.values[0](tokens)))
        for weights in layer.weights(tokens):
            values = dense(weights, direction) @ values
            values = values + first if residual else values
        return values

    assert len(layer.weights(tokens)) == (n_factors or 5)
    assert_same(value_and_gradients(lambda tokens, *_: layer(tokens), inputs), value_and_gradients(reference, inputs))


def test_past_attention_is_causal_and_reaches_the_first_token():
    layer, tokens = attention(), random(1, 20, 8)
    reach = torch.autograd.functional.jacobian(layer, tokens).abs().sum((0, 2, 3, 5))  # (read by, token)
    assert torch.equal(reach != 0, torch.ones(20, 20, dtype=torch.bool).tril())


def test_circular_attention_reaches_every_token():
    layer, tokens = attention(direction="circular"), random(1, 20, 8)
    assert (torch.autograd.functional.jacobian(layer, tokens).abs().sum((0, 2, 3, 5)) != 0).all()


@both_directions
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("n_tokens", [64, 256, 1024])
def test_values_keep_their_scale_through_the_factors_at_the_start(direction, residual, n_tokens):
    ratios = []
    for seed in range(6):
        torch.manual_seed(seed)
        layer = SparseFactorAttention(32, n_tokens, 8, direction, residual=residual)
        tokens = F.layer_norm(torch.randn(8, n_tokens, 32), (32,))
        with torch.no_grad():
            ratios.append(layer(tokens).square().mean() / layer.values(tokens).square().mean())
    assert 0.7 < sum(ratios) / 6 < 1.7
    assert 0.4 < min(ratios) <= max(ratios) < 2.5


def test_half_precision_and_inference_mode():
    layer, tokens = attention().float(), torch.randn(3, 20, 8, requires_grad=True)
    expected = value_and_gradients(lambda *_: layer(tokens), [tokens, *layer.parameters()])
    with torch.autocast("cpu", torch.bfloat16):
        actual = value_and_gradients(lambda *_: layer(tokens), [tokens, *layer.parameters()])
    for ours, theirs in zip(actual, expected, strict=True):
        assert (ours - theirs).norm() < 0.1 * theirs.norm()
    with torch.inference_mode():
        torch.testing.assert_close(layer(tokens), expected[0])


@both_directions
def test_exported_attention_is_the_same(direction):
    layer, tokens = attention(direction=direction), random(3, 20, 8).detach()
    program = torch.export.export(layer, (tokens,), dynamic_shapes=({0: torch.export.Dim("n_sequences")},))
    other = random(7, 20, 8, seed=1).detach()
    torch.testing.assert_close(program.module()(other), layer(other))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"direction": "future"}, "direction"), ({"n_factors": 0}, "n_factors"), ({"value_width": 0}, "value_width")],
)
def test_bad_hyperparameters_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        SparseFactorAttention(d_model=8, n_tokens=16, **wrong)


def test_unknown_direction_of_a_product_is_named():
    with pytest.raises(ValueError, match="direction"):
        chord_product(torch.ones(1, 4, 3), torch.ones(1, 4, 2), "future")
