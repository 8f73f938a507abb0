"""Attention that is read out of a network is what its layers compute with."""

import pytest
import torch

from samovar_forecast.layers.fast.sum_of_rolls import sum_of_rolls
from samovar_forecast.networks.attention_weights import read_attention
from samovar_forecast.networks.autoformer import Autoformer, AutoformerConfig
from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.linear_attention_transformer import LinearAttentionConfig, LinearAttentionTransformer
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.psf_attention import PSFAttention, PSFAttentionConfig
from samovar_forecast.networks.samformer import SAMformer, SAMformerConfig


def build(network_class, config, n_known=0):
    torch.manual_seed(0)
    known = {"n_known": n_known} if n_known else {}
    network = network_class(4, 3, 30, 6, config, **known).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network, torch.randn(1, 30, 4, dtype=torch.float64)


def calls(network, kind, past):
    """Inputs and outputs of the modules of a kind in a forward pass."""
    found = []
    for module in network.modules():
        if type(module).__name__ == kind:
            module.register_forward_hook(lambda one, inputs, output: found.append((one, inputs, output)))
    with torch.no_grad():
        network(past)
    return found


def test_samformer():
    network, past = build(SAMformer, SAMformerConfig(d_model=5))
    part = read_attention(network, past).parts["attention"]
    assert part.dims == ("series", "source")
    torch.testing.assert_close(part.values.sum(1), torch.ones(3, dtype=torch.float64))
    series, denormalise = network.norm(past, 1)
    mixed = series[:, -3:] + part.values @ network.values(series)
    forecast = denormalise(network.to_forecast(mixed).unsqueeze(-1).transpose(1, 2))
    torch.testing.assert_close(forecast, network(past))


@pytest.mark.parametrize("series_at_once", [None, 2])
def test_lintrans(series_at_once):
    config = LinTransConfig(d_model=8, n_heads=2, n_layers=2, segment_length=5, series_at_once=series_at_once)
    network, past = build(LinTrans, config)
    part = read_attention(network, past).parts["attention"]
    assert part.dims == ("series", "layer", "head", "segment", "token")
    assert part.values.shape == (3, 2, 2, 6, 2)
    network.series_at_once = None
    for layer, (attention, (tokens,), output) in enumerate(calls(network, "Attention", past)[:2]):
        values = attention.values(tokens)[0].unflatten(-1, (2, 4)).transpose(1, 2)  # (target, head, token, feature)
        by_token = part.values[:, layer].flip(-2).flatten(-2)  # oldest first, context and main in turn
        attended = torch.einsum("cht,chtd->chd", by_token, values).flatten(1)
        torch.testing.assert_close(attention.output_projection(attended), output[0, :, -1])


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("direction", ["past", "circular"])
def test_psf_attention(residual, direction):
    config = PSFAttentionConfig(d_model=8, n_layers=2, patch_length=4, residual=residual, direction=direction)
    network, past = build(PSFAttention, config)
    reading = read_attention(network, past)
    for layer, (attention, (tokens,), output) in enumerate(calls(network, "SparseFactorAttention", past)):
        attended = torch.einsum(
            "ct,ctd->cd", reading.parts["attention"].values[:, layer].flip(-1), attention.values(tokens)
        )
        torch.testing.assert_close(attended, output[:, -1])
    assert reading.labels["newest_lag"][1] == [1, 5, 9, 13, 17, 21, 25, 29]
    assert reading.labels["oldest_lag"][1] == [4, 8, 12, 16, 20, 24, 28, 30]


@pytest.mark.parametrize(
    "chosen",
    [{}, {"causal": True}, {"causal": True, "blindspot": 2}, {"attention": "linformer", "linformer_rank": 3},
     {"attention": "image"}, {"n_local_heads": 1, "local_window": 2}, {"n_local_heads": 2, "causal": True},
     {"reversible": True}, {"n_decoder_layers": 1}],
    ids=str,
)  # fmt: skip
def test_linear_attention(chosen):
    config = LinearAttentionConfig(d_model=8, n_heads=2, n_layers=2, patch_length=6, patch_stride=3, **chosen)
    network, past = build(LinearAttentionTransformer, config)
    reading = read_attention(network, past)
    part, image = reading.parts["attention"], chosen.get("attention") == "image"
    assert part.dims == (
        ("series", "layer", "head", "source", "patch") if image else ("series", "layer", "head", "patch")
    )
    for layer, (attention, (tokens,), output) in enumerate(
        calls(network.encoder, "MixedAttention", tokens_of(network, past))
    ):
        values = attention.values(tokens)
        if attention.convolution is not None:
            values = attention.convolution(values)
        values = values[0].unflatten(-1, (2, 4)).transpose(1, 2)  # (row, head, token, feature)
        weights = part.values[:, layer].flip(-1)
        formula = "chrt,rhtd->chd" if image else "cht,chtd->chd"
        attended = torch.einsum(formula, weights, values).flatten(1)
        attended = attended * attention.gate(tokens[0, -3:, -1]).sigmoid()
        torch.testing.assert_close(attention.output_projection(attended), output[0, -3:, -1])
    assert reading.labels["newest_lag"][1][:3] == [1, 1, 4]
    assert reading.labels["oldest_lag"][1][-1] == 30


def tokens_of(network, past):
    """What enters the encoder."""
    found = []
    handle = network.encoder.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    with torch.no_grad():
        network(past)
    handle.remove()
    return found[0]


def test_autoformer():
    network, past = build(Autoformer, AutoformerConfig(d_model=8, n_heads=2, n_decoder_layers=2, label_length=10))
    parts, labels = read_attention(network, past)
    assert labels["layer"] == ["encoder 1", "decoder 1 self", "decoder 1 cross", "decoder 2 self", "decoder 2 cross"]
    for layer, (attention, (tokens, source), output) in enumerate(calls(network, "AutoCorrelation", past)):
        delays, weights = parts["delay"].values[layer], parts["delay_weight"].values[layer]
        used = ~delays.isnan()
        assert weights[used].sum() == pytest.approx(1)
        values = attention.values(source[:, : tokens.shape[1]])
        rolled = sum_of_rolls(values, delays[used][None].long(), weights[used][None])
        torch.testing.assert_close(attention.output_projection(rolled), output)


def test_a_network_without_attention_gives_nothing_and_keeps_no_hooks():
    network, past = build(FixedVAR, FixedVARConfig(d_model=8, n_heads=2))
    assert read_attention(network, past).parts == {}
    network, past = build(LinTrans, LinTransConfig(d_model=8, n_heads=2))
    read_attention(network, past)
    assert all(not module._forward_pre_hooks for module in network.modules())
