"""Batches in parts: the gradient of the batch, in a memory that does not grow with it."""

from itertools import islice

import pytest
import torch

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.windows import Windows
from samovar_forecast.networks.covariate_network import CovariateNetwork
from samovar_forecast.networks.network import ForecastNetwork, TrainingForecast
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.training import batches, engine
from samovar_forecast.training.batches import WindowBatches, count_parts
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.engine import train
from samovar_forecast.training.module import ForecastingModule
from tests.networks.test_missing_values import CONTEXT, HORIZON, NETWORKS, SERIES, TARGETS, build
from tests.training.test_engine import CPU, fresh_network, series, windows_of


@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize(
    ("n_windows", "batch_size", "n_parts"), [(10, 4, 2), (11, 4, 2), (7, 7, 3), (3, 8, 4), (9, 4, 4), (31, 4, 3)]
)
def test_parts_are_the_batches_cut_up_and_know_the_counts_of_their_step(n_windows, batch_size, n_parts, accumulated):
    def loader(**cut):
        return WindowBatches(torch.arange(n_windows), batch_size, torch.Generator().manual_seed(0), **cut)

    whole = [batch.starts for batch in loader()]
    cut = loader(accumulate_batches=accumulated, n_parts=n_parts, count=lambda starts: (starts.sum(),))
    parts = list(cut)
    assert len(cut) == len(parts)
    assert torch.equal(torch.cat([part.starts for part in parts]), torch.cat(whole))
    for first in range(0, len(whole), accumulated):  # the Trainer takes a step after as many parts
        step = torch.cat(whole[first : first + accumulated])
        own = parts[first * n_parts : (first + accumulated) * n_parts]
        assert torch.equal(torch.cat([part.starts for part in own]), step)
        assert {part.counts for part in own} == ({()} if len(own) == 1 else {own[0].counts})
        assert len(own) == 1 or int(own[0].counts[0]) == int(step.sum())
        for batch in whole[first : first + accumulated]:
            sizes = [len(part.starts) for part in own if set(part.starts.tolist()) <= set(batch.tolist())]
            assert max(sizes) - min(sizes) <= 1
            assert max(sizes) <= -(-batch_size // n_parts)


OPTIONS = [
    {"max_epochs": 2},
    {"max_epochs": 2, "accumulate_batches": 2},
    {"max_steps": 3},
    {"max_epochs": 1, "sharpness_rho": 0.1},
    {"max_epochs": 1, "sharpness_rho": 0.1, "accumulate_batches": 3},
    {"max_epochs": 2, "schedule": "onecycle", "quantiles": (0.5,)},
]


def with_gaps(values, share=0.3):
    missing = torch.rand(values.shape, generator=torch.Generator().manual_seed(5)) < share
    values = torch.where(missing, torch.nan, values)
    values[11:18] = torch.nan  # some windows have few targets, some many
    return values


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_training_in_parts_is_the_training(options, gaps, monkeypatch):
    config = TrainingConfig(**CPU | {"horizon": HORIZON}, **options, batch_size=7)  # 55 windows: the last batch has six
    generator = torch.Generator().manual_seed(0)
    both = torch.randn(2, 55 + CONTEXT + HORIZON - 1, SERIES, dtype=torch.float64, generator=generator)
    values, unseen = map(with_gaps, both) if gaps else both

    def trained(n_parts):
        monkeypatch.setattr(engine, "count_parts", lambda *_: n_parts)
        torch.manual_seed(0)
        network = MaskedReconstruction(dropout=0.0).double()
        summary = train(network, windows_with_targets(values), windows_with_targets(unseen), config, seed=0)
        return torch.cat([weight.flatten() for weight in network.parameters()]), summary

    (whole, told), (cut, told_of_parts) = trained(1), trained(3)
    torch.testing.assert_close(cut, whole, rtol=1e-9, atol=1e-11)
    assert told_of_parts.steps == told.steps
    assert told_of_parts.validation_loss == pytest.approx(told.validation_loss)
    assert told_of_parts.training_loss == pytest.approx(told.training_loss)


def windows_with_targets(values):
    return Windows(values, torch.arange(len(values) - CONTEXT - HORIZON + 1), CONTEXT, HORIZON, TARGETS)


class MaskedReconstruction(ForecastNetwork):
    """An objective of its own whose targets no formula tells: the network has to run."""

    def __init__(self, n_outputs=1, dropout=0.5):
        super().__init__(SERIES, TARGETS, CONTEXT, HORIZON, n_outputs)
        self.map = torch.nn.Linear(CONTEXT, HORIZON * n_outputs)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, past, covariates=None):
        mapped = self.map(past[..., -TARGETS:].nan_to_num().transpose(1, 2)).unflatten(2, (HORIZON, -1))
        return mapped.transpose(1, 2)

    def training_forecast(self, past, covariates=None):
        self.dropout(past)  # draws random numbers
        shown = past[:, -HORIZON:, -TARGETS:]
        return TrainingForecast(self(past), self(past.flip(1)), torch.where(shown > 0.5, torch.nan, shown))


