"""A mask as it may lie otherwise: turned, mirrored, moved; cut to the window of a measurement."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

#: the mask itself
UNCHANGED = "as it is"
# Transposed, then rows reversed, columns reversed: in words, and as a camera's file has it.
_ORIENTATIONS = {
    (False, False, False): (UNCHANGED, "as-is"),
    (False, True, False): ("flipped up-down", "flip-rows"),
    (False, False, True): ("flipped left-right", "flip-columns"),
    (False, True, True): ("turned by 180 degrees", "rotate-180"),
    (True, False, False): ("transposed", "transpose"),
    (True, True, False): ("turned by 90 degrees to the left", "rotate-90"),
    (True, False, True): ("turned by 90 degrees to the right", "rotate-270"),
    (True, True, True): ("transposed about the other diagonal", "anti-transpose"),
}
_FURTHEST = 2
# Weights of a symmetric blur `(s, 1 - 2 s, s)` that adds up squares to as much as interpolation
# between two pixels at this part of the way does: (1 - 2 s)^2 + 2 s^2 = (1 - part)^2 + part^2.
_EQUAL_BLUR = {0.25: (4 - 7**0.5) / 12, 0.5: 1 / 6}
# For pictures of 256x256; in proportion for others.
_ROLLS, _ROLLS_OF = ((37, 91), (101, 53), (77, 177)), 256


@dataclass(frozen=True)
class Window:
    """A part of a picture: its first row and column, and how many of each."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, picture: Tensor) -> Tensor:
        """That part of `(…, H, W)`."""
        rows = slice(self.top, self.top + self.height)
        return picture[..., rows, self.left : self.left + self.width]

    def cut_moved(self, mask: Tensor, down: int, right: int) -> Tensor:
        """That part of a mask moved so far; what leaves it comes in on the other side."""
        return self._cut_turned(mask, (False, False, False), down, right)

    def orientations(self, mask: Tensor) -> Iterator[Placed]:
        """That part of the mask `(T, H, W)` in every orientation that has its shape."""
        square = mask.shape[1] == mask.shape[2]
        for turn, (change, name) in _ORIENTATIONS.items():
            if square or not turn[0]:
                told = f'orientation = "{name}"'
                yield Placed(change, self._cut_turned(mask, turn), camera=told)

    def _cut_turned(
        self, mask: Tensor, turn: tuple[bool, bool, bool], down: int = 0, right: int = 0
    ) -> Tensor:
        """By indices, so that the whole mask is never copied."""
        transposed, reverse_rows, reverse_columns = turn
        mask = mask.transpose(1, 2) if transposed else mask
        height, width = mask.shape[1:]
        rows = (torch.arange(self.height, device=mask.device) + self.top - down) % height
        columns = (torch.arange(self.width, device=mask.device) + self.left - right) % width
        rows = height - 1 - rows if reverse_rows else rows
        columns = width - 1 - columns if reverse_columns else columns
        return mask[:, rows[:, None], columns]


@dataclass(frozen=True, eq=False)
class Placed:
    """A mask in another place.

    Attributes:
        change: what was done to it, in words.
        mask: `(T, h, w)`, cut to the window.
        camera: the same as a camera's file has it.
        equal_blur: where it lies between pixels, the mask as it is, blurred as much by a
            symmetric kernel. A blurred mask may score better wherever it lies.
    """

    change: str
    mask: Tensor
    camera: str
    equal_blur: Tensor | None = None


def placements(window: Window, mask: Tensor) -> Iterator[Placed]:
    """The mask `(T, H, W)` in its orientations, and moved by up to 2 pixels and parts of one."""
    yield from window.orientations(mask)
    steps = range(-_FURTHEST, _FURTHEST + 1)
    for down, right in itertools.product(steps, steps):
        if down or right:
            yield Placed(
                _moved(down, right), window.cut_moved(mask, down, right), _shift(down, right)
            )
    own = window.cut(mask)
    for direction in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        ahead, behind = (
            window.cut_moved(mask, s * direction[0], s * direction[1]) for s in (1, -1)
        )
        for part, s in _EQUAL_BLUR.items():
            by = part * direction[0], part * direction[1]
            yield Placed(
                _moved(*by),
                (1 - part) * own + part * ahead,
                _shift(*by),
                (1 - 2 * s) * own + s * (ahead + behind),
            )


def far_rolls(height: int, width: int) -> list[tuple[int, int]]:
    """Three rolls `(down, right)` that bring a mask of this size far away."""
    return [(height * down // _ROLLS_OF, width * right // _ROLLS_OF) for down, right in _ROLLS]


def _shift(down: float, right: float) -> str:
    return f"shift = [{down:g}, {right:g}]"


def _moved(down: float, right: float) -> str:
    parts = [
        f"{abs(by):g} pixel{'s' if abs(by) > 1 else ''} {ways[by < 0]}"
        for by, ways in ((down, ("down", "up")), (right, ("to the right", "to the left")))
        if by
    ]
    return f"moved by {' and '.join(parts)}"
