"""Autoformer against the published network, against its formulas, and at its edges."""

import copy
import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from samovar_forecast.networks.autoformer import Autoformer, AutoformerConfig
from samovar_forecast.networks.network import Covariates

GOLDEN = Path(os.environ.get("SAMOVAR_GOLDEN_DIR", Path(__file__).parents[3] / "shared" / "golden"))
CHOSEN = ("d_model", "n_heads", "n_encoder_layers", "n_decoder_layers", "d_ff", "moving_average", "label_length",
          "factor", "dropout")  # fmt: skip
MAPS = {"queries": "query", "keys": "key", "values": "value", "output_projection": "out"}


def published_names(network):
    """Our parameter names and the authors', in pairs; their shift of the last norms has no effect and no twin."""
    pairs = {"to_seasonal.weight": "decoder.projection.weight", "to_seasonal.bias": "decoder.projection.bias"}
    for ours, theirs, layers, attentions in (
        ("encoder", "encoder.attn_layers", network.encoder, ["attention"]),
        ("decoder", "decoder.layers", network.decoder, ["self_attention", "cross_attention"]),
    ):
        pairs[f"{ours}_norm.norm.weight"] = f"{ours}.norm.layernorm.weight"
        embedding = f"{ours[:3]}_embedding"
        pairs[f"{ours}_embedding.series.weight"] = f"{embedding}.value_embedding.tokenConv.weight"
        if network.n_known:
            pairs[f"{ours}_embedding.known.weight"] = f"{embedding}.temporal_embedding.embed.weight"
        for layer in range(len(layers)):
            pairs[f"{ours}.{layer}.feed_forward.0.weight"] = f"{theirs}.{layer}.conv1.weight"
            pairs[f"{ours}.{layer}.feed_forward.3.weight"] = f"{theirs}.{layer}.conv2.weight"
            for attention in attentions:
                for name, their_name in MAPS.items():
                    for kind in ("weight", "bias"):
                        pairs[f"{ours}.{layer}.{attention}.{name}.{kind}"] = (
                            f"{theirs}.{layer}.{attention}.{their_name}_projection.{kind}"
                        )
    for layer in range(len(network.decoder)):
        pairs[f"decoder.{layer}.to_trend.weight"] = f"decoder.layers.{layer}.projection.weight"
    return pairs


def under_our_names(network, arrays):
    """The authors' arrays under our names, for parameters and for gradients alike."""
    ours = {name: arrays[theirs] for name, theirs in published_names(network).items()}
    return {name: array[..., 0] if "feed_forward" in name else array for name, array in ours.items()}


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden vectors in {GOLDEN}; set SAMOVAR_GOLDEN_DIR")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["autoformer"])
def test_equals_the_published_network(name, dtype):
    file = np.load(GOLDEN / f"{name}.npz")
    config = json.loads(str(file["config"]))
    network = Autoformer(
        config["n_channels"],
        config.get("n_targets", config["n_channels"]),
        config["context_length"],
        config["horizon"],
        AutoformerConfig(**{name: config[name] for name in CHOSEN}),
        n_known=config["n_time_features"],
    )
    parameters = {key.removeprefix("param/"): file[key] for key in file.files if key.startswith("param/")}
    shifts = {key for key in parameters if key.endswith("layernorm.bias")}
    assert set(parameters) - shifts == set(published_names(network).values())
    state = {key: torch.from_numpy(value) for key, value in under_our_names(network, parameters).items()}
    network.load_state_dict(state, strict=True)
    network.to(dtype)

    past, known_past, known_decoder = (torch.from_numpy(file[key]).to(dtype) for key in ("x", "x_mark", "decoder_mark"))
    label_length = config["label_length"]
    torch.testing.assert_close(known_past[:, known_past.shape[1] - label_length :], known_decoder[:, :label_length])
    covariates = Covariates(known_past, known_decoder[:, label_length:])
    close = {"rtol": 1e-4, "atol": 1e-4}
    network.train()
    forecast = network.training_forecast(past, covariates).forecast.squeeze(-1).detach()
    np.testing.assert_allclose(forecast, file["forecast_train"], **close)
    network.eval()
    np.testing.assert_allclose(network(past, covariates).squeeze(-1).detach(), file["forecast_eval"], **close)


