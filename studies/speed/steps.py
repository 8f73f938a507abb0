"""A training step of the package outside of `fit`: the same parts, without the loop around them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from samovar_forecast.data.windows import Windows
from samovar_forecast.networks.network import ForecastNetwork
from samovar_forecast.training.batches import count_parts, resolve_batch_size
from samovar_forecast.training.config import TrainingConfig
from samovar_forecast.training.devices import compiled
from samovar_forecast.training.freed_memory import keep_freed_memory
from samovar_forecast.training.module import ForecastingModule


def synthetic_series(n_rows: int, n_series: int) -> pd.DataFrame:
    """Daily and weekly seasons with noise, every hour, float32."""
    generator = np.random.default_rng(0)
    hours = np.arange(n_rows)[:, None]
    phase = generator.uniform(0, 2 * np.pi, n_series)
    seasons = np.sin(2 * np.pi * hours / 24 + phase) + np.sin(2 * np.pi * hours / 168 + phase)
    values = (seasons + 0.5 * generator.standard_normal((n_rows, n_series))).astype(np.float32)
    index = pd.date_range("2020-01-01", periods=n_rows, freq="h")
    return pd.DataFrame(values, index=index, columns=[f"s{i}" for i in range(n_series)])


def windows_of(frame: pd.DataFrame, context_length: int, horizon: int) -> Windows:
    starts = torch.arange(len(frame) - context_length - horizon + 1)
    return Windows(torch.from_numpy(frame.to_numpy(copy=True)), starts, context_length, horizon, frame.shape[1])


def training_step(
    network: ForecastNetwork,
    config: TrainingConfig,
    windows: Windows,
    compile_it: bool = False,
    dtype: torch.dtype | None = None,
) -> Callable[[], None]:
    """One step as `fit` does it at every call: gather, forward, loss, backward, clip, AdamW, averaged weights.

    With a `dtype` in mixed precision.
    """
    keep_freed_memory()
    module, optimizer = _module(network, config, windows)
    if compile_it:
        module.sums_of_losses = compiled(module.sums_of_losses, windows.values.device)
    batches = cycle(module.train_dataloader())

    def step() -> None:
        optimizer.zero_grad()
        for _ in range(module.parts_per_step):
            with torch.autocast(windows.values.device.type, dtype, enabled=dtype is not None):
                loss = module.training_step(next(batches), 0) / module.parts_per_step
            loss.backward()
        _clip(network, config)
        optimizer.step()
        if module.averaged is not None:
            module.averaged.update(network)

    return step


class PreparedWindows(Windows):
    """Gathers the same batch of a size whatever is requested: the work of a step without its data path."""

    def gather(self, starts: Tensor) -> Any:
        batches = self.__dict__.setdefault("batches", {})
        if len(starts) not in batches:
            batches[len(starts)] = super().gather(starts)
        return batches[len(starts)]


def bare_step(network: ForecastNetwork, config: TrainingConfig, windows: Windows) -> Callable[[], None]:
    """Network, loss and optimizer alone, on a prepared batch: what no engine can do without."""
    prepared = PreparedWindows(
        windows.values, windows.starts, windows.context_length, windows.horizon, windows.n_targets
    )
    module, optimizer = _module(network, config, prepared)
    parts = list(islice(module.train_dataloader(), module.parts_per_step))

    def step() -> None:
        optimizer.zero_grad()
        for part in parts:
            (module.loss_of(part) / module.parts_per_step).backward()
        _clip(network, config)
        optimizer.step()

    return step


def _module(
    network: ForecastNetwork, config: TrainingConfig, windows: Windows
) -> tuple[ForecastingModule, torch.optim.Optimizer]:
    generator = torch.Generator().manual_seed(0)
    n_parts = count_parts(network, windows, resolve_batch_size(config.batch_size, len(windows)))
    module = ForecastingModule(network.train(), config, windows, None, generator, n_parts)
    return module, module.configure_optimizers()["optimizer"]  # type: ignore[index,call-overload]


def _clip(network: ForecastNetwork, config: TrainingConfig) -> None:
    if config.gradient_clip is not None:
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip)
