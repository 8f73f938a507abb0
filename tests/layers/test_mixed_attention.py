"""The parts of the transformer's blocks: patches, shift, convolution, feed-forward, Linformer, and heads together."""

import pytest
import torch
import torch.nn.functional as F

from samovar_forecast.layers.causal_linear_attention import causal_linear_attention
from samovar_forecast.layers.gated_feed_forward import GatedFeedForward
from samovar_forecast.layers.linformer_attention import LinformerAttention
from samovar_forecast.layers.local_attention import LocalAttention
from samovar_forecast.layers.local_convolution import LocalConvolution
from samovar_forecast.layers.mixed_attention import LinearAttention, MixedAttention
from samovar_forecast.layers.patches import count_patches, split_patches
from samovar_forecast.layers.token_shift import shift_tokens
from tests.peak_memory import numbers_printed_by


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("length", "patch", "stride"), [(512, 16, 8), (100, 16, 8), (10, 10, 8), (7, 4, 3), (5, 4, 1)])
def test_overlapping_patches_are_padded_by_a_stride(length, patch, stride):
    series = random(2, 3, length)
    padded = torch.cat([series, series[..., -1:].expand(2, 3, stride)], -1)
    starts = [start for start in range(length + stride - patch + 1) if start % stride == 0]
    expected = torch.stack([padded[..., start : start + patch] for start in starts], -2)
    assert torch.equal(split_patches(series, patch, stride), expected)
    assert count_patches(length, patch, stride) == len(starts)
    assert starts[-1] + patch >= length  # the newest value is in a patch


@pytest.mark.parametrize(("length", "patch", "n_patches"), [(5, 1, 5), (8, 4, 2), (9, 4, 3)])
def test_other_patches_are_padded_to_a_whole_number(length, patch, n_patches):
    patches = split_patches(random(2, length), patch, patch)
    assert patches.shape == (2, n_patches, patch)
    assert count_patches(length, patch, patch) == n_patches
    assert torch.equal(patches.flatten(1)[:, :length], random(2, length))
    assert (patches.flatten(1)[:, length:] == random(2, length)[:, -1:]).all()


@pytest.mark.parametrize("width", [3, 6, 8])
@pytest.mark.parametrize("n_tokens", [1, 2, 5])
def test_shifted_features_come_from_the_neighbours(width, n_tokens):
    tokens = random(2, n_tokens, width)
    third, half = width // 3, width // 2
    both, causal = shift_tokens(tokens, causal=False), shift_tokens(tokens, causal=True)
    for t in range(n_tokens):
        before = tokens[:, t - 1] if t > 0 else torch.zeros(2, width, dtype=torch.float64)
        after = tokens[:, t + 1] if t + 1 < n_tokens else torch.zeros(2, width, dtype=torch.float64)
        assert torch.equal(both[:, t, :third], before[:, :third])
        assert torch.equal(both[:, t, third : 2 * third], tokens[:, t, third : 2 * third])
        assert torch.equal(both[:, t, 2 * third : 3 * third], after[:, 2 * third : 3 * third])
        assert torch.equal(both[:, t, 3 * third :], tokens[:, t, 3 * third :])
        assert torch.equal(causal[:, t, :half], before[:, :half])
        assert torch.equal(causal[:, t, half:], tokens[:, t, half:])


@pytest.mark.parametrize("causal", [False, True])
def test_convolution_is_a_weighted_sum_of_neighbours(causal):
    convolution = LocalConvolution(d_model=4, causal=causal).double()
    tokens = random(2, 3, 7, 4)
    assert torch.equal(convolution(tokens), tokens)  # the initial weights
    weight = convolution.convolution.weight
    with torch.no_grad():
        weight.copy_(random(4, 1, 3))
    expected = torch.zeros_like(tokens)
    for t in range(7):
        for j, offset in enumerate((-2, -1, 0) if causal else (-1, 0, 1)):
            if 0 <= t + offset < 7:
                expected[:, :, t] += tokens[:, :, t + offset] * weight[:, 0, j]
    torch.testing.assert_close(convolution(tokens), expected)


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
from samovar_forecast.layers.gated_feed_forward import GatedFeedForward
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