def reference(p, config, n_targets, past, mark, decoder_mark, training):
    """The published forward pass, line by line from its formulas, on the authors' parameters `p`."""
    context_length, label_length = past.shape[1], config.label_length
    horizon = decoder_mark.shape[1] - label_length

    def decompose(x):
        reach, length = config.moving_average // 2, x.shape[1]
        trend = torch.zeros_like(x)
        for offset in range(-reach, reach + 1):
            rows = [min(max(t + offset, 0), length - 1) for t in range(length)]
            trend = trend + x[:, rows] / config.moving_average
        return x - trend, trend

    def convolve(x, weight):
        return sum(x.roll(1 - tap, dims=1) @ weight[:, :, tap].T for tap in range(3))

    def embed(x, mark, name):
        value = convolve(x, p[f"{name}.value_embedding.tokenConv.weight"])
        return value + mark @ p[f"{name}.temporal_embedding.embed.weight"].T

    def attention(x, source, name):
        maps = {which: (p[f"{name}.{which}_projection.weight"], p[f"{name}.{which}_projection.bias"])
                for which in ("query", "key", "value", "out")}  # fmt: skip
        q, k, v = (F.linear(rows, *maps[which]) for rows, which in ((x, "query"), (source, "key"), (source, "value")))
        length = q.shape[1]
        if length > k.shape[1]:
            zeros = torch.zeros(len(k), length - k.shape[1], k.shape[2], dtype=k.dtype)
            k, v = torch.cat([k, zeros], 1), torch.cat([v, zeros], 1)
        q, k, v = (rows[:, :length].unflatten(-1, (config.n_heads, -1)) for rows in (q, k, v))
        correlation = torch.stack(
            [sum(q[:, (t + tau) % length] * k[:, t] for t in range(length)).mean((1, 2)) for tau in range(length)], 1
        )
        n_delays = min(length, max(1, int(config.factor * math.log(length))))
        chosen = (correlation.mean(0, keepdim=True).expand_as(correlation) if training else correlation).topk(n_delays)
        weights = correlation.gather(1, chosen.indices).softmax(-1)
        rolled = [
            sum(w * v[b].roll(-tau, 0) for tau, w in zip(chosen.indices[b].tolist(), weights[b], strict=True))
            for b in range(len(v))
        ]
        return F.linear(torch.stack(rolled).flatten(2), *maps["out"])

    def feed_forward(x, name):
        return F.gelu(x @ p[f"{name}.conv1.weight"][..., 0].T) @ p[f"{name}.conv2.weight"][..., 0].T

    def norm(x, name):
        normalised = F.layer_norm(x, x.shape[-1:], p[f"{name}.layernorm.weight"], p[f"{name}.layernorm.bias"])
        return normalised - normalised.mean(1, keepdim=True)

    seasonal, trend = decompose(past)
    zeros = torch.zeros(len(past), horizon, past.shape[2], dtype=past.dtype)
    start = torch.cat([seasonal[:, context_length - label_length :], zeros], 1)
    mean = past.mean(1, keepdim=True).expand(-1, horizon, -1)
    trend = torch.cat([trend[:, context_length - label_length :], mean], 1)[..., -n_targets:]

    encoded = embed(past, mark, "enc_embedding")
    for layer in range(config.n_encoder_layers):
        name = f"encoder.attn_layers.{layer}"
        encoded, _ = decompose(encoded + attention(encoded, encoded, f"{name}.attention"))
        encoded, _ = decompose(encoded + feed_forward(encoded, name))
    encoded = norm(encoded, "encoder.norm")
    decoded = embed(start, decoder_mark, "dec_embedding")
    for layer in range(config.n_decoder_layers):
        name = f"decoder.layers.{layer}"
        decoded, trend_1 = decompose(decoded + attention(decoded, decoded, f"{name}.self_attention"))
        decoded, trend_2 = decompose(decoded + attention(decoded, encoded, f"{name}.cross_attention"))
        decoded, trend_3 = decompose(decoded + feed_forward(decoded, name))
        trend = trend + convolve(trend_1 + trend_2 + trend_3, p[f"{name}.projection.weight"])
    decoded = norm(decoded, "decoder.norm")
    return (F.linear(decoded, p["decoder.projection.weight"], p["decoder.projection.bias"]) + trend)[:, -horizon:]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("context_length", "horizon", "n_targets", "chosen"),
    [
        (16, 8, 3, {}),
        (17, 6, 2, {"n_decoder_layers": 2, "n_encoder_layers": 1, "factor": 1}),  # odd lengths
        (9, 20, 1, {"n_decoder_layers": 3, "moving_average": 7, "n_heads": 1}),  # zero-padded keys
        (21, 1, 3, {"label_length": 3, "factor": 5, "d_ff": 5}),  # cut keys
        (12, 5, 2, {"label_length": 12, "moving_average": 3}),
        (10, 4, 3, {"label_length": 0, "n_encoder_layers": 3}),
        (2, 3, 3, {"moving_average": 101}),
    ],
)
def test_equals_its_formulas(context_length, horizon, n_targets, chosen, training):
    """Values, and gradients of every parameter and of the window, in float64."""
    torch.manual_seed(0)
    chosen = {"d_model": 8, "n_heads": 2, "label_length": context_length // 2, "moving_average": 5, "dropout": 0.0,
              "factor": 2} | chosen  # fmt: skip
    config = AutoformerConfig(**chosen)
    network = Autoformer(3, n_targets, context_length, horizon, config, n_known=2).double().train(training)
    names = published_names(network)
    p = {}
    for name, parameter in network.named_parameters():
        shape = (*parameter.shape, 1) if "feed_forward" in name else parameter.shape
        p[names[name]] = (0.3 * torch.randn(shape, dtype=torch.float64)).requires_grad_()
    for part in ("encoder", "decoder"):
        p[f"{part}.norm.layernorm.bias"] = torch.randn(8, dtype=torch.float64, requires_grad=True)
    network.load_state_dict(under_our_names(network, {name: value.detach() for name, value in p.items()}))

    past = torch.randn(3, context_length, 3, dtype=torch.float64, requires_grad=True)
    known = torch.randn(3, context_length + horizon, 2, dtype=torch.float64)
    label = known[:, context_length - config.label_length :]
    theirs = reference(p, config, n_targets, past, known[:, :context_length], label, training)
    ours = network(past, Covariates(known[:, :context_length], known[:, context_length:])).squeeze(-1)
    torch.testing.assert_close(ours, theirs)

    upstream = torch.randn_like(ours)
    (of_past,) = torch.autograd.grad(ours, past, upstream, retain_graph=True)
    torch.testing.assert_close(of_past, torch.autograd.grad(theirs, past, upstream, retain_graph=True)[0])
    theirs.backward(upstream)
    ours.backward(upstream)
    expected = under_our_names(network, {name: value.grad for name, value in p.items()})
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], msg=lambda text, name=name: f"{name}: {text}")


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
