"""All frames of a film on one sheet, each with its number."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 2  # pixels between frames
_LABEL = 12  # rows above each frame for its number
_WHITE = 255
# A sheet is given up so much of its squareness to have no empty cells.
_EMPTY_COST = 10.0


def montage(frames: np.ndarray, step: int = 1) -> np.ndarray:
    """Frames (T, H, W) uint8 row by row on a white sheet that is near to a square.

    Args:
        frames: to be shown.
        step: of the film, one of so many frames is among these. They are numbered from 1 as in the
            film; one alone has no number.
    """
    count, height, width = frames.shape
    names = [str(1 + index * step) for index in range(count)] if count > 1 else [""]
    font = ImageFont.load_default()
    label = _LABEL if count > 1 else 0
    cell_height = height + label
    cell_width = max(width, math.ceil(max(font.getlength(name) for name in names)))
    columns = _columns(count, cell_height, cell_width)
    rows = math.ceil(count / columns)
    size = (columns * (cell_width + _GAP) - _GAP, rows * (cell_height + _GAP) - _GAP)
    sheet = Image.new("L", size, _WHITE)
    draw = ImageDraw.Draw(sheet)
    for index, (frame, name) in enumerate(zip(frames, names, strict=True)):
        left = index % columns * (cell_width + _GAP)
        top = index // columns * (cell_height + _GAP)
        draw.text((left, top), name, fill=0, font=font)
        sheet.paste(Image.fromarray(frame), (left, top + label))
    return np.asarray(sheet)


def _columns(count: int, height: int, width: int) -> int:
    """How many columns give a sheet near to a square with few empty cells."""

    def cost(columns: int) -> float:
        rows = math.ceil(count / columns)
        empty = rows * columns - count
        oblong = abs(math.log(columns * width / (rows * height)))
        return oblong + _EMPTY_COST * empty / (rows * columns)

    return min(range(1, count + 1), key=cost)
