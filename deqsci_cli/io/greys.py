"""What the stored values of a TIFF picture stand for: white may be zero, or a palette tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_WHITE_IS_ZERO, _PALETTE = 0, 3


@dataclass(frozen=True, eq=False)
class Greys:
    """How stored values become grey values, in which more is brighter.

    Attributes:
        dtype: of the grey values.
        top: what stored values are subtracted from; None if they are not.
        table: the grey value of each stored one; None if they are grey values already.
        problem: why they cannot become grey values.
    """

    dtype: np.dtype[Any]
    top: int | None = None
    table: np.ndarray | None = None
    problem: str | None = None

    def of(self, stored: np.ndarray) -> np.ndarray:
        """The grey values of stored ones."""
        if self.table is not None:
            return self.table.take(stored.astype(np.uint16, copy=False), mode="clip")
        if self.top is None:
            return stored
        if stored.dtype == bool:
            return ~stored
        return np.asarray(np.subtract(stored.dtype.type(self.top), stored))


def greys(
    photometric: int, bits: int, dtype: np.dtype[Any], palettes: Sequence[np.ndarray | None]
) -> Greys:
    """The meaning of values stored as `dtype` with `bits` bits.

    Args:
        photometric: the tag of this name (262).
        palettes: of all pages, each (3, 2**bits), 65535 for the brightest.
    """
    if photometric == _WHITE_IS_ZERO:
        if dtype.kind not in "ub":
            return Greys(dtype, problem=f"of type {dtype} with white as 0: black is not known")
        return Greys(dtype, top=2**bits - 1)
    if photometric == _PALETTE:
        return _through_palette(bits, dtype, palettes)
    return Greys(dtype)


def _through_palette(
    bits: int, dtype: np.dtype[Any], palettes: Sequence[np.ndarray | None]
) -> Greys:
    shape = (3, 2**bits)
    known = [p for p in palettes if isinstance(p, np.ndarray) and p.shape == shape]
    if dtype.kind not in "ub" or not known or len(known) < len(palettes):
        return Greys(dtype, problem="without the palette that its values point into")
    palette = known[0].astype(np.uint16)
    if any((other != palette).any() for other in known):
        return Greys(dtype, problem="of pictures with different palettes")
    if (palette != palette[0]).any():
        return Greys(dtype, problem="a colour image")
    table: np.ndarray = palette[0]
    high, low = table >> 8, table & 255
    # Writers make 16 bits of 8 by a factor of 257, or of 256.
    if ((low == high) | (low == 0)).all():
        table = high.astype(np.uint8)
        if bits == 1 and np.isin(table, (0, 255)).all():
            table = table > 0
    return Greys(table.dtype, table=table)
