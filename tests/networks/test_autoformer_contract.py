"""Autoformer at its edges: short windows, covariates, outputs, precision, export."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from samovar_forecast.networks.autoformer import Autoformer, AutoformerConfig
from samovar_forecast.networks.network import Covariates


def build(context_length=20, horizon=6, n_series=3, n_targets=3, n_outputs=1, n_known=0, **chosen):
    torch.manual_seed(0)
    chosen = {"d_model": 16, "n_heads": 2, "dropout": 0.0} | chosen
    return Autoformer(n_series, n_targets, context_length, horizon, AutoformerConfig(**chosen), n_outputs, n_known)


def window(batch=4, length=20, n_series=3):
    return torch.randn(batch, length, n_series, generator=torch.Generator().manual_seed(1))


def known(batch=4, length=20, horizon=6, n_known=2):
    generator = torch.Generator().manual_seed(2)
    return Covariates(*(torch.randn(batch, rows, n_known, generator=generator) for rows in (length, horizon)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("horizon", [1, 2, 30])
@pytest.mark.parametrize("context_length", [1, 2, 4, 25])
def test_any_lengths(context_length, horizon, training):
    network = build(context_length, horizon, n_targets=2, n_outputs=3).train(training)
    forecast = network(window(length=context_length))
    assert forecast.shape == (4, horizon, 2, 3)
    forecast.square().mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_no_forecast_depends_on_its_batch_mates():
    network, past, covariates = build(n_known=2).eval(), window(), known()
    together = network(past, covariates)
    for i in range(len(past)):
        alone = network(past[i : i + 1], Covariates(*(one[i : i + 1] for one in covariates[:2])))
        torch.testing.assert_close(alone, together[i : i + 1])


def test_rounding_does_not_choose_among_equal_delays():
    """Without known covariates the horizon's rows are alike, and so are the correlations of many delays."""
    network, past = build(horizon=60).eval(), window(batch=8)
    exact = copy.deepcopy(network).double()(past.double())
    torch.testing.assert_close(network(past).double(), exact, rtol=1e-4, atol=1e-4)
    alone = torch.cat([network(past[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(alone, network(past), rtol=1e-4, atol=1e-4)


def test_heads_do_not_change_the_function():
    one, many = build(n_heads=1).eval(), build(n_heads=8).eval()
    assert torch.equal(one(window()), many(window()))


def test_targets_are_the_last_series():
    """The trend of a target starts at its own mean, and every series is seen."""
    network, past = build(n_targets=2).eval(), window()
    with torch.no_grad():
        for parameter in (*network.to_seasonal.parameters(), network.decoder[0].to_trend.weight):
            parameter.zero_()
    torch.testing.assert_close(network(past).squeeze(-1), past[:, :, 1:].mean(1, keepdim=True).expand(-1, 6, -1))
    network, changed = build(n_targets=2).eval(), past.clone()
    changed[:, :, 0] += torch.randn(4, 20)
    assert not torch.allclose(network(past), network(changed))


def test_only_locations_get_the_trend():
    network, past = build(n_outputs=3).eval(), window()
    at_all = network(past)
    network.n_locations = 1
    difference = at_all - network(past)
    assert (difference[..., 0] == 0).all()
    torch.testing.assert_close(difference[..., 1], difference[..., 2])
    assert difference[..., 1].abs().min() > 0


def test_known_covariates_matter_over_context_and_horizon():
    network, past, covariates = build(n_known=2).eval(), window(), known()
    forecast = network(past, covariates)
    for field in ("known_past", "known_future"):
        changed = covariates._replace(**{field: getattr(covariates, field) + torch.randn(2)})
        assert not torch.allclose(network(past, changed), forecast)


def test_it_embeds_known_covariates():
    assert Autoformer.embeds_known(AutoformerConfig())
    plain = build()
    assert plain.encoder_embedding.known is None
    assert torch.equal(plain(window(), known()), plain(window()))


@pytest.mark.parametrize("missing", ["known_past", "known_future", None])
def test_missing_known_covariates_are_named(missing):
    covariates = None if missing is None else known()._replace(**{missing: None})
    with pytest.raises(ValueError, match=r"2 covariates known in the future.*known_past.*known_future"):
        build(n_known=2)(window(), covariates)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"moving_average": 24}, "moving_average must be odd .*23 or 25"),
        ({"label_length": 21}, "label_length must be between 0 and context_length=20, got 21"),
        ({"label_length": -1}, "label_length"),
        ({"n_heads": 3}, "n_heads must divide d_model"),
        ({"n_heads": 0}, "n_heads must be at least 1"),
        ({"d_model": 0}, "d_model must be at least 1"),
        ({"d_ff": 0}, "d_ff must be at least 1"),
        ({"n_encoder_layers": 0}, "n_encoder_layers must be at least 1"),
        ({"n_decoder_layers": 0}, "n_decoder_layers must be at least 1"),
        ({"factor": 0}, "factor must be positive"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_bad_hyperparameters_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        build(**wrong)


@pytest.mark.parametrize("value", [0.0, 7.0, -1e5])
def test_constant_series(value):
    network = build().eval()
    forecast = network(torch.full((2, 20, 3), value))
    assert torch.isfinite(forecast).all()
    assert torch.isfinite(build().train()(torch.full((2, 20, 3), value))).all()


def test_a_level_far_away_costs_the_decoder_no_precision():
    """The season that the decoder starts from is the same whatever the level."""
    network, past = build().eval(), window()
    seen = []
    network.decoder_embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(past)
    network(past + 1000)
    torch.testing.assert_close(*seen, rtol=0, atol=2e-3)
    network(torch.full((1, 20, 3), 1e4))
    assert seen[-1].abs().max() < 1e-6


def test_float64_copies_and_inference():
    network, past, covariates = build(n_known=2).double().eval(), window().double(), known()
    covariates = Covariates(*(one.double() for one in covariates[:2]))
    forecast = network(past, covariates)
    assert forecast.dtype == torch.float64
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(past, covariates), forecast)
    with torch.inference_mode():
        assert torch.equal(network(past, covariates), forecast)


def test_bfloat16():
    network = build(32, 16).train()
    times = torch.arange(48) * torch.tensor([[0.3], [0.5], [0.7]])
    series = torch.sin(times).T.unsqueeze(0) + 0.1 * torch.randn(4, 48, 3)
    exact = network(series[:, :32])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        forecast = network(series[:, :32])
        (forecast.squeeze(-1) - series[:, 32:]).square().mean().backward()
    assert (forecast - exact).abs().mean() < 0.1 * exact.std()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_exports_with_any_batch_size():
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = build(horizon=20, n_known=2).eval()

        def forward(self, past, known_past, known_future):
            return self.network(past, Covariates(known_past, known_future))

    inputs = (window(), *known(horizon=20)[:2])
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(Plain(), inputs, dynamic_shapes=({0: batch},) * 3).module()
    for size in (4, 3):
        part = [one[:size] for one in inputs]
        torch.testing.assert_close(program(*part), Plain()(*part))


def test_dropout_is_made_of_modules():
    network, past = build(dropout=0.5).eval(), window()
    assert torch.equal(network(past), network(past))
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.train()  # as Monte Carlo dropout does
    assert not torch.equal(network(past), network(past))


def test_it_learns_a_season_and_a_trend():
    network = build(context_length=48, horizon=24, n_series=2, n_targets=1, moving_average=13)
    starts = torch.arange(48).unsqueeze(1)
    times = starts + torch.arange(72)
    season = torch.sin(2 * torch.pi * times / 12)
    series = torch.stack([torch.cos(2 * torch.pi * times / 12), season + 0.02 * (times - starts)], dim=-1)
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=3e-3), []
    for _ in range(50):
        loss = F.mse_loss(network(series[:, :48])[:, :, 0, 0], series[:, 48:, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    network.eval()
    assert F.mse_loss(network(series[:, :48])[:, :, 0, 0], series[:, 48:, 1]) < 0.1 * losses[0]
