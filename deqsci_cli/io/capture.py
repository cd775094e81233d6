"""A capture: coded measurements, the mask they were taken through and, where known, the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.agreement import check_one_mask, compare
from deqsci_cli.io.arms import COMPLEMENT, complement, together
from deqsci_cli.io.checks import check_arrays, check_mask, check_truth, without_noise
from deqsci_cli.io.container import Container
from deqsci_cli.io.file_version import FileVersion
from deqsci_cli.io.frames import chosen_frames
from deqsci_cli.io.header import Opened, Part, find_parts, masks_of, open_capture
from deqsci_cli.io.nan_policy import replaced
from deqsci_cli.io.read_errors import enough_memory
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.io.scale import check_recorded, scale_of_measurement, scale_of_video
from deqsci_cli.io.sensor import Corrected, correct, true_mask
from deqsci_cli.io.units import (
    White,
    check_level,
    divided,
    measurements_in_white,
    truth_in_white,
)

# A truth that reaches no more of white than this was probably meant otherwise.
_DARK_TRUTH = 0.02
#: the measurement (H, W), the mask (T, H, W), and the pixels that are seen, None for all
Arm = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@dataclass(frozen=True, eq=False)
class Capture:
    """What a snapshot compressive camera recorded; checked when made.

    Attributes:
        path: where the measurement came from.
        measurements: (N, H, W) float32, y = sum_t mask_t * x_t with frames x in [0, 1]; of K arms
            (N, K, H, W).
        mask: (T, H, W) float32, calibrated grey values kept as they are; of K arms (K, T, H, W).
        truth: (F, H, W) float32 in [0, 1] with F <= N*T, or None.
        scale: stored value = scale * value here, for truth, films, and measurements that truth
            does not show to be in another unit; never the mask.
        scale_rule: how the scale was found, as a sentence.
        replaced: what was replaced because it was no number, as sentences.
        notes: all that a user should know of how it was read, `replaced` among it, as sentences.
        version: of the file with the measurements; None for one that was not read.
        beside: versions of the other files, by what they are for: `mask`, `dark` …
        unseen: uint8 as the measurements, why a pixel tells nothing (an index of
            `sensor.REASONS`), 0 where it does; None where all do.
        noise, photons: of the camera, see `camera.Camera`.

    Raises:
        InputError: if shapes disagree, values are not finite, the mask is negative or all closed.
    """

    path: Path
    measurements: np.ndarray
    mask: np.ndarray
    truth: np.ndarray | None
    scale: float
    scale_rule: str
    replaced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    version: FileVersion | None = None
    beside: dict[str, FileVersion] = field(default_factory=dict)
    unseen: np.ndarray | None = None
    noise: str | None = None
    photons: float | None = None

    def __post_init__(self) -> None:
        check_arrays(self.measurements, self.mask, path=self.path)
        if self.unseen is not None and self.unseen.shape != self.measurements.shape:
            raise InputError("the map of unseen pixels has another shape", path=self.path)
        if self.truth is not None:
            check_truth(self.truth, self.count * self.frames, self.mask, path=self.path)

    @property
    def arms(self) -> int:
        """K, the measurements that are taken of the same frames."""
        return 1 if self.mask.ndim == 3 else int(self.mask.shape[0])

    @property
    def frames(self) -> int:
        """T, the frames in one measurement."""
        return int(self.mask.shape[-3])

    @property
    def count(self) -> int:
        """N, the measurements."""
        return int(self.measurements.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return int(self.mask.shape[-2]), int(self.mask.shape[-1])

    @property
    def versions(self) -> tuple[FileVersion, ...]:
        """Of every file that was read, that of the measurements first."""
        return (*((self.version,) if self.version else ()), *self.beside.values())

    def seen(self, index: int) -> np.ndarray | None:
        """The pixels (H, W) or (K, H, W) of a measurement that tell something; None for all."""
        if self.unseen is None or not self.unseen[index].any():
            return None
        return np.asarray(self.unseen[index] == 0)

    def each_arm(self, index: int) -> list[Arm]:
        """A measurement arm by arm."""
        y, seen = self.measurements[index], self.seen(index)
        if self.arms == 1:
            return [(y, self.mask, seen)]
        maps = [None] * self.arms if seen is None else list(seen)
        return list(zip(y, self.mask, maps, strict=True))

    def measurement_picture(self, index: int) -> np.ndarray:
        """A measurement to be looked at, (H, W); that of several arms beside each other."""
        return np.hstack([y for y, _, _ in self.each_arm(index)])

    def need_one_arm(self, what: str) -> None:
        """Refuse a capture of several arms for what is not done with them.

        Raises:
            UsageError: it has several.
        """
        if self.arms > 1:
            raise UsageError(
                f"{what} takes captures of one arm, and this one has {self.arms}",
                path=self.path,
                hint="save the first arm alone, with its mask",
            )

    def truth_of(self, index: int) -> np.ndarray | None:
        """The truth frames (k, H, W), k <= T, of measurement `index`; None if there are none."""
        if not 0 <= index < self.count:
            raise IndexError(f"measurement {index} of {self.count}")
        if self.truth is None:
            return None
        part = self.truth[index * self.frames : (index + 1) * self.frames]
        return part if len(part) else None


def load_capture(path: str | Path, options: ReadOptions | None = None, **changes: Any) -> Capture:
    """Read a capture from .mat (v5, v7.3), HDF5 or TIFF, told by the header.

    Keys: options win; then `meas`, `mask`, `orig` and common other names; then the only array of
    a fitting rank. Axes: the option (an order of "THW") wins; MATLAB files are (H, W, ·), TIFF
    pages (·, H, W), our HDF5 files say it; else the layout in which the picture sizes agree.

    What the camera did is undone (`sensor`): black level and flat field; the lamp's gains and the
    true place of the mask go into the mask; pixels that tell nothing are marked.

    The scale (the stored value of white) is, in this order: the option; what a file of our own
    records; with truth, its peak by type and maximum (`scale.scale_of_video`); without, from the
    brightness of the measurement (`scale.scale_of_measurement`).

    Truth of a form that cannot be used (with colours, say) is left out, and what is longer than
    the measurements is cut, both with a note. With truth, the measurement is compared with
    mask x truth (`agreement.compare`).

    Args:
        path: the file with the measurement.
        options: how it is to be understood; None for the defaults.
        changes: fields of `ReadOptions` to have other than in `options`: `mask="mask.mat"`.

    Raises:
        InputError: for a file that cannot be read or does not hold a capture.
        UsageError: for an option that cannot be meant.
    """
    options = ReadOptions.of(options, **changes)
    with enough_memory("read", path), open_capture(path, options) as opened:
        return _read(opened, options)


def read_camera_pictures(path: str | Path, options: ReadOptions) -> dict[str, np.ndarray]:
    """The pictures of the camera that a capture is read with: `dark`, `flat`, `bad_pixels`.

    Each is the mean over its stack, `(H, W)` float32.

    Raises:
        InputError, UsageError: see `load_capture`.
    """
    with open_capture(path, options) as opened:
        parts = find_parts(opened, options).camera
        return {role: part.read().mean(0, dtype=np.float32) for role, part in parts.items()}


def _read(opened: Opened, options: ReadOptions) -> Capture:
    """The capture of opened files."""
    source, camera = opened.source, opened.camera
    parts = find_parts(opened, options)
    replacements: list[str] = []
    notes = list(parts.notes)

    def numbers(of: Part) -> tuple[np.ndarray, np.ndarray | None]:
        array, bad, sentence = replaced(of.read(), of.what, options.nan, of.container.path)
        replacements.extend([sentence] if sentence else [])
        return array, bad

    raw, not_numbers = numbers(parts.measurement)
    masks = numbers(parts.mask)[0]
    masks = masks.reshape(masks_of(camera), -1, *masks.shape[1:])
    chosen = chosen_frames(camera.frames, masks.shape[1], opened.mask.path)
    both = [*masks, complement(masks[0])] if camera.arms == COMPLEMENT else masks
    codings = [_mask(mask, chosen, opened.mask, notes) for mask in both]
    codings = [true_mask(coding, camera, opened.mask.path) for coding in codings]
    film = None if parts.truth is None else numbers(parts.truth)[0]
    pictures = {}
    for role, part in parts.camera.items():
        pictures[role], unknown = numbers(part)
        if unknown is not None:  # what is added to such a pixel is not known
            known = np.zeros(raw.shape, bool) if not_numbers is None else not_numbers
            not_numbers = known | unknown.any(0)
    version, beside = source.version(), opened.versions()
    arms = len(codings)
    if film is not None and len(film) > (most := len(raw) // arms * len(codings[0])):
        notes.append(f"the truth has {len(film)} frames; the first {most} are the measurements'")
        film = film[:most]
    corrected = [
        correct(
            raw[arm::arms],
            coding,
            camera,
            pictures,
            source.path,
            not_numbers=None if not_numbers is None else not_numbers[arm::arms],
        )
        for arm, coding in enumerate(codings)
    ]
    notes += [note for each in corrected for note in each.notes]

    # All arms have one unit, which the first one tells.
    told = "given by --scale" if options.scale is not None else "the camera's file says"
    white = _find_white(source, camera.scale, told, corrected[0].measurements, codings[0], film)
    measured = [measurements_in_white(each.measurements, white, source.path) for each in corrected]
    codings = [divided(coding, 1.0) for coding in codings]
    if film is not None:
        film = truth_in_white(film, white, source.path)
        if (brightest := float(film.max())) < _DARK_TRUTH:
            notes.append(
                f"the truth reaches {brightest:.2g} of white, at the scale {white.rule}: PSNR is "
                "of that white (--scale tells another)"
            )
        check_one_mask(measured[0], codings[0], film, source.path)
        same = source.scale is not None
        for arm, coding in enumerate(codings):
            factor, sentences = compare(
                measured[arm], coding, film, same_unit=same or arm > 0, seen=corrected[arm].seen
            )
            measured = [divided(each, factor) for each in measured]
            notes += [f"arm {arm + 1}: {text}" if arm else text for text in sentences]
    notes += check_level(measured[0], corrected[0].measurements, codings[0], white, source.path)
    return Capture(
        path=source.path,
        measurements=together(measured, 1),
        mask=together(codings, 0),
        truth=film,
        scale=white.value,
        scale_rule=white.rule,
        replaced=tuple(replacements),
        notes=tuple(dict.fromkeys((*replacements, *notes))),  # all arms may have the same to say
        version=version,
        beside=beside,
        unseen=_unseen(corrected),
        noise=camera.noise,
        photons=camera.photons,
    )


def _unseen(arms: Sequence[Corrected]) -> np.ndarray | None:
    """Why pixels tell nothing, as `Capture.unseen` has it."""
    if all(each.unseen is None for each in arms):
        return None
    maps = [
        np.zeros(a.measurements.shape, np.uint8) if a.unseen is None else a.unseen for a in arms
    ]
    return together(maps, 1)


def _mask(stack: np.ndarray, chosen: slice, source: Container, notes: list[str]) -> np.ndarray:
    """The frames of a mask that are chosen, without noise below zero; what is done is noted."""
    if chosen.stop - chosen.start < len(stack):
        told = f"{chosen.start} to {chosen.stop - 1}"
        notes.append(f"of the mask's {len(stack)} frames, {told} (from 0) are used")
    mask, sentence = without_noise(stack[chosen])
    notes += [sentence] if sentence else []
    check_mask(mask, source.path)
    return mask


def _find_white(
    source: Container,
    given: float | None,
    told: str,
    measurement: np.ndarray,
    mask: np.ndarray,
    truth: np.ndarray | None,
) -> White:
    if given is not None:
        return White(given, f"{given:g}, as {told}", given=True)
    if source.scale is not None:
        found = check_recorded(source.scale, source.path)
    elif truth is not None:
        found = scale_of_video(truth, path=source.path, what="the truth")
    else:
        found = scale_of_measurement(measurement, mask, path=source.path)
    return White(*found, given=False)
