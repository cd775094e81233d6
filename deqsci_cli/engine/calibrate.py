"""`calibrate CAPTURES`: what a camera is, found from its own captures, as a camera's file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from deqsci_cli.engine.one_camera import load_each, together
from deqsci_cli.equilibrium.calibration import PARAMETERS
from deqsci_cli.equilibrium.calibration import calibrate as fit
from deqsci_cli.equilibrium.camera_found import Calibration, Found
from deqsci_cli.equilibrium.mask_check import MaskCheck, check_mask, tensors_of
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import (
    Capture,
    check_absent,
    make_provenance,
    read_camera_pictures,
)
from deqsci_cli.io.camera import Camera, check_camera_name, write_camera
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.physics.black_level import black_level
from deqsci_cli.report.calibration_page import calibration_page
from deqsci_cli.report.page import need_page
from deqsci_cli.report.pages import write_page
from deqsci_cli.runtime.events import Note, OnEvent, ignore

# More captures make a calibration no better, only longer.
_MOST = 8
# Pixels of a picture's side, below which it is in vain.
_SMALLEST = 16


@dataclass(frozen=True)
class CalibrateConfig:
    """Captures to find their camera from.

    Attributes:
        captures: files, all of one camera.
        out: the camera's file.
        parameters: what is to be found, some of `PARAMETERS`.
        read_options: how the captures are to be understood; what their camera says is kept.
        note: to be kept with the camera.
        page: a page to be written as well, None for none.
        overwrite: replace what lies there.
    """

    captures: tuple[Path, ...]
    out: Path
    parameters: tuple[str, ...]
    read_options: ReadOptions = field(default_factory=ReadOptions)
    note: str = ""
    page: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_camera_name(self.out)
        if unknown := sorted(set(self.parameters) - set(PARAMETERS)):
            raise UsageError(
                f"'{unknown[0]}' is not found from captures",
                hint=f"some of {', '.join(PARAMETERS)}",
            )
        if not self.parameters:
            raise UsageError("nothing is to be found", hint=f"--fit {','.join(PARAMETERS)}")


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What a calibration came to.

    Attributes:
        out: the camera's file.
        found: each number, by name.
        mask_score: of the first measurement, before and after; None where nothing can be told.
        held_out: likewise, the mean over what was looked at.
        black_level: that is to be taken off, in stored values; None where none was sought.
        measurements: how many were looked at.
        notes: what else is to be known, as sentences.
    """

    out: Path
    found: dict[str, Found]
    mask_score: tuple[float | None, float | None]
    held_out: tuple[float, float]
    black_level: float | None
    measurements: int
    notes: tuple[str, ...]


def calibrate(config: CalibrateConfig, on_event: OnEvent = ignore) -> Calibrated:
    """Find what a camera is from its captures, and write it.

    Raises:
        InputError: a capture cannot be read, or is of another camera.
        UsageError, OutputExistsError, StorageError: as their names say.
    """
    outputs = [config.out, *([config.page] if config.page else [])]
    if config.page:
        need_page()
    check_no_overlap(outputs, [*config.captures, *config.read_options.files().values()])
    check_absent(outputs, overwrite=config.overwrite)
    captures = load_each(config.captures, config.read_options, "calibrate", on_event)
    y, seen, scale = together(captures)
    if min(y.shape[1:]) < _SMALLEST:
        raise InputError(
            f"pictures of {y.shape[1]}x{y.shape[2]} pixels are too small to find a camera from",
            path=captures[0].path,
            hint=f"give captures of at least {_SMALLEST}x{_SMALLEST}",
        )
    lit = np.flatnonzero((y if seen is None else np.where(seen, y, 0)).max((1, 2)) > 0)
    if not len(lit):
        raise InputError(
            "no measurement has any light", path=captures[0].path, hint="give captures of a scene"
        )
    chosen = lit[np.unique(np.linspace(0, len(lit) - 1, min(len(lit), _MOST)).round().astype(int))]
    y, seen = y[chosen], None if seen is None else seen[chosen]
    mask = captures[0].mask
    on_event(Note(f"{len(y)} measurements are looked at, for {', '.join(config.parameters)}"))
    result = fit(y, mask, config.parameters, seen)
    found, level = dict(result.found), None
    if "offset" in config.parameters:
        level = _black_level(y, result, seen, found)
    moved = result.mask.astype(np.float32)
    before = _mask_of(y[0], mask, seen)
    after = _mask_of(y[0] - (level or 0), moved, seen)
    wrong = "" if after.verdict == "fits" else after.warning or before.warning
    warnings = (f"this camera explains the measurement no better: {wrong}",) if wrong else ()
    notes = (*result.assumed, *_border(result), *warnings)
    done = Calibrated(
        out=config.out,
        found=found,
        mask_score=(_known(before.mask_score), _known(after.mask_score)),
        held_out=result.held_out,
        black_level=None if level is None else level * scale,
        measurements=len(y),
        notes=notes,
    )
    _write(config, captures, result, 0.0 if level is None else level * scale)
    if config.page:
        page = calibration_page(config.out.name, found, mask, moved, _facts(done))
        write_page(page, config.page, overwrite=config.overwrite)
    return done