ALL = {
    **{name: lambda n_outputs, name=name: build(name, n_outputs) for name in NETWORKS if name != "Autoformer"},
    "beside covariates": lambda n_outputs: with_covariates(build("SAMoVAR", n_outputs)),
    "masked": lambda n_outputs: MaskedReconstruction(n_outputs).double(),
}


def with_covariates(network):
    torch.manual_seed(1)
    network = CovariateNetwork(network, n_known=2, n_static=0).double()
    for parameter in network.known_effect.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def gradient_of_first_step(module):
    """As Lightning adds it up: the parts of a step, or those that are left at the end of an epoch."""
    loader, gradient = module.train_dataloader(), None
    for part in islice(loader, module.parts_per_step):
        loss = module.training_step(part, 0) / module.parts_per_step
        again = module.loss_of(part) / module.parts_per_step
        assert loss == again
        parts = torch.autograd.grad(loss, list(module.network.parameters()), allow_unused=True, materialize_grads=True)
        flat = torch.cat([each.flatten() for each in parts])
        gradient = flat if gradient is None else gradient + flat
    return gradient


def module_of(network, values, n_windows=16, n_parts=1, known=None, **options):
    windows = Windows(values, torch.arange(n_windows), CONTEXT, HORIZON, TARGETS, known=known)
    config = TrainingConfig(**CPU | {"horizon": HORIZON}, average_weights=None, **options)
    return ForecastingModule(network.train(), config, windows, None, torch.Generator().manual_seed(0), n_parts)


