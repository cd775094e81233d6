"""Random captures of training clips: crops in space and time, cameras, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deqsci_cli.errors import InputError
from deqsci_cli.io.stack import read_mask
from deqsci_cli.physics.sequence import SequenceOperator
from deqsci_cli.training.cameras import draw_mask, expose
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.motion import exposures, moving_camera, random_outline
from deqsci_cli.training.patches import ClipSampler


@dataclass(frozen=True, eq=False)
class CaptureBatch:
    """Simulated captures and their truth.

    Attributes:
        video: `(B, N T, H, W)` in [0, 1].
        mask: `(B, N T, H, W)`.
        measurement: `(B, N, H, W)`, N consecutive ones of each film.
    """

    video: Tensor
    mask: Tensor
    measurement: Tensor

    def to(self, device: torch.device) -> CaptureBatch:
        """The same captures on another device."""
        return CaptureBatch(
            self.video.to(device), self.mask.to(device), self.measurement.to(device)
        )

    @property
    def operator(self) -> SequenceOperator:
        """The cameras."""
        return SequenceOperator(self.mask, self.measurement.shape[1])


class CaptureSampler(ClipSampler):
    """Captures of random pieces of clips.

    Args:
        clips: arrays `(F, H, W)`, uint8.
        settings: what to draw.
        patch_size: side of a crop, pixels.
        shared: what else a `ClipSampler` takes.
    """

    def __init__(
        self,
        clips: Sequence[np.ndarray],
        settings: CaptureSettings,
        *,
        patch_size: int,
        **shared: Any,
    ):
        self.settings = settings
        self.mask = None
        self.frames = settings.frames
        if settings.mask_file is not None:
            self.mask = own_mask(settings.mask_file, patch_size, "--patch-size")
            self.frames = (len(self.mask),)
        longest = max(self.frames) * max(settings.measurements)
        #: clips of a single frame, which a moving camera alone can film
        self.pictures = [c for c in clips if len(c) == 1 and min(c.shape[1:]) >= patch_size]
        if settings.still_image_prob == 1:  # whatever is filmed is a single frame
            longest = 1
        try:
            super().__init__(clips, patch_size=patch_size, frames=longest, **shared)
        except InputError as error:
            if not self.pictures:
                raise
            hint = f"{error.hint}, or film pictures alone: captures.still_image_prob=1"
            raise InputError(error.message, hint=hint) from error

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
        count = int(
            np.random.default_rng([self.seed, step, 0, 4]).choice(self.settings.measurements)
        )
        videos, masks, measurements = [], [], []
        for rng in self.streams(step):
            video = self._video(count * frames, rng)
            mask = self._mask((frames, *video.shape[1:]), rng)
            by_measurement = video.reshape(count, *mask.shape)
            measurement, own = expose(by_measurement, mask, self.settings, rng)
            videos.append(video)
            masks.append(own.reshape(video.shape))
            measurements.append(measurement)
        stacked = [torch.from_numpy(np.stack(part)) for part in (videos, masks, measurements)]
        return CaptureBatch(*stacked)

    def _mask(self, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
        if self.mask is None:
            return draw_mask(shape, self.settings, rng)
        y, x = (rng.integers(n - self.patch_size + 1) for n in self.mask.shape[1:])
        return self.mask[:, y : y + self.patch_size, x : x + self.patch_size]

    def _video(self, frames: int, rng: np.random.Generator) -> np.ndarray:
        """A piece `(T, patch_size, patch_size)` of a clip in [0, 1], float32."""
        settings = self.settings
        clip = self.clip(rng)
        if rng.random() < settings.still_image_prob:
            piece = self._moving(clip, frames, rng)
        else:
            strides = [s for s in settings.frame_strides if (frames - 1) * s < len(clip)]
            stride = int(rng.choice(strides)) if strides else 1
            first = rng.integers(len(clip) - (frames - 1) * stride)
            times = first + stride * np.arange(frames)
            if rng.random() < 0.5:
                times = times[::-1]
            piece = self._crop(clip[times], self.patch_size, rng)
        piece = self.turn(piece, rng)
        return np.clip(piece * np.float32(rng.uniform(*settings.gain_range) / 255), 0, 1)

    def _moving(self, clip: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
        """A frame of a clip by a moving camera, and perhaps parts of others that move before it."""
        settings = self.settings
        blurred = settings.motion_blur_prob and rng.random() < settings.motion_blur_prob
        moments = exposures(frames, rng) if blurred else None

        def move(picture: np.ndarray) -> np.ndarray:
            return moving_camera(
                picture, frames, self.patch_size, settings.max_pan, rng, moments=moments,
                rotation=settings.rotation, acceleration=settings.acceleration,
                shear=settings.shear, elastic_prob=settings.elastic_prob,
            )  # fmt: skip

        piece = move(self._picture(clip, rng))
        if settings.moving_object_prob and rng.random() < settings.moving_object_prob:
            most = settings.max_objects
            for _ in range(1 if most == 1 else rng.integers(1, most + 1)):
                picture = self._picture(self.clip(rng), rng)
                seen = np.stack((picture, random_outline(picture.shape, rng)))
                thing, inside = move(seen)
                piece = piece + inside * (thing - piece)
        return piece.reshape(frames, -1, *piece.shape[1:]).mean(1) if blurred else piece

    def _picture(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A piece of one frame, wide enough to move a camera over."""
        if self.pictures and rng.random() < self.settings.picture_prob:
            clip = self.pictures[rng.integers(len(self.pictures))]
        frame = clip[[rng.integers(len(clip))]]
        piece: np.ndarray = self._crop(frame, 2 * self.patch_size, rng)[0]
        return piece

    def _crop(self, clip: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
        return self.crop(
            clip,
            side,
            rng,
            downsample_prob=self.settings.downsample_prob,
            upsample_prob=self.settings.upsample_prob,
        )


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
    opened: np.ndarray = mask / mask.max()
    return opened
