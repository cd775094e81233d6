"""Films as pictures within a page: as fine as a share of its size allows."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from itertools import product

import numpy as np
from PIL import Image

# Tried in this order: the longest side in pixels, at each the quality of WebP.
_SIDES = (1024, 512, 384, 256, 192, 128, 64)
_QUALITIES = (85, 60)


def encode(
    stacks: Sequence[np.ndarray], budget: float
) -> tuple[list[list[str]], tuple[int, int] | None]:
    """Pictures as data URIs that together take at most `budget` characters.

    Args:
        stacks: each `(T, H, W)` or `(T, H, W, 3)`, 8 bits, all of one size.
        budget: characters. What does not fit even when it is smallest is given all the same.

    Returns:
        The URIs of every stack, and the size `(H, W)` to which they were made smaller (None if
        they were not).
    """
    height, width = stacks[0].shape[1:3]
    longest = max(height, width)
    sides = dict.fromkeys(min(side, longest) for side in _SIDES)
    for side, quality in product(sides, _QUALITIES):
        size = (max(1, round(height * side / longest)), max(1, round(width * side / longest)))
        found = [[_uri(picture, size, quality) for picture in stack] for stack in stacks]
        if sum(len(uri) for stack in found for uri in stack) <= budget:
            break
    return found, None if size == (height, width) else size


def _uri(picture: np.ndarray, size: tuple[int, int], quality: int) -> str:
    image = Image.fromarray(picture)
    if size != picture.shape[:2]:
        image = image.resize(size[::-1], Image.Resampling.BOX)
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=1)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
