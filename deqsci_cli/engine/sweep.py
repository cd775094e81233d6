"""What a benchmark changes while all else stays: the tolerance, or what the camera does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import fourier_shift

from deqsci_cli.errors import UsageError
from deqsci_cli.io import Capture
from deqsci_cli.io.clipping import clipping_level
from deqsci_cli.physics.noise import SensorNoise

# Beyond this, nothing is left of a measurement.
_BELOW_ONE = ("saturation", "gains")


@dataclass(frozen=True, eq=False)
class Given:
    """What a model is given.

    Attributes:
        measurement: (H, W), or (K, H, W) of K arms.
        mask: (T, H, W), or (K, T, H, W).
        seen: booleans as the measurement, the pixels that tell something; None for all.
        told: whether what the camera did was told, and is undone.
        noise: standard deviation of the measurement's noise, where that is told.
    """

    measurement: np.ndarray
    mask: np.ndarray
    seen: np.ndarray | None = None
    told: bool = False
    noise: float | None = None


@dataclass(frozen=True)
class Sweep:
    """One thing that is changed while all else stays.

    Attributes:
        what: one of `SWEEPS`: the solver's tolerance; or what the camera does: the standard
            deviation of noise that is added to the measurement; a black level that is added, of
            one frame's white; the share of the pixels, the brightest, that clip; by how much the
            lamp's gain differs from 1 in some frame at most; by how many pixels the camera's mask
            lay right of and below where its file says.
        values: what it is set to, one after the other.
    """

    what: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.what not in SWEEPS:
            raise UsageError(f"'{self.what}' is not swept", hint=f"one of {', '.join(SWEEPS)}")
        if not self.values:
            raise UsageError(f"the sweep of {self.what} needs values", hint="noise=0,0.01,0.02")
        if not all(0 <= value < math.inf for value in self.values):
            raise UsageError(f"values of {self.what} must not be negative, nor infinite")
        if self.what in _BELOW_ONE and max(self.values) >= 1:
            raise UsageError(f"values of {self.what} are below 1")

    @property
    def codes_anew(self) -> bool:
        """Whether measurements are made from their truth, and the recorded ones are not used."""
        return self.what in _MASKS

    def frames_needed(self, capture: Capture) -> int:
        """How many frames of truth a measurement must have."""
        return capture.frames if self.codes_anew else 1

    def given(self, capture: Capture, index: int, value: float, seed: int) -> list[Given]:
        """What a model is given at one of the values: as the camera records it, and if it is told.

        Args:
            capture: with the measurement.
            index: which one.
            value: of what is swept.
            seed: of everything random.
        """
        recorded = Given(capture.measurements[index], capture.mask, capture.seen(index))
        if self.what == "tol":
            return [recorded]
        if self.codes_anew:
            truth = capture.truth_of(index)
            assert truth is not None
            mask = _MASKS[self.what](capture.mask, value, seed)
            measurement = np.asarray((mask * truth).sum(0))
            return [Given(measurement, capture.mask), Given(measurement, mask, told=True)]
        return _SENSORS[self.what](recorded, value, seed)


def _noisy(clean: Given, value: float, seed: int) -> list[Given]:
    """Read noise. It cannot be undone; told, the measurement is trusted less."""
    rng = np.random.default_rng(seed)
    noisy = SensorNoise(read=value).apply(clean.measurement, rng, full_range=1)
    return [
        Given(noisy, clean.mask, clean.seen),
        Given(noisy, clean.mask, clean.seen, told=True, noise=value),
    ]


def _above_black(clean: Given, value: float, seed: int) -> list[Given]:
    """A black level; told, it is taken off again."""
    raised = clean.measurement + np.float32(value)
    lowered = raised - np.float32(value)
    return [
        Given(raised, clean.mask, clean.seen),
        Given(lowered, clean.mask, clean.seen, told=True),
    ]


def _clipped(clean: Given, value: float, seed: int) -> list[Given]:
    """The brightest pixels clip; untold, their level is looked for as in any capture's file."""
    y = clean.measurement
    level = np.quantile(y, 1 - value, method="lower")
    clipped = np.minimum(y, level)
    found = clipping_level(clipped[None], clean.mask)
    return [
        Given(clipped, clean.mask, _below(clipped, found, clean.seen)),
        Given(
            clipped, clean.mask, _below(clipped, level if value else None, clean.seen), told=True
        ),
    ]


def _below(
    measurement: np.ndarray, level: float | None, seen: np.ndarray | None
) -> np.ndarray | None:
    """The pixels below a level, of those that are seen; None for all."""
    if level is None:
        return seen
    below = measurement < level
    return below if seen is None else below & seen


def flickering(mask: np.ndarray, value: float, seed: int) -> np.ndarray:
    """A mask (T, H, W) times gains of mean 1, of which the farthest from 1 is `value` off."""
    gains = np.random.default_rng(seed).uniform(-1, 1, len(mask))
    gains -= gains.mean()
    if most := np.abs(gains).max():
        gains *= value / most
    return np.asarray(mask * (1 + gains[:, None, None]), dtype=mask.dtype)


def _shifted(mask: np.ndarray, value: float, seed: int) -> np.ndarray:
    """A mask elsewhere; it lets through no less than nothing."""
    return np.asarray(np.clip(displaced(mask, value), 0, None))


_SENSORS: dict[str, Callable[[Given, float, int], list[Given]]] = {
    "noise": _noisy,
    "offset": _above_black,
    "saturation": _clipped,
}
_MASKS: dict[str, Callable[[np.ndarray, float, int], np.ndarray]] = {
    "gains": flickering,
    "shift": _shifted,
}
#: what may be swept
SWEEPS = ("tol", *_SENSORS, *_MASKS)


def displaced(mask: np.ndarray, pixels: float) -> np.ndarray:
    """A mask `(T, H, W)` moved right and down; what leaves it comes in on the other side.

    Between pixels it is moved by the phases of its Fourier series, which keeps its contrast.
    Interpolation from neighbours would blur it, half-way the most, so that the values of a sweep
    would differ in more than the displacement. The price: a mask of 0 and 1 overshoots both.
    """
    whole = math.floor(pixels)
    moved = np.roll(mask, (whole, whole), axis=(1, 2))
    rest = pixels - whole
    if rest:
        phased = fourier_shift(rfft2(moved), (0, rest, rest), n=mask.shape[2])
        moved = irfft2(phased, s=mask.shape[1:])
    return np.asarray(moved, dtype=mask.dtype)
