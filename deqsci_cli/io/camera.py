"""The camera's own file: what its sensor, its optics and its lamp do to a measurement.

`y = dark + flat * sum_t gain_t * mask_t * x_t + noise`, clipped at a level. The file is TOML that
names other files (relative to its own folder), or an HDF5 or MATLAB file that holds the arrays
`mask`, `dark`, `flat` and `bad_pixels`, with a JSON table of the rest as its attribute `camera`
(MATLAB: as a text variable).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.config import build, read_toml, to_table
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.arms import count_arms
from deqsci_cli.io.array_names import find_key
from deqsci_cli.io.atomic import atomic_write
from deqsci_cli.io.axes import parse_axes
from deqsci_cli.io.file_version import FileVersion, read_version
from deqsci_cli.io.frames import parse_frames
from deqsci_cli.io.hdf5 import FORMAT as HDF5
from deqsci_cli.io.hdf5 import write_hdf5
from deqsci_cli.io.orientation import ORIENTATIONS
from deqsci_cli.io.provenance import to_json
from deqsci_cli.io.scale import check_scale
from deqsci_cli.io.shared_file import open_shared

#: what may be an array of its own, in a file beside the capture or in the camera's
PICTURES = ("mask", "dark", "flat", "bad_pixels")
#: what may be a file
ROLES = (*PICTURES, "frame_gains")
#: what makes a camera another than `sum_t mask_t x_t`, with the mask as its file has it
IMPERFECTIONS = (
    *("dark", "flat", "frame_gains", "bad_pixels", "saturation", "noise", "photons"),
    *("orientation", "shift", "rotation", "zoom", "blur"),
)
# Those that are no pictures: a file of arrays has them in its table alone.
_TABLE_ONLY = tuple(name for name in IMPERFECTIONS if name not in PICTURES)
_MOST_JSON = 1_000_000
_MOST_GAIN = 1000.0
# No sensor stores more; what is larger makes differences infinite.
_LARGEST = 1e18


@dataclass(frozen=True)
class Camera:
    """What a camera does; None for what is not known.

    Attributes:
        mask: file with the mask.
        dark: the black level, in stored values: a number, or a file with the dark frame (several
            are averaged).
        flat: file with the flat field: how strongly each pixel answers. Its mean becomes 1, and
            where it is below a twentieth of that the pixel counts as broken, and not for the mean.
        frame_gains: how bright the lamp was in each frame: numbers with commas, or a text file.
        bad_pixels: file with a map of broken pixels (not 0), or `auto`.
        saturation: stored value from which on a pixel is clipped, `auto` or `none`.
        noise: standard deviation of the read noise, in units of one frame's white, or `auto`.
        photons: of one frame's white, where the mask is open: shot noise.
        orientation: how the mask is to be turned or mirrored, one of `ORIENTATIONS`.
        shift: pixels down and to the right by which the true mask lies off the one in the file.
        rotation: degrees about the centre, from the rows' axis towards the columns', and
        zoom: factor about the centre by which it is turned and enlarged.
        blur: standard deviation, pixels, of a Gaussian by which it is blurred.
        scale: stored value of white.
        arms: how many measurements are taken of the same frames, each through a mask of its own: a
            number, or `complement` for two with one mask, the second one's being what the first
            one's holds back.
        frames: those of the mask that code a measurement, `10` or `10:20`.
        axes: order of the axes in this camera's files, as `HWT`.
        measurement_key, mask_key: names of the arrays in them.
        date, note: of the calibration, as its author wrote them.
    """

    mask: str | None = None
    dark: str | None = None
    flat: str | None = None
    frame_gains: str | None = None
    bad_pixels: str | None = None
    saturation: str | None = None
    noise: str | None = None
    photons: float | None = None
    orientation: str = "as-is"
    shift: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    zoom: float = 1.0
    blur: float = 0.0
    scale: float | None = None
    arms: str | None = None
    frames: str | None = None
    axes: str | None = None
    measurement_key: str | None = None
    mask_key: str | None = None
    date: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        count_arms(self.arms)
        if self.axes is not None:
            parse_axes(self.axes)
        if self.scale is not None:
            check_scale(self.scale)
        if self.frames is not None:
            parse_frames(self.frames)
        if self.orientation not in ORIENTATIONS:
            raise UsageError(
                f"there is no orientation '{self.orientation}'",
                hint=f"one of {', '.join(ORIENTATIONS)}",
            )
        if not (all(map(math.isfinite, self.shift)) and abs(self.rotation) <= 180):
            raise UsageError(
                "a mask's shift is two finite numbers, its rotation between -180 and 180 degrees"
            )
        if not (0.5 <= self.zoom <= 2 and 0 <= self.blur <= 100):
            raise UsageError("a mask's zoom lies between 0.5 and 2, its blur between 0 and 100")
        if self.photons is not None and not 0 < self.photons < math.inf:
            raise UsageError("the photons of one frame's white must be above 0, and finite")
        _check_level(self.saturation, "saturation", ("auto", "none"))
        _check_level(self.noise, "noise", ("auto",), least=0.0)
        for role in ROLES:
            if (text := getattr(self, role)) is not None:
                if not text.strip() or "\0" in text:
                    raise UsageError(f"the {role} of the camera is no name of a file")
                numbers(text, role)

    @property
    def files(self) -> dict[str, Path]:
        """The files that are named, by what they are for."""
        found = {role: getattr(self, role) for role in ROLES}
        return {
            role: Path(text)
            for role, text in found.items()
            if text is not None
            and (role, text) != ("bad_pixels", "auto")
            and numbers(text, role) is None
        }

    @property
    def black_level(self) -> float | None:
        """The black level, if it is one number."""
        level = numbers(self.dark, "dark")
        return None if level is None else level[0]

    @property
    def displaced(self) -> bool:
        """Whether the true mask is another than the one in the file."""
        return (self.shift, self.rotation, self.zoom, self.blur) != ((0.0, 0.0), 0.0, 1.0, 0.0)


def numbers(text: str | None, role: str) -> tuple[float, ...] | None:
    """The numbers that a text lists; None where it names a file, as a mask does whatever its name.

    Raises:
        UsageError: numbers that no camera has.
    """
    if text is None or role not in ("dark", "frame_gains"):
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
    if role == "frame_gains":
        check_gains(values)
    elif len(values) > 1 or not abs(values[0]) <= _LARGEST:
        raise UsageError(f"the black level is one number within ±{_LARGEST:g}, not '{text}'")
    return values


def check_gains(values: Sequence[float]) -> None:
    """Refuse gains that no lamp has.

    Raises:
        UsageError: one is not a number from 0.001 to 1000.
    """
    if not values or not all(1 / _MOST_GAIN <= value <= _MOST_GAIN for value in values):
        raise UsageError(
            f"the gains of the frames are numbers from {1 / _MOST_GAIN:g} to {_MOST_GAIN:g}",
            hint="1 for a frame as bright as the mask's calibration",
        )


def level_of(text: str | None) -> float | str | None:
    """A level, or the word that stands for one."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def read_camera(path: Path | None) -> Camera:
    """The camera that a file describes; files that it names have whole paths or begin at its own.

    Raises:
        UsageError: the file cannot be understood.
        InputError: it cannot be read.
    """
    if path is None:
        return Camera()
    if _is_toml(path):
        camera = _build(read_toml(path), path)
        named: dict[str, Any] = {
            role: str(path.parent / file) for role, file in camera.files.items()
        }
        return replace(camera, **named)
    container = open_shared(path)
    camera = _build(_table(container.attributes.get("camera"), path), path)
    if astray := [name for name in _TABLE_ONLY if name in container.entries]:
        raise InputError(
            f"{astray[0]} is an array of its own, where it is not read",
            path=path,
            hint=f"put it into the table: the text 'camera' as JSON, {{\"{astray[0]}\": …}}",
        )
    if camera.files:
        raise InputError("the camera's table names files", path=path, hint="hold the arrays in it")
    inside: dict[str, Any] = {
        role: str(path)
        for role in PICTURES
        if find_key(container, role, camera.mask_key if role == "mask" else None, guess=False)
    }
    return replace(camera, **inside)


