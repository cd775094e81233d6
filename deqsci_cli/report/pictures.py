"""Films as pictures within a page: as fine as a share of its size allows."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import product

import numpy as np
from PIL import Image

# Tried in this order: the longest side in pixels, at each the quality of WebP.
_SIDES = (1024, 512, 384, 256, 192, 128, 64)
_LOSSLESS = 100
_QUALITIES = (85, 60)
# A share of the values that lie within the error that is told.
_TOLD = 95


@dataclass(frozen=True)
class Encoded:
    """Stacks of pictures as data URIs.

    Attributes:
        uris: of every stack.
        size: `(H, W)` to which they were made smaller; None if they were not.
        error: of 255 grey levels, what 95 % of the pixels are off by at most.
    """

    uris: list[list[str]]
    size: tuple[int, int] | None
    error: float


def encode(stacks: Sequence[np.ndarray], budget: float) -> Encoded:
    """Pictures as data URIs that together take at most `budget` characters.

    Without loss where that fits, else compressed, else smaller as well.

    Args:
        stacks: each `(T, H, W)`, 8 bits, all of one size.
        budget: characters. What does not fit even when it is smallest is given all the same.
    """
    shape = stacks[0].shape[1:]
    tries = list(_tries(max(shape)))
    for side, quality in tries:
        last = (side, quality) == tries[-1]
        size = tuple(max(1, round(length * side / max(shape))) for length in shape)
        if not last and sum(len(s) * len(_uri(s[0], size, quality)) for s in stacks) > budget * 1.2:
            continue  # by far too large already, if all pictures are like the first
        found = [[_uri(picture, size, quality) for picture in stack] for stack in stacks]
        if last or sum(len(uri) for stack in found for uri in stack) <= budget:
            break
    error = 0.0 if quality == _LOSSLESS else _error(stacks, found, size)
    return Encoded(found, None if size == shape else size, error)


def _tries(longest: int) -> Iterator[tuple[int, int]]:
    """Sides and qualities, the best one first."""
    sides = list(dict.fromkeys(min(side, longest) for side in _SIDES))
    yield sides[0], _LOSSLESS
    yield from product(sides, _QUALITIES)


def _uri(picture: np.ndarray, size: tuple[int, ...], quality: int) -> str:
    buffer = BytesIO()
    lossless = quality == _LOSSLESS
    _resized(picture, size).save(buffer, "WEBP", quality=quality, lossless=lossless, method=1)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _resized(picture: np.ndarray, size: tuple[int, ...]) -> Image.Image:
    image = Image.fromarray(picture)
    if size == picture.shape:
        return image
    return image.resize((size[1], size[0]), Image.Resampling.BOX)


def _error(stacks: Sequence[np.ndarray], found: list[list[str]], size: tuple[int, ...]) -> float:
    """What compression has changed, by the first and last picture of each stack."""
    off = [
        np.abs(decoded(uris[place]) - np.asarray(_resized(stack[place], size), float))
        for stack, uris in zip(stacks, found, strict=True)
        for place in (0, -1)
    ]
    return float(np.percentile(np.concatenate([each.ravel() for each in off]), _TOLD))


def decoded(uri: str) -> np.ndarray:
    """The grey levels of a picture as a browser shows them."""
    data = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))[..., 1].astype(float)
