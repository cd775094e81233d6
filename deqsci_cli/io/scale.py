"""How bright is white: the rules that find a file's intensity scale."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError, UsageError

# White of 8, 10, 12 and 16 bits.
_PEAKS = (255.0, 1023.0, 4095.0, 65535.0)
# Interpolation and rounding overshoot white a little.
_OVERSHOOT = 1.001
# A real capture shows no white; single frames are brighter than the mean of all frames where
# things move, so white is put this far above the brightest of the mean.
_HEADROOM = 1.5
# The brightest of the mean frame fills at least this much of the range that a peak stands for.
_FILLED = 0.5
# Up to here a mask is one of shares of light, with the noise of its calibration; above, of counts.
_WHOLE = 1.01
# Films are stored in single precision: frames overshoot white, and have grey steps far below it.
_SMALLEST = float(np.finfo(np.float32).tiny) * 1e4
_LARGEST = float(np.finfo(np.float32).max) / 1e4


def check_scale(scale: float) -> float:
    """`scale` itself, as an option gives it.

    Raises:
        UsageError: unless it is a positive number at which films can be stored.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"--scale must be a positive number, not {scale}")
    if not storable(scale):
        raise UsageError(
            f"--scale {scale:g} is out of range: films are stored in single precision",
            hint=f"a value of white from {_SMALLEST:.1g} to {_LARGEST:.1g}",
        )
    return float(scale)


def check_recorded(scale: float, path: Path) -> tuple[float, str]:
    """A scale that a file records, and the sentence that says so.

    Raises:
        InputError: unless films can be stored at it.
    """
    if not storable(scale):
        raise InputError(
            f"the file records the scale {scale:g}, at which no film can be stored",
            path=path,
            hint="write it again, or tell a capture's with --scale",
        )
    return scale, f"{scale:g}, as recorded in the file"


def storable(scale: float) -> bool:
    """Whether films at this scale are within single precision."""
    return _SMALLEST <= scale <= _LARGEST


def scale_of_video(video: np.ndarray, *, path: Path, what: str) -> tuple[float, str]:
    """The peak of grey values, by their type and maximum.

    uint8 has 255. Other integers have 255 up to that maximum, else the smallest of 1023, 4095 and
    65535 that holds the maximum. Floating point has 1 up to a maximum of 1.001, then 255 and the
    same peaks. (Booleans have 1.)

    Returns:
        The peak and a sentence that says how it was found.

    Raises:
        InputError: for values past 65535.
    """
    highest = float(video.max())
    if video.dtype.kind == "b":
        return 1.0, f"1, since {what} is a logical array"
    peaks: tuple[float, ...] = (1.0, *_PEAKS)
    if video.dtype.kind in "iu":
        if video.dtype == np.uint8:
            return 255.0, f"255, since {what} is of type uint8"
        peaks = _PEAKS
    for peak in peaks:
        if highest <= peak * _OVERSHOOT:
            return peak, f"{peak:g}, since {what} ({video.dtype}) reaches {highest:.6g}"
    raise InputError(
        f"{what} reaches {highest:.6g}, more than 16 bits hold",
        path=path,
        hint="give the value of white with --scale",
    )


def brightness(measurement: np.ndarray, mask: np.ndarray) -> float:
    """How bright the brightest place of the mean frame is, in the measurement's unit.

    The measurement (N, H, W) divided by the sum of masks (T, H, W) is the mean frame; its 99.9th
    percentile stands for the brightest place. Only well-exposed pixels count, those whose sum of
    masks is at least a quarter of the median over open pixels, so that noise over a nearly closed
    pixel cannot pass for light.
    """
    total = mask.sum(axis=0, dtype=np.float64)
    exposed = total >= 0.25 * np.median(total[total > 0])
    precision = np.result_type(measurement.dtype, np.float32)
    mean_frame = measurement[:, exposed] / total[exposed].astype(precision)
    return float(np.percentile(mean_frame, 99.9))


def scale_of_measurement(
    measurement: np.ndarray, mask: np.ndarray, *, path: Path
) -> tuple[float, str]:
    """The scale of a measurement without truth, by its `brightness` p, whatever its type.

    - mask within 0..1: the one of 1, 255, 1023, 4095, 65535 of which p is 0.5 to 1.05;
    - else (a camera that scales to its own peak, a mask in counts): no white is known, so white is
      put at 1.5 p.

    Returns:
        The scale and a sentence that says how it was found.

    Raises:
        InputError: no film can be stored at that scale.
    """
    p = brightness(measurement, mask)
    if p <= 0:
        return 1.0, "1, since the measurement is black, or below 0 (nothing to take a scale from)"
    told = f"the mean frame's brightness (99.9th percentile) is {p:.4g}"
    if mask.max() <= _WHOLE:
        for peak in (1.0, *_PEAKS):
            if _FILLED * peak <= p <= 1.05 * peak:
                return peak, f"{peak:g}, since {told}"
        unknown = "which is that of no usual white"
    else:
        unknown = "no white level is known for this mask"
    scale = _HEADROOM * p
    if not storable(scale):
        raise InputError(
            f"{told}, and films are stored in single precision",
            path=path,
            hint="export the measurement in another unit",
        )
    return scale, f"{scale:.6g}, {_HEADROOM} times the brightest: {told}, {unknown}"
