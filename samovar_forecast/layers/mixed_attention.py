"""Multi-head attention whose first heads look at the neighbourhood and the others at everything."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samovar_forecast.layers.causal_linear_attention import causal_linear_attention
from samovar_forecast.layers.global_linear_attention import global_linear_attention, image_linear_attention
from samovar_forecast.layers.local_attention import LocalAttention


class LinearAttention(nn.Module):
    """Linear attention over all tokens, over the tokens so far, or over a map of series and time.

    Parameters
    ----------
    causal : bool
        If True a token sees itself and what came before.
    blindspot : int or None
        See `causal_linear_attention`; needs `causal`.
    image : bool
        If True the tokens of all rows attend to each other (`image_linear_attention`).
    dropout : float
        Share of keys that each head drops in training. The weights of single pairs are never formed.

    Shape
    -----
    queries : (..., n_rows, n_heads, n_queries, d_head)
    keys, values : (..., n_rows, n_heads, n_tokens, d_head)
    output : (..., n_rows, n_heads, n_queries, d_head)

    Raises
    ------
    ValueError
        If `blindspot` is given without `causal`, or `image` with it.

    Examples
    --------
    >>> tokens = torch.zeros(3, 2, 10, 4)
    >>> LinearAttention(causal=True, blindspot=None, image=False, dropout=0.0)(tokens, tokens, tokens).shape
    torch.Size([3, 2, 10, 4])
    """

    def __init__(self, causal: bool, blindspot: int | None, image: bool, dropout: float) -> None:
        super().__init__()
        if blindspot is not None and not causal:
            raise ValueError(f"blindspot needs causal=True, got {blindspot=} and {causal=}")
        if image and causal:
            raise ValueError("attention over the image of series and time has no causal form")
        self.causal, self.blindspot, self.image = causal, blindspot, image
        self.key_dropout = nn.Dropout(dropout) if dropout else None

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        if self.key_dropout is not None:  # a key without its value keeps its place in the normaliser
            values = values * self.key_dropout(torch.ones_like(values[..., :1]))
        if self.causal:
            return causal_linear_attention(queries, keys, values, self.blindspot)
        if self.image:
            return image_linear_attention(queries, keys, values)
        return global_linear_attention(queries, keys, values)


class MixedAttention(nn.Module):
    """Multi-head attention: the first `n_local_heads` by `local_attention`, the others by `global_attention`.

    Parameters
    ----------
    d_model, n_heads : int
        Width of a token, and heads that share it.
    global_attention : nn.Module or None
        Maps queries, keys and values of the other heads to their outputs; None if there are no such heads.
    n_local_heads : int, default 0
        Heads with softmax attention to the neighbourhood.
    local_attention : LocalAttention or None, default None
        The attention of the local heads.
    convolution : LocalConvolution or None, default None
        Mixes the values of neighbouring tokens.
    gate : bool, default False
        If True ``sigmoid(W x)`` multiplies what the heads give, with a learned W.
    dropout : float, default 0.0
        Share of outputs dropped in training.

    Shape
    -----
    tokens : (..., n_rows, n_tokens, d_model)
    context : (..., n_rows, n_context, d_model), whose tokens are attended to; None for the tokens themselves
    output : (..., n_rows, n_tokens, d_model)

    Examples
    --------
    >>> everywhere = LinearAttention(causal=False, blindspot=None, image=False, dropout=0.0)
    >>> attention = MixedAttention(d_model=8, n_heads=2, global_attention=everywhere, gate=True)
    >>> attention(torch.zeros(3, 10, 8)).shape
    torch.Size([3, 10, 8])
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        global_attention: nn.Module | None,
        n_local_heads: int = 0,
        local_attention: LocalAttention | None = None,
        convolution: LocalConvolution | None = None,
        gate: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_heads, self.n_local_heads = n_heads, n_local_heads
        self.queries, self.keys, self.values = (nn.Linear(d_model, d_model, bias=False) for _ in range(3))
        self.gate = nn.Linear(d_model, d_model, bias=False) if gate else None
        self.convolution = convolution
        self.global_attention, self.local_attention = global_attention, local_attention
        self.output_projection = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        source = tokens if context is None else context
        queries, keys, values = self.queries(tokens), self.keys(source), self.values(source)
        if self.convolution is not None:
            values = self.convolution(values)
        attended = self.attend(*(self._split_heads(x) for x in (queries, keys, values)))
        attended = attended.transpose(-2, -3).flatten(-2)
        if self.gate is not None:
            attended = attended * self.gate(tokens).sigmoid()
        return self.dropout(self.output_projection(attended))

    def _split_heads(self, tokens: Tensor) -> Tensor:
        """(..., n_tokens, d_model) to (..., n_heads, n_tokens, d_head)."""
        return tokens.unflatten(-1, (self.n_heads, -1)).transpose(-2, -3)

    def attend(self, *queries_keys_values: Tensor) -> Tensor:
        """The outputs of all heads: (..., n_rows, n_heads, n_tokens, d_head), linear in the values."""
        outputs = []
        if self.local_attention is not None:
            outputs.append(self.local_attention(*(x[..., : self.n_local_heads, :, :] for x in queries_keys_values)))
        if self.global_attention is not None:
            outputs.append(self.global_attention(*(x[..., self.n_local_heads :, :, :] for x in queries_keys_values)))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-3)


class LocalConvolution(nn.Module):
    """Mix each feature of three neighbouring tokens by learned weights that start at the token itself.

    Parameters
    ----------
    d_model : int
        Width of a token.
    causal : bool
        If True the three tokens are the token and the two before it, otherwise one before and one after it.

    Shape
    -----
    input, output : (..., n_tokens, d_model)

    Examples
    --------
    >>> tokens = torch.arange(6.0).reshape(3, 2)
    >>> torch.equal(LocalConvolution(d_model=2, causal=True)(tokens), tokens)
    True
    """

    def __init__(self, d_model: int, causal: bool) -> None:
        super().__init__()
        self.padding = (2, 0) if causal else (1, 1)
        self.convolution = nn.Conv1d(d_model, d_model, kernel_size=3, groups=d_model, bias=False)
        with torch.no_grad():
            self.convolution.weight.zero_()
            self.convolution.weight[:, :, self.padding[0]] = 1.0

    def forward(self, tokens: Tensor) -> Tensor:
        features = tokens.transpose(-1, -2).reshape(-1, tokens.shape[-1], tokens.shape[-2])
        return self.convolution(F.pad(features, self.padding)).transpose(-1, -2).reshape(tokens.shape)
