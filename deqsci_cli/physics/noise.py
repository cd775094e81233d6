"""What a sensor adds to the measurement: shot noise, read noise, saturation, quantisation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deqsci_cli.errors import UsageError

# More than numpy draws.
_MOST_PHOTONS = 1e18


@dataclass(frozen=True, eq=False)
class Pixels:
    """In what the pixels of a sensor differ.

    Attributes:
        answers: (H, W), how strongly each answers to light, 1 on the mean; or one number.
        dark: what each shows without light, in units of one frame's white; likewise.
        bad: (H, W) booleans, those that are broken: by turns they show nothing, and the end of
            the range. None for none.
    """

    answers: np.ndarray | float = 1.0
    dark: np.ndarray | float = 0.0
    bad: np.ndarray | None = None

    def most(self, light: np.ndarray) -> float:
        """The most that a pixel shows of a light (H, W)."""
        return float((light * self.answers).max() + max(0.0, np.max(self.dark)))


@dataclass(frozen=True)
class SensorNoise:
    """A sensor, in the order of its physics: photons, electronics, full well, converter.

    Attributes:
        peak: photons that a measurement of 1 (one frame's white, fully open) stands for;
            Poisson shot noise if given.
        read: standard deviation of the Gaussian read noise, in units of one frame's white; None
            for none.
        saturation: the measurement above which the sensor clips, in the same units.
        bits: resolution of the converter, whose range ends at `saturation`, or at the number
            of frames if that is not given.
    """

    peak: float | None = None
    read: float | None = None
    saturation: float | None = None
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.peak is not None and not 0 < self.peak < math.inf:
            raise UsageError("the peak of the shot noise must be above 0 photons, and finite")
        if self.read is not None and not 0 <= self.read < math.inf:
            raise UsageError("the read noise must not be negative, nor infinite")
        if self.saturation is not None and not 0 < self.saturation < math.inf:
            raise UsageError("the saturation must be above 0, and finite")
        if self.bits is not None and not 1 <= self.bits <= 32:
            raise UsageError("the converter has 1 to 32 bits")

    def apply(
        self,
        measurement: np.ndarray,
        rng: np.random.Generator,
        *,
        full_range: float,
        pixels: Pixels | None = None,
    ) -> np.ndarray:
        """A noisy copy of a clean measurement.

        Args:
            measurement: `(…, H, W)`, in units of one frame's white.
            rng: draws the noise.
            full_range: end of the converter's range where no saturation is given.
            pixels: in what they differ; None if they do not.

        Returns:
            The same shape, float32.

        Raises:
            UsageError: there are more photons than can be counted.
        """
        pixels = pixels or Pixels()
        end = self.saturation or full_range
        out = measurement.astype(np.float64) * pixels.answers
        if self.peak is not None:
            photons = np.maximum(out, 0) * self.peak
            if photons.max(initial=0) > _MOST_PHOTONS:
                raise UsageError("of so many photons there is no noise", hint="leave the peak out")
            out = rng.poisson(photons) / self.peak
        if self.read:
            out = out + rng.normal(0, self.read, out.shape)
        out = out + pixels.dark
        if self.saturation is not None:
            out = np.clip(out, 0, self.saturation)
        if pixels.bad is not None:
            rows, columns = np.nonzero(pixels.bad)
            out[..., rows[::2], columns[::2]] = 0
            out[..., rows[1::2], columns[1::2]] = end
        if self.bits is not None:
            steps = 2**self.bits - 1
            out = np.clip(np.rint(out / end * steps), 0, steps) * (end / steps)
        return out.astype(np.float32)
