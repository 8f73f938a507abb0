"""What tells one training from another, and one set of tensors from another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samovar_forecast.data.windows import Windows
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.config import TrainingConfig

# Of no effect on the weights, or of rounding alone.
_ASIDE = {
    "verbose", "logger", "callbacks", "log_dir", "checkpoint_dir", "device", "devices", "num_nodes", "strategy",
}  # fmt: skip


def digest_of(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 of a text and of tensors: their names, types, shapes and every bit of them.

    Examples
    --------
    >>> one, other = digest_of({"a": torch.zeros(2)}), digest_of({"a": torch.zeros(2, 1)})
    >>> one == other, one == digest_of({"a": torch.zeros(2)})
    (False, True)
    """
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe_training(
    config: TrainingConfig,
    device: torch.device,
    network: ForecastNetwork,
    windows: Windows,
    validation: Windows | None,
    begun_with: ForecastNetwork | None,
) -> dict[str, str]:
    """What the weights at the end of a training depend on, as short texts by name."""
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    return {
        "forecaster": type(config).__name__,
        **{field.name: _text(getattr(config, field.name)) for field in fields(config) if field.name not in _ASIDE},
        "device": device.type,
        "y, X or static": _of_windows(windows) + ("" if validation is None else _of_windows(validation)),
        "init_from": "None" if begun_with is None else digest_of(begun_with.state_dict()),
        "freeze": str(frozen),
        **{name: version(name) for name in ("samovar-forecast", "torch", "pytorch-lightning")},
    }


def _of_windows(windows: Windows) -> str:
    tensors = {name: value for name, value in vars(windows).items() if isinstance(value, Tensor)}
    return digest_of(tensors, f"{windows.context_length} {windows.horizon} {windows.n_targets}")


def _text(value: Any) -> str:
    if isinstance(value, np.random.RandomState):
        return "RandomState"  # the numbers that it gives are drawn before the training, and go on after it
    if isinstance(value, (list, tuple)):
        return f"({', '.join(_text(part) for part in value)})"
    return repr(value.item() if isinstance(value, np.generic) else value)
