"""`inspect --mask`: is this the mask of this capture?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deqsci_cli.equilibrium.mask_check import (
    Candidate,
    check_mask,
    rank_placements,
    tensors_of,
)
from deqsci_cli.io import Capture
from deqsci_cli.physics.black_level import black_level


@dataclass(frozen=True)
class MaskAnswer:
    """What can be told of a capture's mask.

    Attributes:
        verdict: `fits`, `moved`, `foreign` or `unknown`, see `equilibrium.mask_check.MaskCheck`.
        words: the same as a sentence.
        mask_score: about 1 for a wrong mask; None where nothing can be told.
        expected: what a right one would have about; likewise.
        placements: the mask turned, mirrored and moved, by held-out score, best first.
        black_level: left in the measurement, as a share of a white frame; None for a wrong mask,
            and where the masks add up to the same everywhere.
        black_level_error: its standard error.
    """

    verdict: str
    words: str
    mask_score: float | None
    expected: float | None
    placements: tuple[Candidate, ...]
    black_level: float | None
    black_level_error: float | None


def answer(capture: Capture, index: int = 0) -> MaskAnswer:
    """Compare a capture's mask with the same mask elsewhere, on one of its measurements.

    Of several arms, the first.
    """
    y, mask, seen = capture.each_arm(index)[0]
    tensors = tensors_of(y, mask, seen)
    found = check_mask(*tensors)
    # A line over the sums of a wrong mask says nothing of the black level.
    level = None if found.warning else black_level(y, mask, seen)
    white = float(mask.sum(0).mean())
    words = {
        "fits": "the mask fits the measurement",
        "unknown": "this measurement does not tell whether the mask is right",
    }
    return MaskAnswer(
        verdict=found.verdict,
        words=found.warning or words.get(found.verdict, found.verdict),
        mask_score=_finite(found.mask_score),
        expected=_finite(found.expected),
        placements=found.candidates or rank_placements(*tensors),
        black_level=None if level is None else level.value / white,
        black_level_error=None if level is None else level.error / white,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
