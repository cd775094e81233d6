"""Which intensities are shown black and white: the 8 bits of a screen for the floats of a film."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from deqsci_cli.errors import UsageError

#: the percentiles that `auto` shows black and white: a few hot or dead pixels do not count
PERCENTILES = (0.1, 99.9)

FULL = (0.0, 1.0)

# Percentiles of so many values, evenly spread, are those of all to within a grey level.
_ENOUGH = 2_000_000


def parse_contrast(text: str) -> tuple[float, float] | None:
    """The intensities for black and white; None where the frames themselves are to decide.

    >>> parse_contrast("full"), parse_contrast("0.1,0.4"), parse_contrast("auto")
    ((0.0, 1.0), (0.1, 0.4), None)

    Raises:
        UsageError: it is neither `auto`, `full` nor two numbers, the second above the first.
    """
    if text == "auto":
        return None
    if text == "full":
        return FULL
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise UsageError(
            f"there is no contrast '{text}'",
            hint="auto (the film's own percentiles), full (0 to white), or LOW,HIGH such as 0,0.4",
        )
    return low, high


def stretch(films: Iterable[np.ndarray]) -> tuple[float, float]:
    """The percentiles of all values together; 0 to white where these are all the same.

    Args:
        films: of any shapes, in units of white. What is not finite does not count.
    """
    values = [np.ravel(film) for film in films]
    # An odd step: an even one would see every second column of a picture alone.
    step = math.ceil(sum(map(len, values)) / _ENOUGH) | 1
    joined = np.concatenate([each[::step] for each in values] or [np.zeros(0)])
    joined = joined[np.isfinite(joined)]
    if not len(joined):
        return FULL
    low, high = (float(v) for v in np.percentile(joined, PERCENTILES))
    return (low, high) if high - low > 1e-6 * max(1.0, abs(high)) else FULL


def to_8_bits(frames: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Intensities as 8-bit grey, 0 at `low` and 255 at `high`; NaN is 0."""
    scaled = (np.nan_to_num(frames, nan=low) - low) / (high - low)
    return np.asarray(np.rint(scaled.clip(0, 1) * 255), np.uint8)
