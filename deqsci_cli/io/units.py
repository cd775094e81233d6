"""Measurements and truth as stored, brought to the unit in which white is 1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deqsci_cli.errors import DeqsciError, InputError, UsageError
from deqsci_cli.io.checks import TOO_BRIGHT
from deqsci_cli.io.scale import brightness

# How far interpolated truth may lie outside 0..1 before the scale must be wrong.
_TOLERANCE = 0.01
# No sensor tells what is darker than this, of white, from black.
_DARKEST = 1e-9


@dataclass(frozen=True)
class White:
    """The stored value of white.

    Attributes:
        value: it.
        rule: how it was found, as a sentence.
        given: whether by an option, which then is to blame.
    """

    value: float
    rule: str
    given: bool

    def wrong(self, message: str, path: Path) -> DeqsciError:
        """The error of a scale that the values contradict."""
        kind = UsageError if self.given else InputError
        other = "another" if self.given else "the"
        return kind(
            f"at the scale {self.rule} {message}",
            path=path,
            hint=f"give {other} value of white with --scale",
        )


def divided(array: np.ndarray, scale: float) -> np.ndarray:
    """`array / scale` in single precision; what is past its range becomes infinite."""
    # Division in the wider type first, so that 64-bit values past float32's range survive.
    wide = array.astype(np.result_type(array.dtype, np.float32), copy=False)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(wide / scale if scale != 1 else wide, dtype=np.float32)


def measurements_in_white(raw: np.ndarray, white: White, path: Path) -> np.ndarray:
    """Measurements (N, H, W) in units of white.

    Raises:
        UsageError: a given scale takes them past single precision.
    """
    measurements = divided(raw, white.value)
    if white.given and not np.isfinite(measurements).all() and np.isfinite(divided(raw, 1.0)).all():
        raise white.wrong("the measurement is past single precision", path)
    return measurements


def check_level(
    measurements: np.ndarray, raw: np.ndarray, mask: np.ndarray, white: White, path: Path
) -> list[str]:
    """Whether measurements (N, H, W) in units of white can be of frames in 0..1.

    Args:
        raw: the measurements as stored.

    Returns:
        A sentence if they are far too bright, else none.

    Raises:
        UsageError: a given scale leaves nothing of them.
        InputError: another one does.
    """
    if not np.isfinite(measurements).all():
        return []  # which the capture's own check tells
    level = brightness(measurements, mask)
    if level < _DARKEST and brightness(raw, mask) > 0:
        raise white.wrong(
            f"nothing is left of the measurement: its brightest place has {level:.2g} of white",
            path,
        )
    if level <= TOO_BRIGHT:
        return []
    return [
        f"at the scale {white.rule} the mean frame is {level:.4g} times as bright as white: "
        "is that scale right?"
    ]


def truth_in_white(raw: np.ndarray, white: White, path: Path) -> np.ndarray:
    """Truth (K, H, W) in units of white.

    Raises:
        UsageError: at a given scale it does not lie within 0..1.
        InputError: it does not at the one that was found.
    """
    unit = divided(raw, white.value)
    low, high = float(unit.min()), float(unit.max())
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        error = white.wrong(f"the truth spans {low:.4g}..{high:.4g} instead of 0..1", path)
        error.hint = f"{error.hint}, or leave the truth out with --no-truth"
        raise error
    return np.clip(unit, 0, 1, out=unit)
