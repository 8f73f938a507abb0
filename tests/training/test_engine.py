"""Training: what is gathered, what is accumulated, which weights are kept."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from samovar_forecast import SAMoVARForecaster
from samovar_forecast.data.windows import Windows, window_cutoffs
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.batches import WindowBatches
from samovar_forecast.training.callbacks import BestWeights
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.engine import TrainingDivergedError, train
from samovar_forecast.training.optimisation import AveragedWeights, multiplier
from samovar_forecast.training.split import split_windows
from tests.conftest import TINY, waves


class Linear(ForecastNetwork):
    """One linear map over the context: small enough to follow by hand."""

    def __init__(self, context_length=4, horizon=2):
        super().__init__(2, 2, context_length, horizon)
        self.map = torch.nn.Linear(context_length, horizon)

    def forward(self, past, covariates=None):
        return self.map(past.transpose(1, 2)).transpose(1, 2).unsqueeze(-1)


def series(n_rows=60, seed=0):
    return torch.randn(n_rows, 2, generator=torch.Generator().manual_seed(seed))


def windows_of(values, context_length=4, horizon=2):
    return Windows(values, torch.arange(len(values) - context_length - horizon + 1), context_length, horizon, 2)


def fresh_network():
    torch.manual_seed(0)
    return Linear()


CPU = {"device": "cpu", "horizon": 2, "loss": "mse"}


def test_gathered_windows_equal_slices():
    values, known = series(), torch.randn(60, 3)
    windows = Windows(values, torch.arange(50), context_length=4, horizon=2, n_targets=1, known=known)
    past, future, covariates = windows.gather(torch.tensor([0, 7, 49]))
    for row, start in enumerate((0, 7, 49)):
        assert torch.equal(past[row], values[start : start + 4])
        assert torch.equal(future[row], values[start + 4 : start + 6, -1:])
        assert torch.equal(covariates.known_past[row], known[start : start + 4])
        assert torch.equal(covariates.known_future[row], known[start + 4 : start + 6])


def test_batches_hold_every_window_once_in_a_new_order_each_pass():
    batches = WindowBatches(torch.arange(10), 4, torch.Generator().manual_seed(0))
    first, second = (torch.cat([part.starts for part in batches]).tolist() for _ in range(2))
    assert len(batches) == len(list(batches)) == 3
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second != list(range(10))


def test_no_validation_target_is_trained_on():
    values = torch.arange(100.0).unsqueeze(1)
    every = Windows.before(window_cutoffs(100, 80, 10, 5), values, context_length=10, horizon=5, n_targets=1)
    train_windows, validation = split_windows(every, [20])
    targets = train_windows.gather(train_windows.starts)[1]
    assert targets.max() == 79
    assert len(train_windows) == 80 - 10 - 5 + 1
    held_out = validation.gather(validation.starts)[1]
    assert held_out.min() == 80
    assert held_out.max() == 99
    assert len(validation) == 20 - 5 + 1


def test_scaler_sees_training_rows_only(tiny, y):
    y = y.copy()
    training = y.iloc[:128]
    y.iloc[-32:, :2] += 1e6  # the held-out fifth
    y.iloc[-32:, 2] += training["s2"].std(ddof=0)
    with pytest.warns(UserWarning, match=r"y column 's0' moves .* as far .*\(raised too: y column 's1'\)"):
        scaler = SAMoVARForecaster(**tiny, validation_fraction=0.2).fit(y).scaler_
    np.testing.assert_allclose(scaler.center, training.mean())
    np.testing.assert_allclose(scaler.scale[2], training["s2"].std(ddof=0))
    # The one thing that held-out rows change: no column decides the loss there; see `Scaler.bounded_by`.
    away = np.sqrt(((y.iloc[-32:] - training.mean()) ** 2).mean())
    np.testing.assert_allclose(scaler.scale[:2], away[:2])


def test_accumulated_batches_equal_one_large_batch():
    """Published code zeroes the gradients of every micro-batch; here four of 8 do what one of 32 does."""
    values = series(37)  # 32 windows
    steps = {}
    for name, batch_size, accumulated in (("large", 32, 1), ("accumulated", 8, 4), ("small", 8, 1)):
        network = fresh_network()
        config = TrainingConfig(
            **CPU, batch_size=batch_size, accumulate_batches=accumulated, max_steps=1, max_epochs=1, gradient_clip=None
        )
        assert train(network, windows_of(values), None, config, seed=0).steps == 1
        steps[name] = network.map.weight.detach()
    torch.testing.assert_close(steps["accumulated"], steps["large"], rtol=1e-4, atol=1e-7)
    assert not torch.allclose(steps["small"], steps["large"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("max_steps", [1, 4, 5, 7, 8])
def test_the_last_step_is_validated_wherever_it_lies(max_steps, accumulated):
    values, given = series(69), []  # 64 windows: 4 steps an epoch
    config = TrainingConfig(
        **CPU, batch_size=16 // accumulated, accumulate_batches=accumulated, max_steps=max_steps, average_weights=None,
        learning_rate=1e-3, weight_decay=0.0,
    )  # fmt: skip
    network = fresh_network()
    evaluate = BestWeights.on_validation_end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            BestWeights, "on_validation_end",
            lambda best, trainer, module: given.append(trainer.global_step) or evaluate(best, trainer, module),
        )  # fmt: skip
        summary = train(network, windows_of(values), windows_of(values), config, seed=0)
    assert summary.steps == max_steps
    assert given == [step for step in (4, 8) if step < max_steps] + [max_steps]


def test_clipping_bounds_the_step_of_the_gradient(monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def spying_step(self, *args, **kwargs):
        closure = args[0] if args else kwargs["closure"]

        def measured():
            loss = closure()
            gradients = [p.grad.norm() for group in self.param_groups for p in group["params"]]
            norms.append(float(torch.stack(gradients).norm().detach()))
            return loss

        return step(self, measured)

    monkeypatch.setattr(torch.optim.AdamW, "step", spying_step)
    for clip in (0.01, None):
        config = TrainingConfig(**CPU, max_steps=3, gradient_clip=clip)
        train(fresh_network(), windows_of(1e3 * series()), None, config, seed=0)
    assert max(norms[:3]) <= 0.01 * 1.0001
    assert min(norms[3:]) > 1


def test_best_weights_are_restored():
    """A learning rate that first helps and then wrecks: the summary and the weights are the best epoch's."""
    train_windows, validation = windows_of(series()), windows_of(series(seed=1))
    network = fresh_network()
    config = TrainingConfig(**(CPU | {"learning_rate": 0.5, "max_epochs": 8, "patience": None}))
    summary = train(network, train_windows, validation, config, seed=0)
    past, future, _ = validation.gather(validation.starts)
    error = (network(past).squeeze(-1) - future).square().mean().item()
    assert error == pytest.approx(summary.validation_loss, rel=1e-5)
    assert summary.epochs == 8
    assert not network.training


