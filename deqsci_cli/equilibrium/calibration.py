"""What a camera is, from its own captures: few parameters that explain them best.

A displacement is sought on a coarse grid first, for the score has many minima; then all parameters
together by L-BFGS, with the gradient through the fixed point. Gains are found last, another way:
frame by frame, a lamp that flickers and a scene that does look alike.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from deqsci_cli.equilibrium.camera_errors import standard_errors
from deqsci_cli.equilibrium.camera_found import Calibration, Found
from deqsci_cli.equilibrium.camera_gains import GAINS_ASSUME, find_gains
from deqsci_cli.equilibrium.camera_parts import choose_parts, motion_of, unevenness
from deqsci_cli.equilibrium.camera_score import ROUGH, CameraScore, white_of
from deqsci_cli.equilibrium.held_out import held_out_score
from deqsci_cli.errors import UsageError
from deqsci_cli.physics.optics import BETWEEN
from deqsci_cli.physics.sensing import SensingOperator

#: what may be found
PARAMETERS = ("shift", "rotation", "scale", "gains", "offset", "blur")
#: those that move the mask; a blur is sought with them, see `calibrate`
PLACES = ("shift", "rotation", "scale")

# The coarse grid of displacements, in pixels, and the blur of all that are tried on it.
_GRID = (-2.0, -1.0, 0.0, 1.0, 2.0)
_GRID_BLUR = 0.5
# Pixels at the border that no candidate is judged by.
_BORDER = 3
# A parameter counts as told by the data if its standard error is below this (a rotation and a
# scale: at the border of the picture, in pixels) ...
_LARGEST_ERROR = {"rows": 0.2, "columns": 0.2, "across": 0.2, "rotation": 0.2, "scale": 0.2}
_LARGEST_ERROR |= {"offset": 0.03, "variance": 0.3}
# ... and if a change by as much raises the score, all else fitted anew, by at least this.
_LEAST_RISE = 2e-4
# How uneven the sum of a mask's frames must be, at least, for a black level to be told.
_LEAST_UNEVENNESS = 0.03
_EVEN = (
    "the mask's frames add up to nearly the same everywhere: a black level looks like a brighter "
    "film"
)
_BOUNDS = {"rotation": (-3.0, 3.0), "scale": (-0.03, 0.03), "offset": (-0.3, 0.5)}
_BOUNDS |= {"variance": (0.0, 4.0)}


def calibrate(
    measurements: np.ndarray,
    mask: np.ndarray,
    parameters: Collection[str],
    seen: np.ndarray | None = None,
) -> Calibration:
    """Find what a camera is from captures that it made.

    With a shift, a rotation or a scale a blur is always sought: sharp candidates would otherwise
    be compared with a true mask that is less sharp between its pixels.

    Args:
        measurements: `(N, H, W)`, all of one camera.
        mask: `(T, H, W)`, as on file.
        parameters: some of `PARAMETERS`.
        seen: booleans `(N, H, W)`, pixels whose value tells something.

    Returns:
        What was found; what the data cannot tell is left as it is on file, and says so.

    Raises:
        UsageError: there is no such parameter, or none is named.
    """
    unknown = sorted(set(parameters) - set(PARAMETERS))
    if unknown or not parameters:
        what = f"'{unknown[0]}' is no parameter" if unknown else "no parameter is named"
        raise UsageError(what, hint=f"some of {', '.join(PARAMETERS)}")
    y, coding = (torch.tensor(a, dtype=torch.float32) for a in (measurements, mask))
    known = None if seen is None else torch.as_tensor(seen)
    search = _Search(y, coding, known, tuple(p for p in PARAMETERS if p in parameters))
    return search.run()


class _Search:
    """One calibration: the parts that it looks at, and what it has spent."""

    def __init__(self, y: Tensor, mask: Tensor, seen: Tensor | None, parameters: tuple[str, ...]):
        self.y, self.mask, self.seen, self.parameters = y, mask, seen, parameters
        self.moves = any(p in PLACES for p in parameters)
        self.parts = choose_parts(
            y, mask, seen, spread="rotation" in parameters or "scale" in parameters
        )
        self.motion = motion_of(mask) if "shift" in parameters else None
        if self.moves:  # what may have come from outside the picture tells nothing
            known = torch.zeros_like(y, dtype=torch.bool)
            known[:, _BORDER:-_BORDER, _BORDER:-_BORDER] = True
            self.seen = known if seen is None else known & seen
        self.half = max(mask.shape[-2:]) / 2
        self.evaluations = 0

    def run(self) -> Calibration:
        names, values, between = self._names(), np.zeros(0), "band"
        found: dict[str, Found] = {}
        if names:
            between, values = self._fitted(names)
            values, names, found = self._told(names, values, between)
        if self._even():
            found["offset"] = Found(0.0, math.inf, _EVEN)
        score = self._score(names, between)
        optics = score.optics(torch.as_tensor(values, dtype=torch.float32))
        black = score.offset(values)
        gains = None
        if "gains" in self.parameters:
            gains, errors = self._gains(score, values)
            for t, (gain, error) in enumerate(zip(gains.tolist(), errors.tolist(), strict=True)):
                found[f"gain {t}"] = Found(gain, error)
        full = replace(optics, gains=gains)
        moved = full(self.mask).clamp(min=0)
        before, after = (self._fit_of(m, b) for m, b in ((self.mask, 0.0), (moved, black)))
        place = np.zeros(len(values))
        whole = (score.value(place), score.value(values))
        self.evaluations += score.evaluations
        return Calibration(
            found=found,
            between=between,
            white=white_of(self.mask),
            score=whole,
            misfit=(before[0], after[0]),
            held_out=(before[1], after[1]),
            mask=moved.numpy(),
            margin=full.margin((self.mask.shape[1], self.mask.shape[2])) if self.moves else 0,
            inside=full.inside((self.mask.shape[1], self.mask.shape[2])).numpy(),
            evaluations=self.evaluations,
            assumed=(GAINS_ASSUME,) if gains is not None else (),
        )

    def _names(self) -> tuple[str, ...]:
        """The names of the numbers that the score has, for what is sought."""
        names: list[str] = []
        if "shift" in self.parameters:
            names += ["rows", "columns"] if self.motion is None else ["across"]
        names += [p for p in ("rotation", "scale") if p in self.parameters]
        if "offset" in self.parameters and not self._even():
            names.append("offset")
        return (*names, "variance") if self.moves or "blur" in self.parameters else tuple(names)

    def _even(self) -> bool:
        """Whether a black level is sought that this mask cannot tell, whatever it films."""
        return "offset" in self.parameters and unevenness(self.mask) < _LEAST_UNEVENNESS

    def _score(self, names: tuple[str, ...], between: str = "band", blur: float = 0) -> CameraScore:
        return CameraScore(
            self.y, self.mask, self.parts, names, self.seen, between, blur, self.motion
        )

    def _fitted(self, names: tuple[str, ...]) -> tuple[str, np.ndarray]:
        """The best kind of interpolation, and the values with it."""
        start = np.array([0.1 if name == "variance" else 0.0 for name in names])
        if "shift" in self.parameters:
            place = self._coarse()
            start[: len(place)] = place
        best: tuple[float, str, np.ndarray] | None = None
        for between in BETWEEN if self.moves else ("band",):
            score = self._score(names, between)
            reached, values = self._minimum(score, start)
            if best is None or reached < best[0]:
                best = reached, between, values
            if between == "band":  # the others begin where it ended, all but the blur
                start = np.where([name == "variance" for name in names], start, values)
            self.evaluations += score.evaluations
        assert best is not None
        return best[1], best[2]

    def _coarse(self) -> np.ndarray:
        """The best displacement on the grid."""
        names = ("rows", "columns") if self.motion is None else ("across",)
        score = self._score(names, blur=_GRID_BLUR)
        places = [np.array(place) for place in product(_GRID, repeat=len(names))]
        scores = [score.value(place, ROUGH, afresh=True) for place in places]
        self.evaluations += score.evaluations
        return places[int(np.argmin(scores))]

    def _unit(self, name: str) -> float:
        """By how much a number is changed for an effect like that of a pixel, or so."""
        at_border = {"rotation": math.degrees(1 / self.half), "scale": 1 / self.half}
        return ({"variance": 0.3, "offset": 0.2} | at_border).get(name, 1.0)

    def _minimum(self, score: CameraScore, start: np.ndarray) -> tuple[float, np.ndarray]:
        units = np.array([self._unit(name) for name in score.names])
        bounds = []
        for name, unit, first in zip(score.names, units, start, strict=True):
            low, high = _BOUNDS.get(name, (first - 1.5, first + 1.5))
            bounds.append((low / unit, high / unit))

        best = math.inf, start

        def scaled(z: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal best
            value, gradient = score(z * units)
            if value < best[0]:
                best = value, z * units
            return value, gradient * units

        # A search that its own noise ends goes back to where its last line began: hence `best`.
        options = {"maxiter": 12, "ftol": 3e-5, "gtol": 5e-3, "maxls": 5}
        minimize(scaled, start / units, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return best

    def _told(
        self, names: tuple[str, ...], values: np.ndarray, between: str
    ) -> tuple[np.ndarray, tuple[str, ...], dict[str, Found]]:
        """What the data tell, fitted without what they do not."""
        errors, reasons = self._errors(names, values, between)
        kept = tuple(name for name in names if name not in reasons)
        if reasons and kept:
            at = np.array([v for name, v in zip(names, values, strict=True) if name in kept])
            score = self._score(kept, between)
            _, values = self._minimum(score, at)
            self.evaluations += score.evaluations
        elif reasons:
            values = np.zeros(0)
        found = self._found(kept, values, between, errors)
        for name, reason in reasons.items():
            neutral = 1.0 if name == "scale" else 0.0
            found["blur" if name == "variance" else name] = Found(neutral, math.inf, reason)
        return values, kept, found

    def _errors(
        self, names: tuple[str, ...], values: np.ndarray, between: str
    ) -> tuple[dict[str, float], dict[str, str]]:
        """The standard errors, and for what the data do not tell the reason."""
        # A blur that has come to 0 has no slope there: it is told, and the others are looked at.
        free = tuple(n for n, v in zip(names, values, strict=True) if n != "variance" or v > 0.01)
        at = np.array([v for n, v in zip(names, values, strict=True) if n in free])
        errors, reasons = dict.fromkeys(names, 0.0), {}
        if free:
            score = self._score(free, between)
            units = np.array([self._unit(n) for n in free])
            found, curvature = standard_errors(score, at, units)
            self.evaluations += score.evaluations
            for name, error, curve in zip(free, found.tolist(), curvature.tolist(), strict=True):
                errors[name] = error
                limit = _LARGEST_ERROR[name]
                if name in ("rotation", "scale"):
                    limit *= self._unit(name)
                if curve * limit**2 / 2 < _LEAST_RISE:
                    reasons[name] = f"the score is the same for any value of it near {limit:.2g}"
                elif error > limit:
                    reasons[name] = f"its standard error is {error:.2g}, above {limit:.2g}"
        return errors, reasons

    def _found(
        self, names: tuple[str, ...], values: np.ndarray, between: str, errors: dict[str, float]
    ) -> dict[str, Found]:
        """What was found, with the score against each number."""
        found = {}
        score = self._score(names, between)
        for i, name in enumerate(names):
            value, error = float(values[i]), errors[name]
            curve = []
            for step in (-1.0, -0.5, 0.0, 0.5, 1.0):
                at = values.copy()
                at[i] += step * self._unit(name)
                if name == "variance" and at[i] < 0:
                    continue
                curve.append((float(at[i]), score.value(at)))
            if name == "scale":
                value, curve = 1 + value, [(1 + v, s) for v, s in curve]
            if name == "variance":
                name, value = "blur", math.sqrt(max(value, 0))
                error = error / (2 * value) if value > 0.05 else error**0.5
                curve = [(math.sqrt(v), s) for v, s in curve]
            found[name] = Found(value, error, None, tuple(curve))
        self.evaluations += score.evaluations
        if "across" in found:
            found |= self._both(found.pop("across"))
        return found

    def _both(self, across: Found) -> dict[str, Found]:
        """The two components of a shift across the mask's own motion."""
        assert self.motion is not None
        down, right = self.motion
        length = math.hypot(down, right)
        why = (
            f"the mask moves by ({down:.2g}, {right:.2g}) pixels a frame: a shift along its motion "
            f"looks like a film a moment earlier or later"
        )
        parts = {}
        for name, share, own in (
            ("rows", right / length, down),
            ("columns", -down / length, right),
        ):
            curve = tuple((v * share, s) for v, s in across.curve)
            parts[name] = Found(
                across.value * share, across.error * abs(share), why if own else None, curve
            )
        return parts

    def _gains(self, score: CameraScore, values: np.ndarray) -> tuple[Tensor, Tensor]:
        """The gains of the frames, with all else as it was found."""
        with torch.no_grad():
            mask, measured = score.camera(values)
            self.evaluations += 1
            return find_gains(measured, mask, score.seen)

    def _fit_of(self, mask: Tensor, black: float) -> tuple[float, float]:
        """The misfit of plain GAP and the held-out error, the mean over the parts."""
        score = CameraScore(self.y - black, mask, self.parts, (), self.seen)
        operator = SensingOperator(score.camera(np.zeros(0))[0], score.seen)
        self.evaluations += 2
        return score.misfit(), float(held_out_score(operator, score.measured).mean())
