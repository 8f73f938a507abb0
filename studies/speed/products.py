"""The matrix products of a computation: which there are, how much they compute, how long they take by themselves."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from measuring import milliseconds, rounded, take_turns
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_NAMES = {
    "aten::mm": "mm", "aten::addmm": "addmm", "aten::addmm_": "addmm", "aten::bmm": "bmm", "aten::baddbmm": "baddbmm",
}  # fmt: skip


class Layout(NamedTuple):
    """Shape and strides of a factor."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def filled(self) -> Tensor:
        spread = sum((extent - 1) * stride for extent, stride in zip(self.shape, self.strides, strict=True))
        return torch.randn(spread + 1).as_strided(self.shape, self.strides)  # a stride may be 0, as of what is expanded


class Product(NamedTuple):
    """One kind of matrix product."""

    name: str
    factors: tuple[Layout, ...]

    @property
    def flops(self) -> int:
        left, right = (layout.shape for layout in self.factors[-2:])
        size = 2 * right[-1]
        for extent in left:
            size *= extent
        return size

    def alone(self) -> Callable[[], None]:
        """Computes it at every call; its factors and its output lie ready."""
        factors = [layout.filled() for layout in self.factors]
        function = getattr(torch, self.name)
        output = torch.empty_like(function(*factors))

        def run() -> None:
            function(*factors, out=output)

        return run


class Products(TorchDispatchMode):
    """Counts the matrix products of what runs inside, forward and backward.

    Examples
    --------
    >>> with Products() as products:
    ...     torch.ones(2, 3) @ torch.ones(3, 4)
    >>> products.flops
    48
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Product] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _NAMES.get(func._schema.name)
        if name is not None:
            factors = tuple(Layout(tuple(x.shape), x.stride()) for x in args if isinstance(x, Tensor))
            self.counts[Product(name, factors)] += 1
        return func(*args, **(kwargs or {}))

    @property
    def flops(self) -> int:
        return sum(product.flops * count for product, count in self.counts.items())

    def alone(self) -> Callable[[], None]:
        """Runs all of them at every call, one kind after the other, and nothing else.

        Inputs and outputs lie ready; those of one kind are the same every time, so that they are in the cache if they
        fit.
        """
        prepared = [(product.alone(), count) for product, count in self.counts.items()]

        def run() -> None:
            for one, count in prepared:
                for _ in range(count):
                    one()

        return run

    def kinds(self) -> list[dict[str, Any]]:
        """What each kind computes, how long that takes by itself, and at which rate; the longest first."""
        rows = []
        for product, count in self.counts.items():
            times = take_turns({"alone": product.alone()}, seconds=0.05)["alone"]
            rows.append(
                {
                    "factors": " x ".join(str(list(layout.shape)) for layout in product.factors[-2:]),
                    "count": count,
                    "milliseconds": rounded(count * milliseconds(times)),
                    "gigaflops per second": rounded(product.flops / statistics.median(times) / 1e9),
                }
            )
        return sorted(rows, key=lambda row: -row["milliseconds"])


def large_product(size: int = 2048, **kind: Any) -> tuple[Callable[[], object], int]:
    """A product at the machine's full rate, and how much it computes."""
    left, right = (torch.randn(size, size).to(**kind) for _ in range(2))
    output = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=output), 2 * size**3
