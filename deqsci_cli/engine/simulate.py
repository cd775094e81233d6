"""`simulate`: a clean video in, the captures of a coded camera out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from deqsci_cli.config import check_seed
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import (
    check_absent,
    fingerprint,
    make_provenance,
    read_mask,
    read_video,
    write_capture,
)
from deqsci_cli.io.axes import centre
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.io.scale import check_scale
from deqsci_cli.physics.masks import KINDS, make_mask
from deqsci_cli.physics.noise import SensorNoise
from deqsci_cli.physics.simulation import simulate as measure


@dataclass(frozen=True)
class SimulateConfig:
    """Everything that decides a simulation.

    Attributes:
        video: what `io.read_video` reads.
        out: the capture, `.mat`, `.h5` or `.tif`.
        frames: T, frames a measurement; with `mask_file`, the mask's own number.
        start: first frame of the video to use.
        count: measurements; None for as many as the video holds.
        crop: `(height, width)` cut from the middle, or `(height, width, top, left)`.
        resize: `(height, width)` after the crop.
        mask_kind: a kind of `physics.masks`.
        mask_file: a file with the mask instead; its values are kept.
        density: share of open elements of a binary mask.
        noise: the sensor.
        scale: stored value of white.
        seed: of mask and noise.
        overwrite: replace what lies there.
    """

    video: Path
    out: Path
    frames: int = 8
    start: int = 0
    count: int | None = None
    crop: tuple[int, ...] | None = None
    resize: tuple[int, int] | None = None
    mask_kind: str = "binary"
    mask_file: Path | None = None
    density: float = 0.5
    noise: SensorNoise = field(default_factory=SensorNoise)
    scale: float = 255.0
    seed: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.frames < 1:
            raise UsageError("a measurement has at least 1 frame")
        if self.count is not None and self.count < 1:
            raise UsageError("at least 1 measurement must be asked for")
        if self.mask_kind not in KINDS:
            raise UsageError(
                f"there is no mask kind '{self.mask_kind}'", hint=f"one of {', '.join(KINDS)}"
            )
        check_scale(self.scale)


@dataclass(frozen=True)
class Simulated:
    """What was written: file, number of measurements, frames each, picture size."""

    out: Path
    count: int
    frames: int
    shape: tuple[int, int]


def simulate(config: SimulateConfig) -> Simulated:
    """Code a video and write the capture, its truth with it.

    Raises:
        InputError: the video cannot be read, or is too short or small.
        UsageError, OutputExistsError, StorageError: as their names say.
    """
    sources = [config.video, *([config.mask_file] if config.mask_file else [])]
    check_no_overlap([config.out], sources)
    check_absent([config.out], overwrite=config.overwrite)
    rng = np.random.default_rng(config.seed)
    given = None if config.mask_file is None else read_mask(config.mask_file)
    frames = config.frames if given is None else len(given)
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
    shape = (film.shape[1], film.shape[2])
    if given is None:
        mask = make_mask(config.mask_kind, (frames, *shape), rng, density=config.density)
    elif given.shape[1:] != shape:
        raise InputError(
            f"the mask has {given.shape[1:]} pixels, the video {shape}",
            path=config.mask_file,
            hint="crop or resize the video to the mask",
        )
    else:
        mask = given
    clips = film.reshape(count, frames, *shape)
    measurements = measure(clips, mask, config.noise, seed=rng)
    settings = {k: v for k, v in asdict(config).items() if k not in ("out", "overwrite")}
    write_capture(
        config.out,
        measurements=measurements,
        mask=mask,
        truth=film,
        scale=config.scale,
        provenance=make_provenance(
            "simulate",
            settings,
            seed=config.seed,
            model=None,
            inputs=map(fingerprint, sources),
            device="cpu",
        ),
        overwrite=config.overwrite,
    )
    return Simulated(config.out, count, frames, shape)


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
