"""Warnings left out in a block of code, also while other threads do the same."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

_turn = threading.Lock()


@contextmanager
def warnings_ignored(*messages: str, category: type[Warning] = Warning) -> Iterator[None]:
    """Ignore warnings of a category whose text begins with one of some messages.

    `warnings.catch_warnings` puts back the filters of the whole process as they were at its beginning: of two threads
    that do so at a time, the second one leaves the filters of the first one in force for ever. Here each block takes
    away its own filters and nothing else. As with `catch_warnings`, other threads are silent about these warnings too
    while the block runs.

    Parameters
    ----------
    *messages : str
        Regular expressions; none: any text.
    category : type of Warning, default Warning

    Examples
    --------
    >>> before = list(warnings.filters)
    >>> with warnings_ignored("of no concern", category=UserWarning):
    ...     warnings.warn("Of no concern here")
    >>> warnings.filters == before
    True
    """
    added = [("ignore", re.compile(text, re.IGNORECASE), category, None, 0) for text in messages or ("",)]
    with _turn:
        filters = cast(list[Any], warnings.filters)
        filters[:0] = added
    try:
        yield
    finally:
        with _turn:
            # Where another thread is in `catch_warnings`, the list in force now may be another one.
            for one in (filters, cast(list[Any], warnings.filters)):
                one[:] = [entry for entry in one if not any(entry is own for own in added)]
