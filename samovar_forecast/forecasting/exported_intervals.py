"""Conformal intervals as a part of an exported graph: `activity` and `intervals` in operations of ONNX."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from samovar_forecast.forecasting.activity import INTERMITTENT, LEVELS, STILL, UNOBSERVED
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.intervals import FLOOR, ROUNDING


class ConformalSpread(nn.Module):
    """Distance of both bounds from the point forecast, on the scale of the network; see `Calibration.spread`.

    Shape
    -----
    past : (batch, context_length, n_targets), scaled, NaN where nothing was observed
    series : (batch,), int64, the position of each series in `FittedData.series`
    output : (batch, output_length, n_targets), float64
    """

    def __init__(self, fitted: Fitted, coverage: float) -> None:
        super().__init__()
        data, calibration = fitted.data, fitted.calibration
        assert calibration is not None
        self.newest = min(data.output_length, data.context_length)
        at = calibration.at(coverage, data.output_length)
        numbers = [0 if len(calibration.curve) == 1 else one.number for one in data.series.values()]
        self.normal = at.normal
        self.scores: Tensor
        self.curve: Tensor
        self.unseen: Tensor
        self.unconditional: Tensor
        self.deviation: Tensor
        self.growth: Tensor
        self.register_buffer("scores", torch.from_numpy(at.scores))  # (n_curves, output_length)
        self.register_buffer("curve", torch.from_numpy(calibration.curve[numbers]))  # (n_series, n_kinds, n_targets)
        self.register_buffer("unseen", torch.from_numpy(calibration.unseen.astype(np.int64)))  # (n_kinds, n_targets)
        self.register_buffer("unconditional", torch.from_numpy(at.unconditional))
        self.register_buffer("deviation", torch.from_numpy(calibration.deviation))
        self.register_buffer("growth", torch.from_numpy(at.growth)[:, None])

    def forward(self, past: Tensor, series: Tensor) -> Tensor:
        rows = past.double()
        whole, newest = _variance(rows), rows[:, -self.newest :]
        moving = torch.where((~newest.isnan()).sum(1) > 1, _variance(newest), whole)
        deviation = (0.25 * whole + 0.75 * moving).sqrt()  # (batch, n_targets)
        kind = self._kind(deviation, _share_still(rows)).unsqueeze(1)
        curve = self.curve[series].gather(1, kind).squeeze(1)
        distance = self.scores[curve].transpose(1, 2)  # (batch, output_length, n_targets)
        unseen = self.unseen.expand(rows.shape[0], -1, -1).gather(1, kind) > 0
        distance = torch.where(unseen, distance.clamp(min=self.normal), distance)
        distance = distance * torch.maximum(deviation, FLOOR * self.deviation).unsqueeze(1)
        distance = torch.where(kind == UNOBSERVED, self.unconditional, distance)
        return self.growth * (distance + ROUNDING * self.deviation)

    def _kind(self, deviation: Tensor, still: Tensor) -> Tensor:
        """What `Activity.kind` says: (batch, n_targets)."""
        relative = deviation / self.deviation
        kind = torch.where(still > 0.5, INTERMITTENT, 0)
        for level in LEVELS:
            kind = kind + (relative >= level).long()
        kind = torch.where(still == 1, STILL, kind)
        return torch.where(still.isnan(), UNOBSERVED, kind)


def _variance(rows: Tensor) -> Tensor:
    """Variance of what was observed, 0 of fewer than two points: (batch, n_rows, n_targets) to (batch, n_targets)."""
    observed = ~rows.isnan()
    count = observed.sum(1).clamp(min=1).double()
    mean = torch.where(observed, rows, 0.0).sum(1) / count
    return (torch.where(observed, rows - mean.unsqueeze(1), 0.0) ** 2).sum(1) / count


def _share_still(rows: Tensor) -> Tensor:
    """Share of equal neighbours among what was observed: (batch, n_rows, n_targets) to (batch, n_targets)."""
    observed = ~rows.isnan()
    held, reach = rows, 1
    # ONNX has no running maximum: what each row lacks is taken from 1, 2, 4, 8, ... rows before.
    while reach < rows.shape[1]:
        before = torch.cat([torch.full_like(held[:, :reach], torch.nan), held[:, :-reach]], dim=1)
        held, reach = torch.where(held.isnan(), before, held), 2 * reach
    moves = observed[:, 1:] & ~held[:, :-1].isnan() & (held[:, 1:] != held[:, :-1])
    count = observed.sum(1).double()
    return torch.where(count > 0, 1 - moves.sum(1) / (count - 1).clamp(min=1), torch.nan)
