"""Pictures to look at: a GIF or MP4 that plays, a PNG that shows all frames at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL.PngImagePlugin import PngInfo

from deqsci_cli.errors import UsageError
from deqsci_cli.io.atomic import atomic_write, check_absent
from deqsci_cli.io.formats import checked_suffix
from deqsci_cli.io.provenance import to_json

_GAP = 2  # pixels between the frames of a montage
_GAP_GREY = 128
# More frames of a recording than these are of no use in a picture, and take too long to load.
_MOST_FRAMES = 240


def write_preview(
    path: str | Path,
    frames: np.ndarray,
    *,
    overwrite: bool,
    fps: float = 10.0,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write frames (T, H, W) in [0, 1] (clipped) with 8 bits, by the ending of `path`.

    .gif repeats for ever; .png is a montage, read row by row; .mp4 (H.264) needs the package
    `av`, and odd sizes are padded by repeating the last row or column. The provenance goes into
    the GIF's comment, a PNG text chunk, the MP4's comment.

    Args:
        fps: frames a second, of .gif and .mp4.

    Raises:
        UsageError: for another ending, frames that are not (T, H, W), or `av` missing.
        OutputExistsError, StorageError: see `atomic_write`.
    """
    target = Path(path)
    suffix = checked_suffix(target, (".gif", ".png", ".mp4"))
    if frames.ndim != 3 or 0 in frames.shape:
        raise UsageError(f"a preview needs frames (T, H, W), not {frames.shape}", path=target)
    if not fps > 0:
        raise UsageError(f"a preview needs a positive number of frames a second, not {fps}")
    check_absent([target], overwrite=overwrite)
    shown = to_8_bits(frames)
    text = to_json(provenance or {})
    # Encoded in memory first: these libraries try again on a full disk while they are torn down.
    if suffix == ".gif":
        encoded = iio.imwrite(
            "<bytes>",
            shown,
            plugin="pillow",
            extension=".gif",
            is_batch=True,  # or a width of 1 to 4 would pass for colours
            duration=1000 / fps,
            loop=0,
            comment=text.encode(),
        )
    elif suffix == ".png":
        info = PngInfo()
        info.add_text("provenance", text)
        encoded = iio.imwrite(
            "<bytes>", montage(shown), plugin="pillow", extension=".png", pnginfo=info
        )
    else:
        encoded = _encode_mp4(shown, fps, text)
    with atomic_write(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(encoded)


def shown_frames(count: int) -> slice:
    """Which of a recording's frames pictures of it show: all, or every second, third …

    >>> shown_frames(240), shown_frames(500)
    (slice(None, None, 1), slice(None, None, 3))
    """
    return slice(None, None, max(1, math.ceil(count / _MOST_FRAMES)))


def to_8_bits(frames: np.ndarray, white: float = 1.0) -> np.ndarray:
    """Intensities as 8-bit grey, clipped to `[0, white]`."""
    scaled: np.ndarray = np.nan_to_num(frames) / (white or 1.0)
    return np.asarray(np.rint(scaled.clip(0, 1) * 255), np.uint8)


def montage(frames: np.ndarray) -> np.ndarray:
    """Frames (T, H, W) uint8 in a grid as near to a square as it goes, a thin gap between them."""
    count, height, width = frames.shape
    columns = min(
        range(1, count + 1),
        key=lambda n: abs(math.log(n * width / (math.ceil(count / n) * height))),
    )
    rows = math.ceil(count / columns)
    sheet = np.full(
        (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP), _GAP_GREY, np.uint8
    )
    for index, frame in enumerate(frames):
        top = index // columns * (height + _GAP)
        left = index % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = frame
    return sheet


def need_preview(kind: str) -> None:
    """Refuse a kind of preview, `gif`, `png` or `mp4`, that cannot be written here.

    Raises:
        UsageError: a package is missing.
    """
    if kind == "mp4" and find_spec("av") is None:
        raise UsageError(
            "writing .mp4 needs the package av",
            hint='pip install "deqsci[video]", or choose .gif',
        )


def _encode_mp4(frames: np.ndarray, fps: float, comment: str) -> bytes:
    need_preview("mp4")
    even = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2)), "edge")
    buffer = BytesIO()
    with iio.imopen(buffer, "w", plugin="pyav", extension=".mp4") as file:
        file.container_metadata["comment"] = comment
        file.init_video_stream("libx264", fps=fps, pixel_format="yuv420p")
        for frame in even:
            file.write_frame(np.repeat(frame[..., None], 3, axis=2))
    return buffer.getvalue()
