"""A film: the frames that a reconstruction gives, or the truth that it is measured against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.array_names import find_key
from deqsci_cli.io.atomic import atomic_write
from deqsci_cli.io.formats import format_for, sniff
from deqsci_cli.io.nan_policy import single
from deqsci_cli.io.opening import open_container
from deqsci_cli.io.paths import is_dir
from deqsci_cli.io.provenance import to_json
from deqsci_cli.io.scale import check_scale
from deqsci_cli.io.stack import read_stack
from deqsci_cli.io.video import read_video


@dataclass(frozen=True, eq=False)
class Film:
    """Frames (T, H, W) float32 in units of white = 1; stored value = scale * value."""

    frames: np.ndarray
    scale: float
    provenance: dict[str, Any] | None
    path: Path


def write_film(
    path: str | Path,
    frames: np.ndarray,
    *,
    scale: float,
    provenance: Mapping[str, Any],
    overwrite: bool,
) -> None:
    """Write frames (T, H, W) times `scale` as float32: .tif, .mat or .h5, by the ending.

    TIFF is an ImageJ hyperstack over time, past 4 GB an OME-BigTIFF. MATLAB has `video`
    (H, W, T), HDF5 `video` (T, H, W). All record `scale` and the provenance.

    Raises:
        UsageError: for another ending, frames that are not (T, H, W), or values that are not
            finite in the file.
        OutputExistsError, StorageError: see `atomic_write`.
    """
    target = Path(path)
    form = format_for(target)
    check_scale(scale)
    if frames.ndim != 3 or 0 in frames.shape:
        raise UsageError(f"a film needs frames (T, H, W), not {frames.shape}", path=target)
    stored = single(frames * np.float64(scale), f"the film at the scale {scale:g}", target)
    attributes = {"scale": float(scale), "provenance": to_json(provenance)}
    with atomic_write(target, overwrite=overwrite) as temporary:
        (form.write_film or form.write)(temporary, {"video": stored}, attributes)


def write_film_parts(
    path: str | Path,
    parts: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    *,
    scale: float,
    provenance: Mapping[str, Any],
    overwrite: bool,
) -> None:
    """Write a film as `write_film` does, from parts `(k, H, W)` that come one after the other.

    One part at a time is held; for MATLAB all of them.

    Args:
        path: the film.
        parts: frames in units of white, together
        shape: `(T, H, W)`.
        scale, provenance, overwrite: as for `write_film`.

    Raises:
        UsageError, OutputExistsError, StorageError: see `write_film`.
    """
    target = Path(path)
    form = format_for(target)
    check_scale(scale)
    stored = (single(part * np.float64(scale), f"the film at {scale:g}", target) for part in parts)
    attributes = {"scale": float(scale), "provenance": to_json(provenance)}
    with atomic_write(target, overwrite=overwrite) as temporary:
        if form.write_parts is not None:
            form.write_parts(temporary, stored, shape, attributes)
        else:
            form.write(temporary, {"video": np.concatenate([*stored])}, attributes)


def as_read(frames: np.ndarray, scale: float) -> np.ndarray:
    """Frames as they are once `write_film` has written and `read_film` has read them."""
    stored = np.asarray(frames * np.float64(scale), dtype=np.float32)
    return np.asarray(stored / scale, dtype=np.float32)


def check_no_capture(path: Path) -> None:
    """Refuse a capture where a film is meant: its truth would pass for one.

    Raises:
        InputError: the file holds a measurement and a mask, or cannot be read.
    """
    if is_dir(path) or sniff(path) is None:
        return
    with open_container(path) as container:
        roles = ("measurement", "mask")
        both = all(find_key(container, role, guess=False) for role in roles)
    if both:
        raise InputError(
            "this is a capture (it holds a measurement and a mask), not a film",
            path=path,
            hint="deqsci reconstruct makes its film, and with --report the page",
        )


def read_film(path: str | Path, *, key: str | None = None, axes: str | None = None) -> Film:
    """Read a film from .tif, .mat or .h5, and from whatever `read_video` reads.

    A file that records no scale gets it by type and maximum (`scale.scale_of_video`). Values are
    not clipped: a reconstruction may overshoot 1.

    Raises:
        InputError: for a file that cannot be read, or holds no film.
        UsageError: for a key or axes where the file has neither.
    """
    file = Path(path)
    if is_dir(file) or sniff(file) is None:
        if key or axes:
            raise UsageError("a video or image has no arrays: leave out keys and axes", path=file)
        return Film(read_video(file), 255.0, None, file)
    raw = read_stack(file, key=key, axes=axes)
    wide = raw.frames.astype(np.result_type(raw.frames.dtype, np.float32), copy=False)
    frames = np.ascontiguousarray(wide / raw.scale, dtype=np.float32)
    return Film(frames, raw.scale, raw.provenance, file)
