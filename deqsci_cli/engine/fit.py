"""How a film fits what was measured, and what is probably wrong with the camera as it was told.

A status is about the solver. With exact consistency a film agrees with its measurement whatever the
mask is, so that only pixels that were hidden from a solve tell whether the mask is the right one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from deqsci_cli.equilibrium.mask_check import VERDICTS, Verdict, check_mask, tensors_of
from deqsci_cli.io import Capture
from deqsci_cli.io.capture import Arm
from deqsci_cli.io.sensor import REASONS
from deqsci_cli.physics.black_level import BlackLevel, black_level

# Films overshoot white a little where they are sharp.
_WHITE = 1.05
# More than this clipped, or this much of a white frame left as a black level, costs more than
# a decibel (benchmarks/README.md).
_MUCH_CLIPPED, _MUCH_BLACK = 0.1, 0.01
# So many standard errors are no accident.
_SURE = 5.0


@dataclass(frozen=True)
class Fit:
    """How a film fits its measurement.

    Attributes:
        misfit: `||y - A x|| / ||y||` over the pixels that were used; None for a black measurement.
        held_out: the same over pixels that a total-variation solve was not shown; None where
            nothing could be hidden. Of several arms, this and the next are the worst one's.
        mask_score: `held_out`, divided by that of the same mask rolled far away: about 1 for a
            wrong mask; None where nothing can be told.
        mask_verdict: what `check_mask` says of the mask; of several arms the worst.
        seen: share of the pixels that were used.
        unseen: shares of those that were not, by the reason.
        outside: share of the film that lies outside 0 … 1.05 of white.
        warnings: what is probably wrong and how to fix it, one sentence each.
    """

    misfit: float | None
    held_out: float | None
    mask_score: float | None
    mask_verdict: Verdict
    seen: float
    unseen: dict[str, float] = field(default_factory=dict)
    outside: float = 0.0
    warnings: tuple[str, ...] = ()


def fit_of(capture: Capture, index: int, video: np.ndarray) -> Fit:
    """How a film fits a measurement.

    Args:
        capture: with the measurement.
        index: which one.
        video: `(T, H, W)`, in units of white.
    """
    arms = capture.each_arm(index)
    checks = [check_mask(*tensors_of(*arm)) for arm in arms]
    unseen = _unseen(capture, index)
    # A line over the sums of a wrong mask says nothing of the black level.
    levels = [
        None if check.warning else black_level(*arm)
        for arm, check in zip(arms, checks, strict=True)
    ]
    whites = [float(mask.sum(0).mean()) for _, mask, _ in arms]
    return Fit(
        misfit=_misfit(arms, video),
        held_out=_worst(check.held_out for check in checks),
        mask_score=_worst(check.mask_score for check in checks),
        mask_verdict=max((check.verdict for check in checks), key=VERDICTS.index),
        seen=1.0 - sum(unseen.values()),
        unseen=unseen,
        outside=float(np.mean((video < 0) | (video > _WHITE))),
        warnings=(
            *_numbered([check.warning] if check.warning else [] for check in checks),
            *_of_clipping(unseen),
            *_numbered(
                _of_black_level(level, white, capture.scale)
                for level, white in zip(levels, whites, strict=True)
            ),
        ),
    )


def _numbered(arms: Iterable[Iterable[str]]) -> Iterator[str]:
    """Sentences on each arm; those on the first, which may be the only one, as they are."""
    for number, sentences in enumerate(arms, 1):
        yield from (f"arm {number}: {text}" if number > 1 else text for text in sentences)


def _unseen(capture: Capture, index: int) -> dict[str, float]:
    if capture.unseen is None:
        return {}
    counts = np.bincount(capture.unseen[index].ravel(), minlength=len(REASONS))
    total = capture.unseen[index].size
    found = zip(REASONS[1:], counts[1:], strict=True)
    return {reason: float(count) / total for reason, count in found if count}


def _misfit(arms: Sequence[Arm], video: np.ndarray) -> float | None:
    missed, total = [], []
    for y, mask, seen in arms:
        used = np.asarray(mask.any(0) if seen is None else mask.any(0) & seen)
        total.append(np.linalg.norm(y[used].astype(np.float64)))
        missed.append(np.linalg.norm((y - np.einsum("thw,thw->hw", mask, video))[used]))
    energy = math.hypot(*total)
    return math.hypot(*missed) / energy if energy else None


def _worst(values: Iterable[float]) -> float | None:
    return max((value for value in values if math.isfinite(value)), default=None)


def _of_clipping(unseen: dict[str, float]) -> Iterator[str]:
    if (clipped := unseen.get("clipped", 0.0)) > _MUCH_CLIPPED:
        yield (
            f"{clipped:.0%} of the pixels are clipped, and what was there is guessed from their "
            "neighbours: expose for a shorter time, or with less light"
        )


def _of_black_level(level: BlackLevel | None, white: float, scale: float) -> Iterator[str]:
    """A warning where a black level seems left in, or too much was taken out.

    Args:
        level: as it was found.
        white: a white scene's measurement, the mean over the picture.
        scale: stored value of white.
    """
    if level is None or abs(level.value) < max(_SURE * level.error, _MUCH_BLACK * white):
        return
    what = "a black level seems left in" if level.value > 0 else "the black level is too low"
    yield (
        f"{what}: about {level.value / white:.1%} of a white frame, {level.value * scale:.4g} in "
        "stored values: give the dark frame, or that number, with --dark (added to the one given)"
    )
