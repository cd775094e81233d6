"""Which parts of captures a camera is found from, and how its mask moves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from scipy.fft import irfft2, rfft2
from torch import Tensor

from deqsci_cli.equilibrium.camera_score import CapturePart

# Pixels on a side of a part, and how many parts are used in all.
_SIDE = 128
_MOST = 4
# A mask translates if consecutive frames, one of them rolled, correlate by at least this.
_SAME = 0.5


def choose_parts(
    y: Tensor, mask: Tensor, seen: Tensor | None, *, spread: bool
) -> list[CapturePart]:
    """The brightest tile of each measurement, for light is what a mask shows itself by.

    Tiles without any light are left out.

    Args:
        y: measurements `(N, H, W)`.
        mask: `(T, H, W)`.
        seen: booleans `(N, H, W)`.
        spread: whether the parts should lie far from each other, at least two of each capture.
    """
    tiles = list(_tiles(y.shape[1], y.shape[2]))
    shown = y if seen is None else torch.where(seen, y, 0.0)
    light = shown / mask.square().sum(0).sqrt().clamp(min=1e-6)
    light = torch.where(mask.sum(0) > 0, light, 0.0)
    used: dict[int, int] = {}
    chosen: list[tuple[int, int]] = []
    each = min(2 if spread else 1, len(tiles))
    for index in _evenly(len(y), max(1, _MOST // each)):
        bright = [float(light[index, rows, columns].mean()) for rows, columns in tiles]
        order = sorted(
            range(len(tiles)), key=lambda i: (used.get(i, 0) if spread else 0, -bright[i])
        )
        for tile in [i for i in order if bright[i] > 0][:each]:
            used[tile] = used.get(tile, 0) + 1
            chosen.append((index, tile))
    return [CapturePart(index, *tiles[tile]) for index, tile in chosen]


def motion_of(mask: Tensor) -> tuple[float, float] | None:
    """Pixels (down, right) a frame by which one pattern moves; None if the frames are not one.

    A shift of such a mask along its motion is like a shift of the film in time.
    """
    if len(mask) < 2:
        return None
    spectra = rfft2((mask - mask.mean((1, 2), keepdim=True)).double().numpy())
    steps = []
    for before, after in pairwise(spectra):
        same = irfft2(after * before.conj(), s=mask.shape[1:])
        power = np.sqrt(_power(before, mask.shape[2]) * _power(after, mask.shape[2]))
        place = np.unravel_index(int(same.argmax()), same.shape)
        if power == 0 or same[place] < _SAME * power:
            return None
        steps.append([(p + n // 2) % n - n // 2 for p, n in zip(place, same.shape, strict=True)])
    down, right = np.mean(steps, 0)
    return (float(down), float(right)) if down or right else None


def unevenness(mask: Tensor) -> float:
    """How far the frames of a mask, each with a weight, are from adding up to 1 everywhere.

    The root mean square of what is left of 1, at the best weights. At 0 a black level is the same
    as a brighter film.
    """
    frames = mask.flatten(1).double().T.numpy()
    frames = frames[frames.any(1)]
    ones = np.ones(len(frames))
    weights = np.linalg.lstsq(frames, ones, rcond=None)[0]
    return float(np.sqrt(np.mean((frames @ weights - ones) ** 2)))


def _power(spectrum: np.ndarray, width: int) -> float:
    """The sum of squares of the picture that has this spectrum."""
    return float(irfft2(np.abs(spectrum) ** 2, s=(spectrum.shape[0], width))[0, 0])


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for rows in _cut(height):
        for columns in _cut(width):
            yield rows, columns


def _cut(size: int) -> list[slice]:
    """A length in pieces of one size; the last ones overlap where they do not fit."""
    piece = min(size, _SIDE)
    count = -(-size // piece)
    starts = np.linspace(0, size - piece, count).round().astype(int)
    return [slice(int(start), int(start) + piece) for start in starts]


def _evenly(count: int, most: int) -> list[int]:
    """At most so many of the measurements, evenly over all."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most)).round()})
