"""What a calibration gives: numbers with their uncertainties, and the mask that they make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Found:
    """One number that was sought.

    Attributes:
        value: found, or that of no change where the data cannot tell.
        error: its standard error, from the curvature of the score and the scatter of its slope
            over the picture.
        unknown: why the data cannot tell it, a sentence; None where they can.
        curve: pairs (value, score): the score when this one is changed alone.
    """

    value: float
    error: float
    unknown: str | None = None
    curve: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Calibration:
    """What captures say of their camera.

    Attributes:
        found: by name: `rows` and `columns` (of the shift: pixels that the true mask lies below
            and right of the one on file), `rotation` (degrees counter-clockwise), `scale`
            (factor), `blur` (pixels), `offset` (black level in units of white, see `white`),
            `gain 0` and so on (mean 1).
        between: what the mask is best taken to be between its pixels, one of `BETWEEN`.
        white: what a white scene measures, in the measurement's units.
        score: of the captures with the camera on file, and with the one found.
        misfit: `||y - A x|| / ||y||` of plain GAP, before and after.
        held_out: the error of predicted hidden pixels, before and after.
        mask: `(T, H, W)`, the mask that was found, gains in it.
        margin: pixels at each border of it that are not to be trusted.
        inside: booleans `(H, W)`, where that mask came from inside the one on file. The others are
            best told as not seen: a single wrong row costs a decibel.
        evaluations: fixed points that were computed.
        assumed: sentences.
    """

    found: dict[str, Found]
    between: str
    white: float
    score: tuple[float, float]
    misfit: tuple[float, float]
    held_out: tuple[float, float]
    mask: np.ndarray
    margin: int
    inside: np.ndarray
    evaluations: int
    assumed: tuple[str, ...]

    @property
    def black_level(self) -> float:
        """What is to be subtracted from the measurement, in its units."""
        return self.white * self.found["offset"].value if "offset" in self.found else 0.0

    @property
    def gains(self) -> np.ndarray | None:
        """The gain of each frame `(T,)`, where they were sought."""
        values = [f.value for name, f in self.found.items() if name.startswith("gain ")]
        return np.array(values) if values else None
