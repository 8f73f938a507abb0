"""The core's learning rates as a PyTorch scheduler."""

from __future__ import annotations

import torch

from samovar_forecast.training.optimisation import multiplier


class Schedule(torch.optim.lr_scheduler.LambdaLR):
    """The core's learning rate over time, for `lr_scheduler_cls`.

    Parameters
    ----------
    optimizer : Optimizer
    kind : {"onecycle", "cosine", "cosine_restarts", "halving", "constant"}
        See `TrainingConfig.schedule`. In `lr_scheduler_kwargs`: ``{"kind": "onecycle", "interval": "step"}``.
    total_steps, steps_per_epoch : int
        Optimizer steps of the whole training and of one epoch; the module fills them in.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, kind: str, total_steps: int, steps_per_epoch: int) -> None:
        super().__init__(optimizer, multiplier(kind, total_steps, steps_per_epoch))
