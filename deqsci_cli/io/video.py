"""Reading grey clips: video files, GIFs, pictures, folders of them, and stacks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.formats import SUFFIXES, sniff
from deqsci_cli.io.images import IMAGE_SUFFIXES, folder_images, image_frames, is_image, natural
from deqsci_cli.io.limits import byte_budget, check_budget
from deqsci_cli.io.opening import open_container
from deqsci_cli.io.paths import is_dir, is_file, is_link
from deqsci_cli.io.read_errors import input_errors
from deqsci_cli.io.stack import read_stack

_VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".gif"}
_CLIP_SUFFIXES = _VIDEO_SUFFIXES | set(SUFFIXES) - IMAGE_SUFFIXES


def read_video(
    path: str | Path, *, start: int = 0, count: int | None = None, step: int = 1
) -> np.ndarray:
    """Read a clip as grey frames (F, H, W), float32 in [0, 1].

    Video files (mp4, avi, mov, mkv, …), GIF, a picture (one frame), a folder of pictures in
    natural order, a film in .tif, .mat or .h5. Colour becomes Rec. 601 luma; of video files the
    luma is taken as coded. 8 and 16 bits are divided by 255 and 65535, stacks by their recorded
    scale or `scale.scale_of_video`.

    Args:
        start: the first frame to take.
        count: how many, None for all that follow.
        step: take every step-th.

    Raises:
        InputError: for what cannot be read, has too few frames or exceeds the byte budget.
        UsageError: for a negative start, or a count or step below 1; also if a video file needs
            the package `av`.
    """
    clip, white = _read(Path(path), start, count, step, itemsize=4)
    return np.asarray(np.divide(clip, white, dtype=np.float32)).clip(0, 1)


def read_video_uint8(
    path: str | Path, *, start: int = 0, count: int | None = None, step: int = 1
) -> np.ndarray:
    """As `read_video`, but (F, H, W) uint8, 255 for white: a quarter of the memory."""
    clip, white = _read(Path(path), start, count, step, itemsize=1)
    if clip.dtype == np.uint8 and white == 255:
        return clip
    # Frame by frame, so that no float copy of the whole clip arises.
    whole = np.empty(clip.shape, np.uint8)
    for target, frame in zip(whole, clip, strict=True):
        target[...] = np.rint(np.clip(frame.astype(np.float32) / np.float32(white), 0, 1) * 255)
    return whole


def list_videos(folder: str | Path) -> list[Path]:
    """The clips under `folder`, sorted; each path is one that `read_video` takes.

    Every video, GIF, .mat and .h5 file is a clip, and so is every sub-folder that holds pictures;
    sub-folders without pictures are searched in turn. Pictures directly in `folder` (.tif among
    them, which may hold many frames) are returned one by one, as they may differ in size.

    Raises:
        InputError: if there is no such folder, or nothing in it.
    """
    root = Path(folder)
    if not is_dir(root):
        raise InputError(
            "there is no such folder", path=root, hint="check the spelling of the path"
        )
    found = folder_images(root) + _clips(root, depth=0)
    if not found:
        raise InputError(
            "the folder holds no videos or pictures", path=root, hint="name a folder of clips"
        )
    return sorted(found, key=lambda path: [natural(Path(part)) for part in path.parts])


def _clips(folder: Path, depth: int) -> list[Path]:
    found = []
    with input_errors(folder, "folder"):
        children = sorted(child for child in folder.iterdir() if child.name[0] != ".")
    for child in children:
        if is_file(child) and child.suffix.lower() in _CLIP_SUFFIXES:
            found.append(child)
        elif is_dir(child) and not is_link(child) and depth < 8:
            found += [child] if folder_images(child) else _clips(child, depth + 1)
    return found


def _read(
    path: Path, start: int, count: int | None, step: int, itemsize: int
) -> tuple[np.ndarray, float]:
    if start < 0 or step < 1 or (count is not None and count < 1):
        raise UsageError(f"start {start}, count {count}, step {step}: no frames can be meant")
    stop = None if count is None else start + (count - 1) * step + 1
    if not is_dir(path) and _is_stack(path):
        raw = read_stack(path)
        clip, white = raw.frames[start:stop:step], raw.scale
    else:
        clip = _gather(path, islice(_frames(path, itemsize, stop), start, stop, step), itemsize)
        white = float(np.iinfo(clip.dtype).max)
    if len(clip) == 0 or (count is not None and len(clip) < count):
        wanted = "any" if count is None else str(count)
        raise InputError(
            f"the clip is too short: {len(clip)} frames from frame {start} on (step {step}), "
            f"{wanted} wanted",
            path=path,
        )
    return clip, white


def _is_stack(path: Path) -> bool:
    form = sniff(path)
    if form is None or not IMAGE_SUFFIXES.intersection(form.suffixes):
        return form is not None
    # A colour TIFF is a picture; pillow reads it.
    with open_container(path) as container:
        return any(entry.problem is None for entry in container.entries.values())


def _gather(path: Path, frames: Iterator[np.ndarray], itemsize: int) -> np.ndarray:
    budget = byte_budget()
    kept: list[np.ndarray] = []
    for frame in frames:
        if kept and (frame.shape != kept[0].shape or frame.dtype != kept[0].dtype):
            raise InputError(
                f"frame {len(kept)} is {frame.shape} {frame.dtype}, "
                f"the first one {kept[0].shape} {kept[0].dtype}",
                path=path,
                hint="all frames of a clip must have one size and type",
            )
        kept.append(frame)
        # Headers of videos may not tell the number of frames, or lie.
        check_budget((len(kept), *frame.shape), itemsize, path=path, what="the clip", budget=budget)
    return np.stack(kept) if kept else np.empty((0, 0, 0), np.uint8)


def _frames(path: Path, itemsize: int, stop: int | None) -> Iterator[np.ndarray]:
    if is_dir(path):
        images = folder_images(path)
        if not images:
            raise InputError("the folder holds no pictures", path=path)
        for image in images:
            yield from _stack_frames(image) if _is_stack(image) else image_frames(image)
        return
    with input_errors(path, "file"), path.open("rb") as stream:
        head = stream.read(1024)
    if is_image(head):
        yield from image_frames(path)
    elif _is_video(head):
        yield from _video_frames(path, itemsize, stop)
    else:
        raise InputError(
            "this is no video, picture or stack of a format read here, whatever its name says",
            path=path,
        )


def _stack_frames(path: Path) -> Iterator[np.ndarray]:
    """A grey .tif among the pictures of a folder, brought to 16 bits unless it is of 8."""
    raw = read_stack(path)
    for frame in raw.frames:
        if frame.dtype == np.uint8:
            yield frame
        else:
            unit = np.clip(frame.astype(np.float64) / raw.scale, 0, 1)
            yield np.rint(unit * 65535).astype(np.uint16)


def _is_video(head: bytes) -> bool:
    # Only these containers reach FFmpeg: it would also take playlists, which name other files.
    return (
        head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head.startswith((b"\x1aE\xdf\xa3", b"OggS", b"FLV", b"\0\0\1\xba", b"\0\0\1\xb3"))
        or (head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G")
    )


def _video_frames(path: Path, itemsize: int, stop: int | None) -> Iterator[np.ndarray]:
    """Yield the coded luma (H, W) uint8, brought to the full range, of a video file."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "reading video files needs the package av",
            path=path,
            hint='pip install "deqsci[video]"',
        ) from error
    with input_errors(path, "video"):
        file = iio.imopen(path, "r", plugin="pyav")
    try:
        with input_errors(path, "video"):
            reader: Any = file
            shape = reader.properties(index=...).shape
            known = shape[0] if stop is None else min(shape[0] or stop, stop)
            check_budget((max(known, 1), *shape[1:3]), itemsize, path=path, what="the video")
            frames = iter(reader.iter(format="gray"))
        while True:
            with input_errors(path, "video"):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame
    finally:
        file.close()
