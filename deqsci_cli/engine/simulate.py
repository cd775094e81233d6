"""`simulate`: a clean video in, the captures of a coded camera out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from deqsci_cli.config import check_seed
from deqsci_cli.engine.simulated_camera import SimulatedCamera, check_size
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import (
    check_absent,
    fingerprint,
    make_provenance,
    read_video,
    write_capture,
)
from deqsci_cli.io.arms import complement, together
from deqsci_cli.io.axes import centre
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.io.scale import check_scale
from deqsci_cli.io.writing import check_format
from deqsci_cli.physics.masks import KINDS, make_mask
from deqsci_cli.physics.noise import SensorNoise
from deqsci_cli.physics.simulation import simulate as measure

_FRAMES = 8


@dataclass(frozen=True)
class SimulateConfig:
    """Everything that decides a simulation.

    Attributes:
        video: what `io.read_video` reads.
        out: the capture, `.mat`, `.h5` or `.tif`.
        frames: T, frames a measurement; None for the mask's own number, or 8.
        start: first frame of the video to use.
        count: measurements; None for as many as the video holds.
        crop: `(height, width)` cut from the middle, or `(height, width, top, left)`.
        resize: `(height, width)` after the crop.
        mask_kind: a kind of `physics.masks`.
        mask_file: a file with the mask instead; its values are kept.
        camera: a file that describes a camera (`io.camera`), which codes the video; what is said
            here overrides it. Its mask is written as its file has it, not as light met it.
        density: share of open elements of a binary mask.
        arms: 1, or 2 of which the second has what the first one's mask holds back; None for the
            camera's, or 1.
        noise: the sensor.
        scale: stored value of white; None for the camera's, or 255.
        seed: of mask and noise.
        overwrite: replace what lies there.
    """

    video: Path
    out: Path
    frames: int | None = None
    start: int = 0
    count: int | None = None
    crop: tuple[int, ...] | None = None
    resize: tuple[int, int] | None = None
    mask_kind: str = "binary"
    mask_file: Path | None = None
    camera: Path | None = None
    density: float = 0.5
    arms: int | None = None
    noise: SensorNoise = field(default_factory=SensorNoise)
    scale: float | None = None
    seed: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.frames is not None and self.frames < 1:
            raise UsageError("a measurement has at least 1 frame")
        if self.count is not None and self.count < 1:
            raise UsageError("at least 1 measurement must be asked for")
        if self.mask_kind not in KINDS:
            raise UsageError(
                f"there is no mask kind '{self.mask_kind}'", hint=f"one of {', '.join(KINDS)}"
            )
        if self.scale is not None:
            check_scale(self.scale)


@dataclass(frozen=True)
class Simulated:
    """What was written: file, measurements, their frames and arms, picture size; and notes."""

    out: Path
    count: int
    frames: int
    arms: int
    shape: tuple[int, int]
    notes: tuple[str, ...] = ()


def simulate(config: SimulateConfig) -> Simulated:
    """Code a video and write the capture, its truth with it.

    Raises:
        InputError: the video or the camera cannot be read, or does not fit.
        UsageError, OutputExistsError, StorageError: as their names say.
    """
    camera = SimulatedCamera.of(config.camera, config.mask_file, config.noise, config.scale)
    arms = _arms(config, camera)
    sources = [config.video, *camera.files]
    check_no_overlap([config.out], sources)
    check_absent([config.out], overwrite=config.overwrite)
    rng = np.random.default_rng(config.seed)
    mask = camera.mask_on_file()
    frames = _frames(config, camera.frames_of(mask))
    film = _film(config, frames)
    shape = (film.shape[1], film.shape[2])
    if mask is None:
        whole = camera.shape_on_file(frames, shape)
        mask = make_mask(config.mask_kind, whole, rng, density=config.density)
    masks = [mask, complement(mask)][:arms]
    codings = [camera.true_mask(each) for each in masks]
    check_size(codings[0], shape, camera.path)
    clips, pixels = film.reshape(-1, frames, *shape), camera.pixels(shape)
    measured = [measure(clips, each, camera.noise, seed=rng, pixels=pixels) for each in codings]
    write_capture(
        config.out,
        measurements=together(measured, 1),
        mask=together(masks, 0),
        truth=film,
        scale=camera.scale,
        provenance=make_provenance(
            "simulate",
            _settings(config, camera),
            seed=config.seed,
            model=None,
            inputs=map(fingerprint, sources),
            device="cpu",
        ),
        overwrite=config.overwrite,
    )
    return Simulated(config.out, len(clips), frames, arms, shape, camera.notes)


def _arms(config: SimulateConfig, camera: SimulatedCamera) -> int:
    """How many measurements are taken of the same frames.

    Raises:
        UsageError: so many are not simulated, or not written in this format.
    """
    arms = config.arms or camera.arms
    if arms not in (1, 2):
        raise UsageError(f"a camera of {arms} arms is not simulated", hint="give --arms 1 or 2")
    check_format(config.out, arms)
    return arms


def _frames(config: SimulateConfig, known: int | None) -> int:
    """T, unless the mask and the option both tell it.

    Raises:
        UsageError: they do.
    """
    if known is not None and config.frames is not None:
        raise UsageError(
            f"the mask's file, or the camera's, tells the number of frames: {known}",
            hint="leave out --frames",
        )
    return known or config.frames or _FRAMES


def _film(config: SimulateConfig, frames: int) -> np.ndarray:
    """The frames (N*T, H, W) of whole measurements, cut and resampled.

    Raises:
        InputError: the video cannot be read, or is too short or small.
    """
    wanted = None if config.count is None else config.count * frames
    film = read_video(config.video, start=config.start, count=wanted)
    count = len(film) // frames
    if count == 0:
        raise InputError(
            f"the video has {len(film)} frames from frame {config.start} on, a measurement "
            f"needs {frames}",
            path=config.video,
            hint="use a smaller --frames or --start",
        )
    film = film[: count * frames]
    if config.crop is not None:
        film = crop(film, config.crop, config.video)
    if config.resize is not None:
        film = resize(film, config.resize)
    return film


def _settings(config: SimulateConfig, camera: SimulatedCamera) -> dict[str, Any]:
    """All that decided the simulation, for the provenance."""
    settings = {k: v for k, v in asdict(config).items() if k not in ("out", "overwrite")}
    table = camera.table() if config.camera else None
    return settings | {"noise": asdict(camera.noise), "scale": camera.scale, "camera": table}


def crop(film: np.ndarray, window: tuple[int, ...], path: Path) -> np.ndarray:
    """Cut `(height, width[, top, left])` out of `(F, H, W)`; from the middle if no corner is told.

    Raises:
        InputError: the window does not lie within the picture.
    """
    have_h, have_w = film.shape[1:]
    h, w = window[:2]
    top, left = window[2:] if len(window) == 4 else (centre(have_h, h), centre(have_w, w))
    if min(h, w) < 1 or min(top, left) < 0 or top + h > have_h or left + w > have_w:
        raise InputError(
            f"the crop {h}x{w} does not lie within its pictures of {have_h}x{have_w}",
            path=path,
            hint="use a smaller --crop",
        )
    return film[:, top : top + h, left : left + w]


def resize(film: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resample `(F, H, W)` to another picture size, bicubic with antialiasing."""
    if min(shape) < 1:
        raise UsageError("a picture has at least 1x1 pixels")
    frames = torch.from_numpy(np.ascontiguousarray(film)).unsqueeze(1)
    out = F.interpolate(frames, size=shape, mode="bicubic", antialias=True)
    return out[:, 0].clamp(0, 1).numpy()
