"""Statistics over the observed values of series; NaN marks what was not observed."""

from __future__ import annotations

import torch
from torch import Tensor


def is_observed(values: Tensor) -> Tensor:
    """True where a value is there, and no NaN.

    Examples
    --------
    >>> is_observed(torch.tensor([1.0, torch.nan]))
    tensor([ True, False])
    """
    return ~values.isnan()


def observed_mean(series: Tensor, observed: Tensor, dim: int) -> Tensor:
    """Mean along `dim` of the values that `observed` selects, 0 where it selects none; `dim` keeps size 1.

    Shape
    -----
    series, observed : (..., length, ...)
    output : (..., 1, ...)

    Examples
    --------
    >>> series = torch.tensor([[1.0, torch.nan, 3.0], [torch.nan, torch.nan, torch.nan]])
    >>> observed_mean(series, is_observed(series), dim=1).flatten()
    tensor([2., 0.])
    """
    # Gaps are filled before the sum and no count is zero: neither the mean nor its gradient meets a NaN.
    return torch.where(observed, series, 0.0).sum(dim, keepdim=True) / _count(observed, dim).clamp(min=1)


def observed_std_mean(series: Tensor, observed: Tensor, dim: int, correction: int = 1) -> tuple[Tensor, Tensor]:
    """`torch.std_mean` along `dim`, which keeps size 1, of the values that `observed` selects.

    The deviation of too few values is 0, and so is the mean of none. Where the deviation is 0 its gradient is 0.

    Parameters
    ----------
    series : Tensor
        Values, NaN where there is none.
    observed : Tensor
        True for the values that count.
    dim : int
        The dimension of time.
    correction : int, default 1
        Taken off the number of values before it divides the sum of squares; 1 gives the unbiased variance.

    Shape
    -----
    series, observed : (..., length, ...)
    deviation, mean : (..., 1, ...)

    Examples
    --------
    >>> series = torch.tensor([1.0, torch.nan, 2.0, 3.0])
    >>> observed_std_mean(series, is_observed(series), dim=0)
    (tensor([1.]), tensor([2.]))
    """
    mean = observed_mean(series, observed, dim)
    centred = torch.where(observed, series - mean, 0.0)
    degrees = (_count(observed, dim) - correction).clamp(min=1).to(series.dtype)
    # The norm has a gradient at zero, which the square root of a variance has not.
    return torch.linalg.vector_norm(centred, dim=dim, keepdim=True) / degrees.sqrt(), mean


def observed_share(observed: Tensor, dim: int) -> Tensor:
    """Share of values along `dim` that were observed since the first one was, 1 where none was; `dim` keeps size 1.

    Rows before a series that starts later are no gaps in it.

    Examples
    --------
    >>> observed_share(torch.tensor([[False, True, False, True, True], [False, False, False, False, False]]), dim=1)
    tensor([[0.7500],
            [1.0000]])
    """
    first = observed.to(torch.uint8).argmax(dim, keepdim=True)
    count = _count(observed, dim)
    return torch.where(count > 0, count / (observed.shape[dim] - first), 1.0)


def fill_with_mean(series: Tensor, dim: int) -> Tensor:
    """Series whose gaps lie at the mean of what was observed along `dim`, at 0 where that is nothing.

    Examples
    --------
    >>> fill_with_mean(torch.tensor([1.0, torch.nan, 3.0]), dim=0)
    tensor([1., 2., 3.])
    """
    observed = is_observed(series)
    return torch.where(observed, series, observed_mean(series, observed, dim))


def _count(observed: Tensor, dim: int) -> Tensor:
    return observed.sum(dim, keepdim=True, dtype=torch.int32)
