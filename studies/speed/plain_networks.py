"""SAMoVAR as one would write it from its formulas: what the package's own form is measured against."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from samovar_forecast.layers.dropout import Dropout
from samovar_forecast.layers.rms_norm import RMSNorm
from samovar_forecast.networks.samovar import SAMoVAR
from samovar_forecast.networks.segment_network import main_tokens


class LayerByLayer(nn.Module):
    """Queries and values of each layer by maps of their own: two lists of (..., n_heads, n_tokens, d_head)."""

    def __init__(self, d_model: int, n_layers: int, n_heads: int) -> None:
        super().__init__()
        self.heads = (n_heads, d_model // n_heads)
        self.maps = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(2 * n_layers))
        self.scale = nn.Parameter(torch.ones(2 * n_layers, *self.heads))

    def forward(self, tokens: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        made = [
            (rms_norm(linear(tokens).unflatten(-1, self.heads), self.heads[-1:], eps=1e-8) * scale).transpose(-2, -3)
            for linear, scale in zip(self.maps, self.scale, strict=True)
        ]
        return made[: len(made) // 2], made[len(made) // 2 :]


class PlainSAMoVAR(SAMoVAR):
    """The backbone written out, an attention layer after the other; subclasses say how a layer is computed.

    Norms and dropout are torch's own, not the package's forms of them.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, RMSNorm):
                    setattr(module, name, nn.RMSNorm(child.normalized_shape, eps=child.eps))
                elif isinstance(child, Dropout):
                    setattr(module, name, nn.Dropout(child.p))

    def make_weights(self) -> nn.Module:
        return LayerByLayer(self.d_model, self.n_layers, self.n_heads)

    def backbone(self, tokens: Tensor, series: slice = slice(None)) -> Tensor:
        for norm, feed_forward in zip(self.feed_forward_norms, self.feed_forwards, strict=True):
            tokens = tokens + feed_forward(norm(tokens))
        tokens = self.stack_norm(tokens)
        queries, values = self.weights(tokens)
        keys = tokens.unflatten(-1, (self.n_heads, self.d_head)).transpose(-2, -3)
        outputs = []
        for q, v in zip(queries, values, strict=True):
            keys = self.attention_dropout(self.attend(q, keys, v))
            outputs.append(keys)
        return main_tokens(tokens + self.output_map(sum(outputs)).transpose(-2, -3).flatten(-2))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """``out_t = sum_{i <= t} (q_t . k_i) v_i`` of (..., n_tokens, d_head)."""
        raise NotImplementedError

    def take_weights(self, network: SAMoVAR) -> None:
        """The weights of the package's network, so that both are one function."""
        state = network.state_dict()
        for kind in ("weight", "bias"):
            joint = state.pop(f"weights.projection.{kind}")
            for number, own in enumerate(joint.split(self.d_model)):
                state[f"weights.maps.{number}.{kind}"] = own
        self.load_state_dict(state)


class MaskedSAMoVAR(PlainSAMoVAR):
    """All scores, times a triangle of ones, times the values."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = queries @ keys.transpose(-1, -2)
        return (scores * torch.ones_like(scores).tril()) @ values


class RunningSumSAMoVAR(PlainSAMoVAR):
    """One state ``k v^T`` for every token, summed up over the tokens: as published."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        states = torch.einsum("...nd,...ne->...nde", keys, values).cumsum(-3)
        return torch.einsum("...nd,...nde->...ne", queries, states)
