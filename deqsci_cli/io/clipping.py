"""Which pixels a sensor has clipped, where nobody tells its level."""

from __future__ import annotations

import numpy as np

# So many pixels at the very top are a pile-up, if there are this many times more of them than
# values just below would have there.
_LEAST, _TIMES = 12, 3.0
# Where nearly all is at the top it is no picture, and nothing would be left of it.
_MOST = 0.9
# What counts as just below: this share of the brightest.
_BELOW = 0.02
# Masks that add up to within this share of each other are taken for equal.
_EQUAL = 0.01
# Such a share of the pixels at the top must be white elsewhere too for all of it to be white.
_WHITE = 0.25


def clipping_level(raw: np.ndarray, mask: np.ndarray) -> float | None:
    """The stored value at which measurements (N, H, W) pile up; None if they do not.

    A sensor clips whatever its mask lets through. White things pile up too, but each sum of masks
    has them at its own place of the range. Where all sums are equal the two cannot be told apart.

    Args:
        raw: measurements, as stored.
        mask: (T, H, W).
    """
    level = raw.max()
    top = raw == level
    if level <= 0 or np.count_nonzero(top) < _LEAST or top.mean() > _MOST:
        return None
    width = _BELOW * float(level)
    below = raw[(raw > level - width) & ~top]
    # Values that can be told apart there: of integers the steps, of others as many as there are.
    expected = len(below) / max(1, len(np.unique(below)))
    enough = _LEAST + _TIMES * expected
    total = np.broadcast_to(mask.sum(0, dtype=np.float64), raw.shape)
    usual = float(np.median(total[top]))
    alike = np.abs(total - usual) <= _EQUAL * total.max()
    if np.count_nonzero(top & ~alike) >= enough:
        return float(level)
    others = ~alike & (total > 0)
    if usual <= 0 or np.count_nonzero(top & alike) < enough or not others.any():
        return None
    # All that is at the top has one sum of masks. If it is white, other sums show as much white.
    white = np.abs(raw[others] / total[others] - level / usual) <= _EQUAL * level / usual
    return float(level) if white.mean() < _WHITE * top[alike].mean() else None
