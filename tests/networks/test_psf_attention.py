import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from samovar_forecast.networks.psf_attention import PSFAttention, PSFAttentionConfig

ROOT = Path(__file__).parents[2]
VARIANTS = [
    {},
    {"direction": "circular", "patch_length": 4},
    {"n_layers": 3, "feed_forward": True, "residual": False},
    {"layer_norm": False, "feed_forward": True, "n_factors": 2, "value_width": 3},
]
every_variant = pytest.mark.parametrize("chosen", VARIANTS)


def build(context_length=40, horizon=8, n_series=3, n_targets=3, n_outputs=1, **chosen):
    torch.manual_seed(0)
    config = PSFAttentionConfig(**({"d_model": 16, "patch_length": 1, "dropout": 0.0} | chosen))
    network = PSFAttention(n_series, n_targets, context_length, horizon, config, n_outputs).double()
    with torch.no_grad():  # away from the initial values, some of which are zero
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def window(length=40, n_series=3, batch=2):
    return torch.randn(batch, length, n_series, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@every_variant
@pytest.mark.parametrize(("context_length", "horizon"), [(40, 8), (10, 1), (4, 2), (2, 3), (1, 1)])
def test_shapes_and_gradients_for_any_length(chosen, context_length, horizon):
    network = build(context_length, horizon, n_targets=2, n_outputs=3, **chosen)
    forecast = network(window(context_length))
    assert forecast.shape == (2, horizon, 2, 3)
    forecast.square().mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
    if context_length == 40:
        assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("n_targets", [1, 3])
def test_forecast_equals_its_formula(n_targets):
    """Every window and series on its own, every factor a dense matrix."""
    network, past = (
        build(10, 2, n_targets=n_targets, n_outputs=2, patch_length=2, n_layers=2, feed_forward=True),
        window(10),
    )
    norm, width = network.norm, 8

    def layer_norm(x, layer):
        return F.layer_norm(x, (16,), layer.weight, layer.bias)

    def attention(layer, tokens):  # (n_tokens, d_model)
        first = values = layer.values[2](F.gelu(layer.values[0](tokens)))
        for m in range(3):
            hidden = F.gelu(tokens @ layer.weights.hidden_weight[16 * m : 16 * m + 16].T
                            + layer.weights.hidden_bias[16 * m : 16 * m + 16])  # fmt: skip
            links = hidden @ layer.weights.link_weight[m].T + layer.weights.link_bias[m]  # to 0, 1, 2, 4 tokens before
            factor = sum(torch.diag(links[offset:, j], -offset) for j, offset in enumerate([0, 1, 2, 4]))
            values = factor @ values + first
        return values

    expected = torch.empty(2, 2, n_targets, 2, dtype=torch.float64)
    for b in range(2):
        for c in range(n_targets):
            series = past[b, :, 3 - n_targets + c]
            deviation = (series.var(correction=0) + 1e-5).sqrt()
            z = (series - series.mean()) / deviation * norm.scale[c] + norm.shift[c]
            tokens = network.embedding(z.reshape(5, 2)) + network.position
            for block in network.blocks:
                attended = attention(block.attention, layer_norm(tokens, block.attention_norm))
                tokens = tokens + block.projection(attended)
                up, _, down, _ = block.feed_forward[1]
                tokens = tokens + down(F.gelu(up(layer_norm(tokens, block.feed_forward[0]))))
            values = network.to_values(tokens)
            assert values.shape == (5, width)
            steps = network.to_forecast(values.flatten()).reshape(2, 2)
            expected[b, :, c] = (steps - norm.shift[c]) / (norm.scale[c] + 1e-10) * deviation + series.mean()

    actual, parameters = network(past), list(network.parameters())
    torch.testing.assert_close(actual, expected)
    weigh = torch.linspace(-1, 1, actual.numel(), dtype=torch.float64).reshape(actual.shape)
    for ours, theirs in zip(
        torch.autograd.grad((actual * weigh).sum(), parameters),
        torch.autograd.grad((expected * weigh).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@every_variant
def test_a_forecast_depends_on_its_own_window_and_series_alone(chosen):
    network, past = build(n_targets=2, **chosen).eval(), window(batch=4)
    changed = past.clone()
    changed[1:], changed[:, :, :2] = 7.0, -3.0  # other windows, a past covariate and another target
    torch.testing.assert_close(network(changed)[0, :, 1], network(past)[0, :, 1])
    assert not torch.allclose(network(changed)[0, :, 0], network(past)[0, :, 0])


def test_every_step_of_the_context_matters():
    network, past = build(37, patch_length=4), window(37).requires_grad_()
    network(past).square().sum().backward()
    assert (past.grad != 0).all()


@every_variant
def test_a_constant_series_has_a_finite_forecast(chosen):
    forecast = build(**chosen)(torch.full((2, 40, 3), 1e6, dtype=torch.float64))
    assert torch.isfinite(forecast).all()


@every_variant
def test_copies_inference_and_half_precision(chosen):
    network, past = build(**chosen).float().eval(), window().float()
    expected = network(past).detach()
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(copied(past), expected)
    with torch.inference_mode():
        torch.testing.assert_close(network(past), expected)
    torch.testing.assert_close(network.double()(past.double()).float(), expected, rtol=1e-4, atol=1e-4)
    network.float()
    with torch.autocast("cpu", torch.bfloat16):
        half = network(past)
    half.float().square().mean().backward()
    assert (half - expected).norm() < 0.2 * expected.norm()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_dropout_acts_in_training_only():
    network, past = build(dropout=0.5), window()
    assert not torch.equal(network(past), network(past))
    network.eval()
    assert torch.equal(network(past), network(past))


def test_exported_network_takes_any_number_of_windows():
    network, past = build(n_layers=2, feed_forward=True).eval(), window(batch=5)
    program = torch.export.export(network, (window(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(past), network(past))


def test_cost_grows_with_the_square_of_the_logarithm():
    """Four times as many tokens: an O(N^2) attention would have sixteen times the work and the weights."""
    from torch.utils.flop_counter import FlopCounterMode

    def attention_work(n_tokens):
        network = build(n_tokens, 1).eval()
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network.blocks(torch.zeros(1, n_tokens, 16, dtype=torch.float64))
        return counter.get_total_flops(), sum(
            x.numel() for x in network.blocks[0].attention.weights(torch.zeros(1, n_tokens, 16).double())
        )

    (few, few_links), (many, many_links) = attention_work(256), attention_work(1024)
    assert many < 4 * (10 / 8) ** 2 * few
    assert many_links == 1024 * 10 * 11
    assert few_links == 256 * 8 * 9


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"d_model": 0}, "d_model"), ({"n_layers": 0}, "n_layers"), ({"value_width": 0}, "value_width"),
     ({"patch_length": 0}, "patch_length"), ({"direction": "future"}, "direction"), ({"n_factors": 0}, "n_factors"),
     ({"dropout": 1.0}, "dropout")],
)  # fmt: skip
def test_bad_hyperparameters_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        build(**wrong)


@pytest.mark.parametrize("task", ["adding", "order"])
def test_the_reference_tasks_are_learned(task, tmp_path):
    """From the newest token alone, so that the factors must bring the answer there; guessing is right in 1/6 or 1/4."""
    output = tmp_path / "result.json"
    script = ROOT / "studies" / "psf_tasks.py"
    options = ["--n-tokens", "16", "--steps", "2500", "--every", "250", "--goal", "0.95", "--output", output]
    run = subprocess.run(
        [sys.executable, script, "--task", task, *options], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(output.read_text())[0]["accuracy"] > 0.9
