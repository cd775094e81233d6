"""Rectangles of a picture: around what is marked, with a margin, and put back without a seam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: A crop with so many pixels around has the whole picture's answer inside (benchmarks/README.md).
MARGIN = 16
# The answer fades into what lies around within so many of them.
_FADE = 8
# Crops start and end at multiples of it, as the coarsest pixels of the networks here do.
_GRID = 8


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, none of them at a negative place."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def fits(self, shape: tuple[int, int]) -> bool:
        """Whether it lies within a picture `(H, W)`."""
        return self.bottom <= shape[0] and self.right <= shape[1]

    @property
    def area(self) -> int:
        """How many pixels it has."""
        return self.height * self.width

    def around(self, other: Box) -> Box:
        """The smallest rectangle that holds both."""
        top, left = min(self.top, other.top), min(self.left, other.left)
        bottom, right = max(self.bottom, other.bottom), max(self.right, other.right)
        return Box(top, left, bottom - top, right - left)

    def crop(self, shape: tuple[int, int], margin: int = MARGIN) -> Box:
        """The rectangle with its margin, within a picture `(H, W)`."""
        top, left = (max(0, at - margin) // _GRID * _GRID for at in (self.top, self.left))
        bottom, right = (
            min(length, -(-(at + margin) // _GRID) * _GRID)
            for at, length in zip((self.bottom, self.right), shape, strict=True)
        )
        return Box(top, left, bottom - top, right - left)


def boxes_of(marked: np.ndarray) -> tuple[Box, ...]:
    """The rectangles around the connected parts of booleans `(H, W)`.

    Two become one where that is no more to compute, margins included.
    """
    shape = marked.shape[0], marked.shape[1]
    boxes: list[Box] = []
    for rows, columns in ndimage.find_objects(ndimage.label(marked, np.ones((3, 3)))[0]):
        size = rows.stop - rows.start, columns.stop - columns.start
        new = Box(rows.start, columns.start, *size)
        while (
            other := next((box for box in boxes if _cheaper(new, box, shape)), None)
        ) is not None:
            boxes.remove(other)
            new = new.around(other)
        boxes.append(new)
    return tuple(sorted(boxes, key=lambda box: (box.top, box.left)))


def _cheaper(one: Box, other: Box, shape: tuple[int, int]) -> bool:
    """Whether the rectangle around both has no more pixels than both, with their margins."""
    apart = one.crop(shape).area + other.crop(shape).area
    return one.around(other).crop(shape).area <= apart


def blend(film: np.ndarray, part: np.ndarray, box: Box, crop: Box) -> None:
    """Put the film of a crop into a whole one: all of it in the box, fading out around it.

    Args:
        film: `(T, H, W)`, changed in place.
        part: `(T, height, width)` of the crop.
        box: the region.
        crop: it with its margin.
    """
    down = _weights(box.top - crop.top, box.height, crop.height)
    across = _weights(box.left - crop.left, box.width, crop.width)
    weights = np.outer(down, across).astype(film.dtype)
    rows, columns = crop.slices
    film[:, rows, columns] += weights * (part - film[:, rows, columns])


def _weights(start: int, size: int, length: int) -> np.ndarray:
    """One within `size` pixels from `start`, falling to zero within `_FADE` beyond them."""
    place = np.arange(length)
    beyond = np.maximum(np.maximum(start - place, place - (start + size - 1)), 0)
    return np.asarray(np.maximum(0.0, 1 - beyond / (_FADE + 1)))
