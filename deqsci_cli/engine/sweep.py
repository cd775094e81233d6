"""What a benchmark changes while all else stays: the tolerance, noise, where the mask lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import fourier_shift

from deqsci_cli.errors import UsageError
from deqsci_cli.io import Capture
from deqsci_cli.physics.noise import SensorNoise

#: what may be swept
SWEEPS = ("tol", "noise", "shift")


@dataclass(frozen=True)
class Sweep:
    """One thing that is changed while all else stays.

    Attributes:
        what: one of `SWEEPS`: the solver's tolerance; the standard deviation of noise that is
            added to the measurement; or by how many pixels the camera's mask lay right of and
            below where its file says.
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

    def frames_needed(self, capture: Capture) -> int:
        """How many frames of truth a measurement must have."""
        return capture.frames if self.what == "shift" else 1

    def measurement(self, capture: Capture, index: int, value: float, seed: int) -> np.ndarray:
        """What the camera records `(H, W)` at one of the values.

        Args:
            capture: with the measurement.
            index: which one.
            value: of what is swept.
            seed: of added noise.
        """
        recorded: np.ndarray = capture.measurements[index]
        if self.what == "noise":
            rng = np.random.default_rng(seed)
            return SensorNoise(read=value).apply(recorded, rng, full_range=1)
        if self.what == "shift":
            return np.asarray((displaced(capture.mask, value) * capture.truth_of(index)).sum(0))
        return recorded


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