def _black_level(
    y: np.ndarray, result: Calibration, seen: np.ndarray | None, found: dict[str, Found]
) -> float:
    """The black level under the mask that was found; it takes the place of the fit's own.

    The fit needs one so that the mask is not moved for it. This one is closer, and knows its error.
    """
    levels = [
        black_level(each, result.mask, None if seen is None else seen[i])
        for i, each in enumerate(y)
    ]
    told = [level for level in levels if level is not None and math.isfinite(level.error)]
    if not told:
        return result.black_level
    weights = np.array([1 / max(level.error, 1e-6) ** 2 for level in told])
    value = float(np.average([level.value for level in told], weights=weights))
    error = float(weights.sum() ** -0.5)
    before = found.get("offset")
    curve = before.curve if before is not None else ()
    found["offset"] = Found(value / result.white, error / result.white, None, curve)
    return value


def _known(score: float) -> float | None:
    return score if math.isfinite(score) else None


def _mask_of(y: np.ndarray, mask: np.ndarray, seen: np.ndarray | None) -> MaskCheck:
    return check_mask(*tensors_of(y, mask, None if seen is None else seen[0]))


def _border(result: Calibration) -> tuple[str, ...]:
    outside = int((~result.inside).sum())
    if not outside:
        return ()
    return (
        f"{outside} pixels at the border see a part of the mask that is not in its file: they are "
        "told as broken",
    )


def _write(
    config: CalibrateConfig, captures: Sequence[Capture], result: Calibration, dark: float
) -> None:
    """Write the camera: what was found, and all that its file said before."""
    camera = config.read_options.read_camera()
    pictures = read_camera_pictures(captures[0].path, config.read_options)
    bad = pictures.get("bad_pixels", np.zeros(result.inside.shape)) != 0
    kept: dict[str, np.ndarray] = {r: pictures[r] for r in ("flat", "dark") if r in pictures}
    kept["mask"] = result.mask.astype(np.float32)
    if (bad | ~result.inside).any():
        kept["bad_pixels"] = (bad | ~result.inside).astype(np.uint8)
    level = camera.black_level
    if "dark" in kept:
        kept["dark"] = (kept["dark"] + dark).astype(np.float32)
    new = Camera(
        dark=None if "dark" in kept or not (dark or level) else repr((level or 0.0) + dark),
        bad_pixels="auto" if camera.bad_pixels == "auto" and "bad_pixels" not in kept else None,
        **{
            name: getattr(camera, name)
            for name in ("saturation", "noise", "photons", "scale", "axes", "measurement_key")
        },
        date=datetime.now(UTC).date().isoformat(),
        note=config.note,
    )
    inputs = {v.sha256: v.as_input() for capture in captures for v in capture.versions}
    provenance = make_provenance(
        "calibrate",
        {k: v for k, v in asdict(config).items() if k not in ("out", "page", "overwrite")}
        | {"found": {name: asdict(each) for name, each in result.found.items()}},
        seed=None,
        model=None,
        inputs=inputs.values(),
        device="cpu",
    )
    write_camera(config.out, new, kept, provenance=provenance, overwrite=config.overwrite)


def _facts(done: Calibrated) -> dict[str, object]:
    facts = asdict(replace(done, found={}))
    return facts | {"found": {name: asdict(each) for name, each in done.found.items()}}
