"""Whether the truth, seen through the mask, gives the measurement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError

# Root mean square, relative to the measurement: noise stays below it, another camera's mask
# (0.47 of a random one half open) does not.
_MISFIT = 0.2
# A factor must explain this much of the misfit to be believed, and more than calibration does.
_EXPLAINED = 0.1
_SMALL = 0.05


@dataclass(frozen=True)
class _Fit:
    """How a measurement compares with `sum_t mask_t truth_t`.

    Attributes:
        factor: by which the sum comes nearest to it.
        energy: of the measurement, and
        seen: of the sum: mean squares.
    """

    index: int
    factor: float
    energy: float
    seen: float

    def misfit(self, factor: float) -> float:
        """Root mean square of `y - factor * sum`, relative to that of y."""
        # |y - f s|^2 with <y, s> = factor |s|^2.
        square = self.energy + (factor**2 - 2 * factor * self.factor) * self.seen
        return float(np.sqrt(max(square, 0.0) / self.energy))


def compare(
    measurements: np.ndarray,
    mask: np.ndarray,
    truth: np.ndarray,
    *,
    same_unit: bool = False,
    seen: np.ndarray | None = None,
) -> tuple[float, tuple[str, ...]]:
    """Compare each measurement that has all of its truth with `sum_t mask_t truth_t`.

    Args:
        measurements: (N, H, W).
        mask: (T, H, W).
        truth: (K, H, W).
        same_unit: the file says that measurement and truth have one unit; no factor is sought.
        seen: (N, H, W), the pixels that tell something; None for all.

    Returns:
        The factor that the measurements have over mask x truth where they are in another unit
        (a mask of 0 and 255, a measurement that an 8-bit camera has scaled to its own peak), else
        1; and sentences on that factor and on measurements that differ all the same.
    """
    fits = _fits(measurements, mask, truth, seen)
    factor = 1.0 if same_unit else _common_factor(fits)
    notes = []
    if factor > 1:
        notes.append(f"the measurement is {factor:.5g} times mask x truth, and is divided by that")
    elif factor < 1:
        notes.append(
            f"mask x truth is {1 / factor:.5g} times the measurement, which is multiplied by that"
        )
    if off := [fit for fit in fits if fit.misfit(factor) > _MISFIT]:
        worst = max(off, key=lambda fit: fit.misfit(factor))
        more = f", and {len(off) - 1} others less" if len(off) > 1 else ""
        notes.append(
            f"measurement {worst.index} differs from mask x truth by "
            f"{worst.misfit(factor):.0%}{more}: is the mask, or the truth, another's?"
        )
    return factor, tuple(notes)


def _common_factor(fits: list[_Fit]) -> float:
    """The factor of those that fit at all, if it explains what they differ by at 1; else 1."""
    good = [fit for fit in fits if fit.factor > 0 and fit.misfit(fit.factor) <= _MISFIT]
    if not good:
        return 1.0
    factor = float(np.median([fit.factor for fit in good]))
    before, after = (float(np.median([fit.misfit(f) for fit in good])) for f in (1.0, factor))
    return factor if before > _SMALL and after <= _EXPLAINED * before else 1.0


def check_one_mask(
    measurements: np.ndarray, mask: np.ndarray, truth: np.ndarray, path: Path
) -> None:
    """Refuse a mask that holds other frames for each measurement, where the truth tells so.

    Args:
        measurements: (N, H, W).
        mask: (T, H, W).
        truth: (K, H, W).

    Raises:
        InputError: the n-th part of mask and truth gives the n-th measurement.
    """
    count, frames = len(measurements), len(mask) // len(measurements)
    if count < 2 or len(mask) % count or len(truth) != len(mask):
        return
    whole = _fits(measurements[:1], mask, truth)
    parts = [
        fit
        for y, own, film in zip(
            measurements[:, None], np.split(mask, count), np.split(truth, count), strict=True
        )
        for fit in _fits(y, own, film)
    ]
    split, joint = (
        max((fit.misfit(fit.factor) for fit in fits), default=np.inf) for fits in (parts, whole)
    )
    if split <= _MISFIT and split < joint / 2:
        raise InputError(
            f"the mask has {len(mask)} frames: {frames} for each of {count} measurements, as mask "
            "x truth shows; a capture has one mask",
            path=path,
            hint=f"do one by one: frames 0:{frames} of the mask with measurement 0, "
            f"{frames}:{2 * frames} with 1 … (--frames and --measurements)",
        )


def _fits(
    measurements: np.ndarray,
    mask: np.ndarray,
    truth: np.ndarray,
    seen_pixels: np.ndarray | None = None,
) -> list[_Fit]:
    """The fit of each measurement that has all of its truth, and is not black."""
    frames, found = len(mask), []
    for index in range(min(len(measurements), len(truth) // frames)):
        part = truth[index * frames : (index + 1) * frames]
        seen = np.einsum("thw,thw->hw", mask, part).astype(np.float64)
        y = measurements[index].astype(np.float64)
        if seen_pixels is not None:
            y, seen = y * seen_pixels[index], seen * seen_pixels[index]
        energy, square = float(np.vdot(y, y)), float(np.vdot(seen, seen))
        if energy > 0 and square > 0:
            found.append(_Fit(index, float(np.vdot(seen, y)) / square, energy, square))
    return found
