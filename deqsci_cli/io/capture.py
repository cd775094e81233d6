"""A capture: coded measurements, the mask they were taken through and, where known, the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.axes import parse_axes, resolve, to_thw
from deqsci_cli.io.container import Container, open_container
from deqsci_cli.io.describe import describe
from deqsci_cli.io.finite import check_finite, check_way, replaced, tell
from deqsci_cli.io.keys import find_key, need_key
from deqsci_cli.io.scale import check_scale, scale_of_measurement, scale_of_video
from deqsci_cli.io.writing import write_capture

__all__ = ["Capture", "describe", "load_capture", "write_capture"]

# How far interpolated truth may lie outside 0..1 before the scale must be wrong.
_TOLERANCE = 0.01
_CLOSED = "the mask is closed (zero) everywhere"
_OTHER_MASK = "give the mask that belongs to this measurement"
_OTHER_TRUTH = "name the truth that belongs to this measurement with --truth-key"


@dataclass(frozen=True)
class Capture:
    """What a snapshot compressive camera recorded; checked when made.

    Attributes:
        path: where the measurement came from.
        measurements: (N, H, W) float32, y = sum_t mask_t * x_t with frames x in [0, 1].
        mask: (T, H, W) float32, calibrated grey values kept as they are.
        truth: (K, H, W) float32 in [0, 1] with K <= N*T, or None.
        scale: stored value = scale * value here, for measurements and truth; never the mask.
        scale_rule: how the scale was found, as a sentence.
        sources: every file read.
        replaced: what was replaced because it was no number, as sentences.

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

    def __post_init__(self) -> None:
        _check_shapes(self)
        for what, array in (
            ("measurement", self.measurements),
            ("mask", self.mask),
            ("truth", self.truth),
        ):
            if array is not None:
                check_finite(array, what, self.path)
        if (negative := self.mask < 0).any():
            raise InputError(
                f"the mask has {tell(negative, 'mask', 'negative')}",
                path=self.path,
                hint="a mask lets through between none and all of the light; check its calibration",
            )
        if not self.mask.any():
            raise InputError(_CLOSED, path=self.path, hint=_OTHER_MASK)

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
) -> Capture:
    """Read a capture from .mat (v5, v7.3), HDF5 or TIFF, told by the header.

    Keys: options win; then `meas`, `mask`, `orig` and common other names; then the only array of
    a fitting rank. Axes: the option (an order of "THW") wins; MATLAB files are (H, W, ·), TIFF
    pages (·, H, W), our HDF5 files say it; else the layout in which the picture sizes agree.

    The scale (the stored value of white) is, in this order: the option; what a file of our own
    records; with truth, its peak by type and maximum (`scale.scale_of_video`); without, from the
    brightness of the measurement (`scale.scale_of_measurement`).

    Args:
        path: the file with the measurement.
        mask: the file with the mask, None for the same file.
        nan: what is done about values that are NaN or infinite, one of `finite.WAYS`.

    Raises:
        InputError: for a file that cannot be read or does not hold a capture.
        UsageError: for an axes, scale or nan option that cannot be meant.
    """
    check_way(nan)
    source = open_container(path)
    mask_source = source if mask is None else open_container(mask)
    given_axes = None if axes is None else parse_axes(axes)
    given_scale = None if scale is None else check_scale(scale)

    # What is known by name is set aside first, so that a single array of another name is found.
    mask_name = find_key(mask_source, "mask", mask_key, guess=False)
    truth_name = find_key(source, "truth", truth_key, guess=False)
    aside = [name for name in (truth_name,) if name]
    if mask is None and mask_name:
        aside.append(mask_name)
    measurement_name = need_key(source, "measurement", measurement_key, taken=aside)
    if mask_name is None:
        taken = [measurement_name, *aside] if mask is None else []
        mask_name = need_key(mask_source, "mask", taken=taken)

    chosen = [("measurement", source, measurement_name), ("mask", mask_source, mask_name)]
    if truth_name is not None:
        chosen.append(("truth", source, truth_name))
    arrays = [container.read(name) for _, container, name in chosen]
    stacks = [
        container.stack(name, f"{what} {name!r}", given_axes) for what, container, name in chosen
    ]
    orders = resolve(stacks, path=source.path)
    arrays = [to_thw(array, order) for array, order in zip(arrays, orders, strict=True)]
    mended = [
        replaced(array, what, nan, container.path)
        for (what, container, _), array in zip(chosen, arrays, strict=True)
    ]
    arrays = [array for array, _ in mended]

    truth = arrays[2] if len(arrays) == 3 else None
    white, rule = _find_scale(source, given_scale, arrays[0], arrays[1], truth)
    return Capture(
        path=source.path,
        measurements=_divided(arrays[0], white),
        mask=_divided(arrays[1], 1.0),
        truth=None if truth is None else _unit(truth, white, rule, source.path),
        scale=white,
        scale_rule=rule,
        sources=tuple(dict.fromkeys((source.path, mask_source.path))),
        replaced=tuple(sentence for _, sentence in mended if sentence),
    )


