"""An interrupt that waits for a moment at which nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[..., None]]:
    """Hold Ctrl-C back until the block asks for it; a second one comes through at once.

    Yields:
        A function to be called between steps; it raises KeyboardInterrupt if one was held back.
        Processes that must stop together give it a function by which they agree on that.
    """
    held = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal held
        if held:
            raise KeyboardInterrupt
        held = True

    def check(agree: Callable[[bool], bool] = bool) -> None:
        if agree(held):
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGINT, hold)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
