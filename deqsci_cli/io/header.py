"""What a capture's files hold, from their headers alone: which arrays, and how their axes lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io.arms import COMPLEMENT, check_arms, count_arms, folded, folded_shape, layout_of
from deqsci_cli.io.array_names import find_key, need_key
from deqsci_cli.io.axes import Stack, parse_axes, resolve, to_thw
from deqsci_cli.io.camera import PICTURES, Camera, version_of_camera
from deqsci_cli.io.container import Container
from deqsci_cli.io.file_version import FileStamp, FileVersion, read_version
from deqsci_cli.io.frames import chosen_frames
from deqsci_cli.io.opening import open_container
from deqsci_cli.io.orientation import turns
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.io.shared_file import SharedFile, open_shared


class OwnFilmError(InputError):
    """The file is a film that this program made, not a capture."""


@dataclass(frozen=True)
class Part:
    """An array of a capture.

    Attributes:
        what: `measurement`, `truth`, or one of `camera.PICTURES`.
        container: its file, and
        name: its name there.
        axes: their order, a permutation of "THW"; of four axes (several arms), of `arms.folded`.
    """

    what: str
    container: Container
    name: str
    axes: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W); T counts all arms."""
        stored = folded_shape(self.container.entries[self.name].shape, self.axes)
        lengths = iter(stored)
        if len(stored) == 2:
            found = {letter: next(lengths) for letter in self.axes if letter != "T"} | {"T": 1}
        else:
            found = dict(zip(self.axes, lengths, strict=True))
        return found["T"], found["H"], found["W"]

    def read(self) -> np.ndarray:
        """The array as (T, H, W), of its own type.

        Raises:
            InputError: see `Container.read`.
        """
        return to_thw(folded(self.container.read(self.name), self.axes), self.axes)


@dataclass(frozen=True)
class Parts:
    """The arrays of a capture and its camera.

    Attributes:
        measurement, mask: these.
        truth: None where there is none, or none that can be used.
        camera: `dark`, `flat` and `bad_pixels`, those of them that there are.
        notes: why there is no truth, as sentences.
    """

    measurement: Part
    mask: Part
    truth: Part | None
    camera: dict[str, Part]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Opened:
    """The files of a capture, opened.

    Attributes:
        source: the one with the measurements.
        camera: what its file and the options say of the camera.
        beside: the other files with arrays, by what is in them.
        others: the other files without: numbers, the camera's table.
    """

    source: Container
    camera: Camera
    beside: dict[str, SharedFile]
    others: dict[str, FileVersion] = field(default_factory=dict)

    @property
    def mask(self) -> Container:
        """The file with the mask."""
        return self.beside.get("mask", self.source)

    def stamps(self) -> dict[str, FileStamp]:
        """Of all files but the first, by what they are for."""
        shared = {role: file.stamp for role, file in self.beside.items()}
        return shared | {role: version.stamp for role, version in self.others.items()}

    def versions(self) -> dict[str, FileVersion]:
        """The same with their content."""
        return {role: file.version() for role, file in self.beside.items()} | self.others


@dataclass(frozen=True)
class CaptureHeader:
    """What is known of a capture before it is read.

    Attributes:
        count: N, its measurements.
        shape: (T, H, W).
        stamp: of the file with the measurements.
        beside: the stamps of the other files that it is read with, by what they are for.
        scale: the stored value of white that the file records; None where it does not.
    """

    count: int
    shape: tuple[int, int, int]
    stamp: FileStamp
    beside: dict[str, FileStamp]
    scale: float | None = None


def read_header(
    path: str | Path, options: ReadOptions | None = None, **changes: Any
) -> CaptureHeader:
    """Look into a capture's header; no pixel is read. The arguments are `load_capture`'s.

    Raises:
        InputError: a file cannot be read or does not hold a capture.
        OwnFilmError: it is a film that `reconstruct` wrote.
        UsageError: options that cannot be meant.
    """
    options = ReadOptions.of(options, **changes)
    with open_capture(path, options) as opened:
        parts = find_parts(opened, options)
        count, height, width = parts.measurement.shape
        count //= count_arms(opened.camera.arms)
        have = parts.mask.shape[0] // masks_of(opened.camera)
        used = chosen_frames(opened.camera.frames, have, parts.mask.container.path)
        shape = used.stop - used.start, height, width
        source = opened.source
        return CaptureHeader(count, shape, source.stamp, opened.stamps(), source.scale)


@contextmanager
def open_capture(path: str | Path, options: ReadOptions) -> Iterator[Opened]:
    """The files of a capture and of its camera.

    Raises:
        InputError: see `open_container`.
        OwnFilmError: for a film that `reconstruct` wrote.
        UsageError: the camera's file cannot be understood.
    """
    camera = options.read_camera()
    with open_container(path) as source:
        if (source.provenance or {}).get("command") == "reconstruct":
            raise OwnFilmError(
                "this is a film that deqsci made, not a capture",
                path=path,
                hint="give the capture that it was made from",
            )
        files = camera.files
        beside = {role: open_shared(files[role]) for role in PICTURES if role in files}
        others = {role: read_version(p) for role, p in files.items() if role not in beside}
        if options.camera is not None:
            others["camera"] = version_of_camera(options.camera)
        yield Opened(source, camera, beside, others)


