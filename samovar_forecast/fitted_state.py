"""A fitted forecaster as a header of plain values and a set of tensors, and back."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from samovar_forecast.fitted_data import FittedSeries
from samovar_forecast.intervals import Calibration
from samovar_forecast.panel import Layout
from samovar_forecast.scaling import Scaler
from samovar_forecast.training.config import check_training_config
from samovar_forecast.training.summary import TrainingSummary

if TYPE_CHECKING:
    from samovar_forecast.forecaster import Forecaster

    F = TypeVar("F", bound=Forecaster)

_NETWORK = "network."


def describe(forecaster: Forecaster) -> dict[str, Any]:
    """Everything about a fitted forecaster that is no array, as JSON takes it.

    A `random_state` object is described as None.

    Raises
    ------
    TypeError
        If the name of a column or of a series is no string, number, bool, None or tuple of those.
    """
    calibration = forecaster.calibration_
    return {
        "hyperparameters": _hyperparameters(forecaster),
        **{
            name: [_encode_label(label) for label in getattr(forecaster, f"{name}_")]
            for name in ("columns", "targets", "known", "static")
        },
        "calendar": forecaster.calendar_,
        "context_length": forecaster.context_length_,
        "layout": asdict(forecaster.layout_) | {"names": [_encode_label(label) for label in forecaster.layout_.names]},
        "series": [
            {
                "name": _encode_label(key),
                "n_rows": len(series.history),
                "index": _describe_index(series.history.index, forecaster.frequency_),
            }
            for key, series in forecaster.series_.items()
        ],
        "calibration": None
        if calibration is None
        else {"n_windows": calibration.n_windows, "held_out": calibration.held_out},
        "training": asdict(forecaster.training_summary_),
    }


def tensors_of(forecaster: Forecaster) -> dict[str, Tensor]:
    """The weights, and everything else that is an array."""
    weights = forecaster.network_.state_dict()
    tensors = {_NETWORK + name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    every = list(forecaster.series_.values())
    arrays = {
        "center": np.stack([series.scaler.center for series in every]),
        "scale": np.stack([series.scaler.scale for series in every]),
        "logarithmic": every[0].scaler.logarithmic,
        "history": np.concatenate([series.history.to_numpy() for series in every]),
        "index": np.concatenate([_index_numbers(series.history.index) for series in every]),
    }
    if forecaster.known_:
        arrays["known_center"], arrays["known_scale"] = forecaster.known_scaler_.center, forecaster.known_scaler_.scale
        arrays["known_history"] = np.concatenate(
            [series.known.to_numpy() for series in every if series.known is not None]
        )
    if forecaster.static_:
        scaler = forecaster.static_scaler_
        arrays["static_center"], arrays["static_scale"] = scaler.center, scaler.scale
        arrays["static"] = np.stack([series.static for series in every if series.static is not None])
    if forecaster.calibration_ is not None:
        arrays["scores"], arrays["floor"] = forecaster.calibration_.scores, forecaster.calibration_.floor
    return tensors | {name: torch.tensor(array).contiguous() for name, array in arrays.items()}


def rebuild(cls: type[F], header: dict[str, Any], tensors: dict[str, Tensor]) -> F:
    """The forecaster of a header and its tensors; its network lies on the CPU.

    Raises
    ------
    LookupError, TypeError, ValueError, RuntimeError, AttributeError
        If something is missing or does not fit together.
    """
    hyperparameters: dict[str, Any] = {  # JSON knows no tuples
        name: tuple(value) if isinstance(value, list) else value for name, value in header["hyperparameters"].items()
    }
    if hyperparameters["targets"] is not None:
        hyperparameters["targets"] = [_decode_label(label) for label in hyperparameters["targets"]]
    forecaster = cls(**hyperparameters)
    check_training_config(forecaster)
    for name in ("columns", "targets", "known", "static"):
        setattr(forecaster, f"{name}_", [_decode_label(label) for label in header[name]])
    forecaster.calendar_, forecaster.context_length_ = header["calendar"], header["context_length"]
    names = tuple(_decode_label(label) for label in header["layout"]["names"])
    forecaster.layout_ = Layout(header["layout"]["kind"], header["layout"]["is_series"], names)
    forecaster.training_summary_ = TrainingSummary(**header["training"])
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if not name.startswith(_NETWORK)}
    if forecaster.known_:
        forecaster.known_scaler_ = _affine(arrays["known_center"], arrays["known_scale"])
    if forecaster.static_:
        forecaster.static_scaler_ = _affine(arrays["static_center"], arrays["static_scale"])
    forecaster.calibration_ = None
    if header["calibration"] is not None:
        forecaster.calibration_ = Calibration(arrays["scores"], arrays["floor"], **header["calibration"])
    n_rows = [described["n_rows"] for described in header["series"]]
    if min(n_rows) < 1 or sum(n_rows) != len(arrays["history"]):
        raise ValueError("its series do not have the rows that it holds")
    forecaster.series_ = {}
    first = 0
    for number, described in enumerate(header["series"]):
        rows = slice(first, first + described["n_rows"])
        first = rows.stop
        index, forecaster.frequency_ = _restore_index(arrays["index"][rows], described["index"])
        forecaster.series_[_decode_label(described["name"])] = FittedSeries(
            pd.DataFrame(arrays["history"][rows], index=index, columns=forecaster.columns_),
            pd.DataFrame(arrays["known_history"][rows], index=index, columns=forecaster.known_)
            if forecaster.known_
            else None,
            Scaler(arrays["center"][number], arrays["scale"][number], arrays["logarithmic"]),
            arrays["static"][number] if forecaster.static_ else None,
        )
    with torch.random.fork_rng(devices=[]):
        forecaster.network_ = forecaster._build_network()
    weights = {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)}
    forecaster.network_.load_state_dict(weights)
    forecaster.network_.eval()
    return forecaster


def modernise(header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Bring what the first version of the format wrote, which knew one series and no intervals, up to date."""
    header |= {
        "static": [],
        "calendar": header.get("calendar", []),
        "layout": {"kind": "single", "is_series": header.pop("y_is_series"), "names": []},
        "series": [{"name": None, "n_rows": len(tensors["history"]), "index": header.pop("index")}],
        "calibration": None,
    }
    tensors["logarithmic"] = torch.zeros(len(tensors["center"]), dtype=torch.bool)
    tensors["center"], tensors["scale"] = tensors["center"].unsqueeze(0), tensors["scale"].unsqueeze(0)


