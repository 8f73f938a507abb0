"""The blocks against the package `linear_attention_transformer`, with its own weights copied into ours."""

import linear_attention_transformer as published
import pytest
import torch

from samovar_forecast.layers.global_linear_attention import image_linear_attention
from samovar_forecast.networks.linear_attention_transformer import (
    FutureDecoder,
    LinearAttentionConfig,
    attention_blocks,
)

DIM, HEADS, DEPTH, LENGTH = 16, 4, 3, 24


def theirs(**chosen):
    torch.manual_seed(0)
    chosen = {"dim": DIM, "depth": DEPTH, "max_seq_len": LENGTH, "heads": HEADS} | chosen
    return published.LinearAttentionTransformer(**chosen).double()  # its reversible blocks fail in eval mode


def config(**chosen):
    plain = {"gate": False, "local_convolution": False, "d_ff": 4 * DIM, "dropout": 0.0}
    return LinearAttentionConfig(d_model=DIM, n_heads=HEADS, n_layers=DEPTH, **plain | chosen)


def copy_weights(package, ours):
    """Sublayer by sublayer; the package wraps its layers once for each option."""
    blocks = package.layers
    if hasattr(blocks, "blocks"):  # reversible
        pairs = [(block.f.net, block.g.net) for block in blocks.blocks]
    else:
        pairs = list(blocks.layers)
    for source, target in zip(pairs, ours.pairs, strict=True):
        for a, b in zip(source, target, strict=True):
            b.norm.load_state_dict(a.norm.state_dict())
            layer = a.fn
            while hasattr(layer, "fn"):  # token shift, chunks
                layer = layer.fn
            names = {"hidden": "w1", "output_projection": "w2"} if hasattr(layer, "w1") else {
                "queries": "to_q", "keys": "to_k", "values": "to_v", "output_projection": "to_out"
            }  # fmt: skip
            for ours_name, their_name in names.items():
                getattr(b.layer, ours_name).load_state_dict(getattr(layer, their_name).state_dict())
            if hasattr(layer, "proj_k"):
                b.layer.global_attention.key_mixture.data.copy_(layer.proj_k)
                b.layer.global_attention.value_mixture.data.copy_(layer.proj_v)
    return ours.double()


def tokens(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, LENGTH, DIM, dtype=torch.float64, generator=generator, requires_grad=True)


@pytest.mark.parametrize(
    ("their_options", "our_options"),
    [
        ({}, {}),
        ({"causal": True}, {"causal": True}),
        ({"causal": True, "blindspot_size": 4}, {"causal": True, "blindspot": 4}),
        ({"causal": True, "blindspot_size": 8, "n_local_attn_heads": 1, "local_attn_window_size": 8},
         {"causal": True, "blindspot": 8, "n_local_heads": 1, "local_window": 8}),
        ({"n_local_attn_heads": 2, "local_attn_window_size": 6}, {"n_local_heads": 2, "local_window": 6}),
        ({"n_local_attn_heads": 4, "local_attn_window_size": 4, "causal": True},
         {"n_local_heads": 4, "local_window": 4, "causal": True}),
        ({"shift_tokens": True}, {"token_shift": True}),
        ({"shift_tokens": True, "causal": True}, {"token_shift": True, "causal": True}),
        ({"reversible": True}, {"reversible": True}),
        ({"ff_chunks": 3}, {"feed_forward_chunks": 3}),
        ({"linformer_settings": "k=5"}, {"attention": "linformer", "linformer_rank": 5}),
    ],
    ids=lambda options: "-".join(f"{name}={value}" for name, value in options.items()) or "default",
)  # fmt: skip
def test_encoder(their_options, our_options):
    if "linformer_settings" in their_options:
        settings = published.linear_attention_transformer.LinformerSettings(k=5)
        their_options = {"linformer_settings": settings}
    package = theirs(**their_options)
    ours = copy_weights(package, attention_blocks(config(**our_options), LENGTH))
    x = tokens()
    ours_output, their_output = ours(x), package(x)
    torch.testing.assert_close(ours_output, their_output, rtol=1e-9, atol=1e-9)
    weights = torch.linspace(-1, 1, x.numel(), dtype=torch.float64).reshape(x.shape)
    (ours_gradient,) = torch.autograd.grad((ours_output * weights).sum(), x)
    (their_gradient,) = torch.autograd.grad((their_output * weights).sum(), x)
    torch.testing.assert_close(ours_gradient, their_gradient, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("reversible", [False, True])
def test_decoder_with_a_context(causal, reversible):
    package = theirs(receives_context=True, causal=causal, reversible=reversible)
    decoder = FutureDecoder(
        config(n_decoder_layers=DEPTH, causal=causal, reversible=reversible), 1, horizon=LENGTH, n_outputs=1, n_known=0
    )
    ours = copy_weights(package, decoder.blocks)
    x, context = tokens(), tokens(seed=2)[:, :17]
    torch.testing.assert_close(ours(x, context), package(x, context=context), rtol=1e-9, atol=1e-9)


def test_blindspot_of_one_is_theirs_for_none():
    """The package takes a blind spot of 1 for none; here 1 hides the token itself, by the formula of all others."""
    package = theirs(causal=True, blindspot_size=1)
    ours = {b: copy_weights(package, attention_blocks(config(causal=True, blindspot=b), LENGTH)) for b in (None, 1)}
    torch.testing.assert_close(ours[None](tokens()), package(tokens()), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(ours[1](tokens()), package(tokens()))


def test_the_published_causal_form_overflows_where_ours_does_not():
    package = theirs(causal=True)
    ours = copy_weights(package, attention_blocks(config(causal=True), LENGTH))
    for sequence, name in ((package.layers.layers[0][0].fn, "to_k"), (ours.pairs[0][0].layer, "keys")):
        with torch.no_grad():
            getattr(sequence, name).weight.mul_(1000)
    assert not torch.isfinite(package(tokens())).all()
    assert torch.isfinite(ours(tokens())).all()


def test_the_published_glu_has_no_effect_and_ours_has():
    outputs = [theirs(ff_glu=glu)(tokens()) for glu in (False, True)]
    assert torch.equal(*outputs)
    ours = []
    for glu in (False, True):
        torch.manual_seed(0)
        ours.append(attention_blocks(config(glu=glu), LENGTH).double())
    assert ours[1].pairs[0][1].layer.hidden.weight.shape == (2 * ours[0].pairs[0][1].layer.hidden.weight.shape[0], DIM)
    assert not torch.isclose(ours[0](tokens()), ours[1](tokens())).any()


def test_image_attention():
    torch.manual_seed(0)
    package = published.images.ImageLinearAttention(chan=DIM, heads=HEADS, key_dim=4, value_dim=4).double()
    image = torch.randn(2, DIM, 3, 5, dtype=torch.float64)

    def heads(convolution):  # (batch, heads * 4, rows, columns) to (batch, rows, heads, columns, 4)
        return convolution(image).unflatten(1, (HEADS, 4)).permute(0, 3, 1, 4, 2)

    attended = image_linear_attention(heads(package.to_q), heads(package.to_k), heads(package.to_v))
    ours = package.to_out(attended.permute(0, 2, 4, 1, 3).flatten(1, 2))
    torch.testing.assert_close(ours, package(image))
