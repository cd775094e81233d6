"""A region of interest: the model computes where it matters, total variation elsewhere.

The camera mixes no pixels, so that a crop of measurement and mask has, inside a small margin, the
answer that the whole picture has. A film keeps its size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deqsci_cli.engine.regions import Box, blend, boxes_of
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import OnIteration
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.calibration_pictures import read_picture
from deqsci_cli.physics.moving import find_moving
from deqsci_cli.reconstructor import Reconstruction, Reconstructor
from deqsci_cli.report.report import STATUSES, Region

#: what makes the film outside the regions
ELSEWHERE = "gap-tv"
AUTO = "auto"
_RECTANGLE = re.compile(r"\s*-?\d+\s*(,\s*-?\d+\s*)*")


@dataclass(frozen=True)
class Roi:
    """Where a model is to compute.

    Attributes:
        boxes: the regions; None for those that move, found in each measurement.
        shape: `(H, W)` of the picture that they were drawn on; None for any that holds them.
    """

    boxes: tuple[Box, ...] | None
    shape: tuple[int, int] | None = None

    def check(self, shape: tuple[int, int]) -> None:
        """Refuse a picture `(H, W)` that this is no region of.

        Raises:
            UsageError: it has another size than the mask file, or does not hold the rectangle.
        """
        size = f"{shape[0]}x{shape[1]}"
        if self.shape is not None and self.shape != shape:
            height, width = self.shape
            raise UsageError(
                f"the region's file is {height}x{width}, the picture {size}",
                hint="draw the region on a picture of the same size",
            )
        if any(not box.fits(shape) for box in self.boxes or ()):
            raise UsageError(
                f"the region goes beyond the picture of {size}",
                hint="--roi is TOP,LEFT,HEIGHT,WIDTH in pixels",
            )


def file_of(text: str) -> Path | None:
    """The file that `--roi` names, if it names one."""
    return None if text == AUTO or _RECTANGLE.fullmatch(text) else Path(text)


def read_roi(text: str) -> Roi:
    """What `--roi` says.

    Args:
        text: `TOP,LEFT,HEIGHT,WIDTH`; a picture's file, inside where it is not 0; or `auto`.

    Raises:
        UsageError: a rectangle that is none, or a picture with nothing inside.
        InputError: the file cannot be read.
    """
    file = file_of(text)
    if text == AUTO:
        return Roi(None)
    if file is None:
        numbers = [int(number) for number in text.split(",")]
        if len(numbers) != 4 or min(numbers) < 0 or min(numbers[2:]) < 1:
            raise UsageError(f"--roi '{text}' is no rectangle", hint="TOP,LEFT,HEIGHT,WIDTH")
        return Roi((Box(*numbers),))
    try:
        inside = read_picture(file) != 0
    except InputError as error:
        error.hint = error.hint or "--roi is TOP,LEFT,HEIGHT,WIDTH, a picture's file, or auto"
        raise
    if not inside.any():
        raise UsageError("the region is empty: the picture is 0 everywhere", path=file)
    return Roi(boxes_of(inside), inside.shape)


@dataclass(frozen=True, eq=False)
class RegionalReconstruction(Reconstruction):
    """Films of which the model has made some regions.

    What is told of a sample is told of the region in which the model came least far, or, where it
    has no region, of the film that was made without the model.

    Attributes:
        regions: of every sample.
    """

    regions: list[tuple[Region, ...]] = field(default_factory=list)

    def facts(self, sample: int) -> dict[str, Any]:
        return super().facts(sample) | {"roi": self.regions[sample]}


def reconstruct_regions(
    run: Reconstructor,
    roi: Roi,
    measurements: np.ndarray,
    mask: np.ndarray,
    on_iteration: OnIteration | None = None,
    *,
    seen: np.ndarray | None = None,
    settings: EquilibriumSettings | None = None,
) -> RegionalReconstruction:
    """Reconstruct measurements `(B, H, W)`: regions by the model, the rest by total variation.

    Args:
        run: the model.
        roi: the regions.
        measurements, mask, on_iteration, seen, settings: as for `Reconstructor`.

    Raises:
        DeviceError: the memory is too small.
    """
    if mask.ndim == 4:
        raise UsageError("--roi computes captures of one arm", hint="leave out --roi, or --arms")
    cheap = _cheap(str(run.device), run.dtype == "float64")
    parts = []
    for sample, measurement in enumerate(measurements):
        known = None if seen is None else seen[sample]
        parts.append(_one(run, cheap, roi, measurement, mask, known, on_iteration, settings))
    names = ("residual", "residual_trace", "evaluations", "status", "psnr_trace", "regions")
    joined = {name: [v for part in parts for v in getattr(part, name)] for name in names}
    return RegionalReconstruction(torch.cat([part.x for part in parts]), **joined)


@lru_cache(maxsize=1)
def _cheap(device: str, precise: bool) -> Reconstructor:
    return Reconstructor(ELSEWHERE, device=device, dtype="float64" if precise else "float32")


def _one(
    run: Reconstructor,
    cheap: Reconstructor,
    roi: Roi,
    measurement: np.ndarray,
    mask: np.ndarray,
    seen: np.ndarray | None,
    on_iteration: OnIteration | None,
    settings: EquilibriumSettings | None,
) -> RegionalReconstruction:
    """One measurement `(H, W)`."""
    known = None if seen is None else seen[None]
    around = cheap(measurement[None], mask, seen=known)
    film = around.x[0].numpy()
    boxes = roi.boxes
    if boxes is None:
        told = mask if seen is None else mask * seen
        boxes = boxes_of(find_moving(film, np.where(told.any(0), measurement, 0), told))
    found: list[tuple[Region, Reconstruction]] = []
    pasted = film.copy()
    for box in boxes:
        crop = box.crop(measurement.shape)
        rows, columns = crop.slices
        part = None if known is None else known[:, rows, columns]
        if not (mask[:, rows, columns].any(0) & (True if part is None else part)).any():
            continue  # nothing is measured there
        solved = run(
            measurement[None, rows, columns],
            mask[:, rows, columns],
            on_iteration,
            seen=part,
            settings=settings,
        )
        blend(pasted, solved.x[0].numpy(), box, crop)
        facts = {name: solved.facts(0)[name] for name in ("status", "evaluations", "residual")}
        found.append((Region(box.top, box.left, box.height, box.width, **facts), solved))
    worst = max((solved for _, solved in found), key=_how_bad, default=around)
    return RegionalReconstruction(
        torch.from_numpy(pasted)[None],
        worst.residual,
        worst.residual_trace,
        worst.evaluations,
        worst.status,
        [None],
        [tuple(region for region, _ in found)],
    )


def _how_bad(solved: Reconstruction) -> tuple[int, float]:
    return STATUSES.index(solved.status[0]), solved.residual[0]
