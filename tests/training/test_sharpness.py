"""Sharpness-aware minimisation: the perturbation, the step, and everything that must not notice it."""

import copy
import itertools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.engine import train
from samovar_forecast.training.module import ForecastingModule
from samovar_forecast.training.sharpness import SharpnessAware, uphill
from tests.training.test_engine import CPU, Linear, fresh_network, series, windows_of

BASE = CPU | {"max_epochs": 1, "average_weights": None, "gradient_clip": None}


class WithDropout(Linear):
    """A network whose forecast says which of its inputs dropout has hidden."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.masks = []

    def forward(self, past, covariates=None):
        hidden = self.dropout(torch.ones_like(past))
        if self.training:
            self.masks.append(hidden)
        return super().forward(past * hidden)


def weights_with_gradients(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    weights = [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in [(3, 4), (5,), ()]]
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator, dtype=dtype)
    return weights


@pytest.mark.parametrize("rho", [0.05, 0.5, 3.0])
def test_the_step_uphill_has_length_rho(rho):
    weights = weights_with_gradients()
    before, gradients = [w.detach().clone() for w in weights], [w.grad.clone() for w in weights]
    with uphill(weights, rho) as norm:
        steps = [w.detach() - start for w, start in zip(weights, before, strict=True)]
        assert all(w.grad is None for w in weights)
    flat = torch.cat([step.flatten() for step in steps])
    direction = torch.cat([gradient.flatten() for gradient in gradients])
    assert float(norm) == pytest.approx(float(direction.norm()))
    assert float(flat.norm()) == pytest.approx(rho)
    torch.testing.assert_close(flat, rho * direction / direction.norm())


def test_the_adaptive_step_follows_its_formula_and_ignores_the_scale_of_a_weight():
    weights = weights_with_gradients()
    flat, gradient = (torch.cat([t.flatten() for t in ts]) for ts in (weights, [w.grad for w in weights]))
    before = [w.detach().clone() for w in weights]
    with uphill(weights, 0.5, adaptive=True):
        step = torch.cat([(w.detach() - start).flatten() for w, start in zip(weights, before, strict=True)])
    expected = 0.5 * flat.square() * gradient / (flat.abs() * gradient).norm()
    torch.testing.assert_close(step, expected.detach())
    # twice the weight has half the gradient of the same function: its relative step stays
    scaled = [nn.Parameter(2 * w.detach()) for w in weights]
    for ours, start, part in zip(scaled, before, gradient.split([w.numel() for w in weights]), strict=True):
        ours.grad = part.reshape(start.shape) / 2
    with uphill(scaled, 0.5, adaptive=True):
        doubled = torch.cat([(w.detach() - 2 * s).flatten() for w, s in zip(scaled, before, strict=True)])
    torch.testing.assert_close(doubled, 2 * step)


def test_weights_come_back_from_an_error_too():
    weights = weights_with_gradients()
    before = [w.detach().clone() for w in weights]

    def fail():
        with uphill(weights, 1.0):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert all(torch.equal(w.detach(), start) for w, start in zip(weights, before, strict=True))


@pytest.mark.parametrize("adaptive", [False, True])
def test_weights_come_back_bit_for_bit_and_new_gradients_stay(adaptive):
    weights = weights_with_gradients(dtype=torch.float32)
    weights.append(nn.Parameter(torch.ones(2)))  # without a gradient
    before = [w.detach().clone() for w in weights]
    with uphill(weights, 1e6, adaptive):
        sum(w.square().sum() for w in weights).backward()
        assert not torch.equal(weights[0].detach(), before[0])
        assert torch.equal(weights[-1].detach(), before[-1])
    assert all(torch.equal(w.detach(), start) for w, start in zip(weights, before, strict=True))
    assert all(w.grad is not None for w in weights)


def by_hand(network, batches, rho, optimizer, adaptive=False):
    """One step as the paper has it, on the sum of the batches' mean losses; returns the loss at the weights."""

    def loss():
        return sum((network(past).squeeze(-1) - future).square().mean() for past, future in batches) / len(batches)

    start = copy.deepcopy(network.state_dict())
    optimizer.zero_grad()
    value = loss()
    value.backward()
    parameters = list(network.parameters())
    gradients = [p.grad.clone() for p in parameters]
    sizes = [p.detach().abs() if adaptive else torch.ones_like(p) for p in parameters]
    norm = torch.cat([(s * g).flatten() for s, g in zip(sizes, gradients, strict=True)]).norm()
    with torch.no_grad():
        for p, size, gradient in zip(parameters, sizes, gradients, strict=True):
            p.add_(rho * size**2 * gradient / (norm + 1e-12))
    optimizer.zero_grad()
    loss().backward()
    network.load_state_dict(start)
    optimizer.step()
    return float(value.detach())


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("accumulated", [1, 4])
def test_training_does_what_the_paper_does(adaptive, accumulated):
    """Also with gradients accumulated over batches, which are all run again at the weights uphill."""
    values = series(37)  # 32 windows
    config = TrainingConfig(
        **BASE, batch_size=32 // accumulated, accumulate_batches=accumulated, max_steps=3,
        sharpness_rho=0.5, sharpness_adaptive=adaptive, learning_rate=0.01,
    )  # fmt: skip
    config.max_epochs = 3
    network, expected = fresh_network(), fresh_network()
    windows = windows_of(values)
    train(network, windows, None, config, seed=0)
    optimizer = torch.optim.AdamW(expected.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    past, future, _ = windows.gather(windows.starts)
    for _ in range(3):
        by_hand(expected, [(past, future)], 0.5, optimizer, adaptive)  # the batches are as large: one mean
    for ours, theirs in zip(network.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_at_radius_zero_it_is_the_base_optimizer_bit_for_bit(clip):
    weights = []
    for rho in (None, 0.0):
        torch.manual_seed(1)
        network = WithDropout()
        config = TrainingConfig(**(BASE | {"gradient_clip": clip}), sharpness_rho=rho, batch_size=8, learning_rate=0.1)
        train(network, windows_of(series()), None, config, seed=0)
        weights.append(network.map.weight.detach())
    assert torch.equal(*weights)


@pytest.mark.parametrize("accumulated", [1, 3])
def test_dropout_hides_the_same_in_both_passes(accumulated):
    torch.manual_seed(0)
    network = WithDropout()
    config = TrainingConfig(**BASE, sharpness_rho=0.5, batch_size=8, accumulate_batches=accumulated)
    train(network, windows_of(series()), None, config, seed=0)
    masks, n_batches = network.masks, 7
    assert len(masks) == 2 * n_batches
    first, second = [], []
    for start in range(0, n_batches, accumulated):
        size = min(accumulated, n_batches - start)
        group = masks[2 * start : 2 * (start + size)]
        first, second = [*first, *group[:size]], [*second, *group[size:]]
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert not any(torch.equal(one, other) for one, other in itertools.pairwise(first))


def test_the_logged_loss_is_the_one_at_the_weights():
    """Not the larger one uphill; and the steps, hooks and epochs are those of the base optimizer."""
    losses = {}
    for rho in (None, 5.0):
        config = TrainingConfig(**BASE, sharpness_rho=rho, batch_size=10**6, learning_rate=1e-12)
        summary = train(fresh_network(), windows_of(series()), windows_of(series(seed=1)), config, seed=0)
        losses[rho] = (summary.training_loss, summary.validation_loss, summary.steps, summary.epochs)
    assert losses[None] == losses[5.0]


def test_the_second_gradient_is_clipped(monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def spying_step(self, closure=None):
        def measured():
            loss = closure()
            norms.append(float(torch.nn.utils.get_total_norm([p.grad for g in self.param_groups for p in g["params"]])))
            return loss

        return step(self, measured)

    monkeypatch.setattr(torch.optim.AdamW, "step", spying_step)
    config = TrainingConfig(**(BASE | {"gradient_clip": 0.01}), sharpness_rho=0.5, batch_size=32)
    train(fresh_network(), windows_of(100 * series()), None, config, seed=0)
    assert len(norms) == 2
    assert max(norms) <= 0.01 * 1.0001


@pytest.mark.filterwarnings("ignore:precision=.bf16-mixed:UserWarning")  # of processors without AVX512
def test_it_runs_in_bfloat16():
    config = TrainingConfig(**BASE, sharpness_rho=0.5, precision="bf16-mixed", learning_rate=0.01)
    one, other = fresh_network(), fresh_network()
    train(one, windows_of(series()), None, config, seed=0)
    config.precision = "32-true"
    train(other, windows_of(series()), None, config, seed=0)
    assert not torch.equal(one.map.weight, other.map.weight)
    torch.testing.assert_close(one.map.weight, other.map.weight, rtol=0, atol=0.01)


def test_early_stopping_and_the_best_weights_work():
    config = TrainingConfig(**(BASE | {"max_epochs": 50, "patience": 2}), sharpness_rho=0.5, learning_rate=0.5)
    network, validation = fresh_network(), windows_of(series(seed=1))
    summary = train(network, windows_of(series()), validation, config, seed=0)
    assert summary.epochs == summary.best_epoch + 2 < 50
    past, future, _ = validation.gather(validation.starts)
    error = (network(past).squeeze(-1) - future).square().mean().item()
    assert error == pytest.approx(summary.validation_loss, rel=1e-5)


def test_nothing_is_installed_when_it_is_off():
    module = ForecastingModule(fresh_network(), TrainingConfig(**BASE), windows_of(series()), None, torch.Generator())
    assert module.configure_callbacks() == []


def test_what_it_cannot_do_is_refused():
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.precision_plugin.precision = "16-mixed"
    with pytest.raises(ValueError, match="float32 and bfloat16"):
        SharpnessAware(0.5).setup(trainer, None, "fit")


def test_every_forecaster_trains_with_it(forecaster_class, tiny, y):
    with_it = forecaster_class(**tiny | {"sharpness_rho": 0.05}).fit(y)
    without = forecaster_class(**tiny | {"sharpness_rho": None}).fit(y)
    assert np.isfinite(with_it.predict()).all(axis=None)
    assert with_it.training_summary_.steps == without.training_summary_.steps
    assert not np.array_equal(with_it.predict(), without.predict())
