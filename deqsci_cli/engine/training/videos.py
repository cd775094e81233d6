"""Random captures of training clips: crops in space and time, cameras, noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor

from deqsci_cli.engine.training.clips import ClipSampler
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.stack import read_mask
from deqsci_cli.physics.masks import KINDS, make_mask

# Noise of a hundred whites leaves nothing of a capture.
_LOUDEST = 100


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
        pan: fastest movement of that camera, pixels a frame. Slow ones are more frequent, and a
            fifth of these captures stands quite still.
        objects: share of those captures in which a part of another clip moves by itself before
            the picture, in a random outline.
        half: share of the crops taken at half resolution, where the clip is large enough; they
            have finer detail, and less of what a video codec has left of its own.
        double: share of the crops taken at twice the resolution; they have coarser detail and move
            further, as films of larger sensors do.
        brightness: least and greatest factor; what exceeds white is clipped.
        noise: greatest standard deviation of the measurement's noise, in units of one frame's
            white; every capture draws its own, from 0 on.
        hot: share of the captures whose measurement has a few hot pixels, up to five whites too
            bright.
    """

    frames: tuple[int, ...] = (8,)
    masks: tuple[str, ...] = ("binary", "grey")
    mask_file: Path | None = None
    speeds: tuple[int, ...] = (1, 2)
    still: float = 0.5
    pan: float = 1.5
    objects: float = 0.0
    half: float = 0.5
    double: float = 0.0
    brightness: tuple[float, float] = (0.7, 1.2)
    noise: float = 0.005
    hot: float = 0.0

    def __post_init__(self) -> None:
        for name in ("frames", "masks", "speeds"):
            if not getattr(self, name):
                raise UsageError(f"{name} must hold at least one value")
        if min(*self.frames, *self.speeds) < 1:
            raise UsageError("frames and speeds must be at least 1")
        if unknown := sorted(set(self.masks) - set(KINDS)):
            raise UsageError(f"there is no mask '{unknown[0]}'", hint=f"one of {', '.join(KINDS)}")
        sizes = self.half + self.double
        shares = (self.half, self.double, sizes, self.still, self.objects, self.hot)
        if not all(0 <= s <= 1 for s in shares):
            raise UsageError("half + double, still, objects and hot are shares between 0 and 1")
        if not 0 <= self.pan < math.inf:
            raise UsageError("pan must not be negative, nor infinite")
        if not 0 <= self.noise <= _LOUDEST:
            raise UsageError(f"noise must lie between 0 and {_LOUDEST}")
        if not 0 < self.brightness[0] <= self.brightness[1] < math.inf:
            raise UsageError("brightness must be two rising numbers above 0")


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


