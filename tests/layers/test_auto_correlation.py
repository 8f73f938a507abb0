import pytest
import torch

from samovar_forecast.layers.auto_correlation import (
    AutoCorrelation,
    auto_correlation,
    circular_correlation,
    number_of_delays,
    strongest_delays,
)
from samovar_forecast.layers.fast.sum_of_rolls import sum_of_rolls
from tests.peak_memory import numbers_printed_by


def direct_correlation(leading, lagging):
    """``sum_t leading[(t + tau) mod length] . lagging[t]``, one delay after the other."""
    length = leading.shape[1]
    return torch.stack([(leading.roll(-tau, dims=1) * lagging).sum((1, 2)) for tau in range(length)], dim=1)


def direct_sum_of_rolls(values, delays, weights):
    samples = []
    for value, its_delays, its_weights in zip(values, delays.tolist(), weights, strict=True):
        samples.append(sum(w * value.roll(-tau, dims=0) for tau, w in zip(its_delays, its_weights, strict=True)))
    return torch.stack(samples)


def by_heads(queries, keys, values, n_delays, training, n_heads):
    """The published layer: a correlation for each head and channel, averaged; rolls of the values of each head."""
    length = queries.shape[1]
    if keys.shape[1] < length:
        zeros = torch.zeros(len(keys), length - keys.shape[1], keys.shape[2], dtype=keys.dtype)
        keys, values = torch.cat([keys, zeros], 1), torch.cat([values, zeros], 1)
    q, k, v = (x[:, :length].unflatten(-1, (n_heads, -1)) for x in (queries, keys, values))
    correlation = torch.stack([(q.roll(-tau, dims=1) * k).sum(1).mean((1, 2)) for tau in range(length)], dim=1)
    if training:
        delays = correlation.mean(0).topk(n_delays).indices.expand(len(q), -1)
    else:
        delays = correlation.topk(n_delays).indices
    weights = correlation.gather(1, delays).softmax(-1)
    heads = [direct_sum_of_rolls(v[:, :, head], delays, weights) for head in range(n_heads)]
    return torch.stack(heads, dim=2).flatten(2)


def random(*shape, seed=0, grad=True):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=grad)


def assert_same_with_gradients(ours, theirs, inputs):
    torch.testing.assert_close(ours, theirs)
    upstream = torch.linspace(-1, 1, ours.numel(), dtype=ours.dtype).reshape(ours.shape)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, upstream), torch.autograd.grad(theirs, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("n_channels", [1, 8, 64, 150])  # up to 64 channels are transformed at a time
@pytest.mark.parametrize("length", [1, 2, 3, 13, 24])
def test_fft_equals_the_direct_correlation(length, n_channels):
    leading, lagging = random(3, length, n_channels), random(3, length, n_channels, seed=1)
    ours, theirs = circular_correlation(leading, lagging), direct_correlation(leading, lagging)
    assert_same_with_gradients(ours, theirs, [leading, lagging])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_correlation_of_short_floats_is_float32(dtype):
    leading, lagging = (random(2, 17, 8, seed=seed, grad=False).to(dtype) for seed in (0, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = circular_correlation(leading, lagging)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), direct_correlation(leading.double(), lagging.double()), rtol=0, atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 7, 24])
def test_sum_of_rolls(length):
    values, weights = random(3, length, 5), random(3, 4, seed=1)
    delays = torch.randint(-2 * length, 2 * length, (3, 4), generator=torch.Generator().manual_seed(2))
    delays[:, 1] = delays[:, 0]  # a delay may come twice
    ours, theirs = sum_of_rolls(values, delays, weights), direct_sum_of_rolls(values, delays, weights)
    assert_same_with_gradients(ours, theirs, [values, weights])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n_heads", [1, 2, 4])
@pytest.mark.parametrize(("length", "source_length"), [(24, 24), (13, 13), (19, 12), (12, 19), (2, 2), (1, 5)])
def test_equals_the_published_layer(length, source_length, n_heads, training):
    queries, keys, values = (
        random(3, length, 8),
        random(3, source_length, 8, seed=1),
        random(3, source_length, 8, seed=2),
    )
    n_delays = number_of_delays(2, length)
    ours = auto_correlation(queries, keys, values, n_delays, training)
    assert_same_with_gradients(
        ours, by_heads(queries, keys, values, n_delays, training, n_heads), [queries, keys, values]
    )


def test_values_are_taken_ahead_by_the_delay_of_the_queries():
    """As published: queries five steps after the keys, values five steps before."""
    series = random(1, 30, 4, grad=False)
    ours = auto_correlation(series.roll(5, dims=1), series, series, n_delays=1)
    torch.testing.assert_close(ours, series.roll(-5, dims=1))


