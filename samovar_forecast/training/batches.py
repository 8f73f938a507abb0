"""The windows of a training step, the parts they are run in, and how many windows to run at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from samovar_forecast.data.windows import Windows
from samovar_forecast.networks.network import ForecastNetwork

USUAL_BATCH_SIZE, SMALL_BATCH_SIZE = 32, 8
_MANY_WINDOWS = 512  # fewer make small batches
MOST_BYTES = 2**27  # larger steps wait for memory: the C library hands such tensors back and asks for them anew


class Part(NamedTuple):
    """Windows of one optimizer step that are run together.

    Attributes
    ----------
    starts : Tensor
        First row of each window.
    counts : tuple of Tensor
        Over all windows of the step, what the sums of its losses are divided by: the number of observed targets of
        the forecast and, where there is one, of the network's own objective. Empty: this part is the whole step.
    idle : bool
        Whether its windows count for nothing: a device without a window of its own runs along with the others.
    """

    starts: Tensor
    counts: tuple[Tensor, ...] = ()
    idle: bool = False


class WindowBatches:
    """Window starts in parts, step by step, shuffled anew in every pass where a generator is given.

    A pass has every window once, or `n_windows` of them: others in every pass where a generator is given, else evenly
    spaced ones. A step has `accumulate_batches` batches of `batch_size` windows, and a batch `n_parts` parts on each of
    `n_ranks` devices. Only the last step of a pass may have fewer windows; none is dropped. With the same generator the
    devices together have the steps of one device, and all of them the same number of parts.

    Parameters
    ----------
    starts : Tensor
        First row of each window.
    batch_size : int
        Windows per batch.
    generator : torch.Generator or None
        Source of the order. None: as given.
    weights : Tensor or None
        How often to draw each window, relative to the others. Then a pass draws each of its windows anew. None: no
        window twice.
    n_windows : int or None
        Windows of a pass, at most. None: all of them.
    accumulate_batches : int, default 1
        Batches per step.
    n_parts : int, default 1
        Parts of a full batch, as even as can be; a smaller batch has as many as its share.
    count : callable or None
        From the starts of this device's windows of a step to their `counts`. It is called for steps of several parts.
    rank, n_ranks : int
        Number of this device, and how many there are.
    add_up : callable or None
        From the counts of this device to those of all devices together.

    Examples
    --------
    >>> [part.starts.tolist() for part in WindowBatches(torch.arange(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    >>> [part.starts.tolist() for part in WindowBatches(torch.arange(5), batch_size=4, n_parts=2)]
    [[0, 1], [2, 3], [4]]
    >>> [part.starts.tolist() for part in WindowBatches(torch.arange(5), batch_size=4, rank=1, n_ranks=2)]
    [[2, 3], [4]]
    >>> [part.starts.tolist() for part in WindowBatches(torch.arange(10), batch_size=2, n_windows=4)]
    [[0, 3], [6, 9]]
    """

    def __init__(
        self,
        starts: Tensor,
        batch_size: int,
        generator: torch.Generator | None = None,
        weights: Tensor | None = None,
        n_windows: int | None = None,
        *,
        accumulate_batches: int = 1,
        n_parts: int = 1,
        count: Callable[[Tensor], tuple[Tensor, ...]] | None = None,
        rank: int = 0,
        n_ranks: int = 1,
        add_up: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.starts, self.batch_size, self.generator, self.count = starts, int(batch_size), generator, count
        self.accumulate_batches, self.n_parts = int(accumulate_batches), n_parts
        self.rank, self.n_ranks, self.add_up = rank, n_ranks, add_up
        self.n_windows = windows_of_epoch(len(starts), n_windows)
        # Drawn by their cumulated weights: torch.multinomial takes no more than 2^24 windows.
        self.bounds = None if weights is None else weights.double().cumsum(0)

    def __len__(self) -> int:
        full, rest = divmod(self.n_windows, self.batch_size)
        return full * self.n_parts + self._parts_of(rest)

    def _parts_of(self, n_windows: int) -> int:
        return -(-n_windows * self.n_parts // self.batch_size)

    def __iter__(self) -> Iterator[Part]:
        n_starts, order = len(self.starts), None
        if self.bounds is not None:
            drawn = torch.rand(self.n_windows, dtype=torch.float64, generator=self.generator) * self.bounds[-1]
            order = torch.searchsorted(self.bounds, drawn, right=True)
        elif self.generator is not None:
            order = torch.randperm(n_starts, generator=self.generator)[: self.n_windows]
        elif self.n_windows < n_starts:
            order = torch.linspace(0, n_starts - 1, self.n_windows, dtype=torch.float64).round().long()
        order = None if order is None else order.to(self.starts.device)
        size = self.batch_size * self.accumulate_batches
        for begin in range(0, self.n_windows, size):  # not cut up or gathered at once: steps may be millions
            end = min(begin + size, self.n_windows)
            step = self.starts[begin:end] if order is None else self.starts[order[begin:end]]
            parts = [part for batch in step.split(self.batch_size) for part in self._own_parts(batch)]
            counts = self._counts(parts, step) if self.count is not None and len(parts) * self.n_ranks > 1 else ()
            for part in parts:
                yield Part(part, counts) if len(part) else Part(step[:1], counts, idle=True)

    def _own_parts(self, batch: Tensor) -> tuple[Tensor, ...]:
        n_parts = self._parts_of(len(batch))
        parts: tuple[Tensor, ...] = batch.tensor_split(n_parts * self.n_ranks)
        return parts[self.rank * n_parts :][:n_parts]

    def _counts(self, parts: list[Tensor], step: Tensor) -> tuple[Tensor, ...]:
        assert self.count is not None
        own = torch.cat(parts)
        counts = self.count(own) if len(own) else tuple(0 * count for count in self.count(step[:1]))
        return counts if self.add_up is None else tuple(self.add_up(count) for count in counts)


def resolve_batch_size(batch_size: int | None, n_windows: int) -> int:
    """The windows per training step that None means: small batches make enough steps of few windows.

    Examples
    --------
    >>> resolve_batch_size(None, 8_000), resolve_batch_size(None, 200), resolve_batch_size(40, 200)
    (32, 8, 40)
    """
    if batch_size is not None:
        return batch_size
    return USUAL_BATCH_SIZE if n_windows >= _MANY_WINDOWS else SMALL_BATCH_SIZE


def windows_of_epoch(n_windows: int, most: int | None) -> int:
    """How many of the windows an epoch has, or all of them where there is no limit."""
    return n_windows if most is None else min(n_windows, most)


def count_parts(network: ForecastNetwork, windows: Windows, batch_size: int) -> int:
    """Into how many parts to cut a batch on a CPU, by what the backward pass keeps of one window.

    The gradients of the parts add up to that of the batch, up to rounding; dropout hides other activations than in
    the whole batch. A network whose windows depend on each other is not cut. The number depends on the network and the
    size of its input alone, so a training can be repeated.
    """
    if network.windows_interact:
        return 1
    past, _, covariates = windows.gather(windows.starts[:1])
    trains = network.training
    network.eval()  # no random number is drawn, and nothing is counted or estimated
    try:
        kept = kept_bytes(network, lambda: network.training_forecast(past, covariates))
    finally:
        network.train(trains)
    most_windows = max(1, MOST_BYTES // max(1, kept))
    n_parts = -(-batch_size // most_windows)
    part_size = -(-batch_size // n_parts)  # as even as can be
    return -(-batch_size // part_size)


def kept_bytes(network: ForecastNetwork, forward: Callable[[], object]) -> int:
    """Bytes that a forward pass keeps for the backward pass, beside the weights of the network."""
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def weigh(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        forward()
    return sum(kept.values())


def forecast_batch_size(network: ForecastNetwork, device: torch.device) -> int:
    """Windows to forecast at once: enough to keep the device busy, fewer of wide data."""
    most_windows, most_points = (64, 2**22) if device.type == "cpu" else (512, 2**24)
    return max(1, min(most_windows, most_points // (network.context_length * network.n_series)))
