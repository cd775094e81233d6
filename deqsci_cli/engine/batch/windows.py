"""How a long recording is cut: windows that overlap, each solved on its own.

A film must not depend on the machine that made it, so that the size of a window follows from the
size of the pictures alone, never from the memory that is free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

#: so many neighbouring measurements on each side are solved along and then left out: the film is
#: then within 0.05 dB and 1e-3 of one solved as a whole (benchmarks/README.md)
OVERLAP = 2
# A window's video has at most so many values (with `pnp` some 4 GB while it is solved) and so many
# measurements, as long as the overlap allows it.
_MOST_VALUES = 2**23
_MOST_MEASUREMENTS = 32


@dataclass(frozen=True)
class MeasurementWindow:
    """Measurements that are solved together, and those of them whose frames are kept.

    Attributes:
        first, last: the measurements, from `first` up to, not including, `last`.
        start, stop: those that are kept, likewise.
    """

    first: int
    last: int
    start: int
    stop: int


def window_size(shape: tuple[int, int, int], asked: int | None) -> int:
    """How many measurements are solved together.

    Args:
        shape: `(T, H, W)` of one measurement's video.
        asked: so many, in place of what the rule says.

    Returns:
        As many as asked for; by the rule at most 32, and at least so many that one is kept.
    """
    if asked is not None:
        return asked
    return max(1 + 2 * OVERLAP, min(_MOST_MEASUREMENTS, _MOST_VALUES // math.prod(shape)))


def overlap_of(size: int) -> int:
    """How many neighbours on each side belong to a window of so many measurements.

    Two, but where somebody asked for windows below five: a seam then differs by some 3e-3.
    """
    return min(OVERLAP, (size - 1) // 2)


def windows(count: int, size: int) -> list[MeasurementWindow]:
    """Cut `count` measurements into windows of about one size; one window if they are no more.

    >>> windows(8, 6)[1]
    MeasurementWindow(first=0, last=6, start=2, stop=4)

    Args:
        count: of measurements.
        size: the most that are solved together.
    """
    if count <= size:
        return [MeasurementWindow(0, count, 0, count)]
    overlap = overlap_of(size)
    parts = math.ceil(count / (size - 2 * overlap))
    borders = [count * part // parts for part in range(parts + 1)]
    return [
        MeasurementWindow(max(0, start - overlap), min(count, stop + overlap), start, stop)
        for start, stop in pairwise(borders)
    ]
