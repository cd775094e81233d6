"""Pages of TIFF files that tifffile alone cannot unpack, through the libtiff in Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from deqsci_cli.errors import InputError

_COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 259, 262, 274
_JPEG = (6, 7)
_GREY_MODES = ("1", "L", "P", "I;16", "I;16B", "I", "F")
# Pillow stretches 2 and 4 bits to the range of 8.
_STRETCHED = {2: 85, 4: 17}


def unpack(
    stream: BufferedReader,
    path: Path,
    pages: Sequence[int],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    bits: int,
    how: str,
) -> np.ndarray:
    """Grey pages of one size: (pages, H, W), the values as they are stored.

    Args:
        stream: the open file, which lies at
        path: for messages.
        pages: their numbers; the file's first is 0.
        shape: (H, W) of each.
        dtype: of the values, of which `bits` bits are stored.
        how: they are packed, for the message.

    Raises:
        InputError: for pages that Pillow does not unpack either.
    """
    missing = InputError(
        f"its pictures ({how}) cannot be unpacked without the package imagecodecs",
        path=path,
        hint='pip install "deqsci[tiff]", or save the file without compression',
    )
    try:
        stream.seek(0)
        image = TiffImageFile(stream)
    except Exception:  # whatever Pillow raises about what it does not know
        raise missing from None
    stack = np.empty((len(pages), *shape), dtype)
    with image:
        for target, page in zip(stack, pages, strict=True):
            image.seek(page)
            if image.size[::-1] != shape or not _is_plain(image, bits):
                raise missing
            target[...] = _stored(image, bits).astype(dtype)
    return stack


def _is_plain(image: TiffImageFile, bits: int) -> bool:
    """Whether Pillow gives one value a pixel, and the pixels in the order of the file."""
    tags = image.tag_v2
    unknown_jpeg = tags.get(_COMPRESSION) in _JPEG and bits != 8
    return image.mode in _GREY_MODES and tags.get(_ORIENTATION, 1) == 1 and not unknown_jpeg


def _stored(image: TiffImageFile, bits: int) -> np.ndarray:
    """The values of the page that Pillow is at, without what it does to grey ones."""
    # Where the tag is missing, Pillow takes white for 0; past 8 bits it inverts nothing.
    inverted = image.tag_v2.get(_PHOTOMETRIC, 0) == 0 and bits <= 8
    values = np.asarray(image)
    if inverted:
        values = ~values
    if bits in _STRETCHED and image.mode != "P":
        values = values // _STRETCHED[bits]
    return values
