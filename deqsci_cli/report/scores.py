"""The benchmark's table: what models reach on captures with truth, one by one and on the mean."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Score:
    """One measurement by one model.

    Attributes:
        name: what the measurement is called.
        capture: the file.
        index: which of its measurements.
        label: the model, and the value of what is swept.
        model: by name.
        value: of what is swept; None without a sweep.
        told: whether what the camera did was told, and undone.
        frames: how many have truth and were compared, of
        of: as many in the film.
        psnr: mean over these, dB.
        ssim: likewise; None for pictures smaller than its window.
        status: `converged`, `max_iter` or `diverged`.
        evaluations: of the network.
        residual: of the answer; None where nothing was finite.
        residual_trace: of every evaluation.
        psnr_trace: after every evaluation, of what would be the answer by then, dB.
        seconds: from the measurement in memory to the film in memory.
        memory: the most that was held meanwhile beyond the start, bytes; None where the system
            does not tell.
        frame_psnr: frame by frame.
        frame_ssim: likewise.
    """

    name: str
    capture: str
    index: int
    label: str
    model: str
    value: float | None
    told: bool
    frames: int
    of: int
    psnr: float
    ssim: float | None
    status: str
    evaluations: int
    residual: float | None
    residual_trace: tuple[float, ...]
    psnr_trace: tuple[float, ...]
    seconds: float
    memory: int | None
    frame_psnr: tuple[float, ...]
    frame_ssim: tuple[float, ...] | None


def line_of(model: object, told: object) -> str:
    """What a model is called in tables and plots where what the camera did was told, or not."""
    return f"{model}, told" if told else str(model)


def mean_scores(scores: Sequence[Score]) -> list[dict[str, object]]:
    """The means over all captures, a row for each model and value, told or not.

    `label, model, value, told, psnr, ssim, evaluations, seconds`, `memory` (the largest),
    `converged` (a share).
    """
    rows: list[dict[str, object]] = []
    for model, value, told in dict.fromkeys((s.model, s.value, s.told) for s in scores):
        alike = [s for s in scores if (s.model, s.value, s.told) == (model, value, told)]
        similarities = [s.ssim for s in alike if s.ssim is not None]
        memory = [s.memory for s in alike if s.memory is not None]
        rows.append(
            {
                "label": alike[0].label,
                "model": model,
                "value": value,
                "told": told,
                "psnr": float(np.mean([s.psnr for s in alike])),
                "ssim": float(np.mean(similarities)) if similarities else None,
                "converged": float(np.mean([s.status == "converged" for s in alike])),
                "evaluations": float(np.mean([s.evaluations for s in alike])),
                "seconds": float(np.mean([s.seconds for s in alike])),
                "memory": max(memory) if memory else None,
            }
        )
    return rows


def score_table(scores: Sequence[Score], swept: str | None) -> tuple[list[str], list[list[str]]]:
    """Header and rows to be read: every score, then the means.

    Args:
        scores: to be shown.
        swept: the name of what was swept.
    """
    header = ["capture", "model", *([swept] if swept else [])]
    header += ["PSNR dB", "SSIM", "status", "evaluations", "seconds", "peak MB"]
    rows = []
    for s in scores:
        part = f" ({s.frames} of {s.of} frames)" if s.frames < s.of else ""
        line = line_of(s.model, s.told)
        rows.append([s.name + part, line, *_value(s.value), *_figures(asdict(s), s.status, "d")])
    for row in mean_scores(scores):
        status = f"{row['converged']:.0%} converged"
        rows.append(
            [
                "mean",
                line_of(row["model"], row["told"]),
                *_value(row["value"]),
                *_figures(row, status, ".1f"),
            ]
        )
    return header, rows


def _value(value: object) -> list[str]:
    return [] if value is None else [f"{value:g}"]


def _figures(row: dict[str, object], status: str, count: str) -> list[str]:
    def shown(name: str, form: Callable[[float], str]) -> str:
        figure = row[name]
        return "–" if figure is None else form(float(figure))  # type: ignore[arg-type]

    return [
        shown("psnr", "{:.2f}".format),
        shown("ssim", "{:.4f}".format),
        status,
        f"{row['evaluations']:{count}}",
        shown("seconds", "{:.1f}".format),
        shown("memory", lambda size: f"{size / 2**20:.0f}"),
    ]


def to_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown has it; what would break a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(
        "| " + " | ".join(c.replace("|", r"\|") for c in line) + " |\n" for line in lines
    )


def to_csv(scores: Sequence[Score]) -> str:
    """Every score with all its digits; figures of frames are joined by spaces."""
    text = io.StringIO()
    rows = [asdict(score) for score in scores]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: " ".join(map(str, v)) if isinstance(v, tuple) else v for k, v in row.items()}
        )
    return text.getvalue()
