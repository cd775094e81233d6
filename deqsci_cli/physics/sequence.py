"""A recording: consecutive measurements under one camera, as one system."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from deqsci_cli.physics.sensing import SensingOperator


class SequenceOperator(SensingOperator):
    """N measurements of N T consecutive frames, each of T of them: `A` is block-diagonal.

    Shapes: video `(B, N T, H, W)`, measurement `(B, N, H, W)`. `A A^T` stays diagonal. Taken
    alone, every measurement would have the same equilibrium as under `SensingOperator`; together,
    the denoiser sees the frames on the other side of each border.

    Args:
        mask: `(N T, H, W)` or `(B, N T, H, W)`, the masks of all frames one after another.
        count: N.
        seen: as for `SensingOperator`, `(B, N, H, W)`.
    """

    def __init__(self, mask: Tensor, count: int, seen: Tensor | None = None):
        if count < 1 or mask.shape[-3] % count:
            raise ValueError(f"{mask.shape[-3]} frames are not those of {count} measurements")
        self.count = count
        self._frames = mask.shape[-3] // count
        super().__init__(mask, seen)

    def _add_up(self, coded: Tensor) -> Tensor:
        total: Tensor = coded.unflatten(1, (self.count, self._frames)).sum(2)
        return total

    def _spread(self, measurement: Tensor) -> Tensor:
        return measurement.repeat_interleave(self._frames, 1)

    def _of(self, mask: Tensor, seen: Tensor | None) -> Self:
        return type(self)(mask, self.count, seen)
