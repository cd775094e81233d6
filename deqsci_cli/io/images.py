"""Pictures and GIFs, through imageio's pillow plugin, as grey frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io.limits import check_budget
from deqsci_cli.io.paths import is_file
from deqsci_cli.io.read_errors import input_errors

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"}
# Pillow's modes that are read as they are (imageio makes colours of palettes), and those that it
# brings to one of these.
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_CONVERTED = {"CMYK": "RGB", "YCbCr": "RGB", "PA": "RGBA", "La": "LA"}
_MAGICS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"P5", b"P6", b"II*\0", b"MM\0*")


def is_image(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a picture or a GIF."""
    return head.startswith(_MAGICS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def luma(picture: np.ndarray) -> np.ndarray:
    """Rec. 601 luma (H, W) of a picture (H, W[, channels]) of its own type; alpha is dropped.

    Integers stay integers, and a picture whose three colours are equal keeps its values exactly.
    """
    if picture.ndim == 2:
        return picture
    if picture.shape[2] < 3:  # grey, or grey and alpha
        return picture[..., 0]
    if picture.dtype.kind != "u":
        weights = np.array([0.299, 0.587, 0.114], picture.dtype)
        return np.asarray(picture[..., :3] @ weights)
    red, green, blue = (picture[..., channel].astype(np.uint32) for channel in range(3))
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(picture.dtype)


def image_frames(path: Path) -> Iterator[np.ndarray]:
    """Yield the grey frames (H, W), uint8 or uint16, of a picture (one) or a GIF (many).

    Raises:
        InputError: for a damaged file, or one over the byte budget, before it is unpacked.
    """
    with input_errors(path, "picture"), iio.imopen(path, "r", plugin="pillow") as file:
        shape = file.properties(index=0).shape
        check_budget(shape, 1, path=path, what="the picture")
        # Counting GIF frames walks through their headers without unpacking them.
        number = _all_properties(file).n_images or 1
        check_budget((number, *shape[:2]), 1, path=path, what="the sequence of pictures")
    with input_errors(path, "picture"):
        pictures: Any = iio.imopen(path, "r", plugin="pillow")
    try:
        for index in range(number):
            with input_errors(path, "picture"):
                frame = pictures.read(index=index, mode=_mode(pictures, index, path))
            yield _as_unsigned(luma(np.asarray(frame)), path)
    finally:
        pictures.close()


def _mode(pictures: Any, index: int, path: Path) -> str | None:
    """The mode that a picture of a file must be brought to; None for as it is."""
    mode = pictures.metadata(index=index)["mode"]
    if mode in _MODES:
        return None
    if mode in _CONVERTED:
        return _CONVERTED[mode]
    raise InputError(
        f"pictures of mode {mode} are not read", path=path, hint="save them as grey or RGB"
    )


def _as_unsigned(frame: np.ndarray, path: Path) -> np.ndarray:
    if frame.dtype in (np.uint8, np.uint16):
        return frame
    if frame.dtype.kind == "b":
        return frame.astype(np.uint8) * np.uint8(255)
    if frame.dtype.kind == "i" and frame.min() >= 0 and frame.max() <= 65535:
        return frame.astype(np.uint16)  # what pillow makes of some 16-bit pictures
    raise InputError(
        f"pictures of type {frame.dtype} are not read",
        path=path,
        hint="save them with 8 or 16 bits",
    )


def _all_properties(file: Any) -> Any:
    # imageio documents index=... for a whole file, and types it as a number.
    return file.properties(index=...)


def folder_images(folder: Path) -> list[Path]:
    """The pictures directly in `folder`, 2 before 10; hidden files are left out."""
    with input_errors(folder, "folder"):
        files = [
            file
            for file in folder.iterdir()
            if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "." and is_file(file)
        ]
    return sorted(files, key=natural)


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A sort key under which frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
