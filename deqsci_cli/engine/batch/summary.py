"""What a record tells of all pieces of a recording together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deqsci_cli.engine.batch.pieces import Piece
from deqsci_cli.equilibrium.mask_check import VERDICTS
from deqsci_cli.report.report import STATUSES


def summary_of(pieces: Sequence[Piece], notes: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a `Record` that come from its pieces.

    Args:
        pieces: of the recording.
        notes: on how it was solved, as sentences.
    """
    measured = [one for piece in pieces for one in piece.measurements]
    psnr = [value for piece in pieces for value in piece.frame_psnr]
    ssim = [value for piece in pieces for value in piece.frame_ssim]
    residuals = [one.residual for one in measured]
    reasons = sorted({reason for one in measured for reason in one.unseen})
    return {
        "status": max((one.status for one in measured), key=STATUSES.index),
        "evaluations": max(one.evaluations for one in measured),
        "residual": None if None in residuals else max(r for r in residuals if r is not None),
        "residual_trace": _worst([piece.residual_trace for piece in pieces]),
        "psnr_trace": pieces[0].psnr_trace if len(pieces) == 1 else None,
        "seconds": sum(piece.seconds for piece in pieces),
        "replaced": once(s for piece in pieces for s in piece.replaced),
        "notes": (*once(s for piece in pieces for s in piece.notes), *notes),
        "warnings": once(s for one in measured for s in one.warnings),
        **{
            name: _mean([getattr(one, name) for one in measured])
            for name in ("misfit", "held_out", "mask_score", "seen", "outside")
        },
        "mask_verdict": max(
            (one.mask_verdict for one in measured if one.mask_verdict),
            key=VERDICTS.index,
            default=None,
        ),
        "unseen": {
            r: sum(one.unseen.get(r, 0.0) for one in measured) / len(measured) for r in reasons
        },
        "psnr": _mean(psnr),
        "ssim": _mean(ssim),
        "frame_psnr": _known(psnr),
        "frame_ssim": _known(ssim),
        "recording": tuple(measured),
    }


def once(sentences: Iterable[str]) -> tuple[str, ...]:
    """Sentences, each kind once: those that differ in a number alone are of one kind."""
    kinds: dict[str, list[str]] = {}
    for sentence in sentences:
        kinds.setdefault(re.sub(r"[\d.]+", "#", sentence), []).append(sentence)
    return tuple(found[0] for found in kinds.values())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _known(values: Sequence[float | None]) -> tuple[float | None, ...] | None:
    """Up to the last frame with truth; None where there is none."""
    last = max((place for place, value in enumerate(values) if value is not None), default=-1)
    return tuple(values[: last + 1]) if last >= 0 else None


def _worst(traces: Sequence[Sequence[float | None]]) -> tuple[float | None, ...]:
    """Of every evaluation the largest residual of the windows that went so far."""
    longest = max(map(len, traces))
    known = [[t[i] for t in traces if len(t) > i] for i in range(longest)]
    return tuple(None if None in each else max(v for v in each if v is not None) for each in known)
