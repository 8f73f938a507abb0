"""Multi-head attention of local and global heads, its convolution, and Linformer attention."""

import pytest
import torch

from samovar_forecast.layers.causal_linear_attention import causal_linear_attention
from samovar_forecast.layers.linformer_attention import LinformerAttention
from samovar_forecast.layers.local_attention import LocalAttention
from samovar_forecast.layers.mixed_attention import LinearAttention, LocalConvolution, MixedAttention


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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