def test_linformer_equals_its_formula():
    attention = LinformerAttention(n_tokens=12, rank=3, dropout=0.0).double()
    queries, keys, values = (random(2, 4, 12, 6, seed=seed) for seed in range(3))
    expected = torch.zeros_like(queries)
    for head in range(4):
        few_keys = torch.einsum("nk,bnd->bkd", attention.key_mixture, keys[:, head])
        few_values = torch.einsum("nk,bnd->bkd", attention.value_mixture, values[:, head])
        weights = (torch.einsum("bnd,bkd->bnk", queries[:, head], few_keys) / 6**0.5).softmax(-1)
        expected[:, head] = weights @ few_values
    torch.testing.assert_close(attention(queries, keys, values), expected)


def mixed(causal=False, n_local_heads=0, gate=False, convolution=False, blindspot=None, dropout=0.0):
    torch.manual_seed(0)
    attention = MixedAttention(
        d_model=12,
        n_heads=3,
        global_attention=LinearAttention(causal, blindspot, image=False, dropout=dropout)
        if n_local_heads < 3
        else None,
        n_local_heads=n_local_heads,
        local_attention=LocalAttention(2, causal, dropout) if n_local_heads else None,
        convolution=LocalConvolution(12, causal) if convolution else None,
        gate=gate,
    ).double()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return attention


@pytest.mark.parametrize("n_local_heads", [0, 1, 3])
def test_mixed_attention_equals_its_parts(n_local_heads):
    attention = mixed(causal=True, n_local_heads=n_local_heads, gate=True, convolution=True)
    tokens = random(2, 9, 12)
    queries, keys = tokens @ attention.queries.weight.T, tokens @ attention.keys.weight.T
    values = attention.convolution(tokens @ attention.values.weight.T)
    heads = []
    for head in range(3):  # the first ones are local
        q, k, v = (x[..., 4 * head : 4 * head + 4] for x in (queries, keys, values))
        local = head < n_local_heads
        heads.append(LocalAttention(2, True, 0.0)(q, k, v) if local else causal_linear_attention(q, k, v))
    gated = torch.cat(heads, -1) * torch.sigmoid(tokens @ attention.gate.weight.T)
    expected = gated @ attention.output_projection.weight.T + attention.output_projection.bias
    torch.testing.assert_close(attention(tokens), expected)


def test_the_gate_depends_on_the_token_and_can_close():
    attention = mixed(gate=True)
    tokens = random(2, 9, 12)
    with torch.no_grad():
        attention.gate.weight.copy_(-1e3 * tokens[0, 4].expand(12, 12))  # closed at this token
    bias = attention.output_projection.bias
    output = attention(tokens)
    torch.testing.assert_close(output[0, 4], bias)
    assert not torch.isclose(output[1], bias.expand(9, 12)).all(-1).all()


@pytest.mark.parametrize(("n_local_heads", "blindspot"), [(0, None), (1, None), (3, None), (0, 2), (1, 2)])
def test_the_future_does_not_change_the_past(n_local_heads, blindspot):
    attention = mixed(True, n_local_heads, gate=True, convolution=True, blindspot=blindspot)
    tokens = random(2, 12, 12)
    for at in range(1, 12):
        changed = torch.cat([tokens[:, :at], random(2, 12 - at, 12, seed=at)], 1)
        torch.testing.assert_close(attention(changed)[:, :at], attention(tokens)[:, :at], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(attention(changed)[:, at:], attention(tokens)[:, at:])


@pytest.mark.parametrize("causal", [False, True])
def test_attention_dropout_drops_whole_keys(causal):
    """The weights of a row come out as they were, but twice or not at all, the same for all queries of a head."""
    torch.manual_seed(0)
    attention = LinearAttention(causal, blindspot=None, image=False, dropout=0.5)
    queries, keys, values = (random(5, 1, 3, 16, 16, seed=seed) for seed in range(3))
    values = torch.eye(16, dtype=torch.float64).expand_as(values)  # the output is the matrix of weights
    weights, dropped = attention.eval()(queries, keys, values), attention.train()(queries, keys, values)
    share = (dropped / weights)[..., -1, :]  # of the last query, which sees all keys
    assert ((share - 2).abs().minimum(share.abs()) < 1e-9).all()
    assert 0.3 < (share == 0).double().mean() < 0.7
    torch.testing.assert_close(dropped, weights * share.unsqueeze(-2))


def test_wrong_combinations_are_named():
    with pytest.raises(ValueError, match="blindspot needs causal=True"):
        LinearAttention(causal=False, blindspot=4, image=False, dropout=0.0)
    with pytest.raises(ValueError, match="no causal form"):
        LinearAttention(causal=True, blindspot=None, image=True, dropout=0.0)
