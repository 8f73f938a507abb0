"""Batches in parts: the same training, in a memory that does not grow with the batch."""

import pytest
import torch

from samovar_forecast.data.windows import WindowBatches, Windows
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.training import batch_sizes, engine
from samovar_forecast.training.batch_sizes import count_parts
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.engine import train
from tests.training.test_engine import CPU, fresh_network, series, windows_of


@pytest.mark.parametrize(
    ("n_windows", "batch_size", "n_parts"), [(10, 4, 2), (11, 4, 2), (7, 7, 3), (3, 8, 4), (9, 4, 4)]
)
def test_parts_are_the_batches_cut_up_and_weigh_what_they_are(n_windows, batch_size, n_parts):
    whole = list(WindowBatches(torch.arange(n_windows), batch_size, torch.Generator().manual_seed(0)))
    loader = WindowBatches(torch.arange(n_windows), batch_size, torch.Generator().manual_seed(0), n_parts=n_parts)
    cut = list(loader)
    assert len(loader) == len(cut)
    assert torch.equal(torch.cat([part.starts for part in cut]), torch.cat([batch.starts for batch in whole]))
    for batch in whole:
        own = [part for part in cut if set(part.starts.tolist()) <= set(batch.starts.tolist())]
        assert sum(part.weight for part in own) == pytest.approx(n_parts)  # the Trainer divides by n_parts
        for part in own:
            assert part.weight == pytest.approx(len(part.starts) / len(batch.starts) * n_parts)


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 2},
        {"max_epochs": 2, "accumulate_batches": 2},
        {"max_steps": 3},
        {"max_epochs": 1, "sharpness_rho": 0.1},
        {"max_epochs": 2, "schedule": "onecycle", "quantiles": (0.5,)},
    ],
    ids=["epochs", "accumulated", "steps", "sharpness", "quantile"],
)
def test_a_training_in_parts_is_the_training(options, monkeypatch):
    config = TrainingConfig(**CPU, **options, batch_size=7)  # 55 windows: the last batch has six

    def trained(n_parts):
        monkeypatch.setattr(engine, "count_parts", lambda *_: n_parts)
        network, windows = fresh_network().double(), windows_of(series().double())
        summary = train(network, windows, windows_of(series(seed=1).double()), config, seed=0)
        return torch.cat([weight.flatten() for weight in network.parameters()]), summary

    (whole, told), (cut, told_of_parts) = trained(1), trained(3)
    torch.testing.assert_close(cut, whole, rtol=1e-9, atol=1e-12)
    assert told_of_parts.steps == told.steps
    assert told_of_parts.validation_loss == pytest.approx(told.validation_loss)
    assert told_of_parts.training_loss == pytest.approx(told.training_loss)


def samovar(n_series, d_model=32):
    torch.manual_seed(0)
    return SAMoVAR(n_series, n_series, 96, 24, SAMoVARConfig(d_model=d_model, n_layers=2))


def windows(n_series):
    return Windows(torch.randn(200, n_series), torch.arange(81), 96, 24, n_series)


def test_the_number_of_parts_follows_what_the_backward_pass_keeps(monkeypatch):
    def kept(network, n_series, n_windows):  # all of it, asked of autograd anew
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda nothing: nothing):
            network.eval().training_forecast(torch.randn(n_windows, 96, n_series))
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in saved}
        for parameter in network.parameters():
            storages.pop(parameter.untyped_storage().data_ptr(), None)
        return sum(storages.values())

    network = samovar(5)
    of_window = kept(network, 5, 8) / 8
    monkeypatch.setattr(batch_sizes, "MOST_BYTES", int(10.5 * of_window))
    assert count_parts(network, windows(5), 8) == 1
    assert count_parts(network, windows(5), 32) == 4
    monkeypatch.setattr(batch_sizes, "MOST_BYTES", 1)
    assert count_parts(network, windows(5), 32) == 32  # a window is the smallest part


def test_counting_leaves_no_trace():
    network, three = samovar(3).train(), windows(3)
    before, state = [weight.clone() for weight in network.parameters()], torch.get_rng_state()
    count_parts(network, three, 32)
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in network.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


def test_small_networks_run_whole_batches():
    assert count_parts(samovar(3), windows(3), 32) == 1
