"""The black level that is left in a measurement, from the measurement and its mask alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

# Side of the neighbourhood in which a scene counts as even.
_SIDE = 5
# Masks whose sums differ by less than this share of their mean from pixel to pixel tell nothing.
_CONTRAST = 0.05
_FEWEST = 50


@dataclass(frozen=True)
class BlackLevel:
    """What a measurement has where no light falls, and its standard error; in its own unit."""

    value: float
    error: float


def black_level(
    measurement: np.ndarray, mask: np.ndarray, seen: np.ndarray | None = None
) -> BlackLevel | None:
    """Estimate the black level that is left in a measurement.

    In an even and resting part of the scene a measurement is a straight line over the sum of masks,
    `y = black level + brightness * sum_t mask_t`. Such a line is fitted in every neighbourhood; the
    answer is the median of their intercepts, those of even parts weighing more.

    Args:
        measurement: `(H, W)`.
        mask: `(T, H, W)`, in any unit.
        seen: booleans `(H, W)`, the pixels that tell something; None for all.

    Returns:
        None where the masks add up to nearly the same everywhere: such a camera cannot tell it.
    """
    total = mask.sum(0, dtype=np.float64)
    known = np.ones(total.shape) if seen is None else seen.astype(np.float64)
    count = np.maximum(_mean(known), 1e-9)

    def local(values: np.ndarray) -> np.ndarray:
        return np.asarray(_mean(values * known) / count)

    y = np.where(known > 0, measurement, 0).astype(np.float64)
    mean_y, mean_s = local(y), local(total)
    var_s = local(total**2) - mean_s**2
    covariance = local(total * y) - mean_s * mean_y
    told = (var_s > (_CONTRAST * total.mean()) ** 2) & (count > 0.5)
    if np.count_nonzero(told) < _FEWEST:
        return None
    slope = covariance[told] / var_s[told]
    intercept = mean_y[told] - slope * mean_s[told]
    left = (local(y**2) - mean_y**2)[told] - slope * covariance[told]
    floor = 1e-6 * float(np.mean(y**2)) + 1e-30
    variance = (np.maximum(left, 0) + floor) * (1 + mean_s[told] ** 2 / var_s[told]) / _SIDE**2
    return _median(intercept, 1 / variance)


def _mean(values: np.ndarray) -> np.ndarray:
    return np.asarray(uniform_filter(values, _SIDE, mode="reflect"))


def _median(values: np.ndarray, weights: np.ndarray) -> BlackLevel:
    """The weighted median, and its standard error, neighbourhoods overlapping as they do."""
    order = np.argsort(values)
    values, share = values[order], np.cumsum(weights[order]) / weights.sum()
    low, middle, high = np.interp((0.16, 0.5, 0.84), share, values)
    independent = weights.sum() ** 2 / np.square(weights).sum() / _SIDE**2
    return BlackLevel(float(middle), float(1.25 * (high - low) / 2 / np.sqrt(max(1, independent))))
