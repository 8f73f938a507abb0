"""Windows of resident series, gathered by index where the series lie: no copy of a window is ever stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from samovar_forecast.networks.network import Covariates


class Windows:
    """A set of windows over one tensor of series.

    Parameters
    ----------
    values : Tensor
        The series; targets are the last columns.
    starts : Tensor
        First row of each window.
    context_length, horizon : int
        Rows of history and of future in a window.
    n_targets : int
        Number of target columns.
    known : Tensor or None
        Covariates known in the future, row by row beside `values`.
    static : Tensor or None
        Covariates constant in time, one row for each block.
    block : Tensor or None
        Which block a row belongs to. A panel lies in `values` block behind block; no window reaches over the
        end of one. None: there is one block.

    Shape
    -----
    values : (n_rows, n_series)
    starts : (n_windows,)
    known : (n_rows, n_known)
    static : (n_blocks, n_static)
    block : (n_rows,)

    Examples
    --------
    >>> windows = Windows(torch.arange(6.0).unsqueeze(1), torch.arange(3), context_length=3, horizon=1, n_targets=1)
    >>> past, future, _ = windows.gather(torch.tensor([2]))
    >>> past.flatten(), future.flatten()
    (tensor([2., 3., 4.]), tensor([5.]))
    """

    def __init__(
        self,
        values: Tensor,
        starts: Tensor,
        context_length: int,
        horizon: int,
        n_targets: int,
        known: Tensor | None = None,
        static: Tensor | None = None,
        block: Tensor | None = None,
    ) -> None:
        self.values, self.starts, self.known = values, starts, known
        self.static, self.block = static, block
        self.context_length, self.horizon, self.n_targets = context_length, horizon, n_targets
        self.offsets = torch.arange(context_length + horizon, device=values.device)
        self.device = values.device  # of the batches

    def __len__(self) -> int:
        return len(self.starts)

    def to(self, device: torch.device) -> Windows:
        """The same windows on another device.

        Series that would fill more than half of the free memory of a GPU stay where they are; their batches travel.
        """
        home = device
        if device.type == "cuda" and self.values.device != device:
            free, _ = torch.cuda.mem_get_info(device)
            home = self.values.device if 2 * self.values.nbytes > free else device
        values, starts = self.values.to(home), self.starts.to(home)
        rest = (None if tensor is None else tensor.to(home) for tensor in (self.known, self.static, self.block))
        windows = Windows(values, starts, self.context_length, self.horizon, self.n_targets, *rest)
        windows.device = device
        return windows

    def equal_weights(self) -> Tensor:
        """Weights of the windows by which every block is drawn as often as any other: (n_windows,)."""
        block = torch.zeros_like(self.starts) if self.block is None else self.block[self.starts]
        return 1 / block.bincount()[block]

    def gather(self, starts: Tensor) -> tuple[Tensor, Tensor, Covariates | None]:
        """Past, future and covariates of the windows that begin at `starts`.

        Shape
        -----
        starts : (batch,)
        past : (batch, context_length, n_series)
        future : (batch, horizon, n_targets)
        """
        starts = starts.to(self.values.device)
        rows = starts.unsqueeze(1) + self.offsets  # (batch, context_length + horizon)
        # The steps of a series lie side by side in memory, as networks that look along time want them.
        window = self.values.unfold(0, len(self.offsets), 1)[starts].to(self.device).transpose(1, 2)
        past, future = window[:, : self.context_length], window[:, self.context_length :, -self.n_targets :]
        if self.known is None and self.static is None:
            return past, future, None
        covariates = Covariates()
        if self.known is not None:
            known = self.known[rows].to(self.device)
            known_past, known_future = known[:, : self.context_length], known[:, self.context_length :]
            covariates = covariates._replace(known_past=known_past, known_future=known_future)
        if self.static is not None:
            of_window = starts.new_zeros(len(starts)) if self.block is None else self.block[starts]
            covariates = covariates._replace(static=self.static[of_window].to(self.device))
        return past, future, covariates


class Part(NamedTuple):
    """Windows of one batch that are run together.

    Attributes
    ----------
    starts : Tensor
        First row of each window.
    weight : float
        Share of the windows of the batch times the number of parts: 1 for parts of equal size.
    """

    starts: Tensor
    weight: float


class WindowBatches:
    """Batches of window starts in parts, shuffled anew in every pass where a generator is given.

    Parameters
    ----------
    starts : Tensor
        First row of each window.
    batch_size : int
        Windows per batch; the last batch may be smaller, no window is dropped.
    generator : torch.Generator or None
        Source of the order. None: as given.
    weights : Tensor or None
        How often to draw each window, relative to the others. Then a pass draws as many windows as there are, each
        anew. None: every window once.
    n_parts : int, default 1
        Parts of a full batch. A smaller batch is cut into parts of the same size, so there may be fewer of them.

    Examples
    --------
    >>> [part.starts.tolist() for part in WindowBatches(torch.arange(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    >>> [(part.starts.tolist(), part.weight) for part in WindowBatches(torch.arange(3), batch_size=4, n_parts=2)]
    [([0, 1], 1.3333333333333333), ([2], 0.6666666666666666)]
    """

    def __init__(
        self,
        starts: Tensor,
        batch_size: int,
        generator: torch.Generator | None = None,
        weights: Tensor | None = None,
        n_parts: int = 1,
    ) -> None:
        self.starts, self.batch_size, self.generator, self.n_parts = starts, int(batch_size), generator, n_parts
        # Drawn by their cumulated weights: torch.multinomial takes no more than 2^24 windows.
        self.bounds = None if weights is None else weights.double().cumsum(0)

    @property
    def part_size(self) -> int:
        """Windows per part, at most."""
        return -(-self.batch_size // self.n_parts)

    def __len__(self) -> int:
        full, rest = divmod(len(self.starts), self.batch_size)
        return full * -(-self.batch_size // self.part_size) - (-rest // self.part_size)

    def __iter__(self) -> Iterator[Part]:
        starts = self.starts
        if self.bounds is not None:
            drawn = torch.rand(len(starts), dtype=torch.float64, generator=self.generator) * self.bounds[-1]
            starts = starts[torch.searchsorted(self.bounds, drawn, right=True)]
        elif self.generator is not None:
            starts = starts[torch.randperm(len(starts), generator=self.generator)]
        for batch in starts.split(self.batch_size):
            for part in batch.split(self.part_size):
                yield Part(part, len(part) * self.n_parts / len(batch))
