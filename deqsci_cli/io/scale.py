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


def check_scale(scale: float) -> float:
    """`scale` itself.

    Raises:
        UsageError: unless it is a positive number.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"--scale must be a positive number, not {scale}")
    return float(scale)


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


def scale_of_measurement(measurement: np.ndarray, mask: np.ndarray) -> tuple[float, str]:
    """The scale of a measurement (N, H, W) without truth, seen through its mask (T, H, W).

    The measurement divided by the sum of masks is the brightness of the mean frame; its 99.9th
    percentile p stands for the brightest place. Only well-exposed pixels count, those whose sum
    of masks is at least a quarter of the median over open pixels, so that noise over a nearly
    closed pixel cannot pass for light.

    - mask within 0..1: the smallest of 1, 255, 1023, 4095, 65535 with p <= 1.05 times it;
    - mask in counts (a calibrated camera): no white is known, so white is put at 1.5 p.
    """
    total = mask.sum(axis=0, dtype=np.float64)
    exposed = total >= 0.25 * np.median(total[total > 0])
    brightness = measurement[:, exposed] / total[exposed]
    p = float(np.percentile(brightness, 99.9))
    if p <= 0:
        return 1.0, "1, since the measurement is black (nothing to take a scale from)"
    told = f"the mean frame's brightness (99.9th percentile) is {p:.4g}"
    if mask.max() <= 1:
        for peak in (1.0, *_PEAKS):
            if p <= 1.05 * peak:
                return peak, f"{peak:g}, since {told}"
    scale = _HEADROOM * p
    return scale, (
        f"{scale:.6g}, {_HEADROOM} times the brightest: {told} "
        "and no white level is known for this mask"
    )
