"""Every option of the Linear Attention Transformer does what it says, and wrong ones are named."""

from dataclasses import fields
from functools import partial

import pytest
import torch

from samovar_forecast.layers.reversible import run_streams
from samovar_forecast.networks.linear_attention_transformer import LinearAttentionConfig
from tests.networks.test_linear_attention_transformer import build, known, window


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"attention": "linformer"}, {"attention": "image"}], ids=str)
def test_only_image_attention_lets_the_series_see_each_other(options):
    network, past, image = build(**options), window(), options.get("attention") == "image"
    changed = past.clone()
    changed[:, :, 0] = window(2, 40, seed=9)  # a past covariate
    changed[:, :, 1] = window(2, 40, seed=8)  # another target
    assert torch.allclose(network(changed)[:, :, 1], network(past)[:, :, 1]) == (not image)
    changed[:, :, 1] = past[:, :, 1]
    assert torch.allclose(network(changed), network(past)) == (not image)


OTHER = {
    "d_model": 24, "n_layers": 3, "n_heads": 2, "d_ff": 20, "patch_length": 12, "patch_stride": 2, "head": "pooled",
    "attention": "image", "causal": True, "n_local_heads": 2, "gate": False, "local_convolution": False, "glu": True,
    "token_shift": True, "reversible": True, "n_decoder_layers": 1,
}  # fmt: skip
NEEDING = {
    "linformer_rank": ({"attention": "linformer"}, 2), "blindspot": ({"causal": True}, 3),
    "local_window": ({"n_local_heads": 2}, 2), "decoder_patch_length": ({"n_decoder_layers": 1}, 2),
}  # fmt: skip
ELSEWHERE = {"dropout", "attention_dropout", "feed_forward_dropout", "feed_forward_chunks"}


def test_all_hyperparameters_are_tested():
    assert {field.name for field in fields(LinearAttentionConfig)} == OTHER.keys() | NEEDING.keys() | ELSEWHERE


@pytest.mark.parametrize("name", [*OTHER, *NEEDING])
def test_every_hyperparameter_changes_the_forecast(name):
    base, value = NEEDING.get(name, ({}, OTHER.get(name)))
    assert not torch.isclose(build(**base)(window()), build(**base | {name: value})(window())).all(1).any()


@pytest.mark.parametrize(
    ("rates", "random_parts"),
    [
        ({"dropout": 0.5, "feed_forward_dropout": 0.0}, {"dropout", "attention"}),
        ({"feed_forward_dropout": 0.5}, {"feed_forward"}),
        ({"dropout": 0.5}, {"dropout", "attention", "feed_forward"}),
        ({"attention_dropout": 0.5}, {"attention"}),
        ({"attention_dropout": 0.5, "n_local_heads": 4}, {"attention"}),
        ({"attention_dropout": 0.5, "attention": "linformer"}, {"attention"}),
    ],
    ids=lambda value: str(sorted(value)),
)
def test_dropouts(rates, random_parts):
    network = build(**rates)
    tokens = window(2, 2, 10, 16)
    mix, feed = network.encoder.pairs[0]
    parts = {"dropout": network.dropout, "attention": mix, "feed_forward": feed}
    for name, part in parts.items():
        assert torch.equal(part.train()(tokens), part(tokens)) == (name not in random_parts)
        assert torch.equal(part.eval()(tokens), part(tokens))


@pytest.mark.parametrize("n_chunks", [2, 7, 100])
def test_feed_forward_chunks_change_nothing(n_chunks):
    torch.testing.assert_close(build(feed_forward_chunks=n_chunks)(window()), build()(window()))


