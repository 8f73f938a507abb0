"""Independent jobs as one joblib loop, on the backend that joblib is set to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from joblib import Parallel
from joblib.parallel import SequentialBackend, get_active_backend


def results_of(jobs: Iterable[Any], n_jobs: int | None = None) -> Iterator[Any]:
    """The results of delayed calls in their order, each as soon as it is there.

    Some backends, such as Ray's, give all of them at once at the end.

    Examples
    --------
    >>> from joblib import delayed
    >>> list(results_of(delayed(abs)(number) for number in (-1, 2)))
    [1, 2]
    """
    backend, _ = get_active_backend()
    as_they_come = isinstance(backend, SequentialBackend) or backend.supports_return_generator
    return iter(Parallel(n_jobs=n_jobs, return_as="generator" if as_they_come else "list")(jobs))
