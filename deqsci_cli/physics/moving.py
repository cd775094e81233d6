"""Where a scene moves, by a cheap film of it and by the measurement itself."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

# Of a film's deviation in time: it is averaged over so many pixels, and moves beyond this much of
# white at the latest.
_SMOOTH, _CLEARLY, _NEVER = 2.0, 0.03, 0.01
# Errors of two explanations are compared over so many pixels; so much error (of white) nobody sees.
_WINDOW, _UNSEEN_ERROR = 5.0, 0.01
# The frames explain a pixel of a moving region so many times as well as one picture does, and
# somewhere in the region this many times.
_BETTER, _FAR_BETTER = 2.0, 6.0
# Regions of fewer pixels are chance, and those with fewer where the frames are far better.
_SMALLEST, _LEAST_SEED = 64, 16
# A pixel from its eight neighbours, exact for what bends evenly.
_AROUND = np.array([[-1, 4, -1], [4, 0, 4], [-1, 4, -1]]) / 12


def find_moving(film: np.ndarray, measurement: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Find the pixels at which a scene moves.

    The deviation of a cheap film in time, above Otsu's threshold (which in a scene that moves
    everywhere would halve it, and is kept within bounds), is not enough: where a still scene is
    rich in detail, the frames of such a film differ as much as those of a moving one. Hence a
    second condition, of which the film's artefacts know nothing: the frames around a pixel must
    predict its measurement clearly better than one picture does, `y / sum_t mask_t` around it,
    which is sharp and true exactly where nothing moves.

    Args:
        film: `(T, H, W)`, a total-variation reconstruction.
        measurement: `(H, W)`.
        mask: `(T, H, W)`.

    Returns:
        Booleans `(H, W)`.
    """
    deviation = ndimage.gaussian_filter(film.std(0), _SMOOTH)
    threshold = np.clip(otsu_threshold(deviation), _NEVER, _CLEARLY)
    better = frames_against_picture(film, measurement, mask)
    moving = (deviation > threshold) & (better > _BETTER)
    names, count = ndimage.label(moving, np.ones((3, 3)))
    indices = np.arange(count + 1)
    sizes = ndimage.sum_labels(moving, names, indices)
    seeds = ndimage.sum_labels(better > _FAR_BETTER, names, indices)
    kept = (sizes >= _SMALLEST) & (seeds >= _LEAST_SEED)
    kept[0] = False
    return np.asarray(kept[names])


def frames_against_picture(
    film: np.ndarray, measurement: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """How many times as well a film predicts a measurement, from around a pixel, as one picture.

    Args:
        film, measurement, mask: as for `find_moving`.

    Returns:
        `(H, W)`, the ratio of squared errors: of the picture, and of the frames.
    """
    total = mask.sum(0)
    opened = total > 0
    scale = np.where(opened, total, 1.0)
    picture = np.where(opened, measurement / scale, film.mean(0))
    by_picture = picture - ndimage.convolve(picture, _AROUND, mode="reflect")
    predicted = np.zeros(measurement.shape, np.float32)
    for coding, frame in zip(mask, film, strict=True):
        predicted += coding * ndimage.convolve(frame, _AROUND, mode="reflect")
    by_frames = np.where(opened, (measurement - predicted) / scale, 0.0)
    still, moving = (
        ndimage.gaussian_filter(np.square(error), _WINDOW) for error in (by_picture, by_frames)
    )
    return np.asarray(still / (moving + _UNSEEN_ERROR**2))


def otsu_threshold(values: np.ndarray, bins: int = 256) -> float:
    """The threshold that parts values into two classes of greatest variance between them.

    Source: Otsu, IEEE Trans. Systems, Man and Cybernetics 9 (1979) 62.

    Args:
        values: finite.
        bins: of their histogram.
    """
    counts, edges = np.histogram(values, bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    difference = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(centres[np.argmax(below * above * difference**2)])
