"""Training clips in memory, and random patches of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
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


class PatchSampler:
    """Random square patches of single frames, flipped and turned at random.

    Every other patch, where the clip is large enough, is taken at half resolution: that makes
    detail finer and lessens what a video codec has left of its own.

    Every patch has a random stream of its own, drawn from (seed, step, place in the batch), so
    that neither a resumed run nor one shared among processes sees others.

    Args:
        clips: arrays `(F, H, W)`, uint8.
        patch: side of a patch, pixels.
        batch: patches a step, over all processes.
        seed: of the whole run.
        share: (rank, processes): which part of each batch to make.
    """

    def __init__(
        self,
        clips: Sequence[np.ndarray],
        *,
        patch: int,
        batch: int,
        seed: int,
        share: tuple[int, int] = (0, 1),
    ):
        self.clips = [c for c in clips if min(c.shape[1:]) >= patch]
        if not self.clips:
            raise InputError(
                f"every clip is smaller than the patch of {patch}x{patch} pixels",
                hint="use a smaller --patch",
            )
        self.patch = patch
        self.places = range(share[0], batch, share[1])
        self.seed = seed
        self._weights = np.array([len(c) for c in self.clips], dtype=float)
        self._weights /= self._weights.sum()

    def __call__(self, step: int) -> tuple[Tensor, list[np.random.Generator]]:
        """Patches `(batch, 1, patch, patch)` in [0, 1], and their generators to go on with."""
        rngs = [np.random.default_rng([self.seed, step, place]) for place in self.places]
        patches = np.stack([self._patch(rng) for rng in rngs])
        return torch.from_numpy(patches[:, None]), rngs

    def _patch(self, rng: np.random.Generator) -> np.ndarray:
        clip = self.clips[rng.choice(len(self.clips), p=self._weights)]
        frames, h, w = clip.shape
        half = rng.random() < 0.5 and min(h, w) >= 2 * self.patch
        side = 2 * self.patch if half else self.patch
        y, x = rng.integers(h - side + 1), rng.integers(w - side + 1)
        piece = clip[rng.integers(frames), y : y + side, x : x + side].astype(np.float32) / 255
        if half:
            piece = piece.reshape(self.patch, 2, self.patch, 2).mean((1, 3))
        piece = np.rot90(piece, int(rng.integers(4)))
        return piece[:, ::-1] if rng.random() < 0.5 else piece
