"""Memory that one training step frees and the next one needs again."""

from __future__ import annotations

from functools import cache

import torch

_LARGEST_TO_LEARN_FROM = 2**25  # bytes, on 64-bit systems
_AROUND_A_PIECE = 2**13  # at most; counts as part of it


@cache  # learned once, the piece itself would come from the heap and stay there
def keep_freed_memory() -> None:
    """Let the C library keep what is freed, instead of giving it back to the system and asking for it anew.

    Every page that comes from the system costs a page fault: a tenth of a training step on a CPU. glibc learns from the
    largest piece of memory that a program has freed, up to 32 MB: pieces up to that size then come from the heap, whose
    newest free bytes, up to twice that size, stay with the process. So one such piece is freed, which nothing was
    written to. Other C libraries, and glibc where the environment tells it what to do, take no notice.

    References
    ----------
    ``man 3 mallopt``: the dynamic mmap threshold.
    """
    torch.empty(_LARGEST_TO_LEARN_FROM - _AROUND_A_PIECE, dtype=torch.uint8)
