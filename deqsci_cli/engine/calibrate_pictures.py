"""`calibrate --frames`: pictures of the mask in, the camera's file out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io import check_absent, fingerprint, make_provenance
from deqsci_cli.io.calibration_pictures import files_in, read_picture, read_positions
from deqsci_cli.io.camera import Camera, check_camera_name, numbers, write_camera
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.physics.mask_pictures import MaskPictures, mask_from_pictures


@dataclass(frozen=True)
class PicturesConfig:
    """Pictures of a mask to make a camera of.

    Attributes:
        frames: an even white surface through each position of the mask: a stack, or a folder.
        out: the camera's file.
        dark: the dark frame, or the black level as a number, in stored values.
        flat: the same surface without the mask.
        note: to be kept with the camera.
        overwrite: replace what lies there.
    """

    frames: Path
    out: Path
    dark: str | None = None
    flat: Path | None = None
    note: str = ""
    overwrite: bool = False


def calibrate_pictures(config: PicturesConfig) -> MaskPictures:
    """Make a camera of pictures of its mask, and write it.

    Raises:
        InputError: a picture cannot be read, or shows no mask.
        UsageError, OutputExistsError, StorageError: as their names say.
    """
    sources = list(_sources(config))
    check_camera_name(config.out)
    check_no_overlap([config.out], sources)
    check_absent([config.out], overwrite=config.overwrite)
    level = numbers(config.dark, "dark")
    positions = read_positions(config.frames)
    dark = level[0] if level else 0.0 if config.dark is None else read_picture(Path(config.dark))
    white = None if config.flat is None else read_picture(config.flat)
    for path, picture in ((config.dark, dark), (config.flat, white)):
        if isinstance(picture, np.ndarray) and picture.shape != positions.shape[1:]:
            raise InputError(
                f"the picture is {picture.shape}, those of the mask are {positions.shape[1:]}",
                path=path,
                hint="give pictures of the same camera, cut in the same way",
            )
    found = mask_from_pictures(positions, dark, white)
    pictures = {"mask": found.mask, "bad_pixels": found.bad_pixels.astype(np.uint8)}
    if isinstance(dark, np.ndarray):
        pictures["dark"] = dark.astype(np.float32)
    if found.flat is not None:
        pictures["flat"] = found.flat
    write_camera(
        config.out,
        Camera(
            dark=config.dark if level else None,
            date=datetime.now(UTC).date().isoformat(),
            note=config.note,
        ),
        pictures,
        provenance=make_provenance(
            "calibrate",
            {k: v for k, v in asdict(config).items() if k not in ("out", "overwrite")},
            seed=None,
            model=None,
            inputs=map(fingerprint, sources),
            device="cpu",
        ),
        overwrite=config.overwrite,
    )
    return found


def _sources(config: PicturesConfig) -> Iterable[Path]:
    yield from files_in(config.frames)
    if config.dark is not None and numbers(config.dark, "dark") is None:
        yield Path(config.dark)
    if config.flat is not None:
        yield config.flat
