"""Which frames of a mask code a measurement."""

from __future__ import annotations

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
        f"--frames {text!r} chooses no frames of a mask", hint="for example 10, or 10:20"
    )
