"""One model, one file: safetensors weights with a JSON header, no pickle, replaced atomically."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from samovar_forecast.files.atomic_files import replace_file
from samovar_forecast.files.model_content import describe, rebuild, tensors_of
from samovar_forecast.files.older_formats import modernise
from samovar_forecast.forecasting.fitted import Fitted
from samovar_forecast.training.fingerprints import digest_of

FORMAT_VERSION = 6
LONGEST_HEADER = 2**26  # enough for hundreds of thousands of series; parsing takes several times the text
_HEADER, _DIGEST = "samovar_forecast", "sha256"
_PACKAGE = "samovar_forecast.forecasters"  # the home of the classes in files that name none
# What reading can meet in a file that was written by hand; anything else is a fault of this package.
_WRONG_CONTENT = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError,
                  ValueError)  # fmt: skip


class ModelFileError(ValueError):
    """The file is not a model of this package, is damaged, or holds another kind of model."""


def save(fitted: Fitted, cls: type, path: str | os.PathLike[str]) -> None:
    """Write what is fitted, and the name of the forecaster's class, to one file; see `Forecaster.save`.

    A `random_state` object is stored as None; `logger`, `log_dir`, `checkpoint_dir`, `devices`, `num_nodes` and
    `strategy` belong to the machine that trained and are not stored.

    Raises
    ------
    TypeError
        If the name of a column or a series is no string, number, bool, None or tuple of those, or the time zone of the
        index has no name.
    ValueError
        If there are so many series that their names make the header longer than 64 MB, or the step of the index has a
        calendar of its own.
    OSError
        If the file cannot be written; an older file of the same name survives.
    """
    tensors = tensors_of(fitted)
    versions = {name: version(name) for name in ("samovar-forecast", "torch", "pandas", "numpy", "safetensors")}
    header = json.dumps(
        {
            "format": FORMAT_VERSION,
            "class": cls.__qualname__,
            "module": cls.__module__,
            "versions": versions | {"python": platform.python_version()},
            **describe(fitted),
        }
    )
    if len(header) > LONGEST_HEADER // 2:  # the container escapes its quotation marks
        raise ValueError(f"{len(fitted.data.series)} series are too many for the header of a model file")
    # A tensor, because the order of several texts would change from file to file.
    tensors[_DIGEST] = torch.tensor(list(bytes.fromhex(digest_of(tensors, header))), dtype=torch.uint8)
    replace_file(path, to_bytes(tensors, {_HEADER: header}))


def load(
    path: str | os.PathLike[str], cls: type[Any], known: Mapping[tuple[str, str], type[Any]]
) -> tuple[type[Any], Fitted]:
    """The class of a forecaster and what is fitted, from a file; see `Forecaster.load`.

    Nothing from the file is executed or imported; the network lands on the CPU.

    Parameters
    ----------
    path : path
    cls : type
        The class that is wanted, or a base of it.
    known : mapping
        Every class that the file may hold, by module and name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is not a model, is damaged, newer than this version of the package, or holds another class.
    """
    header, tensors = _read(Path(path))
    name, module = header.get("class"), header.get("module", _PACKAGE)
    if not (isinstance(name, str) and isinstance(module, str)):
        raise ModelFileError(f"{path} is not a complete model file: it names no class")
    registered = known.get((module, name))
    if registered is None:
        package, *_ = module.split(".")
        cure = f"import {module} first, which defines it" if package != "samovar_forecast" else "update the package"
        raise ModelFileError(f"{path} holds a {name} of {module}, which this process does not know: {cure}")
    if not issubclass(registered, cls):
        raise ModelFileError(f"{path} holds a {name}, not a {cls.__name__}; load it by {name}.load or Forecaster.load")
    try:
        modernise(header, tensors)
        return registered, rebuild(registered, registered.network_class, header, tensors)
    except _WRONG_CONTENT as error:
        raise ModelFileError(f"{path} is not a complete model file: {error}") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file that is as it was written."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; a model is one file")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no regular file")
    content = path.read_bytes()  # once, so that a file that is replaced meanwhile is read whole
    try:
        return _parse(content)
    except ModelFileError as error:
        raise ModelFileError(f"{path} {error}") from None
    except (SafetensorError, *_WRONG_CONTENT) as error:
        raise ModelFileError(f"{path} is not a model file: {error}") from error


def _parse(content: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    length = int.from_bytes(content[:8], "little")
    if length > LONGEST_HEADER:
        raise ModelFileError(f"is not a model file: it claims a header of {length} bytes")
    tensors = from_bytes(content)  # checks every length against the file, before Python parses anything
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    if _HEADER not in metadata:
        raise ModelFileError("is a safetensors file, but no model of samovar-forecast")
    text, digest = metadata[_HEADER], tensors.pop(_DIGEST, None)
    if digest is not None and (digest.numel() != 32 or bytes(digest.tolist()).hex() != digest_of(tensors, text)):
        raise ModelFileError("is damaged: it does not match its checksum")
    header = json.loads(text, object_pairs_hook=_without_repetition)
    number = header.get("format") if isinstance(header, dict) else None
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ModelFileError("is not a model file: it has no format that this version knows")
    if number > FORMAT_VERSION:
        raise ModelFileError(
            f"has format {number}, and samovar-forecast {version('samovar-forecast')} reads formats up to "
            f"{FORMAT_VERSION}: update samovar-forecast"
        )
    # The first formats keep the digest of the tensors inside the header, and none of the header itself.
    if digest is None and (number >= 3 or header.get(_DIGEST) != digest_of(tensors)):
        raise ModelFileError("is damaged: its weights do not match their checksum")
    return header, tensors


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field of its header stands there twice")
    return fields
