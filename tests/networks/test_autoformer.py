"""Autoformer against the published network and against its formulas."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from samovar_forecast.networks.autoformer import Autoformer, AutoformerConfig
from samovar_forecast.networks.network import Covariates

GOLDEN = Path(os.environ.get("SAMOVAR_GOLDEN_DIR", Path(__file__).parents[1] / "data" / "golden"))
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
