"""Reversible blocks against plain autograd on the same two streams, and what they keep in memory."""

import copy
import pickle

import pytest
import torch
from torch import nn

from samovar_forecast.layers.reversible import ResidualSequence, ReversibleSequence
from tests.peak_memory import numbers_printed_by


class Mixing(nn.Module):
    """A function with parameters, dropout and a use for the context."""

    def __init__(self, width, dropout):
        super().__init__()
        self.inner, self.outer, self.from_context = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, *context):
        extra = sum(self.from_context(c).mean(-2, keepdim=True) for c in context)
        return self.outer(self.dropout(torch.tanh(self.inner(x) + extra)))


def build(depth, width=6, dropout=0.0, kind=ReversibleSequence, dtype=torch.float64):
    torch.manual_seed(0)
    pairs = [
        (Mixing(width, dropout), nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout)))
        for _ in range(depth)
    ]
    return kind(pairs).to(dtype)


def plain(sequence, x, *context):
    """The two streams by their formula."""
    first, second = x, x
    for f, g in sequence.pairs:
        first = first + f(second, *context)
        second = second + g(first)
    return (first + second) / 2


def value_and_gradients(function, sequence, inputs, seed=5):
    torch.manual_seed(seed)
    output = function(*inputs)
    after = torch.rand(1)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    sources = [*inputs, *sequence.parameters()]
    gradients = torch.autograd.grad((output * weights).sum(), sources, materialize_grads=True)
    return [output.detach(), after, *gradients]


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("with_context", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_gradients_equal_plain_autograd(depth, with_context, dropout):
    sequence = build(depth, dropout=dropout)
    x = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    context = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    inputs = [x, context] if with_context else [x]
    ours = value_and_gradients(sequence, sequence, inputs)
    theirs = value_and_gradients(lambda *x: plain(sequence, *x), sequence, inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_backward_leaves_the_random_state_alone():
    sequence = build(3, dropout=0.5)
    output = sequence(torch.randn(2, 5, 6, dtype=torch.float64)).sum()
    state = torch.get_rng_state()
    output.backward()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_second_backward_gives_the_same():
    sequence = build(3, dropout=0.5)
    x = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    output = sequence(x).square().sum()
    once = torch.autograd.grad(output, [x, *sequence.parameters()], retain_graph=True, materialize_grads=True)
    again = torch.autograd.grad(output, [x, *sequence.parameters()], materialize_grads=True)
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a, b)


def test_single_precision_recovers_its_inputs():
    sequence = build(12, dropout=0.2, dtype=torch.float32)
    x = torch.randn(3, 5, 6, requires_grad=True)
    ours = value_and_gradients(sequence, sequence, [x])
    theirs = value_and_gradients(lambda x: plain(sequence, x), sequence, [x])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backward_inside", [False, True])
def test_automatic_precision(backward_inside):
    """The backward pass computes again in the precision of the forward pass, wherever it is called."""
    sequence = build(3, width=16, dropout=0.3, dtype=torch.float32)
    x = torch.randn(2, 8, 16, requires_grad=True)

    def gradients(function):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            loss = function(x).float().square().mean()
            if backward_inside:
                return torch.autograd.grad(loss, [x, *sequence.parameters()], materialize_grads=True)
        return torch.autograd.grad(loss, [x, *sequence.parameters()], materialize_grads=True)

    seen = []
    handle = sequence.pairs[0][0].inner.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    ours = gradients(sequence)
    handle.remove()
    assert seen == [torch.bfloat16, torch.bfloat16]  # forward and again in backward
    for a, b in zip(ours, gradients(lambda x: plain(sequence, x)), strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05 * b.abs().max().item())


@pytest.mark.parametrize("setting", [torch.no_grad, torch.inference_mode])
def test_without_gradients(setting):
    sequence = build(4).eval()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    with setting():
        torch.testing.assert_close(sequence(x), plain(sequence, x))
    torch.testing.assert_close(sequence(x), plain(sequence, x))


def test_frozen_parameters_get_no_gradient():
    sequence = build(2)
    sequence.pairs[0].requires_grad_(False)
    sequence(torch.randn(2, 5, 6, dtype=torch.float64)).sum().backward()
    assert all(parameter.grad is None for parameter in sequence.pairs[0].parameters())
    assert sequence.pairs[1][0].inner.weight.grad.abs().sum() > 0


def test_copies_and_pickles():
    sequence = build(2)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    for other in (copy.deepcopy(sequence), pickle.loads(pickle.dumps(sequence))):
        torch.testing.assert_close(other(x), sequence(x))


def peak_of_kept_tensors(sequence, x):
    """The most bytes of tensors kept for gradients at any time of a training step, parameters aside."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in sequence.parameters()}
    alive, peak = {}, [0]

    class Kept:
        def __init__(self, tensor):
            self.tensor, self.storage = tensor, tensor.untyped_storage()
            if self.storage.data_ptr() not in parameters:
                alive[id(self)] = (self.storage.data_ptr(), self.storage.nbytes())
                peak[0] = max(peak[0], sum(dict(alive.values()).values()))

        def __del__(self):
            alive.pop(id(self), None)

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        sequence(x).sum().backward()
    return peak[0]


def test_peak_memory_does_not_grow_with_depth():
    x = torch.randn(16, 64, 6, dtype=torch.float64, requires_grad=True)
    flat = [peak_of_kept_tensors(build(depth, dropout=0.1), x) for depth in (2, 4, 16)]
    assert flat[0] == flat[1] == flat[2]
    growing = [peak_of_kept_tensors(build(depth, dropout=0.1, kind=ResidualSequence), x) for depth in (2, 16)]
    assert growing[1] > 6 * growing[0]
    assert flat[2] < growing[1] / 6


def test_peak_memory_of_the_process_does_not_grow_with_depth():
    """Streams of 4 MB, depth 2 and then depth 12; plain blocks show that the measure sees what is kept."""
    program = """
import torch
from torch import nn
from samovar_forecast.layers.reversible import ResidualSequence, ReversibleSequence
x = torch.ones(16384, 64)
for kind, depth in [(ReversibleSequence, 2), (ReversibleSequence, 12), (ResidualSequence, 12)]:
    f, g = ([nn.Sequential(nn.Linear(64, 64), nn.GELU()) for _ in range(depth)] for _ in range(2))
    kind(zip(f, g)).forward(x).sum().backward()
    print(peak() / 2**20)
"""
    # Blocks of this size go back to the system when they are freed, so the peak is that of the tensors in use.
    shallow, deep, plain = numbers_printed_by(program, MALLOC_MMAP_THRESHOLD_="65536")
    assert deep - shallow < 4
    assert plain - deep > 100