def find_parts(opened: Opened, options: ReadOptions) -> Parts:
    """Find the arrays of a capture and its camera; nothing but headers is read.

    Raises:
        InputError: an array cannot be found or read, or the axes are open.
        UsageError: axes that cannot be meant.
    """
    source, camera, mask_source = opened.source, opened.camera, opened.mask
    given = None if camera.axes is None else parse_axes(camera.axes)

    # What is known by name is set aside first, so that a single array of another name is found.
    mask_name = find_key(mask_source, "mask", camera.mask_key, guess=False)
    truth_name = find_key(source, "truth", options.truth_key, guess=False)
    aside = [name for name in (truth_name,) if name]
    if mask_source is source and mask_name:
        aside.append(mask_name)
    measurement_name = need_key(source, "measurement", camera.measurement_key, taken=aside)
    if mask_name is None:
        taken = [measurement_name, *aside] if mask_source is source else []
        mask_name = need_key(mask_source, "mask", taken=taken)

    chosen: dict[str, tuple[Container, str]] = {
        "measurement": (source, measurement_name),
        "mask": (mask_source, mask_name),
    }
    for role, file in opened.beside.items():
        if role != "mask":
            chosen[role] = file, need_key(file, role, alone=True)
    notes: tuple[str, ...] = ()
    if options.truth and truth_name is not None:
        reason = None if options.truth_key is not None else _unusable(source, truth_name)
        if reason is None:
            chosen["truth"] = source, truth_name
        else:
            notes = (f"truth not used: {reason}",)
    parts = _ordered(chosen, given, camera)
    measurement, mask, truth = (parts.pop(name, None) for name in ("measurement", "mask", "truth"))
    assert measurement is not None and mask is not None
    return Parts(measurement, mask, truth, parts, notes)


def _unusable(container: Container, name: str) -> str | None:
    """Why an array can be no truth whatever the capture, None if it can."""
    shape = container.entries[name].shape
    try:
        container.check(name)
    except InputError as error:
        return error.message
    if len(shape) not in (2, 3):
        return f"{name!r} has the shape {shape}; 2 or 3 axes are needed, and no colours"
    return None


def masks_of(camera: Camera) -> int:
    """How many masks, one an arm, a camera's file holds."""
    return 1 if camera.arms == COMPLEMENT else count_arms(camera.arms)


def _ordered(
    chosen: Mapping[str, tuple[Container, str]], given: str | None, camera: Camera
) -> dict[str, Part]:
    """The arrays with the orders of their axes, in which their picture sizes agree."""
    for container, name in chosen.values():
        container.check(name)
    stacks = {
        what: _stack(what, container, name, given, camera)
        for what, (container, name) in chosen.items()
    }
    path = chosen["measurement"][0].path
    # The mask's rows may be the picture's columns.
    stacks["mask"] = replace(stacks["mask"], turned=turns(camera.orientation))
    try:
        orders = resolve([*stacks.values()], path=path)
    except InputError as error:
        if "truth" in stacks:
            with suppress(InputError):
                resolve([s for what, s in stacks.items() if what != "truth"], path=path)
                error.hint = f"{error.hint}; --no-truth leaves the truth out"
        raise
    parts = {
        what: Part(what, *chosen[what], order) for what, order in zip(stacks, orders, strict=True)
    }
    if (arms := count_arms(camera.arms)) > 1:
        _check_arms(parts["measurement"], arms)
        _check_arms(parts["mask"], masks_of(camera))
    return parts


def _stack(what: str, container: Container, name: str, given: str | None, camera: Camera) -> Stack:
    """An array whose axes are to be found; of several arms with those folded into one.

    Raises:
        InputError: it has four axes, and no arms are told.
    """
    stack = container.stack(name, f"{what} {name!r}", given)
    if len(stack.shape) != 4 or what not in ("measurement", "mask"):
        return stack
    if count_arms(camera.arms) == 1:
        raise InputError(
            f"{stack.what} has the shape {stack.shape}; 2 or 3 axes are needed",
            path=container.path,
            hint="where these are several arms of a camera, tell how many with --arms; else leave "
            "out axes of length 1, or colours, when exporting",
        )
    entry = container.entries[name]
    matlab = entry.assumed and container.format != "TIFF"
    layout = layout_of(entry.axes, matlab=matlab, given=given)
    return replace(stack, shape=folded_shape(stack.shape, layout), axes=layout)


def _check_arms(part: Part, wanted: int) -> None:
    """Refuse an array with another number of arms than are told.

    Raises:
        InputError: it has.
    """
    stored, path = part.container.entries[part.name].shape, part.container.path
    check_arms(stored, part.what, wanted, part.axes, part.shape[0], path)
