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

    Every step has a random stream of its own, drawn from (seed, step), so that a resumed run
    sees what an uninterrupted one would have seen.

    Args:
        clips: arrays `(F, H, W)`, uint8.
        patch: side of a patch, pixels.
        batch: patches a step.
        seed: of the whole run.
    """

    def __init__(self, clips: Sequence[np.ndarray], *, patch: int, batch: int, seed: int):
        self.clips = [c for c in clips if min(c.shape[1:]) >= patch]
        if not self.clips:
            raise InputError(
                f"every clip is smaller than the patch of {patch}x{patch} pixels",
                hint="use a smaller --patch",
            )
        self.patch = patch
        self.batch = batch
        self.seed = seed
        self._weights = np.array([len(c) for c in self.clips], dtype=float)
        self._weights /= self._weights.sum()

    def __call__(self, step: int) -> tuple[Tensor, np.random.Generator]:
        """Patches `(batch, 1, patch, patch)` in [0, 1], and the step's generator to go on with."""
        rng = np.random.default_rng([self.seed, step])
        out = np.empty((self.batch, 1, self.patch, self.patch), np.float32)
        for i, clip in enumerate(rng.choice(len(self.clips), self.batch, p=self._weights)):
            frames, h, w = self.clips[clip].shape
            half = rng.random() < 0.5 and min(h, w) >= 2 * self.patch
            side = 2 * self.patch if half else self.patch
            t = rng.integers(frames)
            y, x = rng.integers(h - side + 1), rng.integers(w - side + 1)
            piece = self.clips[clip][t, y : y + side, x : x + side].astype(np.float32)
            if half:
                piece = piece.reshape(self.patch, 2, self.patch, 2).mean((1, 3))
            piece = np.rot90(piece, int(rng.integers(4)))
            out[i, 0] = piece[:, ::-1] if rng.random() < 0.5 else piece
        return torch.from_numpy(out / 255), rng
