"""The pipeline that SAMoVAR, LinTrans and FixedVAR share: segments in, the steps after each of them out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from samovar_forecast.hyperparameters import hyperparameters
from samovar_forecast.layers.dropout import Dropout
from samovar_forecast.layers.instance_norm import normalise_instance
from samovar_forecast.layers.observed import is_observed
from samovar_forecast.layers.rms_norm import RMSNorm
from samovar_forecast.layers.tokens import ARXTokens, split_segments
from samovar_forecast.networks.network import Covariates, ForecastNetwork, TrainingForecast, initialise_normal

LARGEST_WIDTH = 64  # where none is given


@hyperparameters
class SegmentConfig:
    """Hyperparameters of the networks that forecast what follows each of a sequence of segments.

    Parameters
    ----------
    d_model : int or None, default None
        Width of a token. None: 64, and 32 for fewer than four series. The papers' is ``32 * int(sqrt(n_series))``,
        which takes twelve times as long on 170 series.
    n_layers : int, default 3
        Number of feed-forward blocks and of attention layers.
    n_heads : int, default 8
        Attention heads; must divide `d_model`.
    dropout : float, default 0.1
        Share of activations dropped in training.
    segment_length : int or None, default None
        Points per segment. None: a season of the index, or 24 points where it has none, and at most what is forecast at
        once; a network by itself, which knows no index, takes its horizon, as published.
    univariate : bool, default False
        If True no series sees another one.
    series_at_once : int or None, default None
        Series that run through the layers at a time. Training keeps nothing of them and computes each part again in
        the backward pass (activation checkpointing): wide data take a fraction of the memory, and a step one more
        forward pass, which `compile` leaves as it is. None: all series.
    """

    d_model: int | None = None
    n_layers: int = 3
    n_heads: int = 8
    dropout: float = 0.1
    segment_length: int | None = None
    univariate: bool = False
    series_at_once: int | None = None


class SegmentNetwork(ForecastNetwork):
    """Normalise, cut into segments, embed, run a backbone, decode every token to the steps that follow its segment.

    In training every token inside the context forecasts too. With segments as long as the horizon, as published, what
    follows a segment is the next one.

    Subclasses define `add_positions` and `backbone`.

    Parameters
    ----------
    n_series, n_targets, context_length, horizon, n_outputs : int
        See `ForecastNetwork`.
    config : SegmentConfig
        Hyperparameters.

    Raises
    ------
    ValueError
        If `n_heads` does not divide `d_model`, or a size is not positive.
    """

    def __init__(
        self,
        n_series: int,
        n_targets: int,
        context_length: int,
        horizon: int,
        config: SegmentConfig,
        n_outputs: int = 1,
    ) -> None:
        super().__init__(n_series, n_targets, context_length, horizon, n_outputs)
        d_model = config.d_model if config.d_model is not None else min(published_width(n_series), LARGEST_WIDTH)
        segment_length = config.segment_length if config.segment_length is not None else horizon
        for name, value in {"d_model": d_model, "n_layers": config.n_layers, "n_heads": config.n_heads,
                            "segment_length": segment_length,
                            "series_at_once": config.series_at_once}.items():  # fmt: skip
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if context_length < 2:
            raise ValueError(
                f"context_length must be at least 2, got {context_length}: a window is normalised by its deviation"
            )
        if d_model % config.n_heads:
            raise ValueError(f"n_heads must divide d_model, got n_heads={config.n_heads} and {d_model=}")
        if not 0 <= config.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {config.dropout}")
        self.d_model, self.d_head = d_model, d_model // config.n_heads
        self.n_layers, self.n_heads = config.n_layers, config.n_heads
        self.segment_length, self.series_at_once = segment_length, config.series_at_once
        self.n_segments = -(-context_length // segment_length)
        self.n_tokens = 2 * self.n_segments

        self.tokens = ARXTokens(n_series, n_targets, segment_length, d_model, config.univariate)
        self.dropout = Dropout(config.dropout)
        self.input_norm = RMSNorm(d_model, eps=1e-5)
        self.output_norm = RMSNorm(d_model, eps=1e-5)
        self.to_segment = nn.Linear(d_model, horizon * n_outputs)

    @classmethod
    def mixes_series(cls, config: SegmentConfig) -> bool:
        return not config.univariate

    def initialise(self) -> None:
        """Draw the initial weights; subclasses call it once all layers exist.

        Projections back to the residual stream start smaller, by the number of blocks that add to it.
        """
        self.apply(initialise_normal)
        for module in self.modules():
            if isinstance(projection := getattr(module, "output_projection", None), nn.Linear):
                nn.init.normal_(projection.weight, std=0.02 / (2 * self.n_layers) ** 0.5)

    def add_positions(self, tokens: Tensor, series: slice | list[int] = slice(None)) -> Tensor:
        """Add the embeddings of position, series and token type: (batch, n_targets, n_tokens, d_model).

        The tokens are those of the targets in `series`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define add_positions")

    def backbone(self, tokens: Tensor, series: slice | list[int] = slice(None)) -> Tensor:
        """Mix the tokens of each series causally and keep the main ones, which forecast.

        Shape
        -----
        tokens : (batch, n_targets, n_tokens, d_model), or those of the targets in `series` alone
        output : (batch, n_targets, n_segments, d_model)
        """
        raise NotImplementedError(f"{type(self).__name__} must define backbone")

    def embed(self, segments: Tensor, series: slice | list[int] = slice(None)) -> Tensor:
        """Tokens of normalised segments, of the targets in `series`: (batch, n_targets, n_tokens, d_model)."""
        return self.input_norm(self.add_positions(self.dropout(self.tokens(segments, series)), series))

    def decode(self, tokens: Tensor) -> Tensor:
        """Forecasts of what follows: (..., n_segments, d_model) to (..., n_segments, horizon, n_outputs)."""
        return self.to_segment(self.output_norm(tokens)).unflatten(-1, (self.horizon, self.n_outputs))

    def following_steps(self, segments: Tensor) -> Tensor:
        """For every segment the forecast of the steps after it, normalised.

        Shape
        -----
        segments : (batch, n_series, n_segments, segment_length)
        output : (batch, n_targets, n_segments, horizon, n_outputs)
        """
        tokens = self.embed(segments)
        if self.series_at_once is None:
            return self._decoded(tokens)
        return self._computed_again(tokens) if self.training else self._in_parts(self._decoded, tokens)

    # The compiler cannot trace what is computed twice with the same random numbers. PyTorch marks such functions of its
    # own so: `torch.compiler.disable` loads the compiler at once, which is a third of the time of the import.
    @torch._disable_dynamo  # type: ignore[attr-defined]
    def _computed_again(self, tokens: Tensor) -> Tensor:
        return self._in_parts(partial(checkpoint, self._decoded, use_reentrant=False), tokens)

    def _in_parts(self, decoded: Callable[[Tensor, slice], Tensor], tokens: Tensor) -> Tensor:
        assert self.series_at_once is not None
        following, start = [], 0
        for part in tokens.split(self.series_at_once, dim=1):
            following.append(decoded(part, slice(start, start + part.shape[1])))
            start += part.shape[1]
        return torch.cat(following, dim=1)

    def _decoded(self, tokens: Tensor, series: slice | list[int] = slice(None)) -> Tensor:
        return self.decode(self.backbone(tokens, series))

    def forward(self, past: Tensor, covariates: Covariates | None = None) -> Tensor:
        forecast, _, _ = self._every_segment(past)
        return forecast

    def forecast_of(self, targets: slice | list[int], past: Tensor, covariates: Covariates | None = None) -> Tensor:
        # Targets meet in the mixtures of the context tokens and nowhere after these.
        series, denormalise = normalise_instance(past, self.segment_length, self.n_targets, self.n_locations)
        tokens = self.embed(split_segments(series, self.segment_length), targets)
        following = self.decode(self.backbone(tokens, targets)[:, :, -1])  # (batch, n_chosen, horizon, n_outputs)
        return denormalise(following.transpose(1, 2), targets)

    def training_forecast(self, past: Tensor, covariates: Covariates | None = None) -> TrainingForecast:
        """Forecast, and the forecasts after each earlier segment, on the normalised scale.

        Their targets are NaN where nothing was observed, and beyond the end of the context.
        """
        forecast, series, following = self._every_segment(past)
        if self.n_segments == 1:  # no segment has a successor inside the context
            return TrainingForecast(forecast)
        own_forecast = following[:, :, :-1].permute(0, 2, 3, 1, 4)  # (batch, segment, step, target, output)
        observed = is_observed(past[:, :, -self.n_targets :]).transpose(1, 2)
        known = torch.where(observed, series[:, -self.n_targets :], torch.nan)
        return TrainingForecast(forecast, own_forecast, self._after_each_segment(known, torch.nan))

    def observed_own_targets(self, past: Tensor, covariates: Covariates | None = None) -> Tensor | None:
        if self.n_segments == 1:
            return None
        return self._after_each_segment(is_observed(past[:, :, -self.n_targets :]).transpose(1, 2), False)

    def _after_each_segment(self, series: Tensor, beyond: float) -> Tensor:
        """The `horizon` steps after every segment but the last; `beyond` fills those after the context.

        Shape
        -----
        series : (batch, n_targets, context_length)
        output : (batch, n_segments - 1, horizon, n_targets)
        """
        n_rows = (self.n_segments - 1) * self.segment_length  # the first segment, which may be padded, is no target
        after = F.pad(series[:, :, -n_rows:], (0, self.horizon), value=beyond)
        steps = after.unfold(2, self.horizon, self.segment_length)[:, :, : self.n_segments - 1]
        return steps.permute(0, 2, 3, 1)

    def _every_segment(self, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The forecast, the normalised series, and for each of their segments the normalised forecast after it."""
        series, denormalise = normalise_instance(past, self.segment_length, self.n_targets, self.n_locations)
        following = self.following_steps(split_segments(series, self.segment_length))
        return denormalise(following[:, :, -1].transpose(1, 2)), series, following


def published_width(n_series: int) -> int:
    """The width of a token in the papers' code.

    Examples
    --------
    >>> published_width(1), published_width(7), published_width(170)
    (32, 64, 416)
    """
    return 32 * max(1, isqrt(n_series))


def main_tokens(tokens: Tensor) -> Tensor:
    """The main token of each segment: (..., n_tokens, d) to (..., n_segments, d)."""
    return tokens[..., 1::2, :]
