"""Which frames of a mask code a measurement."""

from __future__ import annotations

from pathlib import Path

from deqsci_cli.errors import UsageError


def parse_frames(text: str) -> slice:
    """Which frames of a mask code a measurement: `10` for the first ten, `10:20` for those.

    >>> parse_frames("10"), parse_frames("10:20")
    (slice(0, 10, None), slice(10, 20, None))

    Raises:
        UsageError: the text is none of this, or chooses none.
    """
    first, colon, last = text.strip().partition(":")
    numbers = [first, last] if colon else ["0", first]
    if all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        start, stop = map(int, numbers)
        if start < stop:
            return slice(start, stop)
    raise UsageError(
        f"{text!r} chooses no frames of a mask (--frames, --mask-frames)",
        hint="for example 10, or 10:20",
    )


def chosen_frames(text: str | None, have: int, path: Path | None) -> slice:
    """Which of the `have` frames of a mask code a measurement; all where nothing is said.

    Args:
        path: the mask's file, for the error.

    Raises:
        UsageError: the mask has fewer.
    """
    if text is None:
        return slice(0, have)
    chosen = parse_frames(text)
    if chosen.stop > have:
        raise UsageError(
            f"the mask has {have} frames, and frame {chosen.stop} is asked for",
            path=path,
            hint="choose among those that are there",
        )
    return chosen
