"""Sharpness-aware minimisation: the gradient at the worst weights nearby, for a step from the weights themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from samovar_forecast.training.random_state import random_states, set_random_states


@contextmanager
def uphill(parameters: Iterable[nn.Parameter], rho: float, adaptive: bool = False) -> Iterator[Tensor]:
    """Move the weights by `rho` along their gradient and clear the gradient; on leaving, put the weights back.

    The step is ``e = rho g / ||g||`` with one norm over all weights, or, adaptive, ``e = rho w^2 g / || |w| g ||``,
    which does not depend on the scale of the weights. They come back from a copy, bit for bit; gradients that
    were computed in between stay.

    Parameters
    ----------
    parameters : iterable of Parameter
        Weights; those without a gradient stay where they are.
    rho : float
        Length of the step.
    adaptive : bool, default False
        Whether the step is measured relative to the weights.

    Yields
    ------
    Tensor
        The norm that `rho` was divided by, a scalar.

    References
    ----------
    Foret et al., "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021, equation 2;
    Kwon et al., "ASAM: adaptive sharpness-aware minimization", ICML 2021, equation 8 without its constant.

    Examples
    --------
    >>> weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> (weight**2 / 2).sum().backward()  # the gradient is the weight, of length 5
    >>> with uphill([weight], rho=0.5):
    ...     print(weight.data)
    tensor([3.3000, 4.4000])
    >>> weight.data
    tensor([3., 4.])
    """
    moved = [(weight, gradient) for weight in parameters if (gradient := weight.grad) is not None]
    stored = [weight.detach().clone() for weight, _ in moved]
    with torch.no_grad():
        sizes = [weight.abs() if adaptive else torch.ones((), device=weight.device) for weight in stored]
        steps = [size * gradient for size, (_, gradient) in zip(sizes, moved, strict=True)]
        norm = torch.nn.utils.get_total_norm(steps)
        for (weight, _), size, step in zip(moved, sizes, steps, strict=True):
            weight.add_(size * step * (rho / (norm + 1e-12)))
            weight.grad = None
    try:
        yield norm
    finally:
        with torch.no_grad():
            for (weight, _), value in zip(moved, stored, strict=True):
                weight.copy_(value)


class SharpnessAware(pl.Callback):
    """Replace the gradient by the one at the weights uphill, just before it is clipped and used.

    The batches of the gradient, several where gradients are accumulated, are run once more with the same
    random numbers, so dropout hides the same activations. On several devices each runs its own once more, and their
    gradients are averaged, as the first ones were. What the first run logged stands. Clipping, the
    optimizer and its schedule see the second gradient only. The module offers ``loss_of(batch, batch_index)``, the loss
    of its training step without a trace in logs or metrics.

    Parameters
    ----------
    rho : float
        Distance to the weights where the gradient is taken.
    adaptive : bool, default False
        See `uphill`.

    Raises
    ------
    ValueError
        From `setup`, with float16 mixed precision, whose gradients are scaled by a changing factor.
    """

    def __init__(self, rho: float, adaptive: bool = False) -> None:
        self.rho, self.adaptive = rho, adaptive
        self._seen: list[tuple[Any, int, list[Tensor]]] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if trainer.precision == "16-mixed":
            raise ValueError("sharpness_rho works in float32 and bfloat16, not with precision '16-mixed'")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._seen.append((batch, batch_idx, random_states(pl_module.device)))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        with uphill(weights, self.rho, self.adaptive):
            for batch, batch_index, states in self._seen:
                set_random_states(pl_module.device, states)
                with trainer.precision_plugin.train_step_context():
                    loss = cast(Any, pl_module).loss_of(batch, batch_index) / trainer.accumulate_grad_batches
                loss.backward()
            if trainer.world_size > 1:
                _average_gradients(weights)
        self._seen.clear()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._seen.clear()  # batches of a step that was never taken


def _average_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Give all processes the mean of their gradients, in one message."""
    gradients = [gradient for weight in weights if (gradient := weight.grad) is not None]
    mean = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(mean)
    mean /= torch.distributed.get_world_size()
    for gradient, part in zip(gradients, mean.split([each.numel() for each in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