def test_patience_stops_early():
    config = TrainingConfig(**(CPU | {"learning_rate": 0.5, "max_epochs": 50, "patience": 2}))
    summary = train(fresh_network(), windows_of(series()), windows_of(series(seed=1)), config, seed=0)
    assert summary.epochs == summary.best_epoch + 2 < 50


def test_a_training_that_ends_inside_an_epoch_is_validated():
    config = TrainingConfig(**CPU, max_steps=1, batch_size=8)
    summary = train(fresh_network(), windows_of(series()), windows_of(series(seed=1)), config, seed=0)
    assert summary.steps == 1
    assert math.isfinite(summary.validation_loss)


@pytest.mark.parametrize("validate", [True, False])
def test_divergence_is_an_error_with_advice(validate):
    values = series()
    values[30] = 1e30
    config = TrainingConfig(**CPU, max_epochs=2)
    with pytest.raises(TrainingDivergedError, match="lower learning_rate"):
        train(fresh_network(), windows_of(values), windows_of(values) if validate else None, config, seed=0)


def test_dropout_is_on_while_training_again_after_a_fit(tiny, y):
    forecaster = SAMoVARForecaster(**tiny, dropout=0.5).fit(y.iloc[:150])
    modes = []
    forecaster.network_.dropout.register_forward_hook(lambda module, *_: modes.append(module.training))
    forecaster.update(y.iloc[150:])
    seen_first, *training, tried_last = modes  # a look at its size, and a trial of the new weights
    assert training
    assert all(training)
    assert not seen_first
    assert not tried_last
    assert not forecaster.network_.training


def test_loss_is_forecast_plus_next_segment(tiny, y):
    settings = tiny | {"max_steps": 1, "learning_rate": 1e-12, "dropout": 0.0, "batch_size": 10**6, "loss": "mse"}
    forecaster = SAMoVARForecaster(**settings, validation_fraction=0.0).fit(y)
    values = torch.from_numpy(forecaster.scaler_.transform(y.to_numpy()))
    windows = Windows(values, torch.arange(len(y) - 32 + 1), 24, 8, 3)
    past, future, _ = windows.gather(windows.starts)
    result = forecaster.network_.training_forecast(past)
    expected = (result.forecast.squeeze(-1) - future).square().mean()
    expected = expected + (result.own_forecast.squeeze(-1) - result.own_target).square().mean()
    assert forecaster.training_summary_.training_loss == pytest.approx(float(expected), rel=1e-4)


def test_one_cycle_equals_the_library():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    library = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=2001, pct_start=0.05, div_factor=10, anneal_strategy="linear", cycle_momentum=False,
        final_div_factor=1e4,
    )  # fmt: skip
    ours = multiplier("onecycle", 2000, 100)
    for step in range(2000):
        assert ours(step) == pytest.approx(library.get_last_lr()[0], abs=0.01), step
        optimizer.step()
        library.step()


