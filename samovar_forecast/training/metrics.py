"""What an epoch adds up."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanOverObserved(Metric):
    """The mean of a loss over all observed targets of an epoch, NaN where there is none.

    It stays on the device until it is asked for.

    Examples
    --------
    >>> mean = MeanOverObserved()
    >>> mean.update(torch.tensor(6.0), torch.tensor(2))  # a batch with two observed targets
    >>> mean.update(torch.tensor(1.0), torch.tensor(2))
    >>> mean.compute()
    tensor(1.7500)
    """

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: Tensor) -> None:
        """Take in the sum of the losses of a batch and the number of its observed targets."""
        self.total += total.detach()
        self.count += count

    def compute(self) -> Tensor:
        """The mean so far."""
        return self.total / self.count
