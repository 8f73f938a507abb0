"""Parity with the published networks: forecasts, next-segment loss and gradients."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig

GOLDEN = Path(os.environ.get("SAMOVAR_GOLDEN_DIR", Path(__file__).parents[1] / "data" / "golden"))
CLASSES = {"samovar": (SAMoVAR, SAMoVARConfig), "fixedvar": (FixedVAR, FixedVARConfig),
           "lintrans": (LinTrans, LinTransConfig)}  # fmt: skip
PIPELINE = {
    "tokens.main": "tokenizer.tokenizer",
    "tokens.main_norm": "tokenizer.input_norm_main",
    "tokens.mixture": "tokenizer.context_channel_projection",
    "tokens.context": "tokenizer.context_temporal_projection",
    "tokens.context_norm": "tokenizer.input_norm_ctx",
    "input_norm": "pre_norm",
    "output_norm": "final_norm",
    "to_segment": "tokenizer.tokenizer_output",
}
CONTEXT_TOKENS = ("tokens.mixture", "tokens.context")  # the univariate network has none


def under_our_names(network, arrays):
    """The authors' arrays under our names, for parameters and for gradients alike."""
    layers = range(network.n_layers)
    ours = {}
    for name, theirs in PIPELINE.items():
        if network.tokens.univariate and name.startswith(CONTEXT_TOKENS):
            continue
        for kind in ("weight", "bias"):
            if f"{theirs}.{kind}" in arrays:
                ours[f"{name}.{kind}"] = arrays[f"{theirs}.{kind}"]
    n_tokens = network.n_tokens
    ours["series_position"] = arrays["channel_emb"][0][:, :n_tokens]
    position = arrays["pos_emb.weight"]
    if isinstance(network, LinTrans):
        ours["token_position"] = position[:n_tokens]
        for layer in layers:
            block, attention = f"blocks.{layer}", f"transformer.attn.{layer}"
            ours[f"{block}.attention_norm.weight"] = arrays[f"transformer.pns.{layer}.weight"]
            ours[f"{block}.feed_forward_norm.weight"] = arrays[f"transformer.lns.{layer}.weight"]
            for kind in ("weight", "bias"):
                for name, theirs in {
                    "queries": "q1",
                    "keys": "k1",
                    "values": "v1",
                    "output_projection": "c_proj",
                }.items():
                    ours[f"{block}.attention.{name}.{kind}"] = arrays[f"{attention}.{theirs}.{kind}"]
                for index, theirs in {0: "c_fc", 2: "c_proj"}.items():
                    ours[f"{block}.feed_forward.{index}.{kind}"] = arrays[f"transformer.mlps.{layer}.{theirs}.{kind}"]
        return ours
    ours["segment_position"] = position[: network.n_segments, None]
    ours["token_type"] = arrays["pos_emb_2"][0, 0]
    ours["series_type"] = arrays["channel_emb_pos"][0][:, None]
    ours["stack_norm.weight"] = arrays["transformer.VAR_input_norm.weight"]
    ours["output_map.packed"] = arrays["transformer.generate_S.LU"]
    for layer in layers:
        ours[f"feed_forward_norms.{layer}.weight"] = arrays[f"transformer.lns.{layer}.weight"]
        for index, theirs in {0: "c_fc", 2: "c_proj"}.items():
            for kind in ("weight", "bias"):
                ours[f"feed_forwards.{layer}.{index}.{kind}"] = arrays[f"transformer.mlps.{layer}.{theirs}.{kind}"]
    attention = [f"transformer.attn.{layer}" for layer in layers]
    if isinstance(network, FixedVAR):
        for name, theirs in {"queries": "fixed_q", "values": "fixed_v"}.items():
            stacked = np.stack([arrays[f"{layer}.{theirs}"][:, :, :n_tokens] for layer in attention])
            ours[f"weights.{name}"] = np.swapaxes(stacked, 3, 4)  # heads before tokens
        return ours
    for kind in ("weight", "bias"):
        ours[f"weights.projection.{kind}"] = np.concatenate(
            [arrays[f"{layer}.{name}_proj.{kind}"] for name in "qv" for layer in attention]
        )
    ours["weights.scale"] = np.stack([arrays[f"{layer}.{name}_norm.weight"] for name in "qv" for layer in attention])
    return ours


@pytest.mark.parametrize("name", ["samovar", "samovar-univariate", "samovar-exogenous", "fixedvar", "lintrans"])
def test_equals_the_published_network(name):
    file = np.load(GOLDEN / f"{name}.npz")
    config = json.loads(str(file["config"]))
    network_class, config_class = CLASSES[config["model"]]
    chosen = config_class(**{key: config[key] for key in ("d_model", "n_layers", "n_heads", "dropout", "univariate")})
    network = network_class(
        config["n_channels"], config["n_targets"], config["context_length"], config["horizon"], chosen
    )
    arrays = {key: file[key] for key in file.files if "/" in key}
    parameters = {key.removeprefix("param/"): value for key, value in arrays.items() if key.startswith("param/")}
    gradients = {
        key: arrays.get(f"grad/{key}", np.zeros_like(value))  # no gradient recorded: none reached it
        for key, value in parameters.items()
    }
    state = {key: torch.from_numpy(value) for key, value in under_our_names(network, parameters).items()}
    network.load_state_dict(state, strict=True)
    network.double()  # the vectors are rounded to float32; our own rounding stays out of the comparison

    result = network.training_forecast(torch.from_numpy(file["x"]).double())
    next_segment_loss = torch.nn.functional.mse_loss(result.own_forecast.squeeze(-1), result.own_target)
    ((result.forecast**2).mean() + next_segment_loss).backward()

    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(result.forecast.squeeze(-1).detach(), file["forecast"], **close)
    np.testing.assert_allclose(next_segment_loss.item(), file["next_segment_loss"], **close)
    expected = under_our_names(network, gradients)
    for key, parameter in network.named_parameters():
        # the vectors are float32 sums: their rounding grows with the largest entry, not with the small ones
        noise = max(1e-4, 1e-5 * np.abs(expected[key]).max())
        np.testing.assert_allclose(parameter.grad, expected[key], rtol=1e-4, atol=noise, err_msg=key)
