"""Signals that end a run, at a moment at which nothing is half done."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Ctrl-C; and what `scancel`, `docker stop`, `systemctl stop` and `kill` send.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# How long an interrupt that cannot be answered waits before it comes again.
_AGAIN_SECONDS = 0.01
_CAN_WAIT = hasattr(signal, "setitimer")  # Windows cannot


def answer_signals() -> list[int]:
    """Answer Ctrl-C and SIGTERM alike, by KeyboardInterrupt; but not in the midst of an import.

    There an exception may be swallowed, or leave a module half made that fails in a way of its
    own: the import is waited for. A second signal does not wait for it. What is swallowed all the
    same, as in a callback of a library in C, comes again. Signals that this process was started to
    ignore stay ignored. For a program, which calls it once; not for a library.

    Returns:
        The numbers of the signals that have been answered so far.
    """
    came: list[int] = []
    waiting: list[int] = []

    def answer(number: int, frame: FrameType | None) -> None:
        if not _importing(frame):
            came.append(number)
            raise KeyboardInterrupt
        if waiting:  # somebody means it
            give_signals_back()
            signal.raise_signal(number)
        later(number)

    def later(number: int) -> None:
        waiting.append(number)
        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    def again(_: int, frame: FrameType | None) -> None:
        if _importing(frame):  # it still waits, so that a second signal is known for one
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        else:
            signal.raise_signal(waiting.pop())

    def swallowed(told: sys.UnraisableHookArgs) -> None:
        if issubclass(told.exc_type, KeyboardInterrupt) and came and _CAN_WAIT:
            later(came.pop())
        else:
            sys.__unraisablehook__(told)

    sys.unraisablehook = swallowed
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, answer)
    return came


def give_signals_back() -> None:
    """Have them end this process at once and quietly, where nothing is at stake any more."""
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, or a text evaluated, as modules in the making often do.

    Python notes an interrupt that leaves an evaluated text, and ends by SIGINT whatever follows.
    """
    while _CAN_WAIT and frame is not None and frame.f_back is not None:
        if frame.f_code.co_filename in ("<frozen importlib._bootstrap>", "<string>"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def deferred_interrupt() -> Iterator[Callable[..., None]]:
    """Hold signals back until the block asks for them, or ends; a second one comes through at once.

    Only what the program answers is held back: Ctrl-C, and SIGTERM after `answer_signals`.

    Yields:
        A function to be called between steps; it raises KeyboardInterrupt if one was held back.
        Processes that must stop together give it a function by which they agree on that.
    """
    held: list[int] = []
    before: dict[int, Any] = {n: signal.getsignal(n) for n in _SIGNALS}
    before = {number: answer for number, answer in before.items() if callable(answer)}

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)
        if len(held) > 1:
            before[number](number, frame)

    def check(agree: Callable[[bool], bool] = bool) -> None:
        if agree(bool(held)):
            if held:
                before[held[0]](held[0], None)
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check  # only the main thread may handle signals
        return
    for number in before:
        signal.signal(number, hold)
    try:
        yield check
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)
    check()
