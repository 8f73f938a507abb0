"""One model, one file: safetensors weights with a JSON header, no pickle, replaced atomically."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from samovar_forecast.fitted_state import describe, modernise, rebuild, tensors_of

if TYPE_CHECKING:
    from samovar_forecast.forecaster import Forecaster

    F = TypeVar("F", bound=Forecaster)

FORMAT_VERSION = 2
_HEADER = "samovar_forecast"


class ModelFileError(ValueError):
    """The file is not a model of this package, is damaged, or holds another kind of model."""


def save(forecaster: Forecaster, path: str | os.PathLike[str]) -> None:
    """Write a fitted forecaster to one file; see `Forecaster.save`.

    The file appears complete or not at all: it is written beside its target, flushed to the disk and renamed.
    A `random_state` object is stored as None.

    Raises
    ------
    TypeError
        If the class is not one of the package's, or the name of a column or a series is no string, number, bool,
        None or tuple of those.
    OSError
        If the file cannot be written; an older file of the same name survives.
    """
    if type(forecaster) is not _registry().get(type(forecaster).__name__):
        raise TypeError(f"{type(forecaster).__name__} is not a forecaster of this package and cannot be saved")
    tensors = tensors_of(forecaster)
    header = {
        "format": FORMAT_VERSION,
        "class": type(forecaster).__name__,
        **describe(forecaster),
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
    registered = _registry().get(name) if isinstance(name, str) else None
    if registered is None or not issubclass(registered, cls):
        wanted = cls.__name__ if cls.__name__ in _registry() else f"one of {sorted(_registry())}"
        raise ModelFileError(f"{path} holds {name!r}, not {wanted}")
    if _digest(tensors) != header.get("sha256"):
        raise ModelFileError(f"{path} is damaged: its weights do not match their checksum")
    try:
        if header["format"] == 1:
            modernise(header, tensors)
        return rebuild(registered, header, tensors)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ModelFileError(f"{path} is not a complete model file: {error}") from error


def _registry() -> dict[Any, type[Any]]:
    from samovar_forecast.forecasters import ALL_FORECASTERS

    return {forecaster.__name__: forecaster for forecaster in ALL_FORECASTERS}


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
