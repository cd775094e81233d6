"""`evaluate`: films against their truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deqsci_cli.errors import InputError
from deqsci_cli.io import Film, check_no_capture, read_film
from deqsci_cli.report.metrics import compute_metrics


@dataclass(frozen=True)
class Evaluation:
    """A film's figures.

    Attributes:
        film: the file.
        frames: how many were compared, of
        of: as many in the film: the truth may be shorter.
        psnr: mean over the frames, dB.
        ssim: likewise; None for pictures smaller than its window.
        frame_psnr: frame by frame.
        frame_ssim: likewise.
    """

    film: str
    frames: int
    of: int
    psnr: float
    ssim: float | None
    frame_psnr: tuple[float, ...]
    frame_ssim: tuple[float, ...] | None


def evaluate(
    films: tuple[Path, ...], truth: Path, *, key: str | None = None, axes: str | None = None
) -> list[Evaluation | InputError]:
    """Compare films with the frames of a truth file.

    A film that `reconstruct` wrote knows which measurement it came from, and is compared with
    that part of the truth; any other is compared from the first frame on.

    Args:
        films: reconstructed films.
        truth: a film, a video, or a capture with truth in it.
        key: the array in the truth's file.
        axes: its order of axes.

    Returns:
        For each film its figures, or the reason why there are none.

    Raises:
        InputError, UsageError: the truth cannot be read.
    """
    reference = read_film(truth, key=key, axes=axes)
    out: list[Evaluation | InputError] = []
    for path in films:
        try:
            check_no_capture(path)
            out.append(_compare(read_film(path), reference))
        except InputError as error:
            out.append(error)
    return out


def _compare(film: Film, truth: Film) -> Evaluation:
    first = int((film.provenance or {}).get("measurement") or 0) * len(film.frames)
    part = truth.frames[first : first + len(film.frames)]
    if part.shape[1:] != film.frames.shape[1:]:
        raise InputError(
            f"its pictures are {film.frames.shape[1:]}, those of the truth {part.shape[1:]}",
            path=film.path,
        )
    if not len(part):
        raise InputError(
            f"the truth ends at frame {len(truth.frames)}, this film begins at frame {first}",
            path=film.path,
        )
    figures: dict[str, Any] = compute_metrics(film.frames, part)
    return Evaluation(str(film.path), len(part), len(film.frames), **figures)