@pytest.mark.parametrize("shared_delays", [True, False])
@pytest.mark.parametrize("length", [24, 25])
def test_equivariant_to_circular_shifts(length, shared_delays):
    inputs = [random(3, length, 8, seed=seed, grad=False) for seed in range(3)]
    for shift in (1, 7, -4):
        shifted = auto_correlation(*(x.roll(shift, dims=1) for x in inputs), 5, shared_delays)
        torch.testing.assert_close(shifted, auto_correlation(*inputs, 5, shared_delays).roll(shift, dims=1))


def test_strongest_delays_are_those_of_topk_where_no_two_are_equal():
    correlation = random(6, 50, grad=False)
    chosen = strongest_delays(correlation, 7)
    assert torch.equal(chosen, correlation.topk(7).indices)


@pytest.mark.parametrize("level", [1.0, -1e4])
def test_of_equal_correlations_the_shortest_delays_count(level):
    """Two clear winners, one loser and forty-seven values that differ by rounding alone."""
    generator = torch.Generator().manual_seed(0)
    correlation = level + 1e-7 * abs(level) * torch.randn(5, 50, generator=generator)
    correlation[:, 0] -= 0.1 * abs(level)
    correlation[:, [30, 20]] += 0.1 * abs(level)
    chosen = strongest_delays(correlation, 5)
    assert chosen.sort().values.tolist() == [[1, 2, 3, 20, 30]] * 5


def test_batch_mates_matter_in_training_only():
    torch.manual_seed(0)
    layer, tokens = AutoCorrelation(16, factor=1).double(), random(6, 40, 16, grad=False)
    layer.eval()
    torch.testing.assert_close(layer(tokens, tokens)[:1], layer(tokens[:1], tokens[:1]))
    torch.testing.assert_close(layer(tokens, tokens).flip(0), layer(tokens.flip(0), tokens.flip(0)))
    layer.train()
    assert not torch.allclose(layer(tokens, tokens)[:1], layer(tokens[:1], tokens[:1]))


def test_training_shares_delays_and_not_weights():
    queries, keys = random(2, 30, 4, grad=False), random(2, 30, 4, seed=1, grad=False)
    delay = direct_correlation(queries, keys).mean(0).argmax()
    values = random(2, 30, 4, seed=2, grad=False)
    only = auto_correlation(queries, keys, values, n_delays=1, shared_delays=True)
    torch.testing.assert_close(only, values.roll(-int(delay), dims=1))
    two = auto_correlation(queries, keys, values[:1].expand(2, -1, -1), n_delays=2, shared_delays=True)
    assert not torch.allclose(two[0], two[1])


@pytest.mark.parametrize(
    ("factor", "length", "expected"),
    [(3, 96, 13), (1, 96, 4), (1, 2, 1), (3, 2, 2), (3, 1, 1), (0.1, 50, 1), (99, 5, 5)],
)
def test_number_of_delays(factor, length, expected):
    assert number_of_delays(factor, length) == expected


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16(training):
    torch.manual_seed(0)
    layer, tokens = AutoCorrelation(16, factor=1).train(training), random(4, 40, 16, grad=False).float()

    def gradients(output):
        return torch.cat([x.flatten() for x in torch.autograd.grad(output.float().square().mean(), layer.parameters())])

    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(tokens, tokens)
    assert output.dtype == torch.bfloat16
    exact = gradients(layer(tokens, tokens))
    assert (gradients(output) - exact).norm() <= 0.05 * exact.norm()


def test_memory_beside_inputs_and_output():
    """Twenty delays of 2,000 rows, with gradients: the index and the weights of the rows, and no rolled copies."""
    program = """
import torch
from samovar_forecast.layers.fast.sum_of_rolls import sum_of_rolls
torch.set_num_threads(1)
def run(values, weights):
    output = sum_of_rolls(values, torch.arange(20).expand(len(values), -1), weights)
    torch.autograd.grad(output, [values, weights], torch.ones_like(output))
run(torch.ones(1, 50, 512, requires_grad=True), torch.ones(1, 20, requires_grad=True))
values, weights = torch.ones(8, 2000, 512, requires_grad=True), torch.ones(8, 20, requires_grad=True)
before = peak()
run(values, weights)
print((peak() - before) / values.nbytes)
"""
    (times_the_values,) = numbers_printed_by(program)
    assert 1 < times_the_values < 5  # output, its gradient and that of the values are three; a copy per delay is twenty
