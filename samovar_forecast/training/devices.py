"""Names of devices, as the user writes them and as Lightning wants them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

import torch

STEPS_OF_A_LONG_TRAINING = 5000  # which is worth compiling, and the rounding of bfloat16

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def resolve_device(name: str) -> torch.device:
    """Turn "auto", "cpu", "cuda", "cuda:1" or "mps" into a device that is there.

    Raises
    ------
    ValueError
        If the name is no device, or this machine does not have it.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={name!r} is no device; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        index, found = device.index or 0, torch.cuda.device_count()
        if index >= found:
            raise ValueError(f"device={name!r} is not there: PyTorch finds {found} CUDA devices; use 'auto' or 'cpu'")
        return torch.device("cuda", index)
    if device.type == "mps" and torch.backends.mps.is_available():
        return device
    raise ValueError(f"device={name!r} is not there on this machine; use 'auto' or 'cpu'")


def count_devices(devices: int | str, device: torch.device) -> int:
    """How many devices of a machine a training is divided over.

    Parameters
    ----------
    devices : int or "auto"
    device : torch.device
        The kind of them. CPU: processes.

    Raises
    ------
    ValueError
        If there are not so many.

    Examples
    --------
    >>> count_devices("auto", torch.device("cpu")), count_devices(2, torch.device("cpu"))
    (1, 2)
    """
    found = torch.cuda.device_count() if device.type == "cuda" else 1
    if devices == "auto":
        return found
    n_devices = int(devices)
    if n_devices > 1 and device.type == "mps":
        raise ValueError(f"devices={n_devices} is not there: a machine has one 'mps'; use devices=1, or device='cpu'")
    if n_devices > found and device.type == "cuda":
        raise ValueError(f"devices={n_devices} is not there: PyTorch finds {found} CUDA devices; use devices='auto'")
    return n_devices


def resolve_precision(name: str, device: torch.device, steps: int) -> str:
    """The precision that "auto" means on a device for a training of so many steps.

    Warns
    -----
    UserWarning
        If bfloat16 is asked of a processor that has to emulate it.

    Examples
    --------
    >>> resolve_precision("auto", torch.device("cpu"), steps=100)
    '32-true'
    """
    if name == "auto":
        on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported()
        on_cpu = device.type == "cpu" and steps >= STEPS_OF_A_LONG_TRAINING and multiplies_bfloat16()
        return "bf16-mixed" if on_gpu or on_cpu else "32-true"
    if name == "bf16-mixed" and device.type == "cpu" and emulates_bfloat16():
        warnings.warn(
            "precision='bf16-mixed': this processor has no AVX512 and emulates bfloat16, which takes several times as "
            "long as precision='32-true'",
            UserWarning,
            stacklevel=2,
        )
    return name


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16: AVX512-BF16 or AMX."""
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # older versions of PyTorch lack them
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def emulates_bfloat16() -> bool:
    """Whether this processor has no instructions for bfloat16, so that PyTorch's products of it are slow."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def resolve_compile(choice: bool | str, device: torch.device, steps: int) -> bool:
    """Whether to compile the network for a training of so many steps.

    Examples
    --------
    >>> resolve_compile("auto", torch.device("cpu"), steps=100_000)
    False
    """
    if choice == "auto":
        return device.type == "cuda" and steps >= STEPS_OF_A_LONG_TRAINING and find_spec("triton") is not None
    return bool(choice)


def compiled(function: Callable[Arguments, Result], device: torch.device) -> Callable[Arguments, Result]:
    """The function, compiled at its first call.

    On a CPU it draws the random numbers of the plain function, so that dropout is the same in both; PyTorch's own are
    drawn faster there than those of the compiler.
    """
    return torch.compile(function, options={"fallback_random": True} if device.type == "cpu" else None)
