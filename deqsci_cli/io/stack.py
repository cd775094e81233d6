"""A film or a mask kept as one array in a .mat, HDF5 or TIFF file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io.array_names import need_key
from deqsci_cli.io.axes import Stack, parse_axes, resolve, to_thw
from deqsci_cli.io.checks import without_noise
from deqsci_cli.io.container import Container
from deqsci_cli.io.nan_policy import check_finite
from deqsci_cli.io.opening import open_container
from deqsci_cli.io.scale import check_recorded, scale_of_video


@dataclass(frozen=True, eq=False)
class RawFilm:
    """Frames (T, H, W) as stored, with the value of white and how it was found."""

    frames: np.ndarray
    scale: float
    scale_rule: str
    provenance: dict[str, Any] | None


def read_stack(path: Path, *, key: str | None = None, axes: str | None = None) -> RawFilm:
    """Read the array of a film: `video`, `orig` or the like, or the only stack of the file.

    Raises:
        InputError: if there is no such array, its axes are open, or it is not finite.
    """
    container, name, frames = _read(path, "film", key, axes)
    if container.scale is not None:
        scale, rule = check_recorded(container.scale, path)
    else:
        scale, rule = scale_of_video(frames, path=path, what=repr(name))
    return RawFilm(frames, scale, rule, container.provenance)


def read_mask(path: Path, *, key: str | None = None, axes: str | None = None) -> np.ndarray:
    """Read a mask (T, H, W) float32 from a file of its own, or out of a capture.

    Values are as stored, but for noise below zero (`checks.without_noise`).

    Raises:
        InputError: if there is no such array, its axes are open, or it is no mask.
    """
    _, name, stored = _read(path, "mask", key, axes)
    frames, _ = without_noise(stored)
    if frames.min() < 0 or not frames.any():
        raise InputError(
            f"{name!r} is no mask: it has negative values, or none above 0",
            path=path,
            hint="give a file with the mask alone, named mask",
        )
    return frames.astype(np.float32)


def read_camera_picture(
    path: Path, role: str, shape: tuple[int, int], *, axes: str | None = None
) -> np.ndarray:
    """Read a camera's `dark`, `flat` or `bad_pixels`, (n, H, W), from a file without a capture.

    Args:
        shape: (H, W) that it must have.

    Raises:
        InputError: there is no such array, it is of another size, or not finite.
    """
    with open_container(path) as container:
        name = need_key(container, role, alone=True)
        array = container.read(name)
    stack = container.stack(name, f"{role} {name!r}", parse_axes(axes) if axes else None)
    order, _ = resolve([stack, Stack("the video", (1, *shape), "THW")], path=path)
    pictures = to_thw(array, order)
    check_finite(pictures, role, path)
    return pictures


def _read(
    path: Path, role: str, key: str | None, axes: str | None
) -> tuple[Container, str, np.ndarray]:
    """The array that plays `role`, as finite (T, H, W), with its name and its file."""
    with open_container(path) as container:
        name = need_key(container, role, key, alone=True)
        array = container.read(name)
    stack = container.stack(name, repr(name), parse_axes(axes) if axes else None)
    (order,) = resolve([_alone(stack, path)], path=path)
    frames = to_thw(array, order)
    check_finite(frames, role, path)
    return container, name, frames


def _alone(stack: Stack, path: Path) -> Stack:
    """A stack that has no other to agree with: time is the shortest axis, or it stays open.

    The format's usual order holds, but for MATLAB's where it makes strips and (T, H, W) pictures.

    Raises:
        InputError: for such strips.
    """
    if len(stack.shape) != 3:
        return stack
    if stack.axes is None:
        return replace(stack, axes=_by_length(stack.shape))
    rows, columns, frames = stack.shape
    if stack.assumed and stack.axes == "HWT" and rows < frames and 3 * rows <= columns:
        raise InputError(
            f"the order of the axes is open: {stack.what} {stack.shape} may be "
            f"{frames} frames of {rows} x {columns} pixels, as MATLAB files have it, or "
            f"{rows} frames of {columns} x {frames}",
            path=path,
            hint="save it as .h5 or .tif, frames first; for a truth, --axes THW or --axes HWT "
            "tells it",
        )
    return replace(stack, assumed=False)


def _by_length(shape: tuple[int, ...]) -> str | None:
    if shape[0] < min(shape[1:]):
        return "THW"
    return "HWT" if shape[2] < min(shape[:2]) else None
