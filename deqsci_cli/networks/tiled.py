"""A denoiser evaluated tile by tile, so that its features never fill the memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from deqsci_cli.errors import UsageError
from deqsci_cli.networks.denoiser import Denoiser, ReceptiveField
from deqsci_cli.networks.options import AUTO
from deqsci_cli.networks.symmetry import IDENTITY, Symmetry

# What `auto` lets a film take, without the program: its state in a solver, and features. Where the
# state leaves less than the second figure, features have that. Both are fixed figures, not what is
# free, so that a film does not depend on the machine.
_MOST_BYTES, _LEAST_FEATURES = 13 * 2**28, 2**30
# Of each number of a video: some sixteen float32 in Anderson's history and in the map.
_STATE_BYTES = 64


class Tiled(Denoiser):
    """`D(x)` of a whole picture, computed tile by tile: the same to rounding, in less memory.

    Each tile is seen with a margin of the network's receptive field, and starts where the whole
    picture's samples start. What a tile's margin costs is computed again for its neighbours.

    Args:
        denoiser: D.
        tile: side of a tile in pixels, without its margin; or `auto`, see `auto_side`.

    Raises:
        UsageError: it is not known how far the denoiser looks.
    """

    def __init__(self, denoiser: Denoiser, tile: str):
        super().__init__()
        self.denoiser = denoiser
        self.tile = tile
        self.uses_measurement = denoiser.uses_measurement
        if tile != AUTO and denoiser.receptive_field(1) is None:
            raise UsageError(
                "this denoiser does not tell how far it looks, and cannot be tiled",
                hint="give it a method receptive_field(), or use --tile none",
            )

    def receptive_field(self, frames: int) -> ReceptiveField | None:
        return self.denoiser.receptive_field(frames)

    def forward(self, video: Tensor, sigma: Tensor | float, *measured: Tensor) -> Tensor:
        return self.turned(IDENTITY, None, video, sigma, *measured)

    def turned(
        self,
        symmetry: Symmetry,
        total: Tensor | None,
        video: Tensor,
        sigma: Tensor | float,
        *measured: Tensor,
    ) -> Tensor:
        field, side = self._field_and_side(video)
        if field is None or side is None:
            return self.denoiser.turned(symmetry, total, video, sigma, *measured)
        height, width = video.shape[-2:]
        if symmetry.exchanged:
            height, width = width, height
        answer = torch.zeros_like(video) if total is None else total
        for rows, outer_rows in spans(height, side, field):
            for columns, outer_columns in spans(width, side, field):
                seen = [symmetry.of(v, outer_rows, outer_columns) for v in (video, *measured)]
                tile = self.denoiser(seen[0], sigma, *seen[1:])
                inner = tile[..., _within(rows, outer_rows), _within(columns, outer_columns)]
                symmetry.place(answer, rows, columns).add_(symmetry.back(inner))
        return answer

    def _field_and_side(self, video: Tensor) -> tuple[ReceptiveField | None, int | None]:
        """What the network sees, and the side of a tile; None for the whole picture."""
        frames, height, width = video.shape[1:]
        field = self.denoiser.receptive_field(frames)
        if field is None:
            return None, None
        if self.tile == AUTO:
            return field, auto_side(field, frames, height, width)
        side = max(int(self.tile), field.stride)
        return field, None if side >= max(height, width) else side


def auto_side(field: ReceptiveField, frames: int, height: int, width: int) -> int | None:
    """The side that `auto` means, which picture and network alone decide; None for no tiles.

    The whole picture, while its state and its features take less than 3.25 GiB. Else the largest
    tile whose features fit beside the state, or into 1 GiB where that is more.
    """
    features = max(_MOST_BYTES - _STATE_BYTES * frames * height * width, _LEAST_FEATURES)
    if height * width * field.bytes <= features:
        return None
    # At least twice the margin, or three quarters of the work would be of margins.
    side = max(math.isqrt(features // field.bytes) - 2 * field.margin, 2 * field.margin, 64)
    return None if side >= max(height, width) else side


def spans(length: int, side: int, field: ReceptiveField) -> Iterator[tuple[slice, slice]]:
    """The parts of an axis, equally long and at most about `side`, and each with its margin."""
    count = math.ceil(length / side)
    step = math.ceil(length / count / field.stride) * field.stride
    for start in range(0, length, step):
        stop = min(start + step, length)
        outer = slice(max(0, start - field.margin), min(length, stop + field.margin))
        yield slice(start, stop), outer


def _within(part: slice, outer: slice) -> slice:
    return slice(part.start - outer.start, part.stop - outer.start)
