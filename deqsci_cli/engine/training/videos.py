"""Random captures of training clips: crops in space and time, cameras, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.stack import read_mask
from deqsci_cli.physics.masks import KINDS, make_mask


@dataclass(frozen=True)
class CaptureSettings:
    """Which captures a model is trained on.

    Attributes:
        frames: numbers of frames T; every step draws one.
        masks: kinds of mask (`physics.masks.KINDS`); every capture draws one.
        mask_file: a camera's own calibrated mask, to train for that camera alone: pieces of it
            take the place of `masks`, its number of frames that of `frames`.
        speeds: every n-th frame of a clip is taken, n drawn from these.
        still: share of the captures that film one frame of a clip with a moving camera. What a
            snapshot camera is for moves little from one coded frame to the next, clips of a
            common camera move far more: a model trained on these alone learns to blur.
        pan: fastest movement of that camera, pixels a frame.
        half: share of the crops taken at half resolution, where the clip is large enough; they
            have finer detail, and less of what a video codec has left of its own.
        brightness: least and greatest factor; what exceeds white is clipped.
        noise: greatest standard deviation of the measurement's noise, in units of one frame's
            white; every capture draws its own, from 0 on.
    """

    frames: tuple[int, ...] = (8,)
    masks: tuple[str, ...] = ("binary", "grey")
    mask_file: Path | None = None
    speeds: tuple[int, ...] = (1, 2)
    still: float = 0.5
    pan: float = 1.5
    half: float = 0.5
    brightness: tuple[float, float] = (0.7, 1.2)
    noise: float = 0.005

    def __post_init__(self) -> None:
        for name in ("frames", "masks", "speeds"):
            if not getattr(self, name):
                raise UsageError(f"{name} must hold at least one value")
        if min(*self.frames, *self.speeds) < 1:
            raise UsageError("frames and speeds must be at least 1")
        if unknown := sorted(set(self.masks) - set(KINDS)):
            raise UsageError(f"there is no mask '{unknown[0]}'", hint=f"one of {', '.join(KINDS)}")
        if not (0 <= self.half <= 1 and 0 <= self.still <= 1):
            raise UsageError("half and still are shares between 0 and 1")
        if self.pan < 0:
            raise UsageError("pan must not be negative")
        if not 0 < self.brightness[0] <= self.brightness[1]:
            raise UsageError("brightness must be two rising numbers above 0")
        if self.noise < 0:
            raise UsageError("noise must not be negative")


@dataclass(frozen=True)
class CaptureBatch:
    """Simulated captures and their truth.

    Attributes:
        video: `(B, T, H, W)` in [0, 1].
        mask: `(B, T, H, W)`.
        measurement: `(B, H, W)`.
    """

    video: Tensor
    mask: Tensor
    measurement: Tensor

    def to(self, device: torch.device) -> CaptureBatch:
        """The same captures on another device."""
        return CaptureBatch(
            self.video.to(device), self.mask.to(device), self.measurement.to(device)
        )


class CaptureSampler:
    """Captures of random pieces of clips.

    Every capture has a random stream of its own, drawn from (seed, step, place in the batch), so
    that neither a resumed run nor one shared among processes sees others.

    Args:
        clips: arrays `(F, H, W)`, uint8.
        settings: what to draw.
        patch: side of a crop, pixels.
        batch: captures a step, over all processes.
        seed: of the whole run.
        share: (rank, processes): which part of each batch to make.
    """

    def __init__(
        self,
        clips: Sequence[np.ndarray],
        settings: CaptureSettings,
        *,
        patch: int,
        batch: int,
        seed: int,
        share: tuple[int, int] = (0, 1),
    ):
        self.mask = None if settings.mask_file is None else own_mask(settings.mask_file, patch)
        self.frames = settings.frames if self.mask is None else (len(self.mask),)
        most = max(self.frames)
        self.clips = [c for c in clips if len(c) >= most and min(c.shape[1:]) >= patch]
        if not self.clips:
            raise InputError(
                f"no clip has {most} frames of at least {patch}x{patch} pixels",
                hint="use a smaller --patch, or fewer frames",
            )
        self.settings = settings
        self.patch = patch
        self.places = range(share[0], batch, share[1])
        self.seed = seed
        self._weights = np.array([len(c) for c in self.clips], dtype=float)
        self._weights /= self._weights.sum()

    def probe(self, step: int, shape: torch.Size) -> Tensor:
        """Standard normal numbers `(B, …)` for a step, whatever the captures are."""
        rngs = [np.random.default_rng([self.seed, step, place, 1]) for place in self.places]
        return torch.from_numpy(np.stack([rng.standard_normal(shape[1:]) for rng in rngs]))

    def __call__(self, step: int) -> CaptureBatch:
        """The captures of a step."""
        frames = int(np.random.default_rng([self.seed, step, 0, 2]).choice(self.frames))
        rngs = [np.random.default_rng([self.seed, step, place]) for place in self.places]
        videos, masks, measurements = [], [], []
        for rng in rngs:
            video = self._video(frames, rng)
            mask = self._mask(video.shape, rng)
            level = rng.uniform(0, self.settings.noise)
            noise = rng.standard_normal(video.shape[1:], dtype=np.float32)
            videos.append(video)
            masks.append(mask)
            measurements.append((mask * video).sum(0) + np.float32(level) * noise)
        stacked = [torch.from_numpy(np.stack(part)) for part in (videos, masks, measurements)]
        return CaptureBatch(*stacked)

    def _mask(self, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
        if self.mask is None:
            return make_mask(str(rng.choice(self.settings.masks)), shape, rng)
        y, x = (rng.integers(n - self.patch + 1) for n in self.mask.shape[1:])
        return self.mask[:, y : y + self.patch, x : x + self.patch]

    def _video(self, frames: int, rng: np.random.Generator) -> np.ndarray:
        """A piece `(T, patch, patch)` of a clip in [0, 1], float32."""
        settings = self.settings
        clip = self.clips[rng.choice(len(self.clips), p=self._weights)]
        if rng.random() < settings.still:
            picture = self._crop(clip[[rng.integers(len(clip))]], 2 * self.patch, rng)[0]
            piece = moving_camera(picture, frames, self.patch, settings.pan, rng)
        else:
            speeds = [s for s in settings.speeds if (frames - 1) * s < len(clip)]
            speed = int(rng.choice(speeds)) if speeds else 1
            first = rng.integers(len(clip) - (frames - 1) * speed)
            times = first + speed * np.arange(frames)
            if rng.random() < 0.5:
                times = times[::-1]
            piece = self._crop(clip[times], self.patch, rng)
        piece = np.rot90(piece, int(rng.integers(4)), axes=(1, 2))
        if rng.random() < 0.5:
            piece = piece[:, :, ::-1]
        return np.clip(piece * np.float32(rng.uniform(*settings.brightness) / 255), 0, 1)

    def _crop(self, clip: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
        """A square of a clip, float32, at half resolution for some; less if the clip is smaller."""
        half = rng.random() < self.settings.half and min(clip.shape[1:]) >= 2 * side
        height, width = (min(2 * side if half else side, n) for n in clip.shape[1:])
        y = rng.integers(clip.shape[1] - height + 1)
        x = rng.integers(clip.shape[2] - width + 1)
        piece = clip[:, y : y + height, x : x + width].astype(np.float32)
        if half:
            piece = piece.reshape(len(clip), side, 2, side, 2).mean((2, 4))
        return piece


def own_mask(path: Path, patch: int) -> np.ndarray:
    """A camera's mask `(T, H, W)`, fully open at 1, so that noise keeps its unit."""
    mask = read_mask(path)
    if min(mask.shape[1:]) < patch:
        raise InputError(
            f"the mask is smaller than the patch of {patch}x{patch} pixels",
            path=path,
            hint="use a smaller --patch",
        )
    return mask / mask.max()


def moving_camera(
    picture: np.ndarray, frames: int, side: int, pan: float, rng: np.random.Generator
) -> np.ndarray:
    """A still picture filmed by a camera that pans and zooms evenly.

    Args:
        picture: `(h, w)`.
        frames: T.
        side: of the frames, pixels.
        pan: fastest movement, pixels a frame.
        rng: draws the movement.

    Returns:
        `(T, side, side)`, the middle of the picture at mid-time, by cubic splines.
    """
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, pan)
    zoom = rng.uniform(-0.05, 0.05)
    time = (np.arange(frames) - (frames - 1) / 2)[:, None, None]
    grid = np.arange(side) - (side - 1) / 2
    scale = 1 + zoom * time / max(1, frames - 1)
    y = (picture.shape[0] - 1) / 2 + scale * grid[:, None] + speed * np.sin(angle) * time
    x = (picture.shape[1] - 1) / 2 + scale * grid + speed * np.cos(angle) * time
    y, x = np.broadcast_arrays(y, x)
    return map_coordinates(picture, [y, x], order=3, mode="reflect").astype(np.float32)
