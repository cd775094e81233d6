"""Pictures to look at: a GIF or MP4 that plays, a PNG that shows all frames at once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.atomic import atomic_write, check_absent
from deqsci_cli.io.contrast import parse_contrast, stretch, to_8_bits
from deqsci_cli.io.formats import checked_suffix
from deqsci_cli.io.montage import montage
from deqsci_cli.io.paths import is_dir
from deqsci_cli.io.provenance import to_json
from deqsci_cli.io.read_errors import input_errors, require_file

# More frames of a recording than these are of no use in a picture, and take too long to load.
_MOST_FRAMES = 240
# GIF counts in hundredths of a second.
_MOST_FPS = 100.0


@dataclass(frozen=True)
class Look:
    """How previews show a film.

    Attributes:
        contrast: which intensities are black and white, as `contrast.parse_contrast` reads it.
        fps: frames a second, of .gif and .mp4.
    """

    contrast: str = "auto"
    fps: float = 10.0

    def __post_init__(self) -> None:
        parse_contrast(self.contrast)
        if not 0 < self.fps <= _MOST_FPS:
            raise UsageError(
                f"a preview plays at most {_MOST_FPS:g} frames a second, not {self.fps:g}",
                hint="--fps 10",
            )

    def decisive(self, kind: str) -> str:
        """What decides the bytes of a preview of this kind, besides the film.

        >>> Look().decisive(".png"), Look("0,1.0").decisive(".gif")
        ('auto', '(0.0, 1.0), 10 fps')
        """
        levels = parse_contrast(self.contrast)
        shown = self.contrast if levels is None else str(levels)
        return shown if kind == ".png" else f"{shown}, {self.fps:g} fps"


def write_preview(
    path: str | Path,
    frames: np.ndarray,
    *,
    overwrite: bool,
    look: Look | None = None,
    step: int = 1,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write frames (T, H, W) in units of white with 8 bits, by the ending of `path`.

    .gif repeats for ever; .png is a montage, read row by row; .mp4 (H.264) needs the package
    `av`, and odd sizes are padded by repeating the last row or column. The provenance goes into
    the GIF's comment, a PNG text chunk, the MP4's comment.

    Args:
        look: contrast and speed; `Look()` where none is given.
        step: of the film, one of so many frames is among these.

    Raises:
        UsageError: for another ending, frames that are not (T, H, W), or `av` missing.
        OutputExistsError, StorageError: see `atomic_write`.
    """
    target = Path(path)
    suffix = checked_suffix(target, (".gif", ".png", ".mp4"))
    if frames.ndim != 3 or 0 in frames.shape:
        raise UsageError(f"a preview needs frames (T, H, W), not {frames.shape}", path=target)
    check_absent([target], overwrite=overwrite)
    look = look or Look()
    shown = to_8_bits(frames, *(parse_contrast(look.contrast) or stretch([frames])))
    text = to_json(provenance or {})
    # Encoded in memory first: these libraries try again on a full disk while they are torn down.
    if suffix == ".gif":
        encoded = iio.imwrite(
            "<bytes>",
            shown,
            plugin="pillow",
            extension=".gif",
            is_batch=True,  # or a width of 1 to 4 would pass for colours
            duration=1000 / look.fps,
            loop=0,
            comment=text.encode(),
        )
    elif suffix == ".png":
        info = PngInfo()
        info.add_text("provenance", text)
        encoded = iio.imwrite(
            "<bytes>", montage(shown, step), plugin="pillow", extension=".png", pnginfo=info
        )
    else:
        encoded = _encode_mp4(shown, look.fps, text)
    with atomic_write(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(encoded)


def check_no_preview(path: Path) -> None:
    """Refuse a preview of ours where a film is meant: its intensities are stretched.

    Raises:
        InputError: the picture says that it is one.
    """
    if path.suffix.lower() not in (".gif", ".png") or is_dir(path):
        return
    with input_errors(require_file(path), "picture"), Image.open(path) as picture:
        text = picture.info.get("comment") or picture.info.get("provenance")
    try:
        told = json.loads(text) if text else None
    except ValueError:  # another program's comment
        return
    if isinstance(told, dict) and "deqsci" in told:
        raise InputError(
            "this is a preview, whose intensities are stretched",
            path=path,
            hint="name the film beside it (.tif, .mat or .h5)",
        )


def shown_frames(count: int) -> slice:
    """Which of a recording's frames pictures of it show: all, or every second, third …

    >>> shown_frames(240), shown_frames(500)
    (slice(None, None, 1), slice(None, None, 3))
    """
    return slice(None, None, max(1, math.ceil(count / _MOST_FRAMES)))


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
