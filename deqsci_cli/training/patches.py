"""Training clips in memory, and random patches of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import zoom
from torch import Tensor

from deqsci_cli.errors import InputError
from deqsci_cli.io.video import list_videos, read_video_uint8


def load_clips(folders: Sequence[Path]) -> list[np.ndarray]:
    """All clips of some folders, grey.

    Args:
        folders: each holds videos, or folders of pictures.

    Returns:
        Arrays `(F, H, W)`, uint8.

    Raises:
        InputError: a folder holds nothing that can be read.
    """
    clips = []
    for folder in folders:
        paths = list_videos(folder)
        if not paths:
            raise InputError(
                "no video or picture lies here", path=folder, hint="mp4, gif, tif, png, jpg …"
            )
        clips += [read_video_uint8(path) for path in paths]
    return clips


class ClipSampler:
    """Random pieces of clips, flipped and turned at random.

    Every piece has a random stream of its own, drawn from (seed, step, place in the batch), so
    that neither a resumed run nor one shared among processes sees others.

    Args:
        clips: arrays `(F, H, W)`, uint8; those that are too short or too small are left out.
        patch_size: side of a piece, pixels.
        batch_size: pieces a step, over all processes.
        seed: of the whole run.
        share: (rank, processes): which part of each batch to make.
        frames: that a clip must have.

    Raises:
        InputError: no clip is long and large enough.
    """

    def __init__(
        self,
        clips: Sequence[np.ndarray],
        *,
        patch_size: int,
        batch_size: int,
        seed: int,
        share: tuple[int, int] = (0, 1),
        frames: int = 1,
    ):
        self.clips = [c for c in clips if len(c) >= frames and min(c.shape[1:]) >= patch_size]
        if not self.clips:
            count = f"{frames} frames" if frames > 1 else "a frame"
            raise InputError(
                f"no clip has {count} of at least {patch_size}x{patch_size} pixels",
                hint="use a smaller --patch-size" + (", or fewer frames" if frames > 1 else ""),
            )
        self.patch_size = patch_size
        self.places = range(share[0], batch_size, share[1])
        self.seed = seed
        lengths = np.array([len(c) for c in self.clips], dtype=float)
        self._weights = lengths / lengths.sum()

    def streams(self, step: int, *kind: int) -> list[np.random.Generator]:
        """The random streams of this process's places in a step's batch."""
        return [np.random.default_rng([self.seed, step, place, *kind]) for place in self.places]

    def clip(self, rng: np.random.Generator) -> np.ndarray:
        """A clip, each frame of all clips as likely."""
        return self.clips[rng.choice(len(self.clips), p=self._weights)]

    @staticmethod
    def crop(
        clip: np.ndarray,
        side: int,
        rng: np.random.Generator,
        *,
        downsample_prob: float,
        upsample_prob: float = 0.0,
    ) -> np.ndarray:
        """A square of a clip, float32; less if the clip is smaller.

        Args:
            clip: `(F, H, W)`.
            side: pixels.
            rng: draws the place and the resolution.
            downsample_prob: how likely it is taken at half resolution, where the clip is large
                enough: detail becomes finer, and less is left of a video codec's artefacts.
            upsample_prob: how likely it is taken at twice the resolution, by cubic splines:
                detail becomes coarser, and movements larger.
        """
        chance = rng.random()
        halved = chance < downsample_prob and min(clip.shape[1:]) >= 2 * side
        doubled = chance >= 1 - upsample_prob
        taken = 2 * side if halved else (side + 1) // 2 if doubled else side
        height, width = (min(taken, n) for n in clip.shape[1:])
        y = rng.integers(clip.shape[1] - height + 1)
        x = rng.integers(clip.shape[2] - width + 1)
        piece = clip[:, y : y + height, x : x + width].astype(np.float32)
        if halved:
            piece = piece.reshape(len(clip), side, 2, side, 2).mean((2, 4))
        if doubled:
            piece = zoom(piece, (1, 2, 2), mode="reflect", grid_mode=True)[:, :side, :side]
        return piece

    @staticmethod
    def turn(piece: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A piece `(F, side, side)` in one of its eight positions."""
        piece = np.rot90(piece, int(rng.integers(4)), axes=(1, 2))
        return piece[:, :, ::-1] if rng.random() < 0.5 else piece


class PatchSampler(ClipSampler):
    """Random square patches of single frames, every other one at half resolution."""

    def __call__(self, step: int) -> tuple[Tensor, list[np.random.Generator]]:
        """Patches `(B, 1, H, W)` in [0, 1], and the random generator of each."""
        rngs = self.streams(step)
        return torch.from_numpy(np.stack([self._patch(rng) for rng in rngs])), rngs

    def _patch(self, rng: np.random.Generator) -> np.ndarray:
        clip = self.clip(rng)
        frame = clip[[rng.integers(len(clip))]]
        return self.turn(self.crop(frame, self.patch_size, rng, downsample_prob=0.5) / 255, rng)