def write_camera(
    path: Path,
    camera: Camera,
    pictures: Mapping[str, np.ndarray],
    *,
    provenance: Mapping[str, Any],
    overwrite: bool,
) -> None:
    """Write a camera as an HDF5 file that holds its pictures.

    Args:
        path: `.h5` or `.hdf5`.
        camera: the rest of it; it names no files.
        pictures: `(n, H, W)` or `(H, W)` by their role, one of `PICTURES`.
        provenance: where it comes from.
        overwrite: replace what lies there.

    Raises:
        UsageError: for another ending.
        OutputExistsError, StorageError: see `atomic_write`.
    """
    check_camera_name(path)
    stacks = {role: stack if stack.ndim == 3 else stack[None] for role, stack in pictures.items()}
    table = to_table(camera, only_changed=True)
    attributes = {"camera": json.dumps(table), "provenance": to_json(provenance)}
    with atomic_write(path, overwrite=overwrite) as temporary:
        write_hdf5(temporary, stacks, attributes)


def check_camera_name(path: Path) -> None:
    """Refuse a name that a camera's file cannot have.

    Raises:
        UsageError: it does not end as HDF5 files do.
    """
    if path.suffix.lower() not in HDF5.suffixes:
        raise UsageError(
            "a camera is written as an HDF5 file", path=path, hint="give a name that ends with .h5"
        )


