"""Ctrl-C: the training stops between two batches, and what it has reached is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TrainingInterrupted(Exception):  # noqa: N818 (no error: it carries a wish from a callback to the engine)
    """The training was asked to stop."""


class Interrupt:
    """Whether Ctrl-C was pressed; the second time it ends everything at once."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interrupts_held_back() -> Iterator[Interrupt]:
    """Hold back Ctrl-C: a caller may stop earlier; KeyboardInterrupt is raised on leaving.

    Inside another such block this one is a part of it, and the outer one raises. Outside the main thread, and
    where another handler takes the signal, nothing is held back. However it ends, the signal's handler is put back;
    Lightning leaves the signal ignored for ever when it meets a KeyboardInterrupt.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is None:
        yield Interrupt()
        return
    outer = getattr(handler, "__self__", None)
    if isinstance(outer, Interrupt):
        yield outer
        return
    interrupt = Interrupt()
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt.ask)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, handler)
    if interrupt.asked:
        raise KeyboardInterrupt
