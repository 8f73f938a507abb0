"""Linear attention over everything against the matrix of its weights."""

import pytest
import torch

from samovar_forecast.layers.global_linear_attention import global_linear_attention, image_linear_attention


def quadratic(queries, keys, values, visible=None):
    """The weights of all pairs, one row per query."""
    if visible is not None:
        keys = keys.masked_fill(~visible[..., None], -torch.inf)
    weights = (queries.softmax(-1) * queries.shape[-1] ** -0.5) @ keys.softmax(-2).transpose(-1, -2)
    return weights @ values


def tokens(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def value_and_gradients(function, inputs):
    output = function(*inputs)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), inputs)]


@pytest.mark.parametrize("n_tokens", [1, 2, 50, 300])
def test_equals_the_quadratic_form(n_tokens):
    inputs = tokens(2, 3, n_tokens, 8)
    ours, theirs = value_and_gradients(global_linear_attention, inputs), value_and_gradients(quadratic, inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_as_many_queries_as_one_likes():
    queries, keys, values = tokens(2, 30, 8)
    few = queries[:, :7].detach().requires_grad_()
    for a, b in zip(
        value_and_gradients(global_linear_attention, [few, keys, values]),
        value_and_gradients(quadratic, [few, keys, values]),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_rows_sum_to_the_scale_of_the_queries():
    queries, keys, values = tokens(2, 30, 9)
    output = global_linear_attention(queries, keys, torch.ones_like(values))
    torch.testing.assert_close(output, torch.full_like(output, 1 / 3))


def test_hidden_tokens_equal_the_masked_quadratic_form():
    inputs = tokens(2, 30, 8)
    visible = torch.rand(2, 30, generator=torch.Generator().manual_seed(0)) > 0.4
    for a, b in zip(
        value_and_gradients(lambda *x: global_linear_attention(*x, visible), inputs),
        value_and_gradients(lambda *x: quadratic(*x, visible), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_padding_changes_nothing():
    inputs = tokens(2, 21, 8)
    for missing in (1, 40):
        padded = [torch.cat([50 * torch.randn(2, missing, 8, dtype=torch.float64), x], 1) for x in inputs]
        visible = torch.arange(missing + 21) >= missing
        torch.testing.assert_close(
            global_linear_attention(*padded, visible)[:, missing:], global_linear_attention(*inputs)
        )


def test_where_nothing_is_visible_the_output_is_zero():
    inputs = tokens(2, 5, 4)
    visible = torch.tensor([[False] * 5, [True] * 5])
    output, *gradients = value_and_gradients(lambda *x: global_linear_attention(*x, visible), inputs)
    assert (output[0] == 0).all()
    assert (output[1] != 0).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_large_logits_in_single_precision():
    queries, keys, values = (x.detach() for x in tokens(2, 40, 8))
    queries, keys = 200 * queries.clamp(-1, 1), 200 * keys.clamp(-1, 1)
    output = global_linear_attention(queries.float(), keys.float(), values.float())
    torch.testing.assert_close(output.double(), quadratic(queries, keys, values), rtol=1e-4, atol=1e-5)


def test_image_attention_is_attention_over_the_whole_map():
    """Rows and columns are one long list of positions; both logits are scaled by d_head^-1/4, weights sum to one."""
    inputs = tokens(2, 3, 4, 5, 8)  # batch, rows, heads, columns, features

    def reference(queries, keys, values):
        outputs = []
        for head in range(4):
            q, k, v = (x[:, :, head].reshape(2, 15, 8) for x in (queries, keys, values))
            weights = (q / 8**0.25).softmax(-1) @ (k / 8**0.25).softmax(1).transpose(1, 2)
            outputs.append((weights @ v).reshape(2, 3, 5, 8))
        return torch.stack(outputs, 2)

    for a, b in zip(
        value_and_gradients(image_linear_attention, inputs), value_and_gradients(reference, inputs), strict=True
    ):
        torch.testing.assert_close(a, b)
    output = image_linear_attention(*inputs[:2], torch.ones_like(inputs[2]))
    torch.testing.assert_close(output, torch.ones_like(output))
