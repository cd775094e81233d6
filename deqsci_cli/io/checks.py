"""What measurements, a mask and truth must be, wherever their arrays come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io.nan_policy import check_finite, tell
from deqsci_cli.io.scale import brightness

OTHER_MASK = "give the mask that belongs to this measurement"
_OTHER_TRUTH = "name its truth with --truth-key, or leave the truth out with --no-truth"
# A calibration measures values this far below zero where a mask is closed, of its maximum.
_NOISE = 0.01
# The mean of frames in 0..1 does not exceed 1; what is this far above it has another unit.
TOO_BRIGHT = 10.0


def check_arrays(measurements: np.ndarray, mask: np.ndarray, *, path: Path | None = None) -> None:
    """Refuse what is no measurements (N, H, W) with their mask (T, H, W).

    Of several arms the measurements are (N, K, H, W), the masks (K, T, H, W).

    Args:
        path: the file they come from, if they come from one.

    Raises:
        InputError: they are no stacks of real numbers of one picture size, a value is not finite,
            the mask is negative somewhere or closed everywhere.
    """
    if mask.ndim == 4 and measurements.ndim == 4 and len(mask) == measurements.shape[1]:
        for arm, own in enumerate(mask):
            check_arrays(measurements[:, arm], own, path=path)
        return
    if measurements.ndim != 3 or mask.ndim != 3 or 0 in measurements.shape + mask.shape:
        raise InputError(
            f"measurements {measurements.shape} and mask {mask.shape} must be (N, H, W), (T, H, W)",
            path=path,
            hint=OTHER_MASK,
        )
    if measurements.shape[1:] != mask.shape[1:]:
        raise InputError(
            f"the measurements are {measurements.shape[1:]} pixels, the mask {mask.shape[1:]}",
            path=path,
            hint=OTHER_MASK,
        )
    for what, array in (("measurement", measurements), ("mask", mask)):
        _check_numbers(array, what, path)
    check_mask(mask, path)


def check_mask(mask: np.ndarray, path: Path | None) -> None:
    """Refuse a mask (T, H, W) that no camera has.

    Raises:
        InputError: it is negative somewhere, or zero everywhere.
    """
    if (negative := mask < 0).any():
        raise InputError(
            f"the mask has {tell(negative, 'mask', 'negative')}",
            path=path,
            hint="a mask lets through between none and all of the light; check its calibration",
        )
    if not mask.any():
        raise InputError("the mask is closed (zero) everywhere", path=path, hint=OTHER_MASK)


def check_truth(
    truth: np.ndarray, most: int, mask: np.ndarray, *, path: Path | None = None
) -> None:
    """Refuse what is no truth (K, H, W) of measurements seen through this mask.

    Args:
        most: the frames that the measurements hold, N * T.

    Raises:
        InputError: its shape does not fit, or a value is not finite.
    """
    if truth.ndim != 3 or truth.shape[1:] != mask.shape[-2:]:
        raise InputError(
            f"the truth is {truth.shape}, the mask {mask.shape}: pictures of different size",
            path=path,
            hint=_OTHER_TRUTH,
        )
    if len(truth) > most:
        raise InputError(
            f"the truth has {len(truth)} frames, the measurements hold {most}",
            path=path,
            hint=_OTHER_TRUTH,
        )
    _check_numbers(truth, "truth", path)


def check_seen(
    seen: np.ndarray, measurements: np.ndarray, *, path: Path | None = None
) -> np.ndarray:
    """The map of pixels that tell something, itself.

    Args:
        seen: booleans as the measurements (N, H, W) or (N, K, H, W).

    Raises:
        InputError: it is no such map, or no pixel of a measurement tells anything.
    """
    if seen.dtype != np.bool_ or seen.shape != measurements.shape:
        raise InputError(
            f"the map of pixels that tell something is {seen.dtype} {seen.shape}",
            path=path,
            hint=f"booleans, as the measurements: {measurements.shape}",
        )
    if not (left := seen.reshape(len(seen), -1).any(1)).all():
        raise InputError(
            f"no pixel of measurement {int(np.argmin(left))} tells anything: all are clipped, "
            "broken or not numbers",
            path=path,
            hint="leave it out with --measurements, or check the saturation level, the dark frame "
            "and the list of bad pixels",
        )
    return seen


def check_unit(measurements: np.ndarray, mask: np.ndarray) -> None:
    """Refuse measurements of frames in another unit than white = 1, where that can be told.

    Raises:
        InputError: the mean frame would be more than ten times as bright as white.
    """
    if mask.ndim == 4:
        measurements, mask = measurements[:, 0], mask[0]
    level = brightness(measurements, mask)
    if level > TOO_BRIGHT:
        raise InputError(
            f"the mean frame of the measurement (it, divided by the sum of masks) has {level:.4g}, "
            "where white is 1",
            hint="divide the measurement by the value of white, as io.load_capture does",
        )


def without_noise(mask: np.ndarray) -> tuple[np.ndarray, str]:
    """A mask without the noise of its calibration around zero, and a sentence on that.

    If its lowest value is negative, but not below -1 % of the highest, then values of no more than
    that size become 0, so that a pixel that is closed in all frames is known for one; it would
    force its noise on the film. Lower values are left to be refused.

    Returns:
        The mask, itself where nothing changes, and the sentence, empty then.
    """
    lowest = float(mask.min())
    if not -_NOISE * float(mask.max()) <= lowest < 0:
        return mask, ""
    return np.where(mask <= -lowest, 0, mask).astype(mask.dtype), (
        f"the mask has {np.count_nonzero(mask < 0)} values below 0, down to {lowest:.2g}: they are "
        f"taken for noise of its calibration, and all up to {-lowest:.2g} for 0"
    )


def _check_numbers(array: np.ndarray, what: str, path: Path | None) -> None:
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"the {what} is of type {array.dtype}, not real numbers",
            path=path,
            hint="save it as a plain numeric array",
        )
    check_finite(array, what, path)
