"""Whether the measurements of a file seem to follow one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deqsci_cli.io.capture import Capture

# Blocks of so many pixels a side: the mask's code is gone from their means, the scene is not.
_BLOCK = 8
# Neighbours in recordings of the held-out clips correlate at 0.58 to 0.92, in the benchmark's at
# 0.75 and 0.98; different scenes at 0.15 (benchmarks/README.md).
_ALIKE = 0.5
# What differs by less than this share of the brightness is rounding.
_FLAT = 1e-5
# More pairs than these tell nothing more.
_MOST_PAIRS = 200


@dataclass(frozen=True)
class Neighbours:
    """How alike the mean frames of measurements are.

    Attributes:
        near: mean correlation of neighbours.
        far: of measurements that are half of the file or more apart; None where neighbours are all
            there is.
        likely: neighbours are alike, and no less so than distant ones. A file of captures of one
            scene at rest looks the same.
    """

    near: float
    far: float | None
    likely: bool


def looks_like_sequence(capture: Capture) -> Neighbours | None:
    """Compare neighbouring measurements with distant ones; None for less than two, or flat ones.

    None for several arms too, whose measurements are of one time.

    Args:
        capture: measurements `(N, H, W)` under one mask.
    """
    if capture.arms > 1:
        return None
    frames = _mean_frames(capture)
    near = _correlation(frames, 1)
    if near is None:
        return None
    far = _correlation(frames, (len(frames) + 1) // 2) if len(frames) > 2 else None
    return Neighbours(near, far, near >= _ALIKE and (far is None or near >= far))


def _mean_frames(capture: Capture) -> np.ndarray:
    """Measurements over the sum of masks, the means over blocks: (N, blocks), each of mean 0."""
    total = capture.mask.sum(0, dtype=np.float64)
    open_, height, width = total > 0, *capture.shape
    rows, columns = (max(1, length // _BLOCK) for length in (height, width))
    inside = slice(0, height // rows * rows), slice(0, width // columns * columns)

    def blocks(picture: np.ndarray) -> np.ndarray:
        part = picture[inside]
        cut = part.reshape(rows, part.shape[0] // rows, columns, part.shape[1] // columns)
        return np.asarray(cut.sum((1, 3))).ravel()

    light = blocks(np.where(open_, total, 0.0))
    lit = light > 0
    means = [blocks(np.where(open_, y, 0.0))[lit] / light[lit] for y in capture.measurements]
    frames: np.ndarray = np.stack(means)
    apart: np.ndarray = frames - frames.mean(1, keepdims=True)
    apart[np.linalg.norm(apart, axis=1) < _FLAT * np.linalg.norm(frames, axis=1)] = 0
    return apart


def _correlation(frames: np.ndarray, apart: int) -> float | None:
    """The mean correlation of frames so many places apart, or more where `apart` is above 1."""
    count = len(frames)
    pairs = [
        (i, j)
        for i in range(count)
        for j in ([i + 1] if apart == 1 else range(i + apart, count))
        if j < count
    ]
    pairs = pairs[:: max(1, len(pairs) // _MOST_PAIRS)]
    lengths = np.linalg.norm(frames, axis=1)
    found = [
        float(frames[i] @ frames[j] / (lengths[i] * lengths[j]))
        for i, j in pairs
        if lengths[i] * lengths[j] > 0
    ]
    return float(np.mean(found)) if found else None
