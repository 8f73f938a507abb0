"""A fitted forecaster as one ONNX graph: scaling, gaps, network, intervals and bounds, from units to units."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from os import PathLike
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor, nn

from samovar_forecast.data.scaling import Scaler
from samovar_forecast.files.atomic_files import replaced_file
from samovar_forecast.forecasting.exported_intervals import ConformalSpread
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.forecasting.forecast import NO_CALIBRATION
from samovar_forecast.forecasting.intervals import interpolate_levels
from samovar_forecast.networks.network import Covariates
from samovar_forecast.training.losses import ascending


class ExportedForecaster(nn.Module):
    """The steps that the network forecasts at once after each history, in the units of the data.

    Shape
    -----
    history : (batch, context_length, n_columns), float64, NaN where nothing was observed
    series : (batch,), int64, the position of each series among those of training; for a panel only
    known : (batch, context_length + output_length, n_known), float64; for covariates known in the future
    calendar : (batch, context_length + output_length, n_calendar), float32, as `calendar_features` makes them
    static : (batch, n_static), float64
    forecast : (batch, output_length, n_targets), float64
    quantiles : (batch, output_length, n_targets, n_quantiles), float64; where quantiles were trained
    lower, upper : (batch, output_length, n_targets), float64; where a coverage is given
    """

    def __init__(self, fitted: Fitted, levels: Sequence[float] = ()) -> None:
        super().__init__()
        data = fitted.data
        self.network, self.n_targets, self.log1p = fitted.network, len(data.targets), data.log1p
        self.context_length, self.trained = data.context_length, fitted.quantiles
        scalers = [series.scaler for series in data.series.values()]
        self.center: Tensor
        self.scale: Tensor
        self.offsets: Tensor
        self.known_center: Tensor
        self.known_scale: Tensor
        self.static_center: Tensor
        self.static_scale: Tensor
        self.register_buffer("center", torch.from_numpy(np.stack([one.center for one in scalers])))
        self.register_buffer("scale", torch.from_numpy(np.stack([one.scale for one in scalers])))
        self.names = ["history"]
        self.takes_series, self.n_known, self.n_static = data.is_panel, len(data.known), len(data.static)
        self.n_calendar = len(data.calendar)
        self.names += ["series"] * self.takes_series + ["known"] * bool(data.known)
        self.names += ["calendar"] * bool(data.calendar) + ["static"] * bool(data.static)
        for name, scaler in (("known", data.known_scaler), ("static", data.static_scaler)):
            _register(self, name, scaler)
        self.least: Tensor  # a buffer gives its name to the graph, where `lower` is an output
        self.largest: Tensor
        self.is_bounded = data.bounds.is_bounded
        for name, bound in (("least", data.bounds.lower), ("largest", data.bounds.upper)):
            self.register_buffer(name, torch.from_numpy(np.broadcast_to(bound, self.n_targets).copy())[:, None])
        spread = [0.0] if fitted.quantiles is None else [NormalDist().inv_cdf(level) for level in fitted.quantiles]
        self.register_buffer("offsets", np.sqrt(2) * torch.tensor(spread, dtype=torch.float64))
        self.weights: Tensor
        self.conformal = None
        self.has_interval = bool(levels)
        if levels and fitted.quantiles is not None:
            trained = np.eye(len(fitted.quantiles), dtype=np.float32)
            self.register_buffer("weights", torch.from_numpy(interpolate_levels(trained, fitted.quantiles, levels)))
        elif levels:
            self.conformal = ConformalSpread(fitted, levels[1] - levels[0])

    @property
    def outputs(self) -> list[str]:
        """The names of what `forward` returns."""
        return ["forecast"] + ["quantiles"] * (self.trained is not None) + ["lower", "upper"] * self.has_interval

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        inputs = dict(zip(self.names, given, strict=True))
        history = inputs["history"]
        series = inputs.get("series", torch.zeros_like(history[:, 0, 0], dtype=torch.int64))
        center, scale = self.center[series].unsqueeze(1), self.scale[series].unsqueeze(1)  # (batch, 1, n_columns)
        values = history
        if self.log1p:
            targets = torch.log1p(history[..., -self.n_targets :])
            values = torch.cat([history[..., : -self.n_targets], targets], dim=2)
        past = ((values - center) / scale).float()
        scaled = ascending(self.network(past, self._covariates(inputs))).double()
        # A target without a value in its context, beside others that have some, is forecast by the center of training.
        gaps = past.isnan()
        is_dead = gaps[..., -self.n_targets :].all(dim=1) & ~gaps.all(dim=2).all(dim=1, keepdim=True)
        scaled = torch.where(is_dead[:, None, :, None], self.offsets, scaled)
        center, scale = center[..., -self.n_targets :, None], scale[..., -self.n_targets :, None]
        undone = self._in_units(scaled, center, scale)
        outputs = [undone[..., self.network.point_output]]
        if self.trained is not None:
            outputs.append(undone)
        if self.has_interval:
            if self.conformal is None:
                bounds = scaled @ self.weights
            else:
                distance = self.conformal(past[..., -self.n_targets :], series).unsqueeze(3)
                bounds = torch.cat([scaled - distance, scaled + distance], dim=3)
            outputs += self._in_units(bounds, center, scale).unbind(3)
        return tuple(outputs)

    def _in_units(self, scaled: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        """Undo the scaling, and clip: (batch, output_length, n_targets, n) to the same shape."""
        undone = scaled * scale + center
        if self.log1p:
            undone = torch.expm1(undone.clamp(max=700.0))
        return torch.minimum(torch.maximum(undone, self.least), self.largest) if self.is_bounded else undone

    def _covariates(self, inputs: dict[str, Tensor]) -> Covariates:
        parts = []
        if self.n_known:
            scaled = (inputs["known"] - self.known_center) / self.known_scale
            parts.append(torch.where(scaled.isnan(), 0.0, scaled).float())
        if self.n_calendar:
            parts.append(inputs["calendar"])
        static = None
        if self.n_static:
            static = ((inputs["static"] - self.static_center) / self.static_scale).float()
        if not parts:
            return Covariates(static=static)
        known = torch.cat(parts, dim=2)
        return Covariates(known[:, : self.context_length], known[:, self.context_length :], static)


def _register(module: nn.Module, name: str, scaler: Scaler | None) -> None:
    if scaler is not None:
        module.register_buffer(f"{name}_center", torch.from_numpy(scaler.center))
        module.register_buffer(f"{name}_scale", torch.from_numpy(scaler.scale))


def write_onnx(
    fitted: Fitted, path: str | PathLike[str], model: str, coverage: float | None = None, levels: Sequence[float] = ()
) -> None:
    """Write a fitted forecaster as ONNX, with its names in the metadata; see `Forecaster.to_onnx`.

    `levels` are those of the bounds of an interval with this coverage.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (PyTorch's exporter is written in it)
    except ImportError as error:
        raise ImportError("to_onnx needs onnx and onnxscript: pip install 'samovar-forecast[onnx]'") from error
    data = fitted.data
    if levels and fitted.quantiles is None:
        if fitted.calibration is None:
            raise ValueError(NO_CALIBRATION)
        fitted.calibration.warn_at(levels[1] - levels[0])
    exported = ExportedForecaster(fitted, levels).cpu().eval()
    length, whole = data.context_length, data.context_length + data.output_length
    # Two of each: PyTorch takes a size of 1 for a constant.
    examples = {
        "history": torch.rand(2, length, len(data.columns), dtype=torch.float64),
        "series": torch.zeros(2, dtype=torch.int64),
        "known": torch.rand(2, whole, len(data.known), dtype=torch.float64),
        "calendar": torch.rand(2, whole, len(data.calendar)),
        "static": torch.rand(2, len(data.static), dtype=torch.float64),
    }
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.onnx.export(
            exported,
            tuple(examples[name] for name in exported.names),
            input_names=exported.names,
            output_names=exported.outputs,
            dynamic_shapes=(tuple({0: batch} for _ in exported.names),),
            dynamo=True,
            optimize=False,  # which takes a summand of 1e-8 for none, and a constant window is divided by 0 then
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    described: dict[str, object] = {
        "model": model,
        "columns": _names(data.columns),
        "targets": _names(data.targets),
        "known": _names(data.known),
        "static": _names(data.static),
        "calendar": list(data.calendar),
        "context_length": data.context_length,
        "output_length": data.output_length,
        "quantiles": None if fitted.quantiles is None else list(fitted.quantiles),
        "coverage": coverage,
        "series": _names(data.series) if data.is_panel else None,
        "step": str(data.frequency),
    }
    for name, value in described.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, json.dumps(value)
    with replaced_file(path) as beside:
        onnx.save(proto, str(beside))


def _names(labels: Iterable[Hashable]) -> list[str]:
    return [str(label) for label in labels]
