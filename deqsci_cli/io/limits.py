"""How much a file may ask for: sizes are checked from headers, before anything is allocated."""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Sequence
from pathlib import Path

from deqsci_cli.errors import InputError, UsageError

DEFAULT_BYTE_BUDGET = 4 * 1024**3
BUDGET_VARIABLE = "DEQSCI_MAX_BYTES"


def byte_budget() -> int:
    """The most bytes one array of a file may take: `DEQSCI_MAX_BYTES` if set, else 4 GiB.

    Raises:
        UsageError: if the environment variable is not a positive whole number.
    """
    text = os.environ.get(BUDGET_VARIABLE)
    if text is None:
        return DEFAULT_BYTE_BUDGET
    # Python refuses to read numbers of thousands of digits, with an error that names no one.
    if not text.strip().isdecimal() or len(text) > 30 or int(text) == 0:
        raise UsageError(
            f"{BUDGET_VARIABLE} is {reprlib.repr(text)}, not a number of bytes",
            hint=f"set it to a positive whole number, for example {DEFAULT_BYTE_BUDGET}",
        )
    return int(text)


def check_budget(
    shape: Sequence[int],
    itemsize: int,
    *,
    path: str | Path,
    what: str,
    budget: int | None = None,
) -> None:
    """Refuse an array of `shape` and `itemsize` bytes an element that exceeds the budget.

    Args:
        what: the array's name, for the message.
        budget: bytes; None takes `byte_budget()`.

    Raises:
        InputError: naming the size and the limit; also for negative lengths.
    """
    limit = byte_budget() if budget is None else budget
    if any(length < 0 for length in shape):
        raise InputError(
            f"{what} claims the impossible shape {tuple(shape)}",
            path=path,
            hint="the file is damaged; copy or export it again",
        )
    size = math.prod(int(length) for length in shape) * itemsize
    if size > limit:
        raise InputError(
            f"{what} of shape {tuple(shape)} would take {_human(size)}, "
            f"over the limit of {_human(limit)}",
            path=path,
            hint=f"if the file is sound, raise {BUDGET_VARIABLE} (bytes)",
        )


def _human(size: int) -> str:
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} PiB"
