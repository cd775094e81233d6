"""A mask as it may lie otherwise: turned, mirrored, moved; cut to a window of the picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from deqsci_cli.equilibrium.window import Window

_FURTHEST = 2
# Weights of a symmetric blur `(s, 1 - 2 s, s)` that adds up squares to as much as interpolation
# between two pixels at this part of the way does: (1 - 2 s)^2 + 2 s^2 = (1 - part)^2 + part^2.
_EQUAL_BLUR = {0.25: (4 - 7**0.5) / 12, 0.5: 1 / 6}
# For pictures of 256x256; in proportion for others.
_ROLLS, _ROLLS_OF = ((37, 91), (101, 53), (77, 177)), 256


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
    for change, name, turned in window.orientations(mask):
        yield Placed(change, turned, camera=f'orientation = "{name}"')
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