def _find_scale(
    source: Container,
    given: float | None,
    measurement: np.ndarray,
    mask: np.ndarray,
    truth: np.ndarray | None,
) -> tuple[float, str]:
    if given is not None:
        return given, f"{given:g}, as given by --scale"
    if source.scale is not None:
        return source.scale, f"{source.scale:g}, as recorded in the file"
    if truth is not None:
        return scale_of_video(truth, path=source.path, what="the truth")
    if not (mask > 0).any():
        raise InputError(_CLOSED, path=source.path, hint=_OTHER_MASK)
    return scale_of_measurement(measurement, mask)


def _divided(array: np.ndarray, scale: float) -> np.ndarray:
    # Division in the wider type first, so that 64-bit values past float32's range survive.
    wide = array.astype(np.result_type(array.dtype, np.float32), copy=False)
    with np.errstate(over="ignore"):  # what is infinite in float32 is told by the Capture's check
        return np.ascontiguousarray(wide / scale if scale != 1 else wide, dtype=np.float32)


def _unit(truth: np.ndarray, scale: float, rule: str, path: Path) -> np.ndarray:
    unit = _divided(truth, scale)
    low, high = float(unit.min()), float(unit.max())
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        raise UsageError(
            f"{path}: at the scale {rule} the truth spans {low:.4g}..{high:.4g} instead of 0..1",
            hint="give the value of white with --scale",
        )
    return np.clip(unit, 0, 1, out=unit)


def _check_shapes(capture: Capture) -> None:
    measurements, mask, truth = capture.measurements, capture.mask, capture.truth
    if measurements.ndim != 3 or mask.ndim != 3 or 0 in measurements.shape + mask.shape:
        raise InputError(
            f"measurements {measurements.shape} and mask {mask.shape} must be (N, H, W), (T, H, W)",
            path=capture.path,
            hint=_OTHER_MASK,
        )
    if measurements.shape[1:] != mask.shape[1:]:
        raise InputError(
            f"the measurements are {measurements.shape[1:]} pixels, the mask {mask.shape[1:]}",
            path=capture.path,
            hint=_OTHER_MASK,
        )
    if truth is None:
        return
    if truth.ndim != 3 or truth.shape[1:] != mask.shape[1:]:
        raise InputError(
            f"the truth is {truth.shape}, the mask {mask.shape}: pictures of different size",
            path=capture.path,
            hint=_OTHER_TRUTH,
        )
    if len(truth) > len(measurements) * len(mask):
        raise InputError(
            f"the truth has {len(truth)} frames, more than {len(measurements)} measurements "
            f"of {len(mask)} frames hold",
            path=capture.path,
            hint=_OTHER_TRUTH,
        )
