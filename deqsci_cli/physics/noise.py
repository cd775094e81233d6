"""What a sensor adds to the measurement: shot noise, read noise, saturation, quantisation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deqsci_cli.errors import UsageError


@dataclass(frozen=True)
class SensorNoise:
    """A sensor, in the order of its physics: photons, electronics, full well, converter.

    Attributes:
        peak: photons that a measurement of 1 (one frame's white, fully open) stands for;
            Poisson shot noise if given.
        read: standard deviation of the Gaussian read noise, in units of one frame's white.
        saturation: the measurement above which the sensor clips, in the same units.
        bits: resolution of the converter, whose range ends at `saturation`, or at the number
            of frames if that is not given.
    """

    peak: float | None = None
    read: float = 0.0
    saturation: float | None = None
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.peak is not None and not 0 < self.peak < math.inf:
            raise UsageError("the peak of the shot noise must be above 0 photons, and finite")
        if not 0 <= self.read < math.inf:
            raise UsageError("the read noise must not be negative, nor infinite")
        if self.saturation is not None and not 0 < self.saturation < math.inf:
            raise UsageError("the saturation must be above 0, and finite")
        if self.bits is not None and not 1 <= self.bits <= 32:
            raise UsageError("the converter has 1 to 32 bits")

    def apply(
        self, measurement: np.ndarray, rng: np.random.Generator, *, full_range: float
    ) -> np.ndarray:
        """A noisy copy of a clean measurement.

        Args:
            measurement: `(…, H, W)`, in units of one frame's white.
            rng: draws the noise.
            full_range: end of the converter's range where no saturation is given.

        Returns:
            The same shape, float32.
        """
        out = measurement.astype(np.float64)
        if self.peak is not None:
            out = rng.poisson(np.maximum(out, 0) * self.peak) / self.peak
        if self.read:
            out = out + rng.normal(0, self.read, out.shape)
        if self.saturation is not None:
            out = np.clip(out, 0, self.saturation)
        if self.bits is not None:
            end = self.saturation or full_range
            steps = 2**self.bits - 1
            out = np.clip(np.rint(out / end * steps), 0, steps) * (end / steps)
        return out.astype(np.float32)