@pytest.mark.parametrize(
    ("gaps", "quantiles"),
    [(False, None), (True, None), (True, (0.1, 0.5, 0.9))],
    ids=["complete", "gaps", "gaps, quantiles"],
)
@pytest.mark.parametrize("name", ALL)
def test_the_gradient_of_parts_is_that_of_the_step(name, gaps, quantiles):
    """Whether a step of 16 windows is run at once, in parts, in batches, or is what an epoch has left for its last."""
    values = torch.randn(48, SERIES, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    known = torch.randn(48, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    values = with_gaps(values) if gaps else values
    network = ALL[name](len(quantiles or (0.5,)))
    whole = gradient_of_first_step(module_of(network, values, batch_size=16, quantiles=quantiles, known=known))
    assert whole.abs().max() > 1e-3
    for n_parts, batch_size, accumulated in (
        (5, 16, 1), (1, 4, 4), (3, 6, 3), (1, 16, 4),
    ):  # fmt: skip
        parts = module_of(
            network, values, n_parts=n_parts, batch_size=batch_size, accumulate_batches=accumulated,
            quantiles=quantiles, known=known,
        )  # fmt: skip
        torch.testing.assert_close(gradient_of_first_step(parts), whole, rtol=1e-9, atol=1e-11)


def test_counting_targets_draws_no_random_number():
    values = torch.randn(48, SERIES, dtype=torch.float64)
    module = module_of(MaskedReconstruction().double(), values, n_parts=4, batch_size=16)
    state = torch.get_rng_state()
    parts = list(islice(module.train_dataloader(), 4))
    of_parts = torch.tensor([[int(count) for count in module.count_targets(part.starts)] for part in parts])
    assert of_parts.sum(0).tolist() == [int(count) for count in parts[0].counts]
    assert 0 < parts[0].counts[1] < parts[0].counts[0] == 16 * HORIZON * TARGETS
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in module.network.parameters())


def test_windows_that_share_something_stay_together(monkeypatch):
    """Autoformer chooses its delays for a batch: in parts it would be another network."""
    monkeypatch.setattr(batches, "MOST_BYTES", 1)
    windows = Windows(torch.randn(48, SERIES, dtype=torch.float64), torch.arange(16), CONTEXT, HORIZON, TARGETS)
    for network in (build("Autoformer"), with_covariates(build("Autoformer"))):
        assert count_parts(network, windows, 16) == 1
    assert count_parts(build("SAMoVAR"), windows, 16) == 16


@pytest.mark.parametrize("name", NETWORKS)
def test_no_other_network_lets_windows_interact(name):
    """What a window is forecast in training is the same alone and in a batch, or the network says so."""
    network = build(name).train()
    past = torch.randn(6, CONTEXT, SERIES, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    alone = torch.cat([network.training_forecast(window).forecast for window in past.split(1)])
    same = torch.allclose(alone, network.training_forecast(past).forecast, rtol=1e-9, atol=1e-9)
    assert same is not network.windows_interact


@pytest.mark.parametrize("sharpness_rho", [None, 0.5])
@pytest.mark.parametrize("n_windows", [40, 45, 32])
def test_the_last_group_of_batches_weighs_as_much_as_any_other(n_windows, sharpness_rho):
    """Batches of 8, four to a step: one, two (one of them short), or none are left after the first step."""
    values = series(n_windows + 5)

    def trained(**batches):
        config = TrainingConfig(
            **CPU, **batches, max_epochs=1, average_weights=None, gradient_clip=None, sharpness_rho=sharpness_rho,
            learning_rate=0.1, weight_decay=0.0,
        )  # fmt: skip
        network = fresh_network().double()
        assert train(network, windows_of(values.double()), None, config, seed=0).steps == -(-n_windows // 32)
        return network.map.weight.detach()

    torch.testing.assert_close(
        trained(batch_size=8, accumulate_batches=4), trained(batch_size=32), rtol=1e-9, atol=1e-11
    )


def test_a_forecaster_trains_in_parts(tiny, y, monkeypatch):
    y = y.copy()
    y.iloc[20:30, 0], y.iloc[::7, 1] = float("nan"), float("nan")
    whole = SAMoVARForecaster(**tiny, dropout=0.0).fit(y).training_summary_
    monkeypatch.setattr(engine, "count_parts", lambda *_: 5)
    cut = SAMoVARForecaster(**tiny, dropout=0.0).fit(y).training_summary_
    assert cut.validation_loss == pytest.approx(whole.validation_loss, rel=1e-5)
    assert cut.training_loss == pytest.approx(whole.training_loss, rel=1e-5)


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
    monkeypatch.setattr(batches, "MOST_BYTES", int(10.5 * of_window))
    assert count_parts(network, windows(5), 8) == 1
    assert count_parts(network, windows(5), 32) == 4
    monkeypatch.setattr(batches, "MOST_BYTES", 1)
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


def test_an_epoch_has_at_most_so_many_windows_and_others_each_time():
    batches = WindowBatches(torch.arange(100), 8, torch.Generator().manual_seed(0), n_windows=20)
    passes = [torch.cat([part.starts for part in batches]) for _ in range(40)]
    assert len(batches) == len(list(batches)) == 3
    assert all(len(starts) == len(starts.unique()) == 20 for starts in passes)
    assert len({tuple(starts.tolist()) for starts in passes}) == 40
    assert len(torch.cat(passes).unique()) == 100  # each window is missed 40 times with probability 1e-4
    validation = torch.cat([part.starts for part in WindowBatches(torch.arange(100), 8, n_windows=4)])
    assert validation.tolist() == [0, 33, 66, 99]
    assert len(torch.cat([part.starts for part in WindowBatches(torch.arange(5), 2, n_windows=9)])) == 5


@pytest.mark.parametrize("weights", [None, torch.ones(100)])
def test_devices_share_the_windows_of_a_short_epoch(weights):
    def starts(rank, n_ranks):
        generator = torch.Generator().manual_seed(0)
        parts = WindowBatches(torch.arange(100), 8, generator, weights, 20, rank=rank, n_ranks=n_ranks)
        return [part.starts.tolist() for part in parts if not part.idle]

    together = [sorted(first + second) for first, second in zip(starts(0, 2), starts(1, 2), strict=True)]
    assert together == [sorted(batch) for batch in starts(0, 1)]
