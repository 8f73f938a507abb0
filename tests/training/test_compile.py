"""The compiled network trains like the network."""

import pytest
import torch

from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.devices import STEPS_OF_A_LONG_TRAINING, compiled, resolve_compile
from samovar_forecast.training.engine import train
from tests.training.test_engine import CPU, fresh_network, series, windows_of


def test_a_compiled_training_is_the_training():
    def trained(choice):
        network = fresh_network()
        config = TrainingConfig(**CPU, max_epochs=2, batch_size=16, compile=choice)  # the last batch is smaller
        train(network, windows_of(series()), None, config, seed=0)
        return network

    torch._dynamo.utils.counters.clear()
    plain, fast = trained(False), trained(True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0  # it was compiled indeed
    for ours, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert type(fast) is type(plain)  # what is kept is the network itself: it pickles and saves like any other


def test_compiled_dropout_drops_the_same():
    """In one layer of each kind: a compiler takes a second or more for every kernel."""

    def passes(function):
        torch.manual_seed(0)
        result = function(past)
        loss = result.forecast.square().sum() + result.own_forecast.square().sum()
        return [result.forecast, *torch.autograd.grad(loss, list(network.parameters()))]

    torch._dynamo.reset()  # what other tests compiled decides whether sizes are compiled as variables
    torch.manual_seed(0)
    config = SAMoVARConfig(d_model=16, n_layers=1, n_heads=2, dropout=0.5)
    network = SAMoVAR(2, 2, 24, 8, config).double().train()
    past = torch.randn(4, 24, 2, dtype=torch.float64)
    plain = passes(network.training_forecast)
    fast = passes(compiled(network.training_forecast, torch.device("cpu")))
    for ours, theirs in zip(fast, plain, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(network.training_forecast(past).forecast, plain[0])  # other masks would be seen


@pytest.mark.parametrize(
    ("choice", "device", "steps", "expected"),
    [
        (True, "cpu", 1, True),
        (False, "cuda", 10**6, False),
        ("auto", "cpu", 10**6, False),
        ("auto", "mps", 10**6, False),
        ("auto", "cuda", STEPS_OF_A_LONG_TRAINING - 1, False),
    ],
)
def test_when_it_compiles(choice, device, steps, expected):
    assert resolve_compile(choice, torch.device(device), steps) is expected
