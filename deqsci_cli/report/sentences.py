"""What a page says in words: how a run ended, what to do, how a film fits its measurement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deqsci_cli.report.report import Record
from deqsci_cli.report.scores import Score

Figures = Record | Score | None

_MORE = (
    "The best iterate is shown: give more evaluations with --max-iter, or a wider tolerance with "
    "--tol."
)
_RAN_AWAY = (
    "Do not trust these films: try another model or solver, and check the mask with "
    "deqsci inspect --mask."
)
_WRONG = (
    "Read what stands beside the film before you trust it: it says what is probably wrong, and "
    "how to fix it."
)


@dataclass(frozen=True)
class Heading:
    """How many films ended in one way.

    Attributes:
        state: `converged`, `max_iter`, `diverged` or `warned`.
        text: how many.
        advice: what to do.
    """

    state: str
    text: str
    advice: str = ""


def headings(films: Sequence[Figures]) -> list[Heading]:
    """How many films did not converge, diverged, or contradict their data; the worst first."""
    known = [figures for figures in films if figures is not None]
    if not known:
        return []
    total = len(known)
    diverged = sum(f.status == "diverged" for f in known)
    left = sum(f.status == "max_iter" for f in known)
    warned = sum(bool(warnings_of(f)) for f in known)
    found = []
    if diverged:
        found.append(Heading("diverged", f"{_of(diverged, total)} diverged", _RAN_AWAY))
    if warned:
        have = "has a warning" if warned == 1 else "have warnings"
        found.append(Heading("warned", f"{_of(warned, total)} {have}", _WRONG))
    if left:
        found.append(Heading("max_iter", f"{_of(left, total)} did not converge", _MORE))
    if not found:
        text = "The film converged" if total == 1 else "All films converged"
        found.append(Heading("converged", text))
    return found


def _of(count: int, total: int) -> str:
    return "The film" if total == 1 else f"{count} of {total} films"


def warnings_of(figures: Figures) -> list[str]:
    """What is probably wrong, as sentences."""
    return [f"Warning: {sentence}." for sentence in getattr(figures, "warnings", ())]


def verdict(figures: Figures) -> str:
    """How the solver ended, in a few words."""
    if figures is None:
        return ""
    how = {
        "converged": "converged",
        "max_iter": "did not converge",
        "diverged": "diverged, do not trust it",
    }[figures.status]
    residual = "" if figures.residual is None else f", residual {figures.residual:.1e}"
    return f"{how} ({figures.evaluations} evaluations{residual})"


def fit_sentence(figures: Figures) -> str:
    """How a film fits its measurement; empty where nothing is known of it."""
    if not isinstance(figures, Record):
        return ""
    return " ".join(part for part in (_of_mask(figures), _of_pixels(figures)) if part)


def _of_mask(record: Record) -> str:
    if record.mask_score is None:
        return "" if record.seen is None else "Whether the mask is right cannot be told here."
    score = f"mask score {record.mask_score:.2f}"
    if record.held_out is not None:
        score += f", held-out pixels missed by {record.held_out:.1%}"
    if record.warnings:
        return f"{score.capitalize()}; a wrong mask has a score of about 1."
    if record.mask_verdict == "fits":
        return f"The measurement does not contradict the mask ({score}; a wrong mask has about 1)."
    return f"This measurement does not tell whether the mask is right ({score})."


def _of_pixels(record: Record) -> str:
    if record.seen is None:
        return ""
    text = f"{_percent(record.seen)} of the measurement's pixels were used"
    return text + (f" ({_reasons(record.unseen.items())})." if record.unseen else ".")


def _reasons(shares: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{_percent(share)} {reason}" for reason, share in shares)


def _percent(share: float) -> str:
    return f"{share:.1%}".replace(".0%", "%")
