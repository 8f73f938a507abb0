"""Which windows neuralforecast trains, validates and is scored on: in the benchmark, and left to itself.

    pip install -e ".[benchmark]"
    python studies/neuralforecast_windows.py

Rows hold their own number, so that every window says where it begins. For a model of single series (DLinear) and one of
all series together (TSMixer) the windows that reach the network are noted, epoch by epoch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import neuralforecast.models
import numpy as np
import pandas as pd
import torch
from neuralforecast import NeuralForecast

from samovar_forecast.benchmark.library_training import quiet
from samovar_forecast.benchmark.neuralforecast_models import train
from samovar_forecast.benchmark.plan import plan
from samovar_forecast.benchmark.protocol import Task
from samovar_forecast.data.scaling import Scaler

TRAIN, VALIDATION, TEST, CONTEXT, HORIZON, BATCH, EPOCHS = 200, 50, 60, 24, 8, 32, 3
FAR = 1000.0  # between the numbers of one series and of the next


@dataclass
class Noted:
    """How often each window was seen, by the mode of the network: {(series, first row): times}."""

    training: list[Counter[tuple[int, int]]] = field(default_factory=list)
    evaluation: Counter[tuple[int, int]] = field(default_factory=Counter)

    def note(self, module: torch.nn.Module, inputs: tuple[dict[str, torch.Tensor]]) -> None:
        first = inputs[0]["insample_y"][:, 0].flatten()
        seen = Counter((int(value // FAR), int(value % FAR)) for value in first)
        if module.training:
            self.training.append(seen)
        else:
            self.evaluation += seen


def numbered_rows() -> pd.DataFrame:
    rows = np.arange(TRAIN + VALIDATION + TEST, dtype=np.float32)
    index = pd.date_range("2024-01-01", periods=len(rows), freq="h", name="ds")
    return pd.DataFrame({"a": rows, "b": rows + FAR}, index=index)


def every_window(first: int, end: int) -> set[tuple[int, int]]:
    """Windows whose targets lie in rows [first, end)."""
    return {(series, row) for series in (0, 1) for row in range(first - CONTEXT, end - CONTEXT - HORIZON + 1)}


def watched(kind: str, noted: Noted) -> Any:
    """The class of a model whose networks tell what they see."""
    base = getattr(neuralforecast.models, kind)

    class Watched(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # A bound method would be copied with the model, and note elsewhere.
            self.register_forward_pre_hook(lambda module, inputs: noted.note(module, inputs))

    return Watched


def in_the_benchmark(kind: str) -> None:
    y, noted = numbered_rows(), Noted()
    task = Task(
        y[:TRAIN],
        y[TRAIN : TRAIN + VALIDATION],
        y[TRAIN + VALIDATION - CONTEXT :],
        CONTEXT,
        HORIZON,
        Scaler.fit(y[:TRAIN].to_numpy(), "none"),
    )
    settings = {"max_epochs": EPOCHS, "batch_size": BATCH, "learning_rate": 1e-9}
    model = f"neuralforecast:{kind}"
    (run,) = plan([model], ["ETTh1"], [HORIZON], context_length=CONTEXT, settings=settings, device="cpu")
    original = getattr(neuralforecast.models, kind)
    setattr(neuralforecast.models, kind, watched(kind, noted))
    try:
        trained = train(run, task)
    finally:
        setattr(neuralforecast.models, kind, original)
    training, validation = every_window(CONTEXT, TRAIN), every_window(TRAIN, TRAIN + VALIDATION)
    steps = len(noted.training) // trained.epochs
    orders = set()
    for epoch in range(trained.epochs):
        batches = noted.training[epoch * steps : (epoch + 1) * steps]
        assert sum(batches, Counter()) == Counter(training), "an epoch is not one pass over all training windows"
        orders.add(tuple(tuple(sorted(batch)) for batch in batches))
    assert len(orders) == trained.epochs, "the windows come in the same batches in every epoch"
    assert noted.evaluation == Counter(dict.fromkeys(validation, trained.epochs)), "validation windows"
    noted.evaluation.clear()
    forecasts = trained.forecast(task.test)
    assert noted.evaluation == Counter(every_window(TRAIN + VALIDATION, len(y))), "test windows"
    assert len(forecasts) == TEST - HORIZON + 1
    print(
        f"{kind} in the benchmark: {trained.epochs} epochs of {steps} batches; an epoch has each of "
        f"{len(training) // 2} training windows once and each of {len(validation) // 2} validation windows; "
        f"{len(forecasts)} test windows"
    )


def left_to_itself(kind: str) -> None:
    noted, y = Noted(), numbered_rows()[: TRAIN + VALIDATION]
    cls = watched(kind, noted)
    own = {"n_series": 2} if cls.MULTIVARIATE else {}
    batch = BATCH if cls.MULTIVARIATE else 2 * BATCH
    steps = EPOCHS * -(-len(every_window(CONTEXT, TRAIN)) // (2 * BATCH))
    with quiet():
        model = cls(h=HORIZON, input_size=CONTEXT, max_steps=steps, val_check_steps=steps, windows_batch_size=batch,
                    learning_rate=1e-9, accelerator="cpu", logger=False, enable_progress_bar=False,
                    enable_model_summary=False, enable_checkpointing=False, **own)  # fmt: skip
        NeuralForecast([model], freq="h").fit(
            y.reset_index().melt("ds", var_name="unique_id", value_name="y"), val_size=VALIDATION
        )
    seen: Counter[tuple[int, int]] = sum(noted.training, Counter())
    wanted = every_window(CONTEXT, TRAIN)
    beyond = sum(times for window, times in seen.items() if window not in wanted)
    print(
        f"{kind} left to itself for as many steps: {len(wanted - set(seen))} of {len(wanted)} windows of single series "
        f"never drawn, others up to {max(seen.values())} times; {beyond} draws reach beyond the training rows (masked)"
    )


if __name__ == "__main__":
    for model in ("DLinear", "TSMixer"):
        in_the_benchmark(model)
        left_to_itself(model)
