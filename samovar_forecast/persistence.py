"""One model, one file: safetensors weights with a JSON header, no pickle, replaced atomically."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Hashable
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from samovar_forecast.scaling import Scaler

if TYPE_CHECKING:
    from samovar_forecast.forecaster import Forecaster

    F = TypeVar("F", bound=Forecaster)

FORMAT_VERSION = 1
_HEADER = "samovar_forecast"
_NETWORK = "network."


class ModelFileError(ValueError):
    """The file is not a model of this package, is damaged, or holds another kind of model."""


def save(forecaster: Forecaster, path: str | os.PathLike[str]) -> None:
    """Write a fitted forecaster to one file; see `Forecaster.save`.

    The file appears complete or not at all: it is written beside its target, flushed to the disk and renamed.
    A `random_state` object is stored as None.

    Raises
    ------
    TypeError
        If the class is not one of the package's, or a column name is no string, number, bool, None or tuple
        of those.
    OSError
        If the file cannot be written; an older file of the same name survives.
    """
    if type(forecaster) is not _registry().get(type(forecaster).__name__):
        raise TypeError(f"{type(forecaster).__name__} is not a forecaster of this package and cannot be saved")
    tensors = _tensors(forecaster)
    header = {
        "format": FORMAT_VERSION,
        "class": type(forecaster).__name__,
        "hyperparameters": _hyperparameters(forecaster),
        "columns": [_encode_label(label) for label in forecaster.columns_],
        "targets": [_encode_label(label) for label in forecaster.targets_],
        "known": [_encode_label(label) for label in forecaster.known_],
        "calendar": forecaster.calendar_,
        "context_length": forecaster.context_length_,
        "y_is_series": forecaster.y_is_series_,
        "index": _describe_index(forecaster.history_.index, forecaster.frequency_),
        "training": asdict(forecaster.training_summary_),
        "versions": {name: version(name) for name in ("samovar-forecast", "torch", "pandas")},
        "sha256": _digest(tensors),
    }
    _replace(Path(path), to_bytes(tensors, {_HEADER: json.dumps(header)}))


def load(cls: type[F], path: str | os.PathLike[str]) -> F:
    """Read a forecaster from a file; see `Forecaster.load`.

    Nothing from the file is executed or imported; the network lands on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is not a model, is damaged, newer than this version of the package, or holds another class.
    """
    header, tensors = _read(Path(path))
    name = header.get("class")
    registered = _registry().get(name)
    if registered is None or not issubclass(registered, cls):
        wanted = cls.__name__ if cls.__name__ in _registry() else f"one of {sorted(_registry())}"
        raise ModelFileError(f"{path} holds {name!r}, not {wanted}")
    if _digest(tensors) != header.get("sha256"):
        raise ModelFileError(f"{path} is damaged: its weights do not match their checksum")
    try:
        return _rebuild(registered, header, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ModelFileError(f"{path} is not a complete model file: {error}") from error


def _registry() -> dict[Any, type[Any]]:
    from samovar_forecast.forecasters import ALL_FORECASTERS

    return {forecaster.__name__: forecaster for forecaster in ALL_FORECASTERS}


def _hyperparameters(forecaster: Forecaster) -> dict[str, Any]:
    values = {field.name: getattr(forecaster, field.name) for field in fields(forecaster)}
    if values["targets"] is not None:
        values["targets"] = [_encode_label(label) for label in values["targets"]]
    if isinstance(values["random_state"], np.random.RandomState):
        values["random_state"] = None  # the state of a generator is no part of a trained model
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def _tensors(forecaster: Forecaster) -> dict[str, Tensor]:
    weights = forecaster.network_.state_dict()
    tensors = {_NETWORK + name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    arrays = {
        "center": forecaster.scaler_.center,
        "scale": forecaster.scaler_.scale,
        "history": forecaster.history_.to_numpy(),
        "index": _index_numbers(forecaster.history_.index),
    }
    if forecaster.known_history_ is not None:
        arrays["known_center"], arrays["known_scale"] = forecaster.known_scaler_.center, forecaster.known_scaler_.scale
        arrays["known_history"] = forecaster.known_history_.to_numpy()
    return tensors | {name: torch.tensor(array).contiguous() for name, array in arrays.items()}


def _rebuild(cls: type[F], header: dict[str, Any], tensors: dict[str, Tensor]) -> F:
    from samovar_forecast.training.summary import TrainingSummary

    hyperparameters: dict[str, Any] = {  # JSON knows no tuples
        name: tuple(value) if isinstance(value, list) else value for name, value in header["hyperparameters"].items()
    }
    if hyperparameters["targets"] is not None:
        hyperparameters["targets"] = [_decode_label(label) for label in hyperparameters["targets"]]
    forecaster = cls(**hyperparameters)
    for name in ("columns", "targets", "known"):
        setattr(forecaster, f"{name}_", [_decode_label(label) for label in header[name]])
    forecaster.calendar_ = header.get("calendar", [])
    forecaster.context_length_, forecaster.y_is_series_ = header["context_length"], header["y_is_series"]
    forecaster.training_summary_ = TrainingSummary(**header["training"])
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if not name.startswith(_NETWORK)}
    index, forecaster.frequency_ = _restore_index(arrays["index"], header["index"])
    forecaster.scaler_ = Scaler(arrays["center"], arrays["scale"])
    forecaster.history_ = pd.DataFrame(arrays["history"], index=index, columns=forecaster.columns_)
    forecaster.known_history_ = None
    if forecaster.known_:
        forecaster.known_scaler_ = Scaler(arrays["known_center"], arrays["known_scale"])
        forecaster.known_history_ = pd.DataFrame(arrays["known_history"], index=index, columns=forecaster.known_)
    with torch.random.fork_rng(devices=[]):
        forecaster.network_ = forecaster._build_network()
    weights = {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)}
    forecaster.network_.load_state_dict(weights)
    forecaster.network_.eval()
    return forecaster


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a model is one file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _HEADER not in metadata:
                raise ModelFileError(f"{path} is a safetensors file, but no model of samovar-forecast")
            header = json.loads(metadata[_HEADER])
            if not isinstance(header, dict) or header.get("format") not in range(1, FORMAT_VERSION + 1):
                raise ModelFileError(f"{path} has a format that this version cannot read; update samovar-forecast")
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ModelFileError(f"{path} is not a model file: {error}") from error


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _encode_label(label: Hashable) -> Any:
    if isinstance(label, np.generic):
        label = label.item()
    if label is None or isinstance(label, (str, int, float, bool)):
        return label
    if isinstance(label, tuple):
        return {"tuple": [_encode_label(part) for part in label]}
    raise TypeError(f"column name {label!r} is a {type(label).__name__}; rename it to a string to save the model")


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
