"""A snapshot spectral camera: coded bands, shifted by a disperser, add up to one measurement."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from deqsci_cli.physics.sensing import SensingOperator


class CASSI(SensingOperator):
    """Single-disperser CASSI: `y(i, j) = sum_l mask_l(i, j - l step) x_l(i, j - l step)`.

    Shapes: spectral cube `(B, L, H, W)`, measurement `(B, H, W + step (L - 1))`. Each element of
    the cube falls on one pixel, so that `A A^T` is diagonal here too.
    Source: Wagadarikar, John, Willett & Brady, Applied Optics 47 (2008) B44.

    Args:
        mask: `(L, H, W)`, one camera for the whole batch, or `(B, L, H, W)`; a mask `(H, W)` that
            is the same for all bands is `mask.expand(L, -1, -1)`.
        step: columns between two neighbouring bands, at least 0.
        seen: as for `SensingOperator`.
    """

    def __init__(self, mask: Tensor, step: int = 1, seen: Tensor | None = None):
        if step < 0:
            raise ValueError(f"the step between bands must not be negative, as {step} is")
        self.step = step
        super().__init__(mask, seen)

    def _add_up(self, coded: Tensor) -> Tensor:
        b, bands, h, w = coded.shape
        total = coded.new_zeros(b, h, w + self.step * (bands - 1))
        for band in range(bands):
            total[..., band * self.step : band * self.step + w] += coded[:, band]
        return total

    def _spread(self, measurement: Tensor) -> Tensor:
        # (B, H, L, W): windows of a band's width, one every `step` columns.
        bands, width = self.mask.shape[1], self.mask.shape[3]
        if not self.step:
            return measurement.unsqueeze(1).expand(-1, bands, -1, -1)
        return measurement.unfold(-1, width, self.step).transpose(1, 2)

    def _of(self, mask: Tensor, seen: Tensor | None) -> Self:
        return type(self)(mask, self.step, seen)
