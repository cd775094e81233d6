"""A capture: coded measurements, the mask they were taken through and, where known, the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deqsci_cli.errors import UsageError
from deqsci_cli.io.agreement import check_one_mask, compare
from deqsci_cli.io.axes import parse_axes
from deqsci_cli.io.checks import check_arrays, check_mask, check_truth, without_noise
from deqsci_cli.io.container import Container
from deqsci_cli.io.file_version import FileVersion
from deqsci_cli.io.header import Part, chosen_frames, find_parts, open_capture, parse_frames
from deqsci_cli.io.nan_policy import check_nan_policy, replaced
from deqsci_cli.io.scale import (
    check_recorded,
    check_scale,
    scale_of_measurement,
    scale_of_video,
)
from deqsci_cli.io.units import (
    White,
    check_level,
    divided,
    measurements_in_white,
    truth_in_white,
)


@dataclass(frozen=True, eq=False)
class Capture:
    """What a snapshot compressive camera recorded; checked when made.

    Attributes:
        path: where the measurement came from.
        measurements: (N, H, W) float32, y = sum_t mask_t * x_t with frames x in [0, 1].
        mask: (T, H, W) float32, calibrated grey values kept as they are.
        truth: (K, H, W) float32 in [0, 1] with K <= N*T, or None.
        scale: stored value = scale * value here, for truth, films, and measurements that truth
            does not show to be in another unit; never the mask.
        scale_rule: how the scale was found, as a sentence.
        sources: every file read.
        replaced: what was replaced because it was no number, as sentences.
        notes: all that a user should know of how it was read, `replaced` among it, as sentences.
        versions: of the file with the measurements and, if it has one, of the mask's own file.

    Raises:
        InputError: if shapes disagree, values are not finite, the mask is negative or all closed.
    """

    path: Path
    measurements: np.ndarray
    mask: np.ndarray
    truth: np.ndarray | None
    scale: float
    scale_rule: str
    sources: tuple[Path, ...]
    replaced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    versions: tuple[FileVersion, ...] = ()

    def __post_init__(self) -> None:
        check_arrays(self.measurements, self.mask, path=self.path)
        if self.truth is not None:
            check_truth(self.truth, self.count * self.frames, self.mask, path=self.path)

    @property
    def frames(self) -> int:
        """T, the frames in one measurement."""
        return int(self.mask.shape[0])

    @property
    def count(self) -> int:
        """N, the measurements."""
        return int(self.measurements.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return int(self.mask.shape[1]), int(self.mask.shape[2])

    def truth_of(self, index: int) -> np.ndarray | None:
        """The truth frames (k, H, W), k <= T, of measurement `index`; None if there are none."""
        if not 0 <= index < self.count:
            raise IndexError(f"measurement {index} of {self.count}")
        if self.truth is None:
            return None
        part = self.truth[index * self.frames : (index + 1) * self.frames]
        return part if len(part) else None


def load_capture(
    path: str | Path,
    *,
    mask: str | Path | None = None,
    measurement_key: str | None = None,
    mask_key: str | None = None,
    truth_key: str | None = None,
    axes: str | None = None,
    scale: float | None = None,
    nan: str = "refuse",
    frames: str | None = None,
    truth: bool = True,
) -> Capture:
    """Read a capture from .mat (v5, v7.3), HDF5 or TIFF, told by the header.

    Keys: options win; then `meas`, `mask`, `orig` and common other names; then the only array of
    a fitting rank. Axes: the option (an order of "THW") wins; MATLAB files are (H, W, ·), TIFF
    pages (·, H, W), our HDF5 files say it; else the layout in which the picture sizes agree.

    The scale (the stored value of white) is, in this order: the option; what a file of our own
    records; with truth, its peak by type and maximum (`scale.scale_of_video`); without, from the
    brightness of the measurement (`scale.scale_of_measurement`).

    Truth of a form that cannot be used (with colours, say) is left out, and what is longer than
    the measurements is cut, both with a note. With truth, the measurement is compared with
    mask x truth (`agreement.compare`).

    Args:
        path: the file with the measurement.
        mask: the file with the mask, None for the same file.
        nan: what is done about values that are NaN or infinite, one of `nan_policy.NAN_POLICIES`.
        frames: those of the mask that code a measurement, see `parse_frames`; None for all.
        truth: whether truth is read; without, the capture is as if there were none.

    Raises:
        InputError: for a file that cannot be read or does not hold a capture.
        UsageError: for an axes, scale, nan or frames option that cannot be meant.
    """
    check_options(axes, scale, nan, frames, truth_key, truth)
    with open_capture(path, mask) as (source, mask_source):
        parts = find_parts(
            source,
            mask_source,
            measurement_key=measurement_key,
            mask_key=mask_key,
            truth_key=truth_key,
            axes=axes,
            truth=truth,
        )
        mended: list[str] = []
        notes = list(parts.notes)

        def numbers(of: Part) -> np.ndarray:
            array, sentence = replaced(of.read(), of.what, nan, of.container.path)
            mended.extend([sentence] if sentence else [])
            return array

        raw = numbers(parts.measurement)
        coding = _mask(numbers(parts.mask), chosen_frames(frames, parts.mask), mask_source, notes)
        film = None if parts.truth is None else numbers(parts.truth)
        versions = [source.version()]
        if mask is not None:
            versions.append(mask_source.version())
    if film is not None and len(film) > (most := len(raw) * len(coding)):
        notes.append(f"the truth has {len(film)} frames; the first {most} are the measurements'")
        film = film[:most]

    white = _find_white(source, scale, raw, coding, film)
    measurements = measurements_in_white(raw, white, source.path)
    coding = divided(coding, 1.0)
    if film is not None:
        film = truth_in_white(film, white, source.path)
        check_one_mask(measurements, coding, film, source.path)
        factor, sentences = compare(measurements, coding, film, same_unit=source.scale is not None)
        measurements = divided(measurements, factor)
        notes += sentences
    notes += check_level(measurements, raw, coding, white, source.path)
    return Capture(
        path=source.path,
        measurements=measurements,
        mask=coding,
        truth=film,
        scale=white.value,
        scale_rule=white.rule,
        sources=tuple(dict.fromkeys((source.path, mask_source.path))),
        replaced=tuple(mended),
        notes=(*mended, *notes),
        versions=tuple(versions),
    )


def check_options(
    axes: str | None,
    scale: float | None,
    nan: str,
    frames: str | None,
    truth_key: str | None,
    truth: bool,
) -> None:
    """Refuse what `load_capture` could not be meant to do, whatever the file.

    Raises:
        UsageError: an option is none of those that it can be.
    """
    check_nan_policy(nan)
    if axes is not None:
        parse_axes(axes)
    if scale is not None:
        check_scale(scale)
    if frames is not None:
        parse_frames(frames)
    if truth_key is not None and not truth:
        raise UsageError("--truth-key names the truth, --no-truth leaves it out", hint="choose")


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
    measurement: np.ndarray,
    mask: np.ndarray,
    truth: np.ndarray | None,
) -> White:
    if given is not None:
        return White(given, f"{given:g}, as given by --scale", given=True)
    if source.scale is not None:
        found = check_recorded(source.scale, source.path)
    elif truth is not None:
        found = scale_of_video(truth, path=source.path, what="the truth")
    else:
        found = scale_of_measurement(measurement, mask, path=source.path)
    return White(*found, given=False)