def test_cosine_and_constant():
    cosine = multiplier("cosine", 1000, 100)
    assert [cosine(step) for step in (50, 525, 1000)] == pytest.approx([1, 0.5, 0])
    assert multiplier("constant", 10, 1)(7) == 1


def test_rates_that_change_between_epochs():
    """SAMformer's formula for a peak of 1e-3, and half of the rate in every epoch after the second."""
    restarts, halving = (multiplier(name, 1000, 20) for name in ("cosine_restarts", "halving"))
    for step in range(400):
        epoch = step // 20
        published = 1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * (epoch % 5) / 5)) / 2
        assert 1e-3 * restarts(step) == pytest.approx(published, rel=1e-12)
        assert halving(step) == 0.5 ** max(0, epoch - 1)


@pytest.mark.parametrize("schedule", ["cosine_restarts", "halving"])
def test_the_rate_of_an_epoch_counts_optimizer_steps(monkeypatch, schedule):
    rates = []
    step = torch.optim.AdamW.step

    def spying_step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spying_step)
    config = TrainingConfig(
        **CPU,
        batch_size=8,
        accumulate_batches=3,
        max_epochs=4,
        schedule=schedule,
        learning_rate=1.0,
        gradient_clip=None,
    )
    train(fresh_network(), windows_of(series()), None, config, seed=0)  # 7 batches: 3 steps per epoch
    expected = multiplier(schedule, 12, 3)
    assert rates == pytest.approx([expected(i) for i in range(12)])


@pytest.mark.parametrize("logger", ["csv", "tensorboard"])
def test_losses_are_logged_where_asked(tiny, y, tmp_path, logger):
    SAMoVARForecaster(**tiny, logger=logger, log_dir=str(tmp_path / "logs")).fit(y)
    files = [path.name for path in (tmp_path / "logs").rglob("*") if path.is_file()]
    assert any(name == "metrics.csv" or name.startswith("events") for name in files)
    if logger == "csv":
        metrics = pd.read_csv(next((tmp_path / "logs").rglob("metrics.csv")))
        assert {"training_loss", "validation_loss"} <= set(metrics.columns)


def test_a_progress_bar_only_when_asked(tiny, capsys):
    for verbose in (0, "auto", 1):
        SAMoVARForecaster(**tiny, verbose=verbose).fit(waves())
        printed = capsys.readouterr().err
        assert ("epoch 1 of at most 2, training loss" in printed) == (verbose == 1)


def test_averaged_weights_follow_the_formula():
    network, seen = fresh_network(), []
    averaged = AveragedWeights(network, decay=0.5)
    for step in range(12):
        with torch.no_grad():
            network.map.bias.fill_(float(step))
        averaged.update(network)
        decay = min(0.5, step / (9 + step))
        seen.append(step if not seen else decay * seen[-1] + (1 - decay) * step)
        assert averaged.network.map.bias[0].item() == pytest.approx(seen[-1], rel=1e-6)
    assert not averaged.network.map.weight.requires_grad


@pytest.mark.parametrize("accumulated", [1, 4])
def test_the_average_is_validated_and_kept(monkeypatch, accumulated):
    """Once per optimizer step the average takes in the weights, and it is what training hands over."""
    averages = []
    update = AveragedWeights.update

    def spying_update(self, network):
        update(self, network)
        averages.append(self.network.map.weight.clone())

    monkeypatch.setattr(AveragedWeights, "update", spying_update)
    config = TrainingConfig(**CPU, batch_size=8, max_epochs=1, accumulate_batches=accumulated, learning_rate=0.1)
    for validation in (windows_of(series(seed=1)), None):
        averages.clear()
        network = fresh_network()
        summary = train(network, windows_of(series()), validation, config, seed=0)
        assert len(averages) == summary.steps == math.ceil(7 / accumulated)
        assert torch.equal(network.map.weight, averages[-1])
        if validation is not None:
            past, future, _ = validation.gather(validation.starts)
            error = (network(past).squeeze(-1) - future).square().mean().item()
            assert error == pytest.approx(summary.validation_loss, rel=1e-5)


def test_epochs_of_few_windows_end_sooner_and_the_schedule_knows():
    y = waves(200, 2)
    settings = TINY | {"max_epochs": 3, "windows_per_epoch": 40, "batch_size": 16, "schedule": "onecycle"}
    forecaster = SAMoVARForecaster(**settings).fit(y)
    assert forecaster.training_summary_.steps == 3 * 3  # 16, 16 and 8 windows
    assert len(forecaster.training_summary_.history) == 3
    assert forecaster.training_summary_.n_windows > 40
    every = SAMoVARForecaster(**settings | {"windows_per_epoch": None}).fit(y).training_summary_
    assert every.steps == 3 * -(-every.n_windows // 16)