def _affine(center: np.ndarray, scale: np.ndarray) -> Scaler:
    return Scaler(center, scale, np.zeros(len(center), dtype=bool))


def _hyperparameters(forecaster: Forecaster) -> dict[str, Any]:
    values = {field.name: getattr(forecaster, field.name) for field in fields(forecaster)}
    if values["targets"] is not None:
        values["targets"] = [_encode_label(label) for label in values["targets"]]
    if isinstance(values["random_state"], np.random.RandomState):
        values["random_state"] = None  # the state of a generator is no part of a trained model
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def _encode_label(label: Hashable) -> Any:
    if isinstance(label, np.generic):
        label = label.item()
    if label is None or isinstance(label, (str, int, float, bool)):
        return label
    if isinstance(label, tuple):
        return {"tuple": [_encode_label(part) for part in label]}
    raise TypeError(f"the name {label!r} is a {type(label).__name__}; rename it to a string to save the model")


def _decode_label(label: Any) -> Any:
    return tuple(_decode_label(part) for part in label["tuple"]) if isinstance(label, dict) else label


def _index_numbers(index: pd.Index) -> np.ndarray:
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        return index.asi8
    return index.to_numpy(dtype=np.int64)


def _describe_index(index: pd.Index, frequency: Any) -> dict[str, Any]:
    name = _encode_label(index.name)
    if isinstance(index, pd.PeriodIndex):
        return {"kind": "period", "name": name, "frequency": index.freqstr}
    if isinstance(index, pd.DatetimeIndex):
        zone = None if index.tz is None else str(index.tz)
        return {"kind": "datetime", "name": name, "frequency": frequency.freqstr, "unit": index.unit, "zone": zone}
    return {"kind": "integer", "name": name, "frequency": frequency}


def _restore_index(numbers: np.ndarray, described: dict[str, Any]) -> tuple[pd.Index, Any]:
    name, kind = _decode_label(described["name"]), described["kind"]
    if kind == "period":
        periods = pd.PeriodIndex.from_ordinals(  # type: ignore[attr-defined]  # the stubs lack it
            numbers, freq=described["frequency"], name=name
        )
        return periods, periods.freq
    if kind == "datetime":
        dates = pd.DatetimeIndex(numbers.view(f"M8[{described['unit']}]"), name=name)
        if described["zone"] is not None:
            dates = dates.tz_localize("UTC").tz_convert(described["zone"])
        return dates, pd.tseries.frequencies.to_offset(described["frequency"])
    return pd.Index(numbers, name=name), described["frequency"]