class CaptureSampler(ClipSampler):
    """Captures of random pieces of clips.

    Args:
        clips: arrays `(F, H, W)`, uint8.
        settings: what to draw.
        patch: side of a crop, pixels.
        shared: what else a `ClipSampler` takes.
    """

    def __init__(
        self, clips: Sequence[np.ndarray], settings: CaptureSettings, *, patch: int, **shared: Any
    ):
        self.settings = settings
        self.mask = None
        self.frames = settings.frames
        if settings.mask_file is not None:
            self.mask = own_mask(settings.mask_file, patch, "--patch")
            self.frames = (len(self.mask),)
        super().__init__(clips, patch=patch, frames=max(self.frames), **shared)

    def probe(self, step: int, shape: torch.Size) -> Tensor:
        """Standard normal numbers `(B, …)` for a step, whatever the captures are."""
        drawn = [rng.standard_normal(shape[1:]) for rng in self.streams(step, 1)]
        return torch.from_numpy(np.stack(drawn))

    def uniform(self, step: int) -> Tensor:
        """Numbers in [0, 1] for a step, `(B,)`."""
        return torch.tensor([rng.random() for rng in self.streams(step, 3)])

    def __call__(self, step: int) -> CaptureBatch:
        """The captures of a step."""
        frames = int(np.random.default_rng([self.seed, step, 0, 2]).choice(self.frames))
        videos, masks, measurements = [], [], []
        for rng in self.streams(step):
            video = self._video(frames, rng)
            mask = self._mask(video.shape, rng)
            level = rng.uniform(0, self.settings.noise)
            noise = rng.standard_normal(video.shape[1:], dtype=np.float32)
            videos.append(video)
            masks.append(mask)
            measurement = (mask * video).sum(0) + np.float32(level) * noise
            if self.settings.hot and rng.random() < self.settings.hot:
                places = rng.integers(measurement.size, size=rng.integers(1, 4))
                measurement.flat[places] += rng.uniform(1, 5, len(places)).astype(np.float32)
            measurements.append(measurement)
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
        clip = self.clip(rng)
        if rng.random() < settings.still:
            piece = moving_camera(self._picture(clip, rng), frames, self.patch, settings.pan, rng)
            if settings.objects and rng.random() < settings.objects:
                picture = self._picture(self.clip(rng), rng)
                seen = np.stack((picture, random_outline(picture.shape, rng)))
                thing, inside = moving_camera(seen, frames, self.patch, settings.pan, rng)
                piece = piece + inside * (thing - piece)
        else:
            speeds = [s for s in settings.speeds if (frames - 1) * s < len(clip)]
            speed = int(rng.choice(speeds)) if speeds else 1
            first = rng.integers(len(clip) - (frames - 1) * speed)
            times = first + speed * np.arange(frames)
            if rng.random() < 0.5:
                times = times[::-1]
            piece = self._crop(clip[times], self.patch, rng)
        piece = self.turn(piece, rng)
        return np.clip(piece * np.float32(rng.uniform(*settings.brightness) / 255), 0, 1)

    def _picture(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A piece of one frame, wide enough to move a camera over."""
        frame = clip[[rng.integers(len(clip))]]
        return self._crop(frame, 2 * self.patch, rng)[0]

    def _crop(self, clip: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
        return self.crop(clip, side, rng, half=self.settings.half, double=self.settings.double)


def own_mask(path: Path, side: int, option: str) -> np.ndarray:
    """A camera's mask `(T, H, W)`, fully open at 1, so that noise keeps its unit.

    Args:
        path: its file.
        side: of the pieces that will be cut from it, pixels.
        option: what the user sets that side by.
    """
    mask = read_mask(path)
    if min(mask.shape[1:]) < side:
        raise InputError(
            f"the mask is smaller than pieces of {side}x{side} pixels",
            path=path,
            hint=f"use a smaller {option}",
        )
    return mask / mask.max()


def moving_camera(
    picture: np.ndarray, frames: int, side: int, pan: float, rng: np.random.Generator
) -> np.ndarray:
    """A still picture filmed by a camera that pans and zooms evenly, or rests: each fifth time.

    Args:
        picture: `(h, w)`, or several that move together, `(n, h, w)`.
        frames: T.
        side: of the frames, pixels.
        pan: fastest movement, pixels a frame.
        rng: draws the movement; half of those that do move are slower than a quarter of `pan`.

    Returns:
        `(T, side, side)` or `(n, T, side, side)`, the middle of the picture at mid-time, by
        cubic splines.
    """
    height, width = picture.shape[-2:]
    angle, lively = rng.uniform(0, 2 * np.pi), max(0, rng.uniform(-0.25, 1)) ** 2
    speed = pan * lively
    zoom = rng.uniform(-0.05, 0.05) * (lively > 0)
    time = (np.arange(frames) - (frames - 1) / 2)[:, None, None]
    grid = np.arange(side) - (side - 1) / 2
    scale = 1 + zoom * time / max(1, frames - 1)
    y = (height - 1) / 2 + scale * grid[:, None] + speed * np.sin(angle) * time
    x = (width - 1) / 2 + scale * grid + speed * np.cos(angle) * time
    places = np.broadcast_arrays(y, x)
    filmed = [
        map_coordinates(p, places, order=3, mode="reflect")
        for p in picture.reshape(-1, height, width)
    ]
    return np.stack(filmed).astype(np.float32).reshape(*picture.shape[:-2], *places[0].shape)


def random_outline(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random shape of round outline: 1 inside, 0 outside, the edge two pixels wide.

    Args:
        shape: `(h, w)`.
        rng: draws the shape; 10 to 50 % of the pixels lie inside.
    """
    hills = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), min(shape) / 16)
    inside = hills > np.quantile(hills, rng.uniform(0.5, 0.9))
    return gaussian_filter(inside.astype(np.float32), 0.7)
