"""Attention in windows against softmax attention with a band of the matrix visible."""

import pytest
import torch

from samovar_forecast.layers.local_attention import LocalAttention


def banded(queries, keys, values, window, causal, visible=None):
    """Softmax over all pairs whose windows are neighbours; windows are counted so that the last one is full."""
    n_tokens, d_head = queries.shape[-2:]
    position = torch.arange(n_tokens) + -n_tokens % window
    distance = (position // window)[:, None] - (position // window)
    seen = distance.abs() <= 1
    if causal:
        seen = seen & (position <= position[:, None])
    if visible is not None:
        seen = seen & visible[..., None, :]
    scores = queries @ keys.transpose(-1, -2) / d_head**0.5
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ values


def tokens(*shape):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def value_and_gradients(function, inputs):
    output = function(*inputs)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), inputs)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [1, 2, 5, 8, 100])
@pytest.mark.parametrize("n_tokens", [1, 7, 40, 41])
def test_equals_banded_softmax(causal, window, n_tokens):
    inputs = tokens(2, 3, n_tokens, 4)
    for a, b in zip(
        value_and_gradients(LocalAttention(window, causal, dropout=0.0), inputs),
        value_and_gradients(lambda *x: banded(*x, window, causal), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_hidden_tokens_and_padding(causal):
    inputs = tokens(2, 40, 4)
    attention = LocalAttention(window=5, causal=causal, dropout=0.0)
    visible = torch.ones(2, 40, dtype=torch.bool)
    visible[:, [3, 11, 12, 39]] = False
    visible[1, 20:24] = False
    torch.testing.assert_close(attention(*inputs, visible), banded(*inputs, 5, causal, visible))
    for missing in (1, 5, 13):
        padded = [torch.cat([torch.randn(2, missing, 4, dtype=torch.float64), x], 1) for x in inputs]
        shown = torch.arange(missing + 40) >= missing
        torch.testing.assert_close(attention(*padded, shown)[:, missing:], attention(*inputs))
    nothing = attention(*inputs, torch.zeros(2, 40, dtype=torch.bool))
    assert (nothing == 0).all()


def test_memory_is_linear_in_the_number_of_tokens():
    def kept(n_tokens):
        sizes = {}

        def count(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        inputs = tokens(n_tokens, 4)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            output = LocalAttention(window=8, causal=False, dropout=0.0)(*inputs)
        return sum(sizes.values()), output

    assert 1.9 < kept(4000)[0] / kept(2000)[0] < 2.1


def test_dropout_drops_weights():
    torch.manual_seed(0)
    attention = LocalAttention(window=4, causal=False, dropout=0.5)
    queries, keys, _ = tokens(8, 8)
    weights = attention.eval()(queries, keys, torch.eye(8, dtype=torch.float64))
    dropped = attention.train()(queries, keys, torch.eye(8, dtype=torch.float64))
    share = dropped / weights  # two windows of four see each other, so all weights are positive
    assert ((share - 2).abs().minimum(share.abs()) < 1e-9).all()
    assert 0.2 < (share == 0).double().mean() < 0.8