def test_reversible_blocks_are_the_same_network_with_plain_gradients(monkeypatch):
    """All of it with dropout: the recomputation must use the masks of the forward pass."""
    options = {"reversible": True, "n_decoder_layers": 1, "dropout": 0.3, "attention_dropout": 0.2, "n_local_heads": 1}
    network = build(n_known=2, **options)

    def gradients():
        torch.manual_seed(3)
        loss = network(window(), known()).square().sum()
        return torch.autograd.grad(loss, list(network.parameters()))

    recomputed = gradients()
    for blocks in (network.encoder, network.decoder.blocks):
        plain = partial(lambda functions, x, *context: sum(run_streams(functions, x, context)) / 2, blocks.functions())
        monkeypatch.setattr(blocks, "forward", plain)
    for a, b in zip(recomputed, gradients(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def kept_for_gradients(network, past):
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    sizes = {}

    def count(tensor):
        if tensor.untyped_storage().data_ptr() not in parameters:
            sizes[tensor.untyped_storage().data_ptr()] = tensor, tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        network(past)
    return sum(size for _, size in sizes.values())


def test_memory_of_reversible_blocks_is_flat_in_depth():
    flat = [kept_for_gradients(build(reversible=True, n_layers=depth), window()) for depth in (1, 8)]
    assert flat[0] == flat[1]
    growing = [kept_for_gradients(build(n_layers=depth), window()) for depth in (1, 8)]
    assert growing[1] > 5 * growing[0]


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"n_local_heads": 2}, {"attention": "linformer"}], ids=str)
def test_memory_is_linear_in_the_context(options):
    options = {"head": "pooled", "patch_length": 1, "patch_stride": 1} | options
    short, long = (kept_for_gradients(build(context_length=n, **options), window(1, n, 3)) for n in (1024, 2048))
    assert 1.9 < long / short < 2.1


def test_pooled_head_reads_mean_and_newest_token():
    network = build(head="pooled")
    sizes = [sum(p.numel() for p in build(head="pooled", context_length=n).to_forecast.parameters()) for n in (40, 400)]
    assert sizes[0] == sizes[1]
    tokens = window(2, 2, 10, 16)
    read = network._read(tokens)
    torch.testing.assert_close(read, torch.cat([tokens.mean(2), tokens[:, :, 9]], -1))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"n_heads": 3}, "n_heads must divide d_model"), ({"dropout": 1.0}, "dropout must be in"),
     ({"attention_dropout": -0.1}, "attention_dropout"), ({"feed_forward_dropout": 1.5}, "feed_forward_dropout"),
     ({"n_layers": 0}, "n_layers"), ({"d_model": -8}, "d_model"), ({"d_ff": 0}, "d_ff"),
     ({"patch_length": 0}, "patch_length"), ({"patch_stride": 0}, "patch_stride"),
     ({"patch_stride": 9}, "patch_stride must be at most patch_length"), ({"head": "mean"}, "head must be"),
     ({"attention": "softmax"}, "attention must be"), ({"linformer_rank": 0}, "linformer_rank"),
     ({"attention": "linformer", "causal": True}, "causal=True needs attention='linear', got attention='linformer'"),
     ({"attention": "image", "causal": True}, "causal=True needs attention='linear', got attention='image'"),
     ({"blindspot": 2}, "blindspot needs causal=True"), ({"blindspot": 0, "causal": True}, "blindspot"),
     ({"blindspot": 10, "causal": True}, "blindspot must be below the number of tokens of the context, 10"),
     ({"n_local_heads": 5}, "n_local_heads must be from 0 to n_heads=4"), ({"n_local_heads": -1}, "n_local_heads"),
     ({"n_local_heads": 4, "attention": "image"}, "needs n_local_heads below n_heads"),
     ({"n_local_heads": 4, "causal": True, "blindspot": 2}, "blindspot=2 needs n_local_heads below n_heads"),
     ({"local_window": 0}, "local_window"), ({"feed_forward_chunks": 0}, "feed_forward_chunks"),
     ({"token_shift": True, "d_model": 2, "n_heads": 1}, "token_shift needs a d_model of at least 3"),
     ({"n_decoder_layers": -1}, "n_decoder_layers"), ({"decoder_patch_length": 0}, "decoder_patch_length"),
     ({"context_length": 1}, "context_length must be at least 2, got 1")],
    ids=str,
)  # fmt: skip
def test_bad_hyperparameters_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        build(**wrong)
