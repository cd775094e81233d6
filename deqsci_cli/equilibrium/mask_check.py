"""Does this mask belong to this measurement? Told from pixels that a solve was not shown.

The held-out score of the right mask is compared with that of the same mask rolled far away. A
wrong mask does as badly as these. How much better a right one must do is told by a white scene:
what the rolled masks miss of it is what coding adds to the error, and the squares add up.

What cannot be told from a single measurement: a mask reversed in time; a shift of a translating
mask along its own motion, or but faintly; anything where the mask leaves no trace, as one
whose sum over the frames is the same everywhere (one frame open a pixel) on a scene at rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from deqsci_cli.equilibrium.held_out import held_out_score
from deqsci_cli.equilibrium.mask_candidates import Placed, far_rolls, placements
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import norms
from deqsci_cli.equilibrium.window import UNCHANGED, Window, brightest
from deqsci_cli.physics.sensing import SensingOperator

Verdict = Literal["fits", "unknown", "moved", "foreign"]
#: the best first
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

# A few evaluations keep the order of masks; more tell no more (benchmarks/README.md).
_CHECK = EquilibriumSettings(sigma=0.1, max_iter=6)
_SEARCH = EquilibriumSettings(sigma=0.1, max_iter=4)
_CHECK_SIDE, _SEARCH_SIDE = 128, 96
# The level at which total variation of this strength was tried; the score knows no units.
_LEVEL = 0.4
# Nothing is told from fewer pixels, nor where more than half of them tell nothing.
_FEWEST_PIXELS, _MOST_UNSEEN = 1000, 0.5
# Below the first a mask fits; above the second, or this much above what is expected of a right
# one, it is compared with others.
_CLEARLY_RIGHT, _DOUBTFUL, _ABOVE_EXPECTED = 0.28, 0.5, 0.1
# Another candidate fits better where it scores below this share of the mask's own score.
_BETTER = 0.8
# Where a right mask is expected to do no better than the first, a wrong one cannot be told from it;
# up to the second, a better placement of the same mask can.
_TELLING, _COMPARABLE = 0.75, 0.9
# A measurement with less structure than this share of a coded white scene's shows no coding.
_CODED = 0.15
# Of white: a darker part says nothing of a mask, whatever black level is left in it.
_DARK = 0.02


@dataclass(frozen=True)
class Candidate:
    """A placement of the mask.

    Attributes:
        change: what is done to the mask, in words; `as it is` for the mask itself.
        score: its held-out score.
        camera: the placement as a camera's file has it.
    """

    change: str
    score: float
    camera: str


@dataclass(frozen=True)
class MaskCheck:
    """How a mask fits a measurement.

    Attributes:
        held_out: `||y - A x|| / ||y||` over hidden pixels of the brightest part; NaN without any.
        mask_score: the same, divided by that of the mask rolled far away: 1 for a wrong mask.
        expected: the `mask_score` that a right mask would have about; near 1 nothing can be told.
        verdict: `fits`; `moved`, another placement fits clearly better; `foreign`, none does, and
            the mask does not explain the measurement; `unknown`, too little can be told.
        warning: one sentence that says how to fix it; empty where nothing is wrong.
        candidates: other placements, best first, with the mask as it is; empty where the
            comparison was not needed.
    """

    held_out: float
    mask_score: float
    expected: float
    verdict: Verdict
    warning: str = ""
    candidates: tuple[Candidate, ...] = ()


def tensors_of(
    measurement: np.ndarray, mask: np.ndarray, seen: np.ndarray | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Arrays of a capture as `check_mask` and `rank_placements` take them."""
    y, coding = (torch.tensor(array, dtype=torch.float32) for array in (measurement, mask))
    return y, coding, None if seen is None else torch.from_numpy(seen)


def check_mask(measurement: Tensor, mask: Tensor, seen: Tensor | None = None) -> MaskCheck:
    """Tell whether a mask belongs to a measurement.

    The brightest 128x128 pixels are used. Other placements are compared only where the score
    leaves a doubt.

    Args:
        measurement: `(H, W)`, y = sum_t mask_t x_t with white at 1; its scale matters little.
        mask: `(T, H, W)`.
        seen: booleans `(H, W)`, pixels that tell something; None for all.

    Returns:
        The scores, a verdict, and where something is wrong a sentence that says what.
    """
    part = _brightest(measurement, mask, seen, _CHECK_SIDE)
    if part is None:
        return MaskCheck(math.nan, math.nan, math.nan, "unknown")
    score, rolled, white = part.scores()
    found = MaskCheck(score, score / rolled, _expected(white / rolled), "unknown")
    if not math.isfinite(found.mask_score) or not part.is_coded():
        return found
    doubtful = max(_CLEARLY_RIGHT, min(_DOUBTFUL, found.expected + _ABOVE_EXPECTED))
    if found.mask_score <= doubtful:
        return replace(found, verdict="fits")
    if found.expected > _COMPARABLE:
        return found
    return _compared(replace(found, candidates=rank_placements(measurement, mask, seen)))


