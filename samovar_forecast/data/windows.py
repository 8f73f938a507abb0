"""Windows: contexts, and what follows them, in one tensor of series, gathered by index where the series lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from samovar_forecast.networks.network import Covariates

_WINDOWS_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Windows:
    """A set of windows over one tensor of series: the one form in which networks are trained and asked.

    No copy of a window is ever stored. Several series lie in `values` block after block, and no window reaches over
    the end of one.

    Parameters
    ----------
    values : Tensor
        The series; targets are the last columns; NaN where not observed.
    starts : Tensor
        First row of each window.
    context_length, horizon : int
        Rows of history and of future in a window.
    n_targets : int
        Number of target columns.
    known : Tensor or None
        Covariates known in the future, row by row beside `values`; they may go on after its last row.
    static : Tensor or None
        Covariates constant in time, one row for each block.
    block : Tensor or None
        Which block a row belongs to. None: there is one block.
    batch_device : torch.device or None
        Where batches go. None: where the series lie.

    Shape
    -----
    values : (n_rows, n_series)
    starts : (n_windows,)
    known : (n_rows or more, n_known)
    static : (n_blocks, n_static)
    block : (n_rows,)

    Examples
    --------
    >>> windows = Windows(torch.arange(6.0).unsqueeze(1), torch.arange(3), context_length=3, horizon=1, n_targets=1)
    >>> past, future, _ = windows.gather(torch.tensor([2]))
    >>> past.flatten(), future.flatten()
    (tensor([2., 3., 4.]), tensor([5.]))
    """

    values: Tensor
    starts: Tensor
    context_length: int
    horizon: int
    n_targets: int
    known: Tensor | None = None
    static: Tensor | None = None
    block: Tensor | None = None
    batch_device: torch.device | None = None

    @classmethod
    def before(
        cls,
        cutoffs: Tensor,
        values: Tensor,
        context_length: int,
        horizon: int,
        n_targets: int,
        known: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Windows:
        """Windows of one series whose contexts end before given rows.

        Contexts that reach back beyond the first row are filled up with missing values; where covariates go on after
        the last row, so does the series, with missing values.

        Shape
        -----
        cutoffs : (n_windows,), row numbers of the first steps to forecast
        static : (n_static,)
        """
        n_before = max(0, context_length - int(cutoffs.min())) if len(cutoffs) else 0
        n_after = 0 if known is None else max(0, len(known) - len(values))
        values = _padded(values, n_before, n_after, torch.nan)
        known = None if known is None else _padded(known, n_before, 0, 0.0)
        starts = cutoffs + (n_before - context_length)
        static = None if static is None else static.unsqueeze(0)
        return cls(values, starts, context_length, horizon, n_targets, known, static)

    @classmethod
    def join(cls, parts: Sequence[Windows]) -> Windows:
        """The windows of several series of the same kind, block after block; a single one is not copied."""
        first = parts[0]
        if len(parts) == 1:
            return first
        lengths = torch.tensor([len(part.values) for part in parts])
        ends = lengths.cumsum(0).tolist()
        return replace(
            first,
            values=torch.cat([part.values for part in parts]),
            starts=torch.cat([part.starts + end - len(part.values) for part, end in zip(parts, ends, strict=True)]),
            known=_joined([part.known for part in parts]),
            static=_joined([part.static for part in parts]),
            block=torch.repeat_interleave(torch.arange(len(parts)), lengths),
        )

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def device(self) -> torch.device:
        """Where batches go."""
        return self.values.device if self.batch_device is None else self.batch_device

    @property
    def cutoffs(self) -> Tensor:
        """First row after each context: (n_windows,)."""
        return self.starts + self.context_length

    @property
    def blocks(self) -> Tensor:
        """The block of each window: (n_windows,)."""
        return torch.zeros_like(self.starts) if self.block is None else self.block[self.starts]

    def after_row(self, row: Tensor) -> Windows:
        """The windows of one series with one more row before its first, which belongs to no context.

        Shape
        -----
        row : (1, n_series)
        """
        known = None if self.known is None else _padded(self.known, 1, 0, 0.0)
        return replace(self, values=torch.cat([row, self.values]), starts=self.starts + 1, known=known)

    def at(self, starts: Tensor) -> Windows:
        """Other windows over the same series."""
        return replace(self, starts=starts)

    def observed(self) -> Windows:
        """The windows that have an observed target both in their context and in their future."""
        pieces = self.values[:, -self.n_targets :].split(2**16)
        rows = torch.cat([piece.isnan().logical_not_().any(1) for piece in pieces])
        if rows.all():
            return self
        counts = torch.zeros(len(rows) + 1, dtype=torch.int32 if len(rows) < 2**31 else torch.int64)
        torch.cumsum(rows, 0, dtype=counts.dtype, out=counts[1:])

        def seen(part: Windows) -> Tensor:
            cutoffs = part.cutoffs
            in_context = counts[cutoffs] > counts[part.starts]
            return in_context.logical_and_(counts[cutoffs + part.horizon] > counts[cutoffs])

        return self.only(self.in_pieces(seen))

    def in_pieces(self, asked: Callable[[Windows], Tensor]) -> Tensor:
        """What is asked of each window; some at a time, because answers on the way would take as much as many rows."""
        if not len(self):
            return asked(self)
        return torch.cat([asked(self.at(starts)) for starts in self.starts.split(_WINDOWS_AT_ONCE)])

    def only(self, kept: Tensor) -> Windows:
        """The windows for which `kept` is true: (n_windows,)."""
        if kept.all():
            return self
        starts, begin = self.starts.new_empty(int(kept.count_nonzero())), 0
        for some, chosen in zip(self.starts.split(_WINDOWS_AT_ONCE), kept.split(_WINDOWS_AT_ONCE), strict=True):
            end = begin + int(chosen.count_nonzero())
            starts[begin:end] = some[chosen]
            begin = end
        return self.at(starts)

    def rows_left(self) -> Tensor:
        """Rows of its series from each cutoff to the end: (n_windows,)."""
        if self.block is None:
            return len(self.values) - self.cutoffs
        return self.block.bincount().cumsum(0)[self.blocks] - self.cutoffs

    def to(self, device: torch.device) -> Windows:
        """The same windows with batches on another device.

        Series that would fill more than half of the free memory of a GPU stay where they are; their batches travel.
        """
        home = device
        if device.type == "cuda" and self.values.device != device:
            free, _ = torch.cuda.mem_get_info(device)
            home = self.values.device if 2 * self.values.nbytes > free else device
        known, static, block = (
            None if tensor is None else tensor.to(home) for tensor in (self.known, self.static, self.block)
        )
        shape = (self.context_length, self.horizon, self.n_targets)
        return Windows(self.values.to(home), self.starts.to(home), *shape, known, static, block, device)

    def equal_weights(self) -> Tensor:
        """Weights of the windows by which every block is drawn as often as any other: (n_windows,)."""
        blocks = self.blocks
        return 1 / blocks.bincount()[blocks]

    def gather(self, starts: Tensor) -> tuple[Tensor, Tensor, Covariates | None]:
        """Past, future and covariates of the windows that begin at `starts`.

        Shape
        -----
        starts : (batch,)
        past : (batch, context_length, n_series)
        future : (batch, horizon, n_targets)
        """
        starts = starts.to(self.values.device)
        # The steps of a series lie side by side in memory, as networks that look along time want them.
        window = self.values.unfold(0, self.context_length + self.horizon, 1)[starts].to(self.device).transpose(1, 2)
        past, future = window[:, : self.context_length], window[:, self.context_length :, -self.n_targets :]
        if self.known is None and self.static is None:
            return past, future, None
        return past, future, self.covariates(starts)

    def past(self, starts: Tensor) -> Tensor:
        """The contexts of the windows that begin at `starts`: (batch, context_length, n_series)."""
        rows = starts.unsqueeze(1) + torch.arange(self.context_length, device=starts.device)
        return self.values[rows].to(self.device)

    def covariates(self, starts: Tensor, first_step: int = 0) -> Covariates:
        """Covariates of the windows that begin at `starts`, moved on by some steps.

        Rows after the last known one repeat it: they belong to steps that a forecast cuts off.
        """
        covariates = Covariates()
        if self.known is not None:
            offsets = torch.arange(self.context_length + self.horizon, device=starts.device) + first_step
            rows = (starts.unsqueeze(1) + offsets).clamp_(max=len(self.known) - 1)
            known = self.known[rows].to(self.device)
            known_past, known_future = known[:, : self.context_length], known[:, self.context_length :]
            covariates = covariates._replace(known_past=known_past, known_future=known_future)
        if self.static is not None:
            of_window = starts.new_zeros(len(starts)) if self.block is None else self.block[starts]
            covariates = covariates._replace(static=self.static[of_window].to(self.device))
        return covariates


def window_cutoffs(n_rows: int, n_training: int, context_length: int, horizon: int) -> Tensor:
    """The cutoffs of every window of a series, first rows of their futures: (n_windows,).

    A series too short for a full context begins with the window that has one horizon of history.
    """
    short = n_training < context_length + horizon
    first = min(horizon, max(n_training - horizon, 0)) if short else context_length
    return torch.arange(first, max(first, n_rows - horizon + 1))


def _padded(rows: Tensor, n_before: int, n_after: int, fill: float) -> Tensor:
    if not (n_before or n_after):
        return rows  # not copied: it may be larger than memory
    before, after = (rows.new_full((n_rows, rows.shape[1]), fill) for n_rows in (n_before, n_after))
    return torch.cat([before, rows, after])


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if tensors else None
