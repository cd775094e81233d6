"""`evaluate`: films against their truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io import Film, check_no_capture, check_no_preview, read_film
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
        note: what else is to be known, a sentence, or empty.
    """

    film: str
    frames: int
    of: int
    psnr: float
    ssim: float | None
    frame_psnr: tuple[float, ...]
    frame_ssim: tuple[float, ...] | None
    note: str = ""


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
            check_no_preview(path)
            out.append(_compare(read_film(path), reference))
        except InputError as error:
            out.append(error)
    return out


def _compare(film: Film, truth: Film) -> Evaluation:
    places = _places(film)
    places = places[places < len(truth.frames)]
    part = truth.frames[places]
    if part.shape[1:] != film.frames.shape[1:]:
        raise InputError(
            f"its pictures are {film.frames.shape[1:]}, those of the truth {part.shape[1:]}",
            path=film.path,
        )
    if not len(part):
        raise InputError(
            f"the truth ends at frame {len(truth.frames)}, before this film begins",
            path=film.path,
        )
    frames, note = _in_unit_of(film, truth, part)
    figures: dict[str, Any] = compute_metrics(frames, part)
    return Evaluation(str(film.path), len(part), len(film.frames), note=note, **figures)


def _places(film: Film) -> np.ndarray:
    """Which frames of the truth those of a film are: of the measurements that it came from."""
    told = (film.provenance or {}).get("measurement")
    if isinstance(told, list) and len(told) == 1:  # a recording in one file
        told = told[0]
    indices: list[Any] = told if isinstance(told, list) else [told]
    count, rest = divmod(len(film.frames), len(indices) or 1)
    if rest or not indices or not all(type(index) is int and index >= 0 for index in indices):
        return np.arange(len(film.frames))
    return np.concatenate([np.arange(index * count, (index + 1) * count) for index in indices])


def _in_unit_of(film: Film, truth: Film, part: np.ndarray) -> tuple[np.ndarray, str]:
    """A film's frames, whose white may be another than the truth's, and a sentence on that.

    A film of ours has the stored unit of its capture. Where that is the truth's too, and white was
    put elsewhere (`--scale`, or found without truth), stored values are what can be compared.
    Where each file has a unit of its own, their whites are. The nearer one is meant.
    """
    if film.provenance is None or film.scale == truth.scale:
        return film.frames, ""
    stored = film.frames * np.float32(film.scale / truth.scale)
    errors = [np.mean((each[: len(part)] - part) ** 2) for each in (stored, film.frames)]
    if errors[1] <= errors[0]:
        return film.frames, ""
    return stored, (
        f"its white is {film.scale:g}, that of the truth {truth.scale:g}: stored values are "
        "compared, in the truth's unit"
    )
