"""The page of a calibration: the mask before and after, and the score against each number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from deqsci_cli.report.page import FilmView, Page, Pictures, Scene
from deqsci_cli.report.plots import plot

UNITS = {
    "rows": "shift down (pixels)",
    "columns": "shift to the right (pixels)",
    "rotation": "rotation (degrees)",
    "scale": "scale",
    "blur": "blur (pixels)",
    "offset": "black level (of a white frame)",
}


class Number(Protocol):
    """A number that was found, as `equilibrium.camera_found.Found`."""

    @property
    def value(self) -> float: ...
    @property
    def error(self) -> float: ...
    @property
    def unknown(self) -> str | None: ...
    @property
    def curve(self) -> tuple[tuple[float, float], ...]: ...


def calibration_page(
    name: str,
    found: Mapping[str, Number],
    before: np.ndarray,
    after: np.ndarray,
    facts: dict[str, Any],
) -> Page:
    """The page of a calibration.

    Args:
        name: of the camera's file.
        found: by name.
        before: the mask on file `(T, H, W)`.
        after: the one that was found.
        facts: to be shown as they are.
    """
    brightest = max(float(before.max()), 1e-12)
    scaled = before / brightest, after / brightest
    pictures = Pictures(None, None, (*scaled, np.abs(scaled[1] - scaled[0])))
    labels = ("mask on file", "mask that was found", "their difference")
    scene = Scene("mask", tuple(FilmView(label, None) for label in labels), lambda: pictures)
    curves = [
        plot(
            {"score": ([v for v, _ in each.curve], [s for _, s in each.curve])},
            UNITS.get(key, key),
            "score",
        )
        for key, each in found.items()
        if len(each.curve) > 1
    ]
    told = [f"{key} {each.value:.3g} ± {each.error:.1g}" for key, each in found.items()
            if each.unknown is None]  # fmt: skip
    return Page(
        title=f"Calibration: {name}",
        summary="; ".join(told) or "nothing could be told",
        scenes=[scene],
        facts=facts,
        plots=curves,
    )
