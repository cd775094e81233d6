"""Random captures of training clips: crops in space and time, cameras, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.physics.masks import KINDS, make_mask


@dataclass(frozen=True)
class CaptureSettings:
    """Which captures a model is trained on.

    Attributes:
        frames: numbers of frames T; every step draws one.
        masks: kinds of mask (`physics.masks.KINDS`); every capture draws one.
        speeds: every n-th frame of a clip is taken, n drawn from these.
        half: share of the crops taken at half resolution, where the clip is large enough; they
            have finer detail, and less of what a video codec has left of its own.
        brightness: least and greatest factor; what exceeds white is clipped.
        noise: greatest standard deviation of the measurement's noise, in units of one frame's
            white; every capture draws its own, from 0 on.
    """

    frames: tuple[int, ...] = (8,)
    masks: tuple[str, ...] = ("binary", "grey")
    speeds: tuple[int, ...] = (1, 2)
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
        if not 0 <= self.half <= 1:
            raise UsageError("half is a share between 0 and 1")
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
        most = max(settings.frames)
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
        frames = int(np.random.default_rng([self.seed, step]).choice(self.settings.frames))
        rngs = [np.random.default_rng([self.seed, step, place]) for place in self.places]
        videos, masks, measurements = [], [], []
        for rng in rngs:
            video = self._video(frames, rng)
            mask = make_mask(str(rng.choice(self.settings.masks)), video.shape, rng)
            level = rng.uniform(0, self.settings.noise)
            noise = rng.standard_normal(video.shape[1:], dtype=np.float32)
            videos.append(video)
            masks.append(mask)
            measurements.append((mask * video).sum(0) + np.float32(level) * noise)
        stacked = [torch.from_numpy(np.stack(part)) for part in (videos, masks, measurements)]
        return CaptureBatch(*stacked)

    def _video(self, frames: int, rng: np.random.Generator) -> np.ndarray:
        """A piece `(T, patch, patch)` of a clip in [0, 1], float32."""
        settings, patch = self.settings, self.patch
        clip = self.clips[rng.choice(len(self.clips), p=self._weights)]
        count, h, w = clip.shape
        speeds = [s for s in settings.speeds if (frames - 1) * s < count]
        speed = int(rng.choice(speeds)) if speeds else 1
        first = rng.integers(count - (frames - 1) * speed)
        times = first + speed * np.arange(frames)
        if rng.random() < 0.5:
            times = times[::-1]
        half = rng.random() < settings.half and min(h, w) >= 2 * patch
        side = 2 * patch if half else patch
        y, x = rng.integers(h - side + 1), rng.integers(w - side + 1)
        piece = clip[times, y : y + side, x : x + side].astype(np.float32)
        if half:
            piece = piece.reshape(frames, patch, 2, patch, 2).mean((2, 4))
        piece = np.rot90(piece, int(rng.integers(4)), axes=(1, 2))
        if rng.random() < 0.5:
            piece = piece[:, :, ::-1]
        return np.clip(piece * np.float32(rng.uniform(*settings.brightness) / 255), 0, 1)
