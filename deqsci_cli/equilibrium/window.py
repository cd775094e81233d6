"""A part of the picture that is enough to judge a capture by, and a mask's part of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
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
# The brightest part is sought in steps of so many pixels.
_STRIDE = 16


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

    def orientations(self, mask: Tensor) -> Iterator[tuple[str, str, Tensor]]:
        """That part of the mask `(T, H, W)` in every orientation that has its shape.

        Each with what it is in words, and in a camera's file.
        """
        square = mask.shape[1] == mask.shape[2]
        for turn, (words, name) in _ORIENTATIONS.items():
            if square or not turn[0]:
                yield words, name, self._cut_turned(mask, turn)

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


def brightest(measurement: Tensor, side: int) -> Window:
    """The part of a measurement `(H, W)` with the most light, at most `side` pixels long and wide.

    There the mask leaves the clearest trace.
    """
    height, width = (min(side, length) for length in measurement.shape)
    light = F.avg_pool2d(measurement.square()[None], (height, width), stride=_STRIDE)[0]
    row, column = divmod(int(light.argmax()), light.shape[1])
    return Window(row * _STRIDE, column * _STRIDE, height, width)