def version_of_camera(path: Path) -> FileVersion:
    """The version of a camera's own file; of one with arrays it is hashed once while unchanged.

    Raises:
        InputError: it cannot be read, or has changed since it was described.
    """
    return read_version(path) if _is_toml(path) else open_shared(path).version()


def files_beside(camera: Path) -> dict[str, Path]:
    """Every file that belongs to a camera's, itself among them; no array is looked into.

    Raises:
        UsageError: the file cannot be understood.
    """
    named = read_camera(camera).files if _is_toml(camera) else {}
    return {"camera": camera, **named}


def _is_toml(path: Path) -> bool:
    return path.suffix.lower() == ".toml"


def _build(table: dict[str, Any], path: Path) -> Camera:
    """The camera of a table, in which numbers may stand for their text."""
    words = {entry.name for entry in fields(Camera) if "str" in str(entry.type)}
    return build(Camera, {k: _text(v) if k in words else v for k, v in table.items()}, path=path)


def _text(value: Any) -> Any:
    if isinstance(value, list) and all(type(item) in (int, float) for item in value):
        return ",".join(map(repr, value))
    return repr(value) if type(value) in (int, float) else str(value) if _is_date(value) else value


def _is_date(value: Any) -> bool:
    return isinstance(value, date)


def _table(text: Any, path: Path) -> dict[str, Any]:
    """The table in a file's attribute; an empty one where it has none."""
    if text is None:
        return {}
    try:
        table = json.loads(text) if isinstance(text, str) and len(text) <= _MOST_JSON else None
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise InputError(
            "the file's attribute 'camera' is no table",
            path=path,
            hint="have it written anew by deqsci calibrate",
        )
    return table


def _check_level(
    text: str | None, what: str, words: Sequence[str], *, least: float | None = None
) -> None:
    level = level_of(text)
    if level is None or level in words:
        return
    if isinstance(level, str) or not math.isfinite(level) or (least is not None and level < least):
        raise UsageError(
            f"the {what} '{text}' is not understood", hint=f"a number, or {' or '.join(words)}"
        )
