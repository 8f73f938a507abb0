import pytest
import torch

from samovar_forecast.layers.linear_attention import chunk_length, linear_attention
from tests.peak_memory import numbers_printed_by


def running_sum(queries, keys, values):
    """The published form: the state sum_{i <= t} k_i v_i^T of every token, built in full."""
    states = torch.einsum("...nd,...ne->...nde", keys, values).cumsum(-3)
    return torch.einsum("...nd,...nde->...ne", queries, states)


def tokens(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def value_and_gradients(function, inputs):
    output = function(*inputs)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), inputs)]


@pytest.mark.parametrize("form", ["auto", "naive", "masked", "chunked"])
@pytest.mark.parametrize("n_tokens", [1, 2, 22, 31, 32, 33, 64, 100, 257])
@pytest.mark.parametrize("d_head", [8, 16])
def test_forms_equal_the_running_sum(form, n_tokens, d_head):
    inputs = tokens(2, 3, n_tokens, d_head)
    expected = value_and_gradients(running_sum, inputs)
    actual = value_and_gradients(lambda *x: linear_attention(*x, form=form), inputs)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_tokens", [1000, 3000])
def test_long_sequences(n_tokens):
    inputs = tokens(1, 1, n_tokens, 4)
    expected = value_and_gradients(running_sum, inputs)
    for form in ("naive", "masked", "chunked"):
        actual = value_and_gradients(lambda *x, form=form: linear_attention(*x, form=form), inputs)
        for ours, theirs in zip(actual, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_wide_heads_use_chunks_at_least_as_long():
    assert chunk_length(116) == 116
    inputs = tokens(1, 2, 300, 48)
    torch.testing.assert_close(linear_attention(*inputs, form="chunked"), running_sum(*inputs))


def test_free_queries_broadcast_over_the_batch():
    queries, keys, values = tokens(4, 2, 9, 8)
    free = queries[:1]
    for form in ("naive", "masked", "chunked"):
        torch.testing.assert_close(
            linear_attention(free, keys, values, form), running_sum(free.expand_as(keys), keys, values)
        )


def test_auto_takes_the_form_with_fewer_operations():
    from torch.utils.flop_counter import FlopCounterMode

    def operations(form, n_tokens):
        with FlopCounterMode(display=False) as counter:
            linear_attention(*tokens(1, 1, n_tokens, 16), form=form)
        return counter.get_total_flops()

    for n_tokens in (4, 16, 22, 40, 200, 1000):
        cheapest = min(operations("masked", n_tokens), operations("chunked", n_tokens))
        assert operations("auto", n_tokens) <= 1.5 * cheapest, n_tokens


def test_unknown_form_is_named():
    with pytest.raises(ValueError, match="'fast'"):
        linear_attention(*tokens(1, 3, 2), form="fast")


@pytest.mark.parametrize("gradients", [False, True])
def test_memory_beside_inputs_and_output(gradients):
    """862 sequences of 22 tokens, width 928, 8 heads: an eighth of the largest published data set."""
    program = f"""
import torch
from samovar_forecast.layers.linear_attention import linear_attention
warm = linear_attention(*(torch.ones(1, 8, 22, 116, requires_grad={gradients}) for _ in range(3)))
inputs = [torch.ones(862, 8, 22, 116, requires_grad={gradients}) for _ in range(3)]
output_bytes = inputs[0].numel() * 4
before = peak()
output = linear_attention(*inputs)
print(peak() - before - output_bytes)
"""
    (beside,) = numbers_printed_by(program)
    assert beside < 0.3e9 / 8


def test_mixed_precision_casts_queries_keys_and_values_alike():
    queries, keys, values = (part.detach().float().requires_grad_() for part in tokens(2, 3, 9, 8))
    expected = linear_attention(queries, keys, values, form="masked")
    with torch.autocast("cpu", torch.bfloat16):
        output = linear_attention(queries, keys, values.bfloat16(), form="masked")
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.3)
    output.float().sum().backward()
    assert all(part.grad.isfinite().all() for part in (queries, keys, values))