def rank_placements(
    measurement: Tensor, mask: Tensor, seen: Tensor | None = None
) -> tuple[Candidate, ...]:
    """The mask turned, mirrored and moved by up to 2 pixels, by held-out score, best first.

    The brightest 96x96 pixels are used.

    Args:
        measurement: `(H, W)`, y = sum_t mask_t x_t with white at 1; its scale matters little.
        mask: `(T, H, W)`.
        seen: booleans `(H, W)`, pixels that tell something; None for all.

    Returns:
        The candidates, the mask as it is among them; none where too little is seen.
    """
    part = _brightest(measurement, mask, seen, _SEARCH_SIDE)
    if part is None:
        return ()
    placed = list(placements(part.window, mask))
    own = part.score(placed[0].mask)
    scores = [own, *(part.comparable(candidate, own) for candidate in placed[1:])]
    told = zip(placed, scores, strict=True)
    found = [Candidate(p.change, score, p.camera) for p, score in told if math.isfinite(score)]
    return tuple(sorted(found, key=lambda candidate: candidate.score))


def _compared(found: MaskCheck) -> MaskCheck:
    """The verdict on a doubtful mask, with its candidates."""
    own = next((c.score for c in found.candidates if c.change == UNCHANGED), math.nan)
    if found.candidates and found.candidates[0].score < _BETTER * own:
        best = found.candidates[0]
        warning = (
            f"the mask fits the measurement much better {best.change} (held-out score "
            f"{best.score:.3f}, {UNCHANGED} {own:.3f}): say {best.camera} in the camera's file"
        )
        if best.camera.startswith("shift"):
            warning += ", or have it found by deqsci calibrate"
        return replace(found, verdict="moved", warning=warning)
    if found.expected > _TELLING:
        return found
    if found.mask_score < (1 + found.expected) / 2:
        return replace(found, verdict="fits")
    warning = (
        f"the mask probably does not belong to the measurement (score {found.mask_score:.2f}; a "
        f"wrong mask has about 1, the right one would have about {found.expected:.2f}): check "
        "that it is this camera's, with its T, orientation and crop"
    )
    return replace(found, verdict="foreign", warning=warning)


def _expected(white: float) -> float:
    """The `mask_score` of a right mask, about.

    Args:
        white: what the rolled masks miss of a white scene, in terms of what they miss of the
            measurement.
    """
    return math.sqrt(max(0.0, 1 - white**2)) if math.isfinite(white) else math.nan


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a measurement, of a known level.

    Attributes:
        window: where it lies.
        measurement: `(1, h, w)`.
        mask: the whole one, `(T, H, W)`.
        seen: `(1, h, w)`, or None.
    """

    window: Window
    measurement: Tensor
    mask: Tensor
    seen: Tensor | None

    def scores(self) -> tuple[float, float, float]:
        """The score of the mask; the mean of the rolled ones; that of these on a white scene."""
        rolls = far_rolls(*self.mask.shape[1:])
        own = self.window.cut(self.mask)
        rolled = torch.stack([self.window.cut_moved(self.mask, *roll) for roll in rolls])
        masks = SensingOperator(torch.cat((own[None], rolled)), self.seen)
        score, *others = held_out_score(masks, self.measurement, settings=_CHECK).tolist()
        white = _LEVEL * own.sum(0, keepdim=True)
        missed = held_out_score(SensingOperator(rolled, self.seen), white, settings=_CHECK)
        return score, sum(others) / len(others), float(missed.mean())

    def is_coded(self) -> bool:
        """Whether the measurement has as much structure as a white scene would have, about."""
        white = self.window.cut(self.mask).sum(0, keepdim=True)
        scale = white.mean()
        found = held_out_score(
            SensingOperator(torch.ones_like(white), self.seen),
            torch.cat((self.measurement, _LEVEL * white)) / scale,
            settings=_CHECK,
        )
        return bool(found[0] >= _CODED * found[1])

    def comparable(self, placed: Placed, own: float) -> float:
        """The score of a candidate, without what its blur alone may gain."""
        score = self.score(placed.mask)
        if placed.equal_blur is None:
            return score
        return score * max(1.0, own / self.score(placed.equal_blur))

    def score(self, mask: Tensor) -> float:
        """The score of a mask that is cut to the window."""
        operator = SensingOperator(mask, self.seen)
        return float(held_out_score(operator, self.measurement, settings=_SEARCH))


def _brightest(measurement: Tensor, mask: Tensor, seen: Tensor | None, side: int) -> _Part | None:
    """The brightest part that is seen, at one level; None where it is too small or too dark."""
    tells = mask.amax(0) > 0 if seen is None else seen & (mask.amax(0) > 0)
    y = torch.where(tells, measurement, 0.0)
    window = brightest(y, side)
    tells, y = window.cut(tells)[None], window.cut(y)[None]
    white = torch.where(tells, window.cut(mask).sum(0), 0.0)
    level = norms(y) / norms(white).clamp(min=1e-30)
    if (
        int(tells.sum()) < max(_FEWEST_PIXELS, _MOST_UNSEEN * tells.numel())
        or not _DARK < level < math.inf
    ):
        return None
    return _Part(window, y * (_LEVEL / level), mask, tells)
