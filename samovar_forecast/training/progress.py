"""How far a long work is: a line that is rewritten in a terminal or a notebook, plain lines in a log file."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TypeVar

from rich.console import Console
from rich.live import Live
from rich.text import Text

Verbose = Literal[0, 1, "auto"]
Item = TypeVar("Item")

PATIENCE = 3.0  # seconds of work, after which "auto" shows something
LINES_APART = 10.0  # seconds between two plain lines

_wanted: ContextVar[Verbose | None] = ContextVar("_wanted", default=None)


@contextmanager
def progress_shown(verbose: Verbose) -> Iterator[None]:
    """Let every work inside show its progress in one way, whatever its own `verbose` says."""
    token = _wanted.set(verbose)
    try:
        yield
    finally:
        _wanted.reset(token)


def time_left(seconds: float) -> str:
    """A duration in the two units that matter.

    Examples
    --------
    >>> time_left(48), time_left(200), time_left(9000)
    ('48 s', '3 min 20 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Screen:
    """Where progress is shown: nowhere, in one line that is rewritten, or in lines at least ten seconds apart.

    Parameters
    ----------
    verbose : {0, 1, "auto"}
        0: nothing. 1: at once. "auto": from the third second on, in a terminal or a notebook.
    """

    def __init__(self, verbose: Verbose) -> None:
        chosen = _wanted.get()
        self.verbose = verbose if chosen is None else chosen
        self.began = time.monotonic()
        self._console = Console(stderr=True)
        self._live: Live | None = None
        self._last_line = -math.inf
        self._rewrites = self._console.is_terminal or self._console.is_jupyter
        self.is_silent = self.verbose == 0 or (self.verbose == "auto" and not self._rewrites)

    def show(self, text: str, *, is_mark: bool = False) -> None:
        """Show where the work is; `is_mark` says that the text is worth a line in a log file, such as an epoch's."""
        now = time.monotonic()
        if self.is_silent or (self.verbose == "auto" and now - self.began < PATIENCE):
            return
        if self._rewrites:
            if self._live is None:
                self._live = Live(console=self._console, transient=True, auto_refresh=False)
                self._live.start()
            self._live.update(Text(text), refresh=True)
        elif is_mark and now - self._last_line >= LINES_APART:
            self._last_line = now
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the line that was rewritten."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def counted(items: Iterable[Item], what: str, total: int, verbose: Verbose = "auto") -> Iterator[Item]:
    """The items as they come, with a line such as "refit 3 of 12, 40 s left" after each.

    Examples
    --------
    >>> list(counted(["a", "b"], "fold", 2, verbose=0))
    ['a', 'b']
    """
    screen = Screen(verbose)
    try:
        for number, item in enumerate(items, 1):
            yield item
            seconds = (time.monotonic() - screen.began) / number * (total - number)
            left = f", about {time_left(seconds)} left" if number < total else ""
            screen.show(f"{what} {number} of {total}{left}", is_mark=True)
    finally:
        screen.close()
