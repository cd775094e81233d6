"""What a page shows of a scene: its pictures with their intensities, and words on each film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deqsci_cli.io.contrast import stretch, to_8_bits
from deqsci_cli.report.pictures import Encoded, encode
from deqsci_cli.report.sentences import fit_sentence, verdict, warnings_of

if TYPE_CHECKING:
    from deqsci_cli.report.page import FilmView, Pictures, Scene

# Errors are small: they are shown this many times larger.
_ERROR_GAIN = 5
# So much of the stretched range is kept on either side of it, for the contrast to be moved.
_SPARE = 0.2
_MOST_THUMBNAILS = 24

Range = tuple[float, float]


def player_of(scene: Scene, charts: list[str], share: float) -> dict[str, Any]:
    """What the template shows of a scene.

    Args:
        scene: with pictures.
        charts: of it.
        share: characters that its pictures may take.
    """
    assert scene.pictures is not None
    pictures = scene.pictures()
    compared = _compared(scene.films, pictures)
    window = stretch(compared)
    kept = _kept(compared, window)
    panes = _panes(scene, pictures, kept)
    encoded = encode([pane.pop("stack") for pane in panes], share)
    for pane, uris in zip(panes, encoded.uris, strict=True):
        pane["uris"] = uris
    frames, height, width = next(film.shape for film in pictures.films if film is not None)
    missing = list(pictures.missing)
    if encoded.size is not None:
        missing.append(f"Shown at {encoded.size[1]}×{encoded.size[0]} of {width}×{height} pixels.")
    return {
        "title": scene.title,
        "large": [pane for pane in panes if pane["kind"] in ("truth", "film")],
        "small": [pane for pane in panes if pane["kind"] in ("measurement", "error")],
        "frames": frames,
        "step": pictures.step,
        "size": f"{width}×{height}×{frames}",
        "width": width,
        "height": height,
        "window": window,
        "range": kept,
        "thumbnails": sorted({round(i) for i in np.linspace(0, frames - 1, _MOST_THUMBNAILS)}),
        "resolution": (0.5 + encoded.error) * (kept[1] - kept[0]) / 255,
        "honesty": _honesty(pictures, kept, encoded),
        "charts": charts,
        "missing": missing,
    }


def _compared(films: Sequence[FilmView], pictures: Pictures) -> list[np.ndarray]:
    """The films that decide the contrast: truth, and those that did not diverge if there are."""
    shown = [
        (film, video)
        for film, video in zip(films, pictures.films, strict=True)
        if video is not None
    ]
    sound = [video for film, video in shown if getattr(film.figures, "status", "") != "diverged"]
    truth = [] if pictures.truth is None else [pictures.truth]
    return truth + sound or [video for _, video in shown]


def _kept(compared: Sequence[np.ndarray], window: Range) -> Range:
    """The range of intensities that the pictures hold."""
    low, high = window
    spare = _SPARE * (high - low)
    finite = [video[np.isfinite(video)] for video in compared]
    darkest = min((float(v.min()) for v in finite if v.size), default=low)
    brightest = max((float(v.max()) for v in finite if v.size), default=high)
    return min(low, max(darkest, low - spare)), max(high, min(brightest, high + spare))


def _panes(scene: Scene, pictures: Pictures, kept: Range) -> list[dict[str, Any]]:
    """Every stack of pictures, with what its caption says."""
    found: list[dict[str, Any]] = []

    def pane(kind: str, caption: str, stack: np.ndarray, held: Range, **more: Any) -> None:
        empty: dict[str, Any] = {
            "psnr": None,
            "verdict": "",
            "fit": "",
            "warnings": [],
            "state": "",
        }
        grey = to_8_bits(stack, *held)
        about = {"kind": kind, "caption": caption, "stack": grey, "range": held}
        found.append(empty | about | more)

    measurement, truth = pictures.measurement, pictures.truth
    if measurement is not None:
        pane("measurement", "coded measurement", measurement[None], stretch([measurement]))
    if truth is not None:
        pane("truth", "truth", truth, kept)
    for film, video in zip(scene.films, pictures.films, strict=True):
        if video is None:
            continue
        pane("film", film.label, video, kept, **_words(film, pictures.step))
        if truth is not None:
            error = np.abs(np.clip(video[: len(truth)], 0, 1) - truth)
            caption = f"error of {film.label} × {_ERROR_GAIN}"
            pane("error", caption, error, (0.0, 1 / _ERROR_GAIN))
    return found


def _words(film: FilmView, step: int) -> dict[str, Any]:
    """What is said beside a film, so that none looks trusted that the data contradict."""
    figures = film.figures
    warnings = warnings_of(figures)
    status = getattr(figures, "status", "")
    unsettled = status if status in ("diverged", "max_iter") else ""
    return {
        "psnr": (getattr(figures, "frame_psnr", None) or ())[::step] or None,
        "verdict": verdict(figures),
        "fit": fit_sentence(figures),
        "warnings": warnings,
        "state": f"{unsettled} warned" if warnings else unsettled,
    }


def _honesty(pictures: Pictures, kept: Range, encoded: Encoded) -> str:
    """How exact the values are that a reader takes from the pictures."""
    step = (kept[1] - kept[0]) / 255
    text = (
        f"Values are read from pictures of 8 bits: steps of {step:.2g} from {kept[0]:.3g} to "
        f"{kept[1]:.3g} (1 is white)"
    )
    shown = [video for video in (pictures.truth, *pictures.films) if video is not None]
    if any(((video < kept[0]) | (video > kept[1])).any() for video in shown):
        text += ", what lies beyond is cut"
    if encoded.error:
        off = (0.5 + encoded.error) * step
        text += f"; they are compressed, 95 % of the values are within ±{off:.2g} of the film's"
    if encoded.size is not None:
        text += "; each is the mean of several pixels"
    return text + ". The film's file has the exact ones."
